"""bpr: fold-in against a general optimiser, and what training does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numba import get_num_threads, set_num_threads
from scipy.optimize import minimize
from support import worlds

from segue.errors import ConfigError
from segue.models.base.recommender import RECOMMENDERS, TrainingOptions
from segue.models.bpr.fold_in import fold_in
from segue.models.bpr.model import BPR
from segue.numeric.ragged import Ragged
from segue.queries import Queries, Query


def ask(
    liked: np.ndarray,
    liked_bias: np.ndarray,
    others: np.ndarray,
    others_bias: np.ndarray,
    reg: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Fold-in of one history, the first tracks of a catalog, against all others."""
    vectors = np.concatenate([liked, others]).astype(np.float32)
    bias = np.concatenate([liked_bias, others_bias]).astype(np.float32)
    history, size = np.arange(len(liked), dtype=np.int32), np.arange(len(bias), dtype=np.int32)
    (u,), shares, _ = fold_in(Ragged.of_lists([history]), None, size, vectors, bias, reg)
    return u.astype(float), shares


@pytest.mark.parametrize(("history", "reg"), [(1, 0.05), (6, 0.001), (40, 1e-4)])
def test_fold_in_is_the_maximum_of_the_criterion(history: int, reg: float) -> None:
    rng = np.random.default_rng(history)
    liked, others = rng.normal(size=(history, 5)) + 0.5, rng.normal(size=(90, 5))
    liked_bias, others_bias = rng.normal(size=history), rng.normal(size=90)

    def criterion(u: np.ndarray) -> float:
        d = (liked @ u + liked_bias)[:, None] - (others @ u + others_bias)
        return float(np.logaddexp(0, -d).mean() + reg / 2 * u @ u)

    u, _ = ask(liked, liked_bias, others, others_bias, reg)
    best = minimize(criterion, np.zeros(5), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(u, best.x, atol=3e-3)
    assert criterion(u) <= best.fun + 1e-8


def test_fold_in_converges_from_vectors_so_long_that_whole_steps_are_too_long() -> None:
    rng = np.random.default_rng(0)
    liked, others = 30 * rng.normal(size=(3, 4)), 30 * rng.normal(size=(50, 4))
    u, shares = ask(liked, np.full(3, -60.0), others, np.zeros(50), 1e-3)
    d = (liked @ u - 60)[:, None] - others @ u
    pull = 1 / (1 + np.exp(d)) / d.size
    gradient = 1e-3 * u + pull.sum(axis=0) @ others - pull.sum(axis=1) @ liked
    assert np.abs(gradient).max() < 1e-3
    np.testing.assert_allclose(shares, pull.sum(axis=1) / 1e-3, rtol=1e-3)


def test_fold_in_of_a_batch_is_that_of_its_queries_whatever_the_threads() -> None:
    rng = np.random.default_rng(0)
    vectors, bias = rng.normal(size=(90, 5)).astype(np.float32), np.zeros(90, np.float32)
    histories = [np.sort(rng.choice(90, n, replace=False)) for n in rng.integers(0, 12, 150)]
    sample = np.arange(0, 90, 2, dtype=np.int32)

    def vectors_of(some: list[np.ndarray]) -> np.ndarray:
        return fold_in(Ragged.of_lists(some), None, sample, vectors, bias, 0.01)[0]

    batch = vectors_of(histories)
    assert batch.any(axis=1).tolist() == [len(history) > 0 for history in histories]
    before = get_num_threads()
    set_num_threads(1)
    single = np.concatenate([vectors_of([history]) for history in histories])
    set_num_threads(before)
    assert batch.tobytes() == single.tobytes()


def test_fold_in_with_nothing_to_compare_is_zero() -> None:
    u, shares = ask(np.ones((2, 3)), np.zeros(2), np.ones((0, 3)), np.zeros(0), 0.1)
    assert not u.any()
    assert not shares.any()


def test_a_row_that_holds_the_whole_catalog_ends_training_all_the_same(tmp_path: Path) -> None:
    data = worlds.make(tmp_path / "full", [[0, 1, 2], [0, 1]])
    fit = RECOMMENDERS["bpr"](factors=2, epochs=5).fit(data)
    assert fit.recommend(Queries.of([Query(tracks=(0,))]), 3).counts[0] == 2


def test_training_that_diverges_says_so_and_what_to_do(tmp_path: Path) -> None:
    data = worlds.genres(tmp_path / "genres")
    with pytest.raises(ConfigError, match=r"diverged in epoch \d+; lower learning_rate"):
        RECOMMENDERS["bpr"](factors=4, epochs=60, learning_rate=1e6).fit(data)


def test_another_seed_gives_other_tensors(tmp_path: Path) -> None:
    data = worlds.checkerboard(tmp_path / "board")
    one, two = (
        RECOMMENDERS["bpr"](factors=4, epochs=2).fit(data, TrainingOptions(seed=seed)).tensors()
        for seed in (1, 2)
    )
    assert not np.array_equal(one["vectors"], two["vectors"])


def test_learning_puts_what_a_row_has_above_what_it_has_not(tmp_path: Path) -> None:
    data = worlds.genres(tmp_path / "genres")
    fit = BPR(factors=8, epochs=100)
    fit.fit(data, TrainingOptions(seed=1))
    some = data.entries[data.offsets[0] : data.offsets[1]]
    u = fit.query_vectors(Queries.of([Query(tracks=some.tolist())]))[0]
    scores = fit.vectors @ u + fit.bias
    others = np.setdiff1d(np.arange(121), some)
    assert (scores[some][:, None] > scores[others]).mean() > 0.95


def test_more_regularisation_gives_shorter_vectors(tmp_path: Path) -> None:
    data = worlds.genres(tmp_path / "genres")
    loose, tight = (
        np.linalg.norm(
            RECOMMENDERS["bpr"](factors=8, epochs=50, regularisation=reg)
            .fit(data, TrainingOptions(seed=1))
            .tensors()["vectors"]
        )
        for reg in (0.001, 0.1)
    )
    assert tight < 0.5 * loose
