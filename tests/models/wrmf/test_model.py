"""WRMF: the solver against dense algebra and a peer, the fold-in, the reasons."""

from __future__ import annotations

import implicit
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit

from segue.models.wrmf import solver as least_squares
from segue.models.wrmf.kernels import ROOM
from segue.models.wrmf.solver import (
    Factors,
    Weighted,
    confidence,
    diagonalise,
    factorise,
    solve,
)

LAMBDA = 0.7


def plays(rows: int, columns: int, density: float, seed: int) -> sp.csr_matrix:
    """Random play counts of 1 to 5."""
    rng = np.random.default_rng(seed)
    counts = sp.random(rows, columns, density, "csr", np.float32, random_state=rng)
    counts.data = rng.integers(1, 6, counts.nnz).astype(np.float32)
    return counts


def extra_of(counts: sp.csr_matrix, kind: str = "linear", alpha: float = 3.0) -> sp.csr_matrix:
    data = confidence(counts.data, kind, alpha, 0.5)
    return sp.csr_matrix((data, counts.indices, counts.indptr), shape=counts.shape)


def weighted(extra: sp.csr_matrix) -> Weighted:
    return Weighted.of(extra, lambda values: values)


def side(extra: sp.csr_matrix, regularisation: float, exponent: float) -> Factors:
    return weighted(extra).side(regularisation, exponent)


def dense_solution(extra: sp.csr_matrix, v: np.ndarray, exponent: float) -> np.ndarray:
    """Every row by weighted least squares, straight from the definition."""
    c = extra.toarray().astype(np.float64) + 1
    p = (extra.toarray() > 0).astype(np.float64)
    v = v.astype(np.float64)
    rows = []
    for c_i, p_i in zip(c, p, strict=True):
        a = v.T @ np.diag(c_i) @ v + LAMBDA * c_i.sum() ** exponent * np.eye(v.shape[1])
        rows.append(np.linalg.solve(a, v.T @ (c_i * p_i)))
    return np.array(rows)


def loss(extra: sp.csr_matrix, u: np.ndarray, v: np.ndarray, exponent: float = 0.0) -> float:
    c = extra.toarray().astype(np.float64) + 1
    fit = (c * ((extra.toarray() > 0) - u.astype(np.float64) @ v.T) ** 2).sum()
    pull = LAMBDA * (c.sum(1) ** exponent @ (u**2).sum(1) + c.sum(0) ** exponent @ (v**2).sum(1))
    return float(fit + pull)


def test_confidence_is_that_of_the_paper() -> None:
    counts = np.array([1, 4], np.float32)
    assert confidence(counts, "linear", 40, 1.0) == pytest.approx([40, 160])
    assert confidence(counts, "log", 40, 0.5) == pytest.approx([40 * np.log(3), 40 * np.log(9)])


@pytest.mark.parametrize("kind", ["linear", "log"])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_row_equals_dense_weighted_least_squares(kind: str, exponent: float) -> None:
    extra = extra_of(plays(40, 90, 0.15, seed=1), kind)
    v = np.random.default_rng(2).standard_normal((90, 12)).astype(np.float32)
    gram = diagonalise(v)
    u = np.empty((40, 12), np.float32)
    solve(side(extra, LAMBDA, exponent), v, gram, u, 100, 1e-7, cold=True)
    np.testing.assert_allclose(u, dense_solution(extra, v, exponent), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("large", [1, 60.5, 300])
def test_counts_of_any_size_keep_their_confidence(large: float) -> None:
    counts = plays(20, 30, 0.2, seed=17)
    counts.data[::3] = large
    rows = Weighted.of(counts, lambda values: 2 * values).side(1.0, 0.0)
    np.testing.assert_array_equal(rows.extra[rows.levels], 2 * counts.data)


def test_a_row_longer_than_the_buffer_is_solved_the_same() -> None:
    extra = extra_of(plays(3, 3 * ROOM, 0.9, seed=3))
    assert np.diff(extra.indptr).min() > ROOM
    v = np.random.default_rng(4).standard_normal((3 * ROOM, 8)).astype(np.float32)
    gram = diagonalise(v)
    u = np.empty((3, 8), np.float32)
    solve(side(extra, LAMBDA, 0.0), v, gram, u, 100, 1e-7, cold=True)
    np.testing.assert_allclose(u, dense_solution(extra, v, 0.0), rtol=2e-3, atol=2e-5)


def test_a_row_without_entries_is_zero() -> None:
    extra = sp.csr_matrix((2, 30), dtype=np.float32)
    v = np.ones((30, 4), np.float32)
    u = np.full((2, 4), np.nan, np.float32)
    solve(side(extra, LAMBDA, 0.0), v, diagonalise(v), u, 5, 0.0, cold=False)
    assert (u == 0).all()


def test_more_steps_from_a_warm_start_come_nearer() -> None:
    extra = extra_of(plays(60, 120, 0.2, seed=5))
    v = np.random.default_rng(6).standard_normal((120, 16)).astype(np.float32)
    gram = diagonalise(v)
    right = dense_solution(extra, v, 0.0)
    u = np.zeros((60, 16), np.float32)
    errors = []
    for _ in range(4):
        solve(side(extra, LAMBDA, 0.0), v, gram, u, 3, 0.0, cold=False)
        errors.append(np.abs(u - right).max())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 10


def test_diagonalising_changes_no_product() -> None:
    rng = np.random.default_rng(7)
    u, v = (rng.standard_normal((n, 9)).astype(np.float32) for n in (20, 50))
    before = u @ v.T
    gram = diagonalise(v, u)
    np.testing.assert_allclose(u @ v.T, before, atol=1e-4)
    np.testing.assert_allclose(v.T @ v, np.diag(gram), atol=1e-3)


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_every_sweep_lowers_the_loss(exponent: float) -> None:
    extra = extra_of(plays(80, 100, 0.1, seed=8))
    losses: list[float] = []
    factorise(
        weighted(extra), 10, LAMBDA, exponent, 8, 3, np.random.default_rng(9),
        each=lambda u, v: losses.append(loss(extra, u, v, exponent)),
    )  # fmt: skip
    assert losses == sorted(losses, reverse=True)


def test_it_fits_as_well_as_implicit() -> None:
    extra = extra_of(plays(150, 200, 0.06, seed=10))
    u, v = factorise(weighted(extra), 16, LAMBDA, 0.0, 30, 3, np.random.default_rng(11))
    peer = implicit.cpu.als.AlternatingLeastSquares(
        16, regularization=LAMBDA, alpha=1.0, iterations=30, use_cg=False, random_state=12
    )
    c = extra.copy()
    c.data = c.data + 1  # what implicit calls confidence is c itself
    peer.fit(c, show_progress=False)
    theirs = loss(extra, peer.user_factors, peer.item_factors)
    assert loss(extra, u, v) <= 1.02 * theirs  # noise has many minima of about the same depth


def test_starting_on_the_popular_tracks_saves_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(13)
    taste, sound = rng.standard_normal((900, 3)), rng.standard_normal((400, 3))
    chance = taste @ sound.T - np.log(np.arange(1, 401)) * 1.2
    extra = extra_of(sp.csr_matrix((rng.random(chance.shape) < expit(chance)).astype(np.float32)))

    def losses() -> list[float]:
        after: list[float] = []
        factorise(
            weighted(extra), 4, LAMBDA, 0.0, 10, 3, np.random.default_rng(14),
            each=lambda u, v: after.append(loss(extra, u, v)),
        )  # fmt: skip
        return after

    from_core = losses()
    monkeypatch.setattr(least_squares, "_START_COLUMNS", 0)  # no core: start at random
    from_noise = losses()
    assert from_core[0] < from_noise[1]
    assert from_core[-1] < 1.01 * from_noise[-1]


def test_the_same_seed_gives_the_same_factors() -> None:
    extra = extra_of(plays(60, 70, 0.1, seed=15))
    one, two = (
        factorise(weighted(extra), 8, LAMBDA, 1.0, 3, 3, np.random.default_rng(16))
        for _ in range(2)
    )
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
