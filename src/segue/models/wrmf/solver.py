"""Alternating weighted least squares: the solver behind `wrmf`.

One side of the factorisation is held fixed (Y) and every row x of the other solves

    A x = Σ_j c_j p_j y_j,     A = YᵀY + Σ_j (c_j − 1) y_j y_jᵀ + reg I    (Hu et al. 2008, eq. 4)

over the row's entries j; p_j is 1 for what was played and 0 for what was skipped. Two things make
a sweep cheap:

* Y is first rotated so that YᵀY is diagonal (a rotation of both sides changes no product). The
  dense part of A is then a vector, which is also the preconditioner of the conjugate gradient.
* The rows of Y that x needs are gathered once into a buffer that stays in the processor's cache;
  all conjugate gradient steps (Takács et al. 2011) read them from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.models.wrmf.kernels import SHARES, gram_shares, solve_rows, turn_rows

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_SMALL = 256
"""Counts below this are their own level, in one byte."""
_START_SWEEPS = 4
_START_ROWS = 6
_START_COLUMNS = 0.2
_START_SCALE = 0.1


class Factors(NamedTuple):
    """One side's rows: entries and regularisation."""

    offsets: npt.NDArray[np.int64]
    """Entries of row i are ``offsets[i]:offsets[i + 1]``. (rows + 1,)"""
    others: npt.NDArray[np.int32]
    """Row of the other side, for each entry."""
    levels: npt.NDArray[np.integer]
    """Number of each entry's level of confidence."""
    extra: Float32
    """c − 1 of each level: its confidence above that of a missing entry."""
    preference: Float32 | None
    """p of each level: 1 played, 0 skipped; None if it is 1 for all."""
    reg: Float32
    """Regularisation of each row. (rows,)"""

    @property
    def played(self) -> npt.NDArray[np.bool_]:
        """Which entries have p = 1. (entries,)"""
        if self.preference is None:
            return np.ones(len(self.levels), np.bool_)
        played: npt.NDArray[np.bool_] = self.preference[self.levels] > 0
        return played


def confidence(counts: Float32, kind: str, alpha: float, epsilon: float) -> Float32:
    """c − 1 for play counts r: αr ("linear") or α log(1 + r/ε) ("log"); Hu et al., eq. 3 and 6."""
    shaped = counts if kind == "linear" else np.log1p(counts / epsilon)
    extra: Float32 = (alpha * shaped).astype(np.float32)
    return extra


class Weighted(NamedTuple):
    """A matrix of confidences and preferences in few bytes.

    An entry's c − 1 is ``extra[entries.data]``, its p is ``preference[entries.data]``, or 1 for
    all where `preference` is None.
    """

    entries: sp.csr_matrix
    extra: Float32
    preference: Float32 | None

    @classmethod
    def of(cls, plays: sp.csr_matrix, shape: Callable[[Float32], Float32]) -> Weighted:
        """Make it from play counts r (float32) and a function that returns their c − 1.

        A count below 0 is of skips: its p is 0.
        """
        counts = plays.data
        low = min(counts.min(initial=0), 0)
        above = counts - low if low else counts
        if above.max(initial=0) < _SMALL and (above == above.astype(np.uint8)).all():
            values, levels = np.arange(_SMALL, dtype=np.float32) + low, above.astype(np.uint8)
        else:
            values, levels = np.unique(counts, return_inverse=True)
            levels = levels.astype(np.int32)
        entries = sp.csr_matrix((levels, plays.indices, plays.indptr), plays.shape)
        preference = (values >= 0).astype(np.float32) if low else None
        return cls(entries, shape(values), preference)

    def side(self, regularisation: float, exponent: float) -> Factors:
        """The rows as the side to solve for.

        The regularisation of row i is ``λ (Σ_j c_ij)^ν``, the sum over all columns: λ as published
        for ν = 0, in proportion to the weight of the row's data for ν = 1 (Rendle et al. 2022).
        """
        entries = self.entries
        c = sp.csr_matrix(
            (self.extra[entries.data], entries.indices, entries.indptr), entries.shape
        )
        weight = np.asarray(c.sum(axis=1)).ravel() + entries.shape[1]
        return Factors(
            entries.indptr.astype(np.int64),
            entries.indices.astype(np.int32, copy=False),
            entries.data,
            self.extra,
            self.preference,
            (regularisation * weight**exponent).astype(np.float32),
        )


def diagonalise(fixed: Float32, *with_it: Float32) -> Float32:
    """Rotate `fixed`, and others with it, in place so that fixedᵀ fixed is diagonal.

    Returns:
        The diagonal. (factors,) float32
    """
    factors = fixed.shape[1]
    shares = np.zeros((SHARES, factors, factors))
    gram_shares(fixed, shares)
    values, rotation = np.linalg.eigh(shares.sum(axis=0))
    turn = rotation.astype(np.float32)
    for matrix in (fixed, *with_it):
        turn_rows(matrix, turn)
    diagonal: Float32 = np.maximum(values, 0).astype(np.float32)
    return diagonal


def solve(
    of: Factors,
    fixed: Float32,
    gram: Float32,
    solved: Float32,
    steps: int,
    tolerance: float,
    cold: bool,
) -> None:
    """Solve for every row of one side.

    Args:
        of: the side to solve for.
        fixed: factors of the other side, with a diagonal Gram matrix.
        gram: that diagonal.
        solved: output, the factors of the rows; the start of the iteration unless `cold`.
        steps: maximum number of conjugate gradient steps.
        tolerance: stop when the residual has fallen to this share of its first length.
        cold: start from zero.
    """
    solve_rows(*of, fixed, gram, solved, steps, np.float32(tolerance), cold)


def inverse_times(diagonal: Float64, weights: Float64, rows: Float64) -> Float64:
    """(diag(d) + RᵀWR)⁻¹ Rᵀ, by the smaller of two systems.

    With few rows it is D⁻¹Rᵀ (I + W R D⁻¹Rᵀ)⁻¹ (Woodbury), a system of as many as there are rows.

    Args:
        diagonal: d, above 0. (factors,)
        weights: of W, at least 0. (rows,)
        rows: R. (rows, factors)

    Returns:
        (factors, rows)
    """
    if len(rows) > len(diagonal):
        whole = np.diag(diagonal) + (rows.T * weights) @ rows
        return np.linalg.solve(whole, rows.T).astype(np.float64, copy=False)
    scaled = rows / diagonal
    inner = np.eye(len(rows)) + weights[:, None] * (rows @ scaled.T)
    return np.linalg.solve(inner.T, scaled).T.astype(np.float64, copy=False)


def sweep(
    rows: Factors, columns: Factors, u: Float32, v: Float32, steps: int, cold: bool = False
) -> None:
    """Solve for u with v fixed, then for v with u fixed, in place."""
    gram = diagonalise(v, *(() if cold else (u,)))
    solve(rows, v, gram, u, steps, 0.0, cold)
    gram = diagonalise(u, v)
    solve(columns, u, gram, v, steps, 0.0, False)


def factorise(
    weighted: Weighted,
    factors: int,
    regularisation: float,
    exponent: float,
    sweeps: int,
    steps: int,
    rng: np.random.Generator,
    each: Callable[[Float32, Float32], None] = lambda u, v: None,
) -> tuple[Float32, Float32]:
    """Factors of both sides.

    Args:
        weighted: confidence of the entries. (rows, columns)
        factors: length of a factor.
        regularisation, exponent: λ and ν of `Weighted.side`.
        sweeps: number of passes over rows and columns.
        steps: conjugate gradient steps for each row in a sweep. Few steps stop short of the
            least-squares solution, which regularises the factors and costs less.
        rng: draws the start.
        each: callback with both factors after every sweep.

    Returns:
        u (rows, factors), v (columns, factors), float32.
    """
    v = _start(weighted, factors, regularisation, exponent, steps, rng)
    return _alternate(weighted, v, regularisation, exponent, sweeps, steps, each), v


def _alternate(
    weighted: Weighted,
    v: Float32,
    regularisation: float,
    exponent: float,
    sweeps: int,
    steps: int,
    after: Any = lambda u, v: None,
) -> Float32:
    """Sweep from the column factors v, in place; returns the row factors."""
    rows = weighted.side(regularisation, exponent)
    turned = weighted._replace(entries=weighted.entries.T.tocsr())
    columns = turned.side(regularisation, exponent)
    u = np.empty((len(rows.reg), v.shape[1]), np.float32)
    for done in range(sweeps):
        sweep(rows, columns, u, v, steps, cold=done == 0)
        after(u, v)
    return u


def _start(
    weighted: Weighted,
    factors: int,
    regularisation: float,
    exponent: float,
    steps: int,
    rng: np.random.Generator,
) -> Float32:
    """First column factors: four sweeps over a sixth of the rows and the most played columns.

    The popular fifth of the columns holds most entries and fits the cache, so this costs less
    than a sweep and saves two. The other columns start at zero, as if not seen.
    """
    entries = weighted.entries
    seen = np.bincount(entries.indices, minlength=entries.shape[1])
    scale = np.float32(_START_SCALE / np.sqrt(factors))
    v = np.zeros((len(seen), factors), np.float32)
    popular = np.sort(np.argsort(-seen, kind="stable")[: int(_START_COLUMNS * len(seen))])
    if len(popular) < 4 * factors or entries.shape[0] < 4 * _START_ROWS * factors:
        popular = np.flatnonzero(seen)
        v[popular] = scale * rng.standard_normal((len(popular), factors), np.float32)
        return v
    core = weighted._replace(entries=entries[::_START_ROWS][:, popular].tocsr())
    start = scale * rng.standard_normal((len(popular), factors), np.float32)
    _alternate(core, start, regularisation, exponent, _START_SWEEPS, steps)
    v[popular] = start
    return v
