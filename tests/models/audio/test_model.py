"""Towers, objectives and the audio door, on sounds given as arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.optional import reason

pytest.importorskip("torch", reason=reason("torch"))

import scipy.sparse as sp
import torch
from support import sound_worlds, worlds

from segue.audio.bag_of_words import Bag
from segue.data.dataset import Dataset
from segue.data.schema import TABLES
from segue.errors import BundleError, ConfigError, DataError, UsageError
from segue.models.audio import model as audio
from segue.models.audio.calibration import find_scale
from segue.models.audio.config import AudioConfig, form_of
from segue.models.audio.examples import Artists, Examples
from segue.models.audio.fit import learn_tower
from segue.models.audio.losses import FactorRows, contrastive, mse, wpe
from segue.models.audio.metric_learning import AudioMLR, _neighbours, _slope
from segue.models.audio.model import Audio
from segue.models.base import audio_features
from segue.models.base.audio_features import levels
from segue.models.base.recommender import TrainingOptions
from segue.models.bpr.model import BPR
from segue.models.sequential.model import SASRec
from segue.models.wrmf.model import WRMF
from segue.nn.tower import (
    Form,
    Tower,
    convolved,
    filled,
    lengthened,
    max_pooled,
    pooled,
    windows,
)
from segue.nn.tower_network import TowerLayers
from segue.numeric.ragged import Ragged
from segue.numeric.ridge import ridge
from segue.queries import Queries, Query

COLD = np.arange(4, 30, 5)
TINY = {"wrmf": {"factors": 8, "confidence": "log"}, "patience": 0}


@pytest.fixture(autouse=True)
def hear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sounds come from `sound_worlds`, not from files."""
    monkeypatch.setattr(audio_features, "extracted", sound_worlds.heard)


@pytest.fixture(scope="module")
def genres(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return worlds.genres(tmp_path_factory.mktemp("genres") / "dataset")


@pytest.fixture(scope="module")
def cold_genres(genres: Dataset) -> Dataset:
    """`genres`, of which nobody has played every fifth track of the first genre, one an artist."""
    return genres.keeping(entries=~np.isin(genres.entries, COLD))


def fresh(count: int) -> pa.Table:
    rows = [{"uri": f"new:{i}", "artist": "artist 0"} for i in range(count)]
    return pa.Table.from_pylist(rows, schema=TABLES["tracks"])


# Layers


def test_a_convolution_over_time_by_hand():
    x = np.array([[[1.0], [2.0], [3.0], [4.0], [-9.0]]], np.float32)
    weights = np.array([1.0, 0.0, 0.0, 2.0], np.float32).reshape(4, 1, 1)
    assert convolved(x, weights, np.array([0.5], np.float32)).tolist() == [[[9.5], [0.0]]]


def test_max_pooling_leaves_out_the_rest():
    h = np.arange(7, dtype=np.float32).reshape(1, 7, 1)
    assert max_pooled(h, 3).tolist() == [[[2.0], [5.0]]]


def test_pooling_by_hand():
    h = np.array([[[3.0], [4.0], [-1.0], [0.0]]], np.float32)
    assert pooled(h)[0].tolist() == pytest.approx([1.5, 4.0, np.sqrt(26 / 4)])


def test_a_clip_and_its_repetition_pool_to_the_same():
    h = np.random.default_rng(0).normal(size=(3, 11, 5)).astype(np.float32)
    assert pooled(np.concatenate([h, h, h], axis=1)) == pytest.approx(pooled(h), abs=1e-6)


def test_windows_of_a_clip_and_of_its_repetition_have_the_same_mean():
    form = Form(4, ((3, 2), (3, 2)), 33, (6,), 2, 0)
    tower = Tower(form, random_arrays(form))
    clip = np.random.default_rng(1).normal(size=(66, 4))
    nothing = np.zeros((2, 0), np.float32)
    once, twice = tower([clip, np.concatenate([clip, clip])], nothing)
    assert once == pytest.approx(twice, abs=1e-6)
    assert len(windows(clip, 33)) == 2


def test_a_short_clip_is_repeated_until_the_convolutions_have_an_output():
    form = Form(4, ((3, 4), (3, 2), (6, 2), (6, 1)), 0, (5,), 2, 0)
    assert form.least == 103
    tower = Tower(form, random_arrays(form))
    clip = np.random.default_rng(2).normal(size=(40, 4))
    nothing = np.zeros((2, 0), np.float32)
    short, long = tower([clip, filled(clip, 103)], nothing)
    assert (short == long).all()
    assert filled(clip, 103)[40:80].tolist() == clip.tolist()


FORMS = {
    "vector": Form(7, (), 0, (5, 4), 3, 0),
    "linear, artist": Form(7, (), 0, (), 3, 3),
    "artist alone": Form(0, (), 0, (5,), 4, 3),
    "clip": Form(6, ((8, 4), (8, 2), (12, 2), (12, 1)), 0, (9, 9), 3, 3),
    "windows": Form(6, ((8, 4), (8, 4)), 129, (9,), 4, 3),
}


def random_arrays(form: Form) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {n: rng.normal(0, 0.4, s).astype(np.float32) for n, s in form.shapes.items()}


@pytest.mark.parametrize("name", FORMS)
def test_numpy_gives_what_torch_gives(name):
    form, rng = FORMS[name], np.random.default_rng(6)
    arrays = random_arrays(form)
    shape = (129, form.inputs) if form.convolutions else (form.inputs,)
    sounds = rng.normal(size=(70, *shape)).astype(np.float32)
    beside = rng.normal(size=(70, form.beside)).astype(np.float32)
    network = TowerLayers(form, {name: arrays[name] for name in ("shift", "scale")}, 0.0).eval()
    state = {
        key: torch.from_numpy(arrays.get(key, rng.uniform(0.5, 2, value.shape).astype(np.float32)))
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    with torch.no_grad():
        wanted = network(torch.from_numpy(sounds), torch.from_numpy(beside)).numpy()
    assert Tower(form, network.arrays())(sounds, beside) == pytest.approx(wanted, 1e-5, 1e-5)


# Objectives


def toy() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x (9, 3), y (5, 3), plays minus skips (9, 5), and c − 1 of each."""
    rng = np.random.default_rng(8)
    counts = rng.integers(-1, 4, (9, 5)).astype(np.float32)
    counts[:, 4] = 0
    extra = np.where(counts > 0, 2 * np.log1p(np.abs(counts)), np.where(counts < 0, 0.7, 0))
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(5, 3))
    return x.astype(np.float32), y.astype(np.float32), counts, extra.astype(np.float32)


def brute_wpe(x: np.ndarray, y: np.ndarray, counts: np.ndarray, extra: np.ndarray) -> float:
    """Σ_ui c_ui (p_ui − x_u · y_i)², one pair at a time."""
    total = 0.0
    for u in range(len(x)):
        for i in range(len(y)):
            total += float(1 + extra[u, i]) * (float(counts[u, i] > 0) - float(x[u] @ y[i])) ** 2
    return total


def efficient_wpe(y: torch.Tensor) -> tuple[torch.Tensor, float]:
    x, _, counts, extra = toy()
    matrix = sp.csr_matrix(counts)
    rows = FactorRows.of(x, matrix, extra[matrix.nonzero()])
    constant = float(((1 + extra) * (counts > 0)).sum())
    return wpe(y, rows, np.arange(5)) * 5 * rows.unit + constant, rows.unit


def test_weighted_prediction_error_is_that_of_all_pairs():
    x, y, counts, extra = toy()
    found, unit = efficient_wpe(torch.from_numpy(y))
    assert float(found) == pytest.approx(brute_wpe(x, y, counts, extra), rel=1e-5)
    assert unit == pytest.approx(((1 + extra) * (counts > 0)).sum() / 4, rel=1e-6)


def test_its_gradient_is_that_of_all_pairs():
    x, y, counts, extra = toy()
    tensor = torch.from_numpy(y.copy()).requires_grad_()
    efficient_wpe(tensor)[0].backward()
    for i, f in np.ndindex(*y.shape):
        step = np.zeros_like(y, np.float64)
        step[i, f] = 1e-4
        slope = brute_wpe(x, y + step, counts, extra) - brute_wpe(x, y - step, counts, extra)
        assert float(tensor.grad[i, f]) == pytest.approx(slope / 2e-4, rel=1e-3, abs=1e-3)


def test_its_minimum_is_the_row_of_weighted_least_squares():
    x, _, counts, extra = toy()
    best = np.zeros((5, 3), np.float32)
    for i in range(4):
        c = np.diag(1 + extra[:, i])
        best[i] = np.linalg.solve(x.T @ c @ x, x.T @ c @ (counts[:, i] > 0))
    tensor = torch.from_numpy(best).requires_grad_()
    efficient_wpe(tensor)[0].backward()
    assert tensor.grad.abs().max() < 1e-3


def test_weighted_prediction_error_in_other_units_is_the_same():
    x, y, counts, extra = toy()
    matrix = sp.csr_matrix(counts)
    rows = FactorRows.of(x, matrix, extra[matrix.nonzero()])
    some = np.array([3, 1])
    whole = wpe(torch.from_numpy(y[some]), rows, some)
    scaled = wpe(torch.from_numpy(y[some] / 4), rows.scaled(4), some)
    assert float(whole) == pytest.approx(float(scaled), rel=1e-5)


def test_squared_error_by_hand():
    predicted, wanted = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, 0]])
    assert float(mse(predicted, wanted)) == (4 + 9) / 2


def test_contrastive_loss_by_hand():
    wanted = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    predicted = torch.tensor([[5.0, 0.0, 0.6931472], [0.0, 1.0, 0.0]])
    plain = contrastive(predicted, wanted, 0.5, decoupled=False)
    assert float(plain) == pytest.approx(np.log(np.exp(2) + 1) - 2, rel=1e-5)
    assert float(contrastive(predicted, wanted, 0.5, decoupled=True)) == pytest.approx(-2.0)
    predicted[0, 2] += 3  # the length told is e³ times too long
    assert float(contrastive(predicted, wanted, 0.5, decoupled=True)) == pytest.approx(-2 + 9 / 2)


def test_vectors_have_the_direction_and_the_length_told():
    outputs = np.array([[3.0, 4.0, np.log(10.0)]], np.float32)
    assert lengthened(outputs)[0].tolist() == pytest.approx([6.0, 8.0], rel=1e-5)


def test_ridge_is_the_least_of_its_criterion_and_heeds_held_tracks():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(60, 6)).astype(np.float32)
    true = rng.normal(size=(6, 2)).astype(np.float32)
    y = x @ true + 3
    weights, bias = ridge(x[:50], y[:50], x[50:], y[50:])
    assert weights == pytest.approx(true, abs=1e-3)
    assert bias == pytest.approx([3, 3], abs=1e-3)
    noise = rng.normal(size=(60, 2)).astype(np.float32)
    assert np.abs(ridge(x[:50], noise[:50], x[50:], noise[50:])[0]).max() < 0.1


# What is heard


def test_a_bag_of_words_is_shares_of_the_nearest_words():
    words = np.array([[0.0], [10.0]], np.float32)
    one, nothing = np.ones(1, np.float32), np.zeros(1, np.float32)
    bag = Bag(nothing, one, words, np.array([0.5, 0.5], np.float32), np.eye(2, dtype=np.float32))
    clip = np.array([[1.0], [2.0], [9.0], [4.0]])
    assert bag.shares(clip).tolist() == [0.75, 0.25]
    assert bag(clip).tolist() == [0.25, -0.25]
    assert (bag(np.concatenate([clip, clip])) == bag(clip)).all()


@pytest.mark.parametrize("clips", [12, 200], ids=["fewer clips than words", "more"])
def test_principal_axes_keep_most_of_the_variance(clips):
    rng = np.random.default_rng(10)
    sounds = [rng.normal(rng.normal(size=39), 0.5, (40, 39)) for _ in range(clips)]
    bag = Bag.learn(sounds, seed=1)
    shares = np.stack([bag.shares(clip) for clip in sounds])
    vectors = np.stack([bag(clip) for clip in sounds])
    total = np.square(shares - shares.mean(axis=0)).sum()
    axes = bag.axes / np.linalg.norm(bag.axes[:, 0])
    kept = np.square((shares - shares.mean(axis=0)) @ axes).sum()
    assert 0.95 <= kept / total < 1 + 1e-5
    assert np.square(vectors).sum(axis=1).mean() == pytest.approx(1, rel=1e-3)
    gram = bag.axes.T @ bag.axes
    assert gram == pytest.approx(np.diag(np.diag(gram)), abs=1e-3 * float(gram.max()))


def test_the_artist_s_mean_leaves_out_the_track_itself():
    vectors = np.array([[1.0, 0], [3, 0], [0, 5], [7, 7], [100, 100]], np.float32)
    known = np.array([True, True, True, True, False])
    artists = Artists(np.array([0, 0, 1, -1, 0], np.int32), known, vectors)
    rows = np.arange(5, dtype=np.int32)
    alone = artists.beside(artists.artists, without=rows)
    assert alone.tolist() == [[3, 0, 1], [1, 0, 1], [0, 0, 0], [0, 0, 0], [2, 0, 1]]
    assert artists.beside(np.array([0, 1, -1], np.int32)).tolist() == [
        [2, 0, 1],
        [0, 5, 1],
        [0, 0, 0],
    ]


def test_training_is_not_told_the_target_by_the_artist():
    """Learned vectors are noise: with its own vector in the mean, a track's would be told."""
    rng = np.random.default_rng(11)
    vectors = rng.normal(size=(200, 6)).astype(np.float32)
    artists = Artists(np.arange(200, dtype=np.int32) // 2, np.ones(200, np.bool_), vectors)
    beside = artists.beside(artists.artists, without=np.arange(200, dtype=np.int32))
    own = (beside[:, :-1] * vectors).sum(axis=1)
    assert abs(own.mean()) < 0.5 * np.square(vectors).sum(axis=1).mean()
    assert (beside[::2, :-1] == vectors[1::2]).all()


def test_towers_are_trained_without_the_track_in_its_artist_s_mean(genres, monkeypatch):
    seen = []

    def learn(config, form, learned, held, *rest):
        seen.extend([learned, held])
        return learn_tower(config, form, learned, held, *rest)

    monkeypatch.setattr(audio, "learn_tower", learn)
    recommender = DOORS["artist"]().fit(genres, TrainingOptions(seed=1))
    vectors = recommender.vectors / recommender.unit
    for some in seen:
        for track, beside in zip(some.tracks, some.beside, strict=True):
            others = [t for t in range(track // 5 * 5, track // 5 * 5 + 5) if t != track]
            assert beside[:-1] == pytest.approx(vectors[others].mean(axis=0), abs=1e-5)
    assert sorted(t for some in seen for t in some.tracks.tolist()) == list(range(120))


def test_levels_are_of_each_band():
    rng = np.random.default_rng(12)
    clips = [rng.normal([5, -2], [1, 3], (300, 2)) for _ in range(40)]
    found = levels(clips, alike=False)
    assert found["shift"] == pytest.approx([5, -2], abs=0.3)
    assert found["scale"] == pytest.approx([1, 1 / 3], rel=0.1)


# Learning


def test_an_input_that_never_changes_is_not_heard():
    clips = [np.array([[0.0, 1.0], [0.0, 3.0]], np.float16)] * 4
    assert levels(clips, alike=False)["scale"].tolist() == [0.0, 1.0]
    assert levels(clips[:1], alike=False)["scale"].dtype == np.float32


def known_world(count: int) -> Examples:
    """The vector to tell is a function of how fast a band moves."""
    rng = np.random.default_rng(13)
    rates = rng.uniform(4, 40, count)
    clips = sound_worlds.pulses(rates, 14, bands=32, frames=140)
    turn = (rates - 4) / 36 * np.pi
    wanted = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    nothing = np.zeros((count, 0), np.float32)
    return Examples(np.arange(count, dtype=np.int32), clips, nothing, wanted)


@pytest.mark.parametrize(
    ("sound", "objective"), [("mel", "mse"), ("mel", "contrastive"), ("mel-windows", "mse")]
)
def test_a_cnn_learns_how_fast_a_band_moves(sound, objective):
    config = AudioConfig.make(
        {
            "sound": sound, "tower": "cnn", "objective": objective, "artist": False,
            "channels": 12, "hidden": (24,), "epochs": 12, "batch": 10, "learning_rate": 0.005,
            "dropout": 0.0,
        }
    )  # fmt: skip
    world = known_world(200)
    form = form_of(config, 32, 2)
    learned, held = world.only(np.arange(150)), world.only(np.arange(150, 200))
    tower = learn_tower(config, form, learned, held, None, TrainingOptions(seed=1))
    found = tower(held.sounds, held.beside)
    if objective == "contrastive":
        found = lengthened(found)
    error = np.square(found - held.wanted).sum(axis=1).mean()
    assert error < 0.25 * np.square(held.wanted - learned.wanted.mean(axis=0)).sum(axis=1).mean()


def test_training_goes_on_from_a_checkpoint_to_the_same_tower(tmp_path):
    from segue.models.audio.training import Plan, TowerTrainer

    rng = np.random.default_rng(15)
    vectors = rng.normal(size=(64, 5)).astype(np.float32)
    nothing = np.zeros((64, 0), np.float32)
    rows = np.arange(64, dtype=np.int32)
    examples = Examples(rows, list(vectors), nothing, vectors[:, :2])
    config = AudioConfig.make({"hidden": (8,), "artist": False, "objective": "contrastive"})
    form = form_of(config, 5, 2)

    plan = Plan("contrastive", 6, 16, 0.01, 0.01, 0.2, 0, 0.1, True, "float32", 3)

    def trained(epochs: int, checkpoint: Path | None) -> dict[str, np.ndarray]:
        trainer = TowerTrainer(
            form, levels(list(vectors), alike=False), examples.only(np.arange(50)),
            examples.only(np.arange(50, 64)), None, plan,
        )  # fmt: skip

        def advance(_: float) -> None:
            if trainer.epoch == epochs:
                raise KeyboardInterrupt

        return trainer.run(advance, lambda _: None, checkpoint)

    straight = trained(6, None)
    with pytest.raises(KeyboardInterrupt):
        trained(2, tmp_path / "c")
    again = trained(6, tmp_path / "c")
    assert all(straight[name].tobytes() == again[name].tobytes() for name in straight)


def test_metric_learning_s_gradient_is_that_of_its_criterion():
    rng = np.random.default_rng(16)
    x, metric = rng.normal(size=(12, 4)), rng.normal(0, 0.5, (4, 3))
    some, others = np.array([0, 5, 7]), np.array([1, 2, 7, 11])
    near = np.array([[3, 2], [6, -1], [8, 9]])

    def criterion(by: np.ndarray) -> float:
        v, losses = x @ by, []
        for row, i in enumerate(some):
            for j in near[row][near[row] >= 0]:
                for k in others[(others != i) & (others != j)]:
                    far = np.square(v[i] - v[k]).sum()
                    losses.append(max(0, 1 + np.square(v[i] - v[j]).sum() - far))
        return float(np.mean(losses))

    slope = _slope(x, metric, some, near, others)
    for at in np.ndindex(*metric.shape):
        step = np.zeros_like(metric)
        step[at] = 1e-5
        wanted = (criterion(metric + step) - criterion(metric - step)) / 2e-5
        assert slope[at] == pytest.approx(wanted, abs=1e-4)


def test_neighbours_are_tracks_of_the_same_rows():
    plays = sp.csr_matrix(np.array([[1, 2, 0, 0], [3, 1, 0, 0], [0, 1, 1, 0]], np.float32))
    assert _neighbours(plays, 3).tolist() == [[1, -1, -1], [0, 2, -1], [1, -1, -1], [-1, -1, -1]]


# The door

FAST = {"dropout": 0.1, "hidden": (16,), "epochs": 30, "batch": 32, "learning_rate": 0.01}
DOORS: dict[str, Callable[[], Audio | AudioMLR]] = {
    "linear": lambda: Audio(
        sound="bag-of-words", tower="linear", objective="mse", artist=False, **TINY
    ),
    "mlp": lambda: Audio(
        sound="musicnn", objective="contrastive", artist=False, **FAST, **TINY
    ),
    "with artists": lambda: Audio(
        sound="musicnn", objective="contrastive", **FAST, **TINY
    ),
    "weighted": lambda: Audio(
        sound="musicnn", objective="wpe", artist=False, **FAST, **TINY
    ),
    "artist": lambda: Audio(sound="none", tower="mean", **TINY),
    "bpr": lambda: Audio(
        base="bpr", bpr={"factors": 8, "epochs": 200}, sound="musicnn", tower="linear",
        objective="mse", artist=False,
    ),
    "two-stage": lambda: Audio(
        base="two-stage",
        two_stage={
            "wrmf": {"factors": 8, "artist_weight": 0.1, "title_weight": 0.1},
            "title": {"factors": 8}, "folds": 2, "ranker": {"trees": 10, "leaf_weight": 5.0},
        },
        sound="musicnn", tower="linear", objective="mse", artist=False,
    ),
    "mlr": lambda: AudioMLR(sound="musicnn", factors=4, epochs=10),
}  # fmt: skip


def reader_of(name: str, recommender: Audio | AudioMLR) -> str:
    """Who answers a history of cold tracks alone."""
    return "wrmf" if name == "two-stage" else recommender.name


@pytest.mark.parametrize("name", DOORS)
def test_tracks_that_nobody_played_come_to_those_who_like_their_genre(name, cold_genres):
    recommender = DOORS[name]().fit(cold_genres, TrainingOptions(seed=1))
    assert (cold_genres.plays().getnnz(axis=0)[COLD] == 0).all()
    queries = Queries.of([Query(tracks=range(30 * g, 30 * g + 4)) for g in range(4)])
    cold = Ragged.repeat(COLD.astype(np.int32), 4)
    places = recommender.ranks(queries, cold).reshape(4, 6)
    assert set(recommender.serves(queries)) == {recommender.name}
    assert places[0].mean() < 20
    assert (places[1:].mean(axis=1) > places[0].mean() + 12).all()


@pytest.mark.parametrize(("name", "said"), [("linear", True), ("artist", False)])
def test_learning_from_few_sounds_is_said(name, said, genres, capsys):
    DOORS[name]().fit(genres, TrainingOptions(seed=1, progress=True))
    lines = [line for line in capsys.readouterr().err.splitlines() if "to learn from" in line]
    told = "segue: audio: only 114 tracks with sound and plays to learn from"
    assert lines == ([f"{told}: what it tells of others is a guess"] if said else [])


def test_base_and_tower_each_go_on_from_a_checkpoint_of_their_own(genres, tmp_path, monkeypatch):
    from segue.nn.training import Training

    small = {"factors": 8, "epochs": 1, "batch": 16, "negatives": 16, "patience": 0}
    run = TrainingOptions(seed=1, checkpoint=tmp_path / "b.checkpoint")

    def fitted() -> dict[str, np.ndarray]:
        settings = FAST | {"epochs": 1}
        model = Audio(base="sasrec", sasrec=small, sound="musicnn", **settings)
        return model.fit(genres, run).tensors()

    whole = fitted()
    assert {file.name for file in tmp_path.iterdir()} == {"b.checkpoint", "b.checkpoint.base"}
    monkeypatch.setattr(Training, "descend", lambda *_: pytest.fail("learned again"))
    again = fitted()
    assert all(whole[name].tobytes() == again[name].tobytes() for name in whole)


@pytest.mark.parametrize("name", DOORS)
def test_a_history_of_a_cold_track_is_read(name, cold_genres):
    recommender = DOORS[name]().fit(cold_genres, TrainingOptions(seed=1))
    slate = recommender.recommend(Queries.of([Query(tracks=(24,))]), 10)[0]
    assert slate.served_by == reader_of(name, recommender)
    assert (slate.tracks < 30).mean() >= 0.9


@pytest.mark.parametrize("name", DOORS)
def test_a_file_that_arrives_is_placed_like_those_that_were_there(name, cold_genres):
    recommender = DOORS[name]().fit(cold_genres, TrainingOptions(seed=1))
    heard = sound_worlds.heard(cold_genres, recommender.sound, TrainingOptions()).arrays
    if recommender.sound == "none":
        heard = [np.zeros(0, np.float32)] * 120
    told = cold_genres.tracks.take([4, 9])
    vectors = recommender.place([heard[4], heard[9]], told)
    assert vectors == pytest.approx(recommender.vectors[[4, 9]], rel=1e-4, abs=1e-6)
    more = recommender.with_tracks(fresh(2), vectors)
    assert len(more.catalog) == 123
    assert len(recommender.catalog) == 121
    queries = Queries.of([Query(tracks=(0, 1, 2)), Query(tracks=(121,))])
    slates = more.recommend(queries, 123)
    at = [list(slates[0].tracks).index(t) for t in (4, 121)]
    if name == "two-stage":  # which has scores of its own for what is at these places
        assert abs(at[0] - at[1]) <= 2
    else:
        assert slates[0].scores[at[0]] == pytest.approx(slates[0].scores[at[1]], 1e-3, 1e-5)
    assert slates[1].served_by == reader_of(name, recommender)
    restored = type(recommender)(**settings_of(name))
    restored.catalog = more.catalog
    restored.restore(more.tensors())
    again = restored.recommend(queries, 123)
    assert again.tracks.tobytes() == slates.tracks.tobytes()
    assert again.scores.tobytes() == slates.scores.tobytes()
    assert restored.place([heard[4], heard[9]], told).tobytes() == vectors.tobytes()


@pytest.mark.parametrize(("kind", "settings"), [(Audio, {"tower": "linear"}), (AudioMLR, {})])
def test_a_bag_of_words_that_does_not_fit_is_refused(kind, settings, cold_genres):
    made = kind(sound="bag-of-words", **settings, **({"artist": False} if settings else {}))
    made.fit(cold_genres)
    tensors = made.tensors()
    tensors["bag.axes"] = tensors["bag.axes"][:, :-1].copy()
    with pytest.raises(BundleError, match=r"tensor bag\.axes"):
        made.restore(tensors)


def settings_of(name: str) -> dict[str, object]:
    import msgspec

    return msgspec.to_builtins(DOORS[name]().config)


def test_an_unknown_artist_has_no_place_without_sound(cold_genres):
    recommender = DOORS["artist"]().fit(cold_genres, TrainingOptions(seed=1))
    silent = [np.zeros(0, np.float32)] * 3
    told = cold_genres.tracks.take([0, 0, 0])
    names = pa.array(["artist 0", "nobody", None])
    told = told.set_column(told.schema.get_field_index("artist"), "artist", names)
    vectors = recommender.place(silent, told)
    assert vectors.any(axis=1).tolist() == [True, False, False]
    mean = recommender.vectors[:4].mean(axis=0)  # nobody has played its fifth
    assert vectors[0] == pytest.approx(mean * recommender.scale, rel=1e-4)


def test_only_tracks_without_plays_get_another_vector(cold_genres):
    recommender = DOORS["linear"]().fit(cold_genres, TrainingOptions(seed=1))
    base = WRMF(**settings_of("linear")["wrmf"]).fit(cold_genres, TrainingOptions(seed=1))
    played = np.setdiff1d(np.arange(121), COLD)
    assert (recommender.vectors[played] == base.vectors[played]).all()
    assert not base.vectors[COLD].any()
    assert recommender.vectors[COLD].any(axis=1).all()


def test_the_scale_found_gives_held_tracks_their_share_of_the_places(genres):
    base = WRMF(**TINY["wrmf"]).fit(genres, TrainingOptions(seed=1))
    held = np.arange(0, 120, 7, dtype=np.int32)
    lists, offsets = genres.entries, genres.offsets

    def scale(shorter: float) -> float:
        rng = np.random.default_rng(1)
        return find_scale(base, offsets, lists, held, base.vectors[held] * shorter, rng)

    assert scale(1.0) == pytest.approx(1, rel=0.05)
    assert scale(0.2) == pytest.approx(5, rel=0.05)
    assert scale(4.0) == pytest.approx(0.25, rel=0.05)


def test_without_audio_it_says_what_to_do(genres, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(DataError, match="segue ingest audio"):
        DOORS["mlp"]().fit(genres, TrainingOptions())


@pytest.mark.parametrize(
    "settings",
    [
        {"sound": "mel", "tower": "mlp"},
        {"sound": "musicnn", "tower": "cnn"},
        {"sound": "none", "artist": False},
        {"sound": "musicnn", "tower": "mean"},
        {"objective": "wpe", "base": "bpr"},
        {"wrmf": {"colour": 1}},
        {"two_stage": {"colour": 1}},
        {"base": "two-stage", "two_stage": {"ranker": {"trees": -1}}},
        {"base": "two-stage", "two_stage": {"models": ["title"]}},
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings):
    with pytest.raises(ConfigError):
        Audio(**settings)


# Other doors' contract


@pytest.mark.parametrize("name", ["wrmf", "company", "bpr", "sasrec"])
def test_a_vector_of_another_track_gives_its_score_and_reads_like_it(name, genres):
    model = {
        "wrmf": lambda: WRMF(factors=8),
        "company": lambda: WRMF(factors=8, artist_weight=0.3, album_weight=0.3, title_weight=0.5),
        "bpr": lambda: BPR(factors=8, epochs=100),
        "sasrec": lambda: SASRec(factors=8, epochs=2, batch=16, negatives=16, patience=0),
    }[name]().fit(genres, TrainingOptions(seed=1))
    model.recommend(Queries.of([Query(tracks=(0,))]), 1)  # what it keeps in mind is not in the way
    before = {key: tensor.copy() for key, tensor in model.tensors().items()}
    more = model.with_tracks(fresh(2), model.vectors[[3, 65]])
    assert (len(model.catalog), len(more.catalog)) == (121, 123)
    assert all((before[key] == tensor).all() for key, tensor in model.tensors().items())
    slate = more.recommend(Queries.of([Query(tracks=(0, 1, 2))]), 123)[0]
    place = {int(t): i for i, t in enumerate(slate.tracks)}
    bias = more.bias[[3, 121]]
    scores = [slate.scores[place[t]] for t in (3, 121)]
    assert scores[0] - bias[0] == pytest.approx(scores[1] - bias[1], abs=1e-4)
    genre = more.recommend(Queries.of([Query(tracks=(122,))]), 5)[0]
    assert genre.served_by == model.name
    restored = type(model)(**{f: getattr(model.config, f) for f in model.config.__struct_fields__})
    restored.catalog = more.catalog
    restored.restore(more.tensors())
    again = restored.recommend(Queries.of([Query(tracks=(122,))]), 5)
    assert again.scores.tobytes() == genre.scores.tobytes()
    with pytest.raises(UsageError):
        model.with_tracks(fresh(1), np.zeros((1, 7), np.float32))
    with pytest.raises(UsageError):
        model.placing(np.array([3], np.int32), np.full((1, 8), np.nan, np.float32))
