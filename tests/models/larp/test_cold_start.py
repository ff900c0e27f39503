"""`audio` by the sound "larp": what LARP tells of a track places it in any base."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support import sound_worlds, sounds
from support.optional import optional
from support.tone_ear import ToneEar, tone

from segue.bundle import Bundle, Manifest
from segue.data.dataset import Dataset
from segue.data.schema import TABLES
from segue.data.writer import writing_dataset
from segue.errors import BundleError, ConfigError
from segue.models.audio import model as audio
from segue.models.audio.model import Audio
from segue.models.base import audio_features
from segue.models.base.audio_features import Sounds
from segue.models.base.recommender import TrainingOptions
from segue.models.larp import model as larp
from segue.models.larp.encoders import words as larp_words
from segue.models.larp.encoders.words_inference import WordsForm
from segue.numeric.ragged import Ragged
from segue.operations import add_tracks as adding
from segue.operations.train import train
from segue.queries import Queries, Query
from segue.recipe import Recipe
from segue.reranking.list_stage import continue_playlist

optional("torch")

COLD = np.arange(4, 30, 5, dtype=np.int32)
"""Tracks of the first genre that nobody plays."""
WORDS = ("thunder iron doom", "velvet moon lady", "pulse circuit beta", "meadow river fiddle")

LARP = {
    "dimensions": 16,
    "hidden": [16],
    "epochs": 10,
    "batch": 16,
    "learning_rate": 0.01,
}
SIDES: dict[str, dict[str, Any]] = {
    "text": LARP | {"sound": "none", "text": "words", "stages": ["ttc", "tpc"]},
    "both": LARP | {"sound": "musicnn", "text": "words"},
}
BASES: dict[str, dict[str, Any]] = {
    "wrmf": {"wrmf": {"factors": 8, "confidence": "log"}},
    "bpr": {"bpr": {"factors": 8, "epochs": 200}},
    "sasrec": {
        "sasrec": {"factors": 8, "epochs": 25, "batch": 8, "negatives": 64, "dropout": 0.1,
                   "patience": 0, "history": "positive"},
    },
    "two-stage": {
        "two_stage": {
            "wrmf": {"factors": 8, "artist_weight": 0.1, "title_weight": 0.1},
            "title": {"factors": 8}, "folds": 2, "ranker": {"trees": 10, "leaf_weight": 5.0},
        }
    },
}  # fmt: skip


WORDS_FORM = WordsForm(buckets=512, d=16, layers=1, heads=2, width=24)


@pytest.fixture(autouse=True)
def hear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sounds come from `sound_worlds`, not from files; what reads is tiny."""
    monkeypatch.setattr(audio_features, "extracted", sound_worlds.heard)
    monkeypatch.setattr(larp_words, "WordsForm", lambda: WORDS_FORM)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Four genres of 30 tracks, an artist each; titles are made of the genre's words.

    Nobody has played the tracks of `COLD`; the last track has no sound, no title and no artist.
    """
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("words") / "dataset"
    weights = 1 / np.arange(1, 31)
    weights[COLD] = 0

    def track(t: int) -> tuple[Any, ...]:
        if t == 120:
            return None, None, None, None, None, None, None
        return title(t // 30, rng), f"someone {t}", None, None, None, None, None

    with writing_dataset(path) as writer:
        writer.track_ids([f"track:{t}" for t in range(121)], track)
        lists = []
        for p in range(120):
            chances = weights if p % 4 == 0 else 1 / np.arange(1, 31)
            chosen = rng.choice(30, 12, replace=False, p=chances / chances.sum())
            lists.append([int(p % 4 * 30 + t) for t in chosen])
        names = [f"playlist:{p}" for p in range(120)]
        writer.add_playlists(
            {"uri": names, "title": [None] * 120},
            [len(one) for one in lists],
            [t for one in lists for t in one],
        )
        writer.finish([], simulated=True)
    return Dataset.open(path)


def title(genre: int, rng: np.random.Generator) -> str:
    return " ".join(rng.permutation(WORDS[genre].split())[:2])


def settings(base: str, sides: str, **more: Any) -> dict[str, Any]:
    tower = {"tower": "linear", "objective": "mse", "artist": False}
    return {"base": base, **BASES[base], "sound": "larp", "larp": SIDES[sides], **tower, **more}


_ready: dict[str, Audio] = {}


def fitted(world: Dataset, base: str, sides: str, **more: Any) -> Audio:
    """Trained once."""
    known = f"{world.info.fingerprint} {base} {sides} {more}"
    if known not in _ready:
        _ready[known] = Audio(**settings(base, sides, **more)).fit(world, TrainingOptions(seed=1))
    return _ready[known]


def told(genre: int, count: int = 3) -> pa.Table:
    """New tracks whose titles are of a genre."""
    rng = np.random.default_rng([genre, 9])
    rows = [
        {"uri": f"new:{genre}:{i}", "title": title(genre, rng), "artist": f"new {genre} {i}"}
        for i in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["tracks"])


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("base", BASES)
def test_tracks_that_nobody_played_come_to_those_who_like_their_genre(base, sides, world):
    model = fitted(world, base, sides)
    assert not (model.catalog.plays[COLD] > 0).any()
    queries = Queries.of([Query(tracks=range(30 * g, 30 * g + 4)) for g in range(4)])
    places = model.ranks(queries, Ragged.repeat(COLD, 4)).reshape(4, -1)
    assert set(model.serves(queries)) == {"audio"}
    assert places[0].mean() < 25
    assert (places[1:].mean(axis=1) > places[0].mean() + 8).all()


@pytest.mark.parametrize("base", BASES)
def test_a_new_track_is_placed_by_its_title_alone(base, world, tmp_path):
    model = fitted(world, base, "text")
    table = pa.concat_tables([told(g) for g in range(4)])
    vectors = model.place([np.zeros(0, np.float32)] * 12, table)
    more = model.with_tracks(table, vectors)
    queries = Queries.of([Query(tracks=range(30 * g, 30 * g + 4)) for g in range(4)])
    new = np.arange(121, 133, dtype=np.int32)
    places = more.ranks(queries, Ragged.repeat(new, 4)).reshape(4, 4, 3).mean(axis=2)
    assert (places.argmin(axis=1) == np.arange(4)).all()
    assert (np.diag(places) < 40).all()


def test_nothing_known_of_a_track_places_it_nowhere(world):
    model = fitted(world, "wrmf", "text")
    assert not model.vectors[120].any()
    rows = [{"uri": "new:1", "title": " "}, {"uri": "new:2"}, {"uri": "new:3", "title": "doom"}]
    table = pa.Table.from_pylist(rows, schema=TABLES["tracks"])
    vectors = model.place([np.zeros(0, np.float32)] * 3, table)
    assert vectors.any(axis=1).tolist() == [False, False, True]


@pytest.mark.parametrize("sides", SIDES)
def test_a_track_is_placed_like_those_that_were_there_also_by_a_bundle(sides, world, tmp_path):
    model = fitted(world, "wrmf", sides, tower="mlp", artist=True, epochs=5)
    known = sound_worlds.heard(world, "musicnn", TrainingOptions()).arrays
    table = world.tracks.take([4, 9])
    vectors = model.place([known[4], known[9]], table)
    assert vectors == pytest.approx(model.vectors[[4, 9]], rel=1e-3, abs=1e-5)
    bundle(model, settings("wrmf", sides, tower="mlp", artist=True)).save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b").recommender
    assert isinstance(loaded, Audio)
    assert loaded.place([known[4], known[9]], table).tobytes() == vectors.tobytes()
    more = loaded.with_tracks(told(0), loaded.place([known[4]] * 3, told(0)))
    bundle(more, settings("wrmf", sides, tower="mlp", artist=True)).save(tmp_path / "c")
    again = Bundle.load(tmp_path / "c").recommender
    queries = Queries.of([Query(tracks=(0, 1, 121))])
    expected, found = more.recommend(queries, 20), again.recommend(queries, 20)
    assert found.tracks.tobytes() == expected.tracks.tobytes()
    assert found.scores.tobytes() == expected.scores.tobytes()


def bundle(model: Audio, config: dict[str, Any]) -> Bundle:
    manifest = Manifest(
        recommender="audio", recipe="audio", config=config, seed=1, holdout=None, dataset="0",
        simulated=True, trained_at="2020-01-01T00:00:00Z",
    )  # fmt: skip
    return Bundle(model, manifest, np.arange(3, dtype=np.uint64))


def test_a_bundle_keeps_what_places_tracks_and_not_the_content_of_its_own(world):
    tensors = fitted(world, "wrmf", "both").tensors()
    assert tensors["larp.content"].shape == tensors["larp.vectors"].shape == (0, 16)
    names = {name.split(".")[1] for name in tensors if name.startswith("larp.")}
    assert names >= {"length", "sound", "text"}


def test_a_tower_that_does_not_fit_what_larp_tells_is_refused(world):
    tensors = dict(fitted(world, "wrmf", "text").tensors())
    model = Audio(**settings("wrmf", "text"))
    model.catalog = fitted(world, "wrmf", "text").catalog
    model.restore(tensors)
    wide = [np.concatenate([tensors[name]] * 2) for name in ("tower.shift", "tower.dense0")]
    tensors |= {"tower.shift": wide[0], "tower.scale": wide[0], "tower.dense0": wide[1]}
    with pytest.raises(BundleError, match=r"tower\.shift"):
        model.restore(tensors)


def test_what_larp_has_not_learned_from_tells_when_the_tower_has_learned(world, monkeypatch):
    seen: dict[str, np.ndarray] = {}
    learn, drop = audio.learn_tower, larp.LARP._learn_top

    def learn_tower(config, form, learned, held, *rest):
        seen.update(learned=learned.tracks, held=held.tracks)
        return learn(config, form, learned, held, *rest)

    def learn_top(self, plays, run):
        seen.update(unseen=self.held)
        drop(self, plays, run)

    monkeypatch.setattr(audio, "learn_tower", learn_tower)
    monkeypatch.setattr(larp.LARP, "_learn_top", learn_top)
    Audio(**settings("wrmf", "text")).fit(world, TrainingOptions(seed=1))
    assert set(seen["held"]) == set(seen["unseen"]) - set(COLD)
    assert set(seen["learned"]) == set(range(120)) - set(COLD) - set(seen["held"])


def test_larp_goes_on_from_a_checkpoint_of_its_own(world, tmp_path):
    run = TrainingOptions(seed=1, checkpoint=tmp_path / "b.checkpoint")
    Audio(**settings("wrmf", "text")).fit(world, run)
    stages = {f"b.checkpoint.larp.{stage}" for stage in ("ttc", "tpc")}
    assert stages <= {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize(
    "larp",
    [
        {"top": "clcrec"},
        {"sound": "none", "text": "none"},
        {"sound": "none"},  # the stage "wtc" needs two sides
        {"colour": 1},
    ],
)
def test_settings_of_larp_that_do_not_go_together_are_refused(larp):
    with pytest.raises(ConfigError):
        Audio(sound="larp", larp=larp)


@pytest.mark.parametrize("tower", ["cnn", "mean"])
def test_towers_that_take_no_vector_are_refused(tower):
    with pytest.raises(ConfigError):
        Audio(sound="larp", tower=tower)


def test_answering_and_placing_load_no_torch_and_other_sounds_no_larp(world, tmp_path):
    bundle(fitted(world, "wrmf", "text"), settings("wrmf", "text")).save(tmp_path / "b")
    code = (
        "import sys, numpy as np\n"
        "import segue.models.audio.model\n"
        "assert 'segue.models.larp.model' not in sys.modules\n"
        "from segue.bundle import Bundle\n"
        "from segue.models.larp.encoders import words as larp_words\n"
        f"form = larp_words.WordsForm{tuple(WORDS_FORM)}\n"
        "larp_words.WordsForm = lambda: form\n"
        f"model = Bundle.load({str(tmp_path / 'b')!r}).recommender\n"
        "model.place([np.zeros(0, np.float32)], model.catalog.table.slice(0, 1))\n"
        "print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def heard_by_ear(dataset: Dataset, _sound: str, _run: object) -> Sounds:
    ear = ToneEar()
    tracks = np.arange(120, dtype=np.int32)
    return Sounds(tracks, [ear(tone(t // 30)[0]) for t in tracks])


@pytest.mark.parametrize("sides", SIDES)
def test_segue_add_places_files_by_what_larp_hears(sides, world, tmp_path, monkeypatch):
    monkeypatch.setattr(audio_features, "extracted", heard_by_ear)
    monkeypatch.setitem(adding.SOUNDS, "musicnn", ToneEar())
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    recipe = Recipe(name="doors", recommender="audio", settings=settings("wrmf", sides))
    made, _ = train(recipe, world)
    assert made.manifest.extractor == (None if sides == "text" else ToneEar.name)
    made.save(tmp_path / "bundle")
    for genre, words in enumerate(WORDS):
        path = tmp_path / f"new {genre}.flac"
        sounds.encode(path, tone(genre), 8000, tags={"title": words[:-3], "artist": "N"})
    files = [tmp_path / f"new {genre}.flac" for genre in range(4)]
    assert adding.add(tmp_path / "bundle", files).added == 4
    bundle = Bundle.load(tmp_path / "bundle")
    for genre in range(4):
        track = bundle.catalog.uris.index(f"new {genre}.flac")
        slate = continue_playlist(bundle.recommender, Query(tracks=[track]), 20)
        assert sum(t // 30 == genre for t in slate.tracks if t < 120) >= 15
