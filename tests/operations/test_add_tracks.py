"""`segue add`: files become tracks of a bundle, or are counted with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import sounds
from support.evaluation_worlds import write_dataset
from support.tone_ear import ToneEar, tone

from segue.bundle import Bundle
from segue.cli import run
from segue.data.dataset import Dataset
from segue.errors import BundleError, DataError, UsageError
from segue.models.base import audio_features
from segue.models.base.audio_features import Sounds
from segue.operations import add_tracks as adding
from segue.operations.add_tracks import add
from segue.operations.train import train
from segue.queries import Query
from segue.recipe import Recipe, load_recipe
from segue.reranking.list_stage import continue_playlist

GENRES, EACH = 4, 30


def heard(dataset: Dataset, _sound: str, _run: object) -> Sounds:
    """What the ear would hear of the tracks of the world."""
    ear = ToneEar()
    arrays = [ear(tone(t % GENRES)[0]) for t in range(dataset.track_count)]
    return Sounds(np.arange(dataset.track_count, dtype=np.int32), arrays)


SETTINGS: dict[str, dict[str, Any]] = {
    "wrmf": {"wrmf": {"factors": 8, "confidence": "log"}},
    "two-stage": {
        "base": "two-stage",
        "two_stage": {
            "wrmf": {"factors": 8, "confidence": "log", "title_weight": 0},
            "title": {"factors": 8},
            "folds": 2,
            "ranker": {"trees": 10, "leaf_weight": 5.0},
        },
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that learned that playlists keep to a genre, and what genres sound like."""
    return learned(tmp_path_factory.mktemp("adding"), "wrmf")


@pytest.fixture(scope="module")
def in_two_stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another, whose base is two-stage."""
    return learned(tmp_path_factory.mktemp("adding"), "two-stage")


def learned(folder: Path, base: str) -> Path:
    rng = np.random.default_rng(0)
    tracks = [
        {
            "uri": f"t{t}",
            "title": f"Title {t}",
            "artist": f"Artist {t % GENRES}",
            "duration_ms": 1000 if t == 5 else 100_000 + 10_000 * t,
            "recording": f"rec-{t}",
        }
        for t in range(GENRES * EACH)
    ]
    lists = [
        rng.choice(np.arange(p % GENRES, GENRES * EACH, GENRES), 12, replace=False).tolist()
        for p in range(200)
    ]
    dataset = write_dataset(folder / "d", lists, [None] * len(lists), tracks)
    settings = {"tower": "linear", "objective": "mse", "artist": False} | SETTINGS[base]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_features, "extracted", heard)
        patch.setitem(adding.SOUNDS, "musicnn", ToneEar())
        bundle, _ = train(Recipe(name="tones", recommender="audio", settings=settings), dataset)
    bundle.save(folder / "bundle")
    return folder / "bundle"


@pytest.fixture(autouse=True)
def ear(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(adding.SOUNDS, "musicnn", ToneEar())
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))


def song(path: Path, genre: int, **tags: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return sounds.encode(path, tone(genre), 8000, tags=tags)


@pytest.mark.parametrize("base", ["trained", "in_two_stages"])
def test_a_new_file_is_recommended_where_it_sounds_right(
    base: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    trained: Path = request.getfixturevalue(base)
    for genre in range(GENRES):
        song(tmp_path / "new" / f"genre {genre}.flac", genre, title=f"New {genre}", artist="N")
    before = (trained / "manifest.json").read_bytes()
    added = add(trained, [tmp_path / "new"], out=tmp_path / "more")
    assert (added.read, added.added, added.dropped) == (4, 4, {})
    assert added.tracks == GENRES * EACH + 4
    assert (trained / "manifest.json").read_bytes() == before
    bundle = Bundle.load(tmp_path / "more")
    assert len(bundle.catalog) == added.tracks
    for genre in range(GENRES):
        track = bundle.catalog.names.find(f"New {genre}").row
        assert bundle.catalog.uris[track] == f"genre {genre}.flac"
        assert bundle.catalog.plays[track] == 0
        # From it one gets its genre, and from its genre one gets it before the other new ones.
        slate = continue_playlist(bundle.recommender, Query(tracks=[track]), 20)
        assert sum(t % GENRES == genre for t in slate.tracks if t < GENRES * EACH) >= 18
        history = [genre, genre + GENRES, genre + 2 * GENRES]
        ranked = continue_playlist(bundle.recommender, Query(tracks=history), 200).tracks.tolist()
        new = sorted(range(GENRES * EACH, GENRES * EACH + 4), key=ranked.index)
        assert new[0] == track


def test_without_out_the_bundle_is_replaced_and_a_second_time_changes_nothing(
    trained: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    Bundle.load(trained).save(own)
    file = song(tmp_path / "one.flac", 0)
    assert add(own, [file]).added == 1
    assert Bundle.load(own).catalog.uris[-1] == "one.flac"
    before = (own / "manifest.json").stat().st_mtime_ns
    again = add(own, [file])
    assert (again.read, again.added, again.dropped) == (1, 0, {"there already": 1})
    assert (own / "manifest.json").stat().st_mtime_ns == before


def test_a_recording_that_is_there_is_left_out(trained: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    song(new / "a.flac", 1, title="title 5!", artist="ARTIST 1")  # track 5 is a second long, too
    song(new / "b.flac", 1, title="Title 6", artist="Artist 2")  # of another length
    song(new / "c.flac", 1, title="x", ISRC="GBAYE0601498")
    song(new / "d.flac", 2, title="y", ISRC="GBAYE0601498")
    song(new / "e.flac", 3, title="title 5", artist="Another")
    added = add(trained, [new], out=tmp_path / "more")
    assert added.dropped == {"a recording that is there already": 2}
    kept = Bundle.load(tmp_path / "more").catalog.uris[GENRES * EACH :]
    assert kept == ["b.flac", "c.flac", "e.flac"]


def test_bad_files_are_counted_and_the_others_added(trained: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    song(new / "good.flac", 1)
    song(new / "same.flac", 1)
    (new / "empty.mp3").write_bytes(b"")
    (new / "text.flac").write_text("not music")
    (new / "cover.jpg").write_bytes(b"no sound file by its name")
    added = add(trained, [new], out=tmp_path / "more")
    assert added.added == 1
    assert added.read == 4 == added.added + sum(added.dropped.values())
    assert added.dropped["same content as another file"] == 1


def test_what_was_heard_before_is_not_computed_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = song(tmp_path / "one.flac", 0)
    add(trained, [file], out=tmp_path / "first")
    (entry,) = (tmp_path / "cache" / "features" / "tone-ear-1").rglob("*.npy")
    before = entry.stat().st_mtime_ns
    add(trained, [file], out=tmp_path / "second")
    assert entry.stat().st_mtime_ns == before
    vectors = [Bundle.load(tmp_path / name).recommender.tensors() for name in ("first", "second")]
    for name, tensor in vectors[0].items():
        np.testing.assert_array_equal(tensor, vectors[1][name])


def test_what_nothing_tells_the_place_of_is_left_out(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.open(trained.parent / "d")
    settings = {"sound": "none", "tower": "mean", "wrmf": {"factors": 8}}
    recipe = Recipe(name="mean", recommender="audio", settings=settings)
    train(recipe, dataset)[0].save(tmp_path / "mean")
    song(tmp_path / "new" / "known.flac", 0, title="x", artist="Artist 2")
    song(tmp_path / "new" / "unknown.flac", 0, title="y", artist="Nobody")
    added = add(tmp_path / "mean", [tmp_path / "new"])
    assert (added.added, added.dropped) == (1, {"nothing to place it by": 1})
    assert Bundle.load(tmp_path / "mean").catalog.uris[-1] == "known.flac"


def test_a_bundle_that_does_not_hear_says_so(trained: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(trained.parent / "d")
    train(load_recipe("popularity"), dataset)[0].save(tmp_path / "p")
    file = song(tmp_path / "one.flac", 0)
    with pytest.raises(BundleError, match="holds popularity, which places no new tracks"):
        add(tmp_path / "p", [file])
    with pytest.raises(BundleError, match="is not a bundle"):
        add(tmp_path, [file])
    with pytest.raises(UsageError, match="no source"):
        add(trained, [])
    with pytest.raises(DataError, match="no such file"):
        add(trained, [tmp_path / "missing.flac"])


def test_another_version_of_the_ear_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Bundle.load(trained).manifest.extractor == "tone-ear-1"
    file = song(tmp_path / "one.flac", 0)
    monkeypatch.setitem(adding.SOUNDS, "musicnn", ToneEar("tone-ear-2"))
    with pytest.raises(BundleError, match=r"tone-ear-1 hears, this segue hears by tone-ear-2"):
        add(trained, [file], out=tmp_path / "more")
    old = Bundle.load(trained)
    old.manifest.extractor = None  # as bundles were that did not say
    old.save(tmp_path / "old")
    assert add(tmp_path / "old", [file]).added == 1


def test_a_damaged_bundle_stops_before_anything_is_written(trained: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    Bundle.load(trained).save(own)
    tensors = own / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"x")
    files = {file.name: file.read_bytes() for file in own.iterdir()}
    with pytest.raises(BundleError, match="SHA-256"):
        add(own, [song(tmp_path / "one.flac", 0)])
    assert {file.name: file.read_bytes() for file in own.iterdir()} == files


def test_files_inside_the_bundle_that_is_replaced_stay(trained: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    Bundle.load(trained).save(own)
    file = song(own / "new" / "one.flac", 0)
    with pytest.raises(DataError, match=r"own: holds files that are read here"):
        add(own, [own / "new"])
    assert file.is_file()
    assert add(own, [own / "new"], out=tmp_path / "more").added == 1


def test_what_another_process_added_meanwhile_is_not_lost(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    Bundle.load(trained).save(own)
    one, two = (song(tmp_path / f"{genre}.flac", genre) for genre in (0, 1))
    without_doubles = adding.without_doubles

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        monkeypatch.undo()
        monkeypatch.setitem(adding.SOUNDS, "musicnn", ToneEar())
        monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
        add(own, [two])
        return without_doubles(*arguments, **named)

    monkeypatch.setattr(adding, "without_doubles", meanwhile)
    with pytest.raises(BundleError, match="was replaced while files were listened to"):
        add(own, [one])
    assert Bundle.load(own).catalog.uris[GENRES * EACH :] == ["1.flac"]


def test_a_manifest_that_is_too_deep_is_none(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    deep = '{"recommender": "audio", "config": {"x": ' + "[" * 100_000
    (tmp_path / "own" / "manifest.json").write_text(deep)
    with pytest.raises(BundleError, match="is not the manifest of a bundle"):
        add(tmp_path / "own", [tmp_path])


def test_on_the_command_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = song(tmp_path / "one.flac", 0), tmp_path / "more"
    assert run(["add", str(trained), str(file), "--bundle", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "bundle": str(out),
        "read": 1,
        "added": 1,
        "dropped": {},
        "tracks": GENRES * EACH + 1,
        "notes": {},
    }
    assert run(["add", str(out), str(file)]) == 0
    said = capsys.readouterr()
    assert "left out: there already  1" in said.out
    assert "nothing was added" in said.err
    assert run(["continue", str(out), "--track", "one.flac", "-n", "4", "--cold-quota", "0"]) == 0
