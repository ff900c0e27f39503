"""The tops of LARP: what they learn, on worlds whose taste is known, and what they answer."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from support.optional import reason

pytest.importorskip("torch", reason=reason("torch"))

import scipy.sparse as sp
import torch

from segue.errors import BundleError, ConfigError, DataError
from segue.models.base.recommender import TrainingOptions
from segue.models.larp.heads import training as larp_tops_training
from segue.models.larp.heads.base import HEADS, ClcRec, DropoutNet, ItemKNNHead
from segue.models.larp.heads.config import (
    ClcRecConfig,
    DropoutNetConfig,
    HeadConfig,
    NearestConfig,
)
from segue.models.larp.heads.network import DenseLayers, aligned, contrast, squared
from segue.models.larp.heads.sampling import HeldOutRows, RowSampler
from segue.nn.dense import Dense

CONFIGS = {"dropoutnet": DropoutNetConfig, "clcrec": ClcRecConfig}
QUICK = {
    "hidden": (16,), "outputs": 8, "epochs": 3, "batch": 32, "positives": 4, "negatives": 40,
}  # fmt: skip


def quick(name: str, **settings: object) -> HeadConfig:
    few = {"factors": 4} if name == "dropoutnet" else {}
    return CONFIGS[name].make({**QUICK, **few, **settings})


def planted(
    nuisance: int, playlists: int = 400, tracks: int = 600
) -> tuple[np.ndarray, sp.csr_matrix, list[np.ndarray]]:
    """Content, plays, and playlists of the last fifth of the tracks, which nobody has played.

    Taste has four dimensions. Content is taste, turned, beside numbers that have nothing to do
    with it and are half as large again.
    """
    rng = np.random.default_rng(7)
    taste = rng.normal(size=(tracks, 4))
    noise = 1.5 * rng.normal(size=(tracks, nuisance))
    raw = np.concatenate([taste, noise], axis=1)
    turn = np.linalg.qr(rng.normal(size=(raw.shape[1], raw.shape[1])))[0]
    content = raw @ turn / np.linalg.norm(raw, axis=1, keepdims=True)
    cold = np.arange(tracks) >= tracks * 4 // 5

    def lists(count: int, allowed: np.ndarray) -> list[np.ndarray]:
        wishes = 1.5 * rng.normal(size=(count, 4)) @ taste[allowed].T
        chosen = np.argsort(-wishes - rng.gumbel(size=wishes.shape), axis=1)[:, :12]
        return list(allowed[chosen])

    known = lists(playlists, np.flatnonzero(~cold))
    plays = matrix(known, tracks)
    return content.astype(np.float32), plays, lists(150, np.flatnonzero(cold))


def matrix(lists: list[np.ndarray], tracks: int) -> sp.csr_matrix:
    rows = np.repeat(np.arange(len(lists)), [len(own) for own in lists])
    entries = np.concatenate([np.asarray(own, np.int64) for own in lists])
    return sp.csr_matrix((np.ones(len(entries), np.float32), (rows, entries)), (len(lists), tracks))


def recall(top: object, content: np.ndarray, asked: list[np.ndarray]) -> float:
    """Recall at 10 of the later half of playlists among all tracks of any of them."""
    cold = np.unique(np.concatenate(asked))
    found = []
    for own in asked:
        seeds, targets = own[:6], own[6:]
        query = top.queries(content[seeds].mean(axis=0, keepdims=True))
        scores = (top.tracks(content[cold]) @ query.T)[:, 0]
        scores[np.isin(cold, seeds)] = -np.inf
        found.append(np.isin(cold[np.argsort(-scores)[:10]], targets).sum() / len(targets))
    return float(np.mean(found))


# Layers


def test_dense_layers_by_hand():
    arrays = {
        "dense0": np.array([[1.0, -2.0], [0.0, 1.0]], np.float32),
        "dense0_bias": np.array([0.5, -1.0], np.float32),
        "dense1": np.array([[2.0], [3.0]], np.float32),
        "dense1_bias": np.array([0.25], np.float32),
    }
    x = np.array([[1.0, 2.0]], np.float32)  # before g: 1.5, -1
    tanh = 2 * np.tanh(1.5) - 3 * np.tanh(1.0) + 0.25
    assert Dense(arrays, hidden=1)(x)[0].tolist() == pytest.approx([tanh], rel=1e-6)
    assert Dense(arrays, hidden=2)(x)[0].tolist() == pytest.approx([3.0 - 0.03 + 0.25], rel=1e-6)
    assert Dense(arrays, hidden=2).outputs == 1


@pytest.mark.parametrize("kind", ["tanh", "tanh, normalised", "leaky"])
def test_numpy_gives_what_torch_gives(kind):
    rng, config = np.random.default_rng(1), DropoutNetConfig(hidden=(9, 7), outputs=5)
    known = rng.normal(3, 2, size=(40, 6)).astype(np.float32)
    activation = torch.nn.functional.leaky_relu if kind == "leaky" else torch.tanh
    torch.manual_seed(0)
    layers = DenseLayers(known, 4, config, activation, normalised="normalised" in kind)
    for _ in range(3):  # so that running means and variances are not those of the start
        layers(torch.from_numpy(known), torch.randn(40, 4))
    layers.eval()
    with torch.no_grad():
        targets = layers(torch.from_numpy(known)).numpy()
    dense = Dense(layers.arrays(), hidden=2 if kind == "leaky" else 1)
    assert dense(known) == pytest.approx(targets, rel=1e-4, abs=1e-5)


# Losses


def test_the_loss_of_dropoutnet_by_hand():
    scores = torch.tensor([[0.5, 2.0, -1.0]])
    targets, others = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[False, False, True]])
    loss = squared(scores, torch.ones(1, 3), torch.zeros(1, 3), targets, others)
    assert float(loss) == pytest.approx(0.5 * 0.25 + 0.5 * 1.0 + 1.0)


def test_the_loss_of_clcrec_by_hand():
    x = torch.tensor([[1.0, 0.0, 2.0]])
    targets, others = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[False, True, True]])
    share = np.exp(1) / (np.exp(1) + np.exp(0) + np.exp(2))
    assert float(contrast(x, targets, others)) == pytest.approx(-np.log(share), rel=1e-6)


def test_a_wanted_track_is_not_against_another_wanted_one():
    x, targets = torch.tensor([[1.0, 50.0, 2.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    one = contrast(x, targets, torch.tensor([[False, False, True]]))
    assert float(one) == pytest.approx(np.log1p(np.e), rel=1e-6)


def test_the_loss_of_tracks_with_their_content_by_hand():
    z, content = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[5.0, 0.0], [1.0, 1.0]])
    own, other = 0.5, np.sqrt(0.5) / 2  # cosines over τ
    first = -np.log(np.exp(own) / (np.exp(own) + np.exp(other)))
    second = -np.log(np.exp(other) / (np.exp(0) + np.exp(other)))
    assert float(aligned(z, content, 2.0)) == pytest.approx((first + second) / 2, rel=1e-6)


# What a step draws


@pytest.mark.parametrize("seed", range(5))
def test_a_step_shows_a_half_and_wants_of_the_other(seed):
    rng = np.random.default_rng(seed)
    tracks = int(rng.integers(6, 30))
    sizes = rng.integers(2, tracks + 1, size=9)
    lists = [rng.choice(tracks, size, replace=False) for size in sizes]
    content = np.eye(tracks, dtype=np.float32)  # so that a mean tells whose it is
    sampler = RowSampler(
        content, matrix(lists, tracks), HeadConfig(positives=3, negatives=20), seed
    )
    assert sampler.held is None  # there are too few playlists
    step = sampler.step(np.arange(len(lists)), rng)
    for row, own in enumerate(sampler.lists):
        shown = np.flatnonzero(step.seeds[row])
        targets = step.tracks[step.targets[row] > 0]
        assert np.isin(shown, own).all()
        assert len(shown) == round(len(own) / 2)
        assert np.isin(targets, own).all()
        assert not np.isin(targets, shown).any()
        assert len(targets) == min(3, len(own) - len(shown))
        assert step.targets[row].sum() == pytest.approx(1)
        assert not np.isin(step.tracks[step.others[row]], own).any()
        assert np.isin(step.tracks[step.others[row]], sampler.tracks).all()


def test_an_epoch_takes_every_playlist_once():
    _, plays, _ = planted(0, playlists=70)
    sampler = RowSampler(np.ones((600, 2), np.float32), plays, HeadConfig(batch=16), 0)
    parts = sampler.epoch(np.random.default_rng(0))
    assert sorted(np.concatenate(parts)) == list(range(len(sampler.lists)))
    assert len(parts) == round(len(sampler.lists) / 16)


@pytest.mark.parametrize("given", [True, False])
def test_what_is_kept_aside_is_not_learned_from(given):
    content, plays, _ = planted(0, playlists=3000)
    held = np.arange(0, 600, 7) if given else None
    sampler = RowSampler(content, plays, HeadConfig(), 0, held)
    assert sampler.held is not None
    kept = sampler.held.tracks
    assert not np.isin(kept, sampler.tracks).any()
    assert sampler.held.targets.any(axis=1).all()
    assert len(sampler.lists) + len(sampler.held.seeds) == plays.shape[0]
    if given:
        assert np.isin(kept, held).all()


def test_ndcg_of_the_kept_tracks_by_hand():
    held = HeldOutRows(
        np.zeros((2, 1), np.float32), np.arange(3),
        np.array([[True, False, True], [False, True, False]]),
    )  # fmt: skip
    scores = np.array([[3.0, 2.0, 1.0], [0.0, 5.0, 1.0]], np.float32)
    first = (1 + 1 / 2) / (1 + 1 / np.log2(3))
    assert held.ndcg(scores) == pytest.approx((first + 1) / 2)


@pytest.mark.parametrize("name", CONFIGS)
def test_tracks_that_nobody_played_or_knows_are_not_learned_from(name):
    content, plays, _ = planted(2)
    content[3] = 0
    other = content.copy()
    other[480:] = 9  # the cold fifth
    without = plays.tolil()
    without[:, 3] = 0
    first, second = (
        HEADS[name].learn(some, rows, quick(name), TrainingOptions(1)).arrays
        for some, rows in ((content, plays), (other, without.tocsr()))
    )
    assert {key: array.tobytes() for key, array in first.items()} == {
        key: array.tobytes() for key, array in second.items()
    }


# What is learned


@pytest.mark.parametrize("name", CONFIGS)
def test_tops_learn_which_content_is_taste(name):
    content, plays, asked = planted(nuisance=12)
    top = HEADS[name].learn(content, plays, CONFIGS[name](), TrainingOptions(0))
    assert recall(top, content, asked) > 1.4 * recall(ItemKNNHead(), content, asked)


@pytest.mark.parametrize("name", CONFIGS)
def test_tops_keep_up_with_content_that_is_taste_alone(name):
    content, plays, asked = planted(nuisance=0)
    top = HEADS[name].learn(content, plays, CONFIGS[name](), TrainingOptions(0))
    assert recall(top, content, asked) > 0.95 * recall(ItemKNNHead(), content, asked)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dropoutnet", {}),
        ("dropoutnet", {"target": "scores", "normalised": True, "hidden": (16, 12)}),
        ("dropoutnet", {"optimiser": "sgd", "learning_rate": 0.005, "weight_decay": 0.1}),
        ("clcrec", {"regularisation": 0.1}),
        ("clcrec", {"hidden": (), "mix": 0.0, "replaced": 1.0}),
    ],
)
def test_a_seed_decides_all(name, settings):
    content, plays, _ = planted(2)
    one, again, other = (
        HEADS[name].learn(content, plays, quick(name, **settings), TrainingOptions(seed)).arrays
        for seed in (1, 1, 2)
    )
    assert {n: a.tobytes() for n, a in one.items()} == {n: a.tobytes() for n, a in again.items()}
    assert all(np.isfinite(array).all() for array in one.values())
    assert any((one[n] != other[n]).any() for n in one)


@pytest.mark.parametrize(
    ("name", "settings"), [("dropoutnet", {"optimiser": "sgd"}), ("dropoutnet", {}), ("clcrec", {})]
)
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_ended(name, settings, tmp_path):
    content, plays, _ = planted(2)
    config = quick(name, **settings)
    whole = HEADS[name].learn(content, plays, config, TrainingOptions(1)).arrays
    file = tmp_path / "checkpoint"
    stopped(name, content, plays, config, file)
    resumed = HEADS[name].learn(content, plays, config, TrainingOptions(1, checkpoint=file)).arrays
    assert {n: a.tobytes() for n, a in whole.items()} == {
        n: a.tobytes() for n, a in resumed.items()
    }


def stopped(
    name: str, content: np.ndarray, plays: sp.csr_matrix, config: HeadConfig, file: Path
) -> None:
    """A training that ends in its second epoch."""
    kind = {
        "dropoutnet": larp_tops_training.DropoutNetTraining,
        "clcrec": larp_tops_training.ClcRecTraining,
    }[name]
    torch.manual_seed(1)
    training = kind(RowSampler(content, plays, config, 1), config, 1)

    def end(share: float) -> None:
        if training.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(end, lambda line: None, file)


# Answers


def test_item_knn_is_the_product_of_content():
    content = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    top = ItemKNNHead.learn(content, sp.csr_matrix((1, 2)), None, TrainingOptions())
    assert (top.queries(content[:1]) @ top.tracks(content).T).tolist() == [[5.0, 11.0]]
    assert top.arrays == {}
    assert top.outputs(2) == 2


@pytest.mark.parametrize("name", CONFIGS)
def test_a_bundle_keeps_a_top(name):
    content, plays, _ = planted(2)
    top = HEADS[name].learn(content, plays, quick(name), TrainingOptions(1))
    tensors = {f"top.{n}": array for n, array in top.arrays.items()}
    again = HEADS[name].restore(tensors, "top.", content.shape[1], quick(name))
    assert again.arrays.keys() == top.arrays.keys()
    assert again.outputs(content.shape[1]) == 8
    assert again.tracks(content).tobytes() == top.tracks(content).tobytes()
    assert again.queries(content).tobytes() == top.queries(content).tobytes()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_gives_what_its_single_rows_give_bit_for_bit(name):
    content, plays, _ = planted(2)
    top = HEADS[name].learn(content, plays, quick(name), TrainingOptions(1))
    many = top.queries(content[:37])
    for row in range(37):
        assert top.queries(content[row : row + 1]).tobytes() == many[row : row + 1].tobytes()


@pytest.mark.parametrize("name", HEADS)
def test_content_of_zeros_scores_zero(name):
    content, plays, _ = planted(2)
    config = quick(name) if name in CONFIGS else NearestConfig()
    top = HEADS[name].learn(content, plays, config, TrainingOptions(1))
    nothing = np.zeros((2, content.shape[1]), np.float32)
    assert not top.tracks(nothing).any()
    assert not top.queries(nothing).any()


def arrays_of(name: str) -> dict[str, np.ndarray]:
    sides = ("playlist.", "track.") if name == "dropoutnet" else ("",)
    shapes = {"dense0": (4, 3), "dense0_bias": (3,), "dense1": (3, 2), "dense1_bias": (2,)}
    return {f"{s}{n}": np.ones(shape, np.float32) for s in sides for n, shape in shapes.items()}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("damage", ["gone", "shape", "type", "not finite"])
def test_damaged_arrays_are_refused_by_name(name, damage):
    arrays = arrays_of(name)
    which = max(arrays)
    if damage == "gone":
        del arrays[which]
    elif damage == "shape":
        arrays[which] = np.ones(7, np.float32)
    elif damage == "type":
        arrays[which] = arrays[which].astype(np.float64)
    else:
        arrays[which][0] = np.nan
    with pytest.raises(BundleError, match=which):
        HEADS[name].restore(arrays, "", 4, quick(name))


def test_sides_of_different_lengths_are_refused():
    arrays = arrays_of("dropoutnet")
    arrays |= {"track.dense1": np.ones((3, 5), np.float32), "track.dense1_bias": np.ones(5, "f4")}
    with pytest.raises(BundleError, match="gives 2 numbers, tracks have 5"):
        DropoutNet.restore(arrays, "", 4, quick("dropoutnet"))


# Bad input


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("lists", [[[0], [1], [2]], [[0, 3], [1, 3]], [[]]])
def test_playlists_without_two_known_tracks_are_refused(name, lists):
    content = np.ones((4, 3), np.float32)
    content[3] = 0
    with pytest.raises(DataError, match="no playlist has two tracks whose content is known"):
        HEADS[name].learn(content, matrix(lists, 4), quick(name), TrainingOptions())


@pytest.mark.parametrize("name", CONFIGS)
def test_one_playlist_of_two_tracks_is_enough(name):
    content = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    settings = {"normalised": True} if name == "dropoutnet" else {}
    top = HEADS[name].learn(
        content, matrix([[0, 2]], 4), quick(name, **settings), TrainingOptions()
    )
    assert np.isfinite(top.tracks(content)).all()


@pytest.mark.parametrize("name", CONFIGS)
def test_training_without_torch_says_how_to_get_it(name, monkeypatch):
    monkeypatch.delattr("segue.models.larp.heads.training")
    monkeypatch.delitem(sys.modules, "segue.models.larp.heads.training")
    monkeypatch.setitem(sys.modules, "torch", None)
    content, plays, _ = planted(0, playlists=5)
    with pytest.raises(ConfigError, match="training needs torch; pip install"):
        HEADS[name].learn(content, plays, quick(name), TrainingOptions())


def test_a_training_that_diverges_says_what_to_do():
    content, plays, _ = planted(2)
    settings = {"optimiser": "sgd", "learning_rate": 1e20, "weight_decay": 1.0}
    with pytest.raises(ConfigError, match=r"diverged in epoch .* lower learning_rate"):
        HEADS["dropoutnet"].learn(
            content, plays, quick("dropoutnet", **settings), TrainingOptions()
        )


def test_clcrec_has_one_encoder():
    top = ClcRec.restore(arrays_of("clcrec"), "", 4, quick("clcrec"))
    x = np.ones((1, 4), np.float32)
    assert (top.queries(x) == top.tracks(x)).all()
