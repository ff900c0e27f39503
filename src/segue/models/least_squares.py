"""Alternating weighted least squares: the solver behind `wrmf`.

One side of the factorisation is held fixed (Y) and every row x of the other solves

    A x = Σ_j c_j y_j,     A = YᵀY + Σ_j (c_j − 1) y_j y_jᵀ + reg I        (Hu et al. 2008, eq. 4)

over the row's entries j. Two things make a sweep cheap:

* Y is first rotated so that YᵀY is diagonal (a rotation of both sides changes no product). The
  dense part of A is then a vector, which is also the preconditioner of the conjugate gradient.
* The rows of Y that x needs are gathered once into a buffer that stays in the processor's cache;
  all conjugate gradient steps (Takács et al. 2011) read them from there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit, prange

Float32 = npt.NDArray[np.float32]

_TASKS = 64
"""Shares that the rows are dealt into; not the number of threads, which decides nothing here."""
_ROOM = 512
"""Entries of a row that the buffer holds; longer rows are gathered again at every step."""
_BLOCK = 1024
"""Rows multiplied at a time: float32 sums no longer than this."""
_STRIP = 32
"""Rows of a block multiplied at a time: they stay in the first-level cache."""
_SHARES = 4
"""Shares of the Gram matrix; like the tasks not the number of threads."""
_PIECE = 16
"""Rows of the buffer worked on at a time: they stay in the first-level cache."""
_START_SWEEPS = 4
_START_ROWS = 6
_START_COLUMNS = 0.2
_START_SCALE = 0.1


class Side(NamedTuple):
    """One side's rows: their entries, and what regularises them."""

    offsets: npt.NDArray[np.int64]
    """Entries of row i are ``offsets[i]:offsets[i + 1]``. (rows + 1,)"""
    others: npt.NDArray[np.int32]
    """Row of the other side, for each entry."""
    extra: Float32
    """c − 1 of each entry: its confidence beyond that of an entry not seen."""
    reg: Float32
    """Regularisation of each row. (rows,)"""


@njit(fastmath=True, inline="always")
def project(rows, x, out):  # type: ignore[no-untyped-def]
    """out[i] = rows[i] · x, four rows at a time so that x is read once for them."""
    whole = len(rows) - len(rows) % 4
    for i in range(0, whole, 4):
        a, b, c, d = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        s0 = s1 = s2 = s3 = np.float32(0)
        for k in range(len(x)):
            s0 += a[k] * x[k]
            s1 += b[k] * x[k]
            s2 += c[k] * x[k]
            s3 += d[k] * x[k]
        out[i], out[i + 1], out[i + 2], out[i + 3] = s0, s1, s2, s3
    for i in range(whole, len(rows)):
        a = rows[i]
        s0 = np.float32(0)
        for k in range(len(x)):
            s0 += a[k] * x[k]
        out[i] = s0


@njit(fastmath=True, inline="always")
def accumulate(rows, weights, out):  # type: ignore[no-untyped-def]
    """out += Σ_i weights[i] rows[i]."""
    whole = len(rows) - len(rows) % 4
    for i in range(0, whole, 4):
        a, b, c, d = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        s0, s1, s2, s3 = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        for k in range(len(out)):
            out[k] += s0 * a[k] + s1 * b[k] + s2 * c[k] + s3 * d[k]
    for i in range(whole, len(rows)):
        a, s0 = rows[i], weights[i]
        for k in range(len(out)):
            out[k] += s0 * a[k]


@njit(inline="always")
def _gather(fixed, others, buffer):  # type: ignore[no-untyped-def]
    for i in range(len(others)):
        source, target = fixed[others[i]], buffer[i]
        for k in range(len(source)):
            target[k] = source[k]


@njit(fastmath=True, parallel=True, cache=True)
def _solve(offsets, others, extra, reg, fixed, gram, solved, steps, tolerance, cold):  # type: ignore[no-untyped-def]
    """Conjugate gradient on every row, from what `solved` holds (from zero if `cold`)."""
    factors = fixed.shape[1]
    for task in prange(_TASKS):
        buffer = np.empty((_ROOM, factors), np.float32)
        t = np.empty(_PIECE, np.float32)
        dense = np.empty(factors, np.float32)
        r = np.empty(factors, np.float32)
        p = np.empty(factors, np.float32)
        q = np.empty(factors, np.float32)
        # Neighbouring rows go to different tasks: popular rows often stand together.
        for row in range(task, len(offsets) - 1, _TASKS):
            first, last = offsets[row], offsets[row + 1]
            x = solved[row]
            if cold or first == last:
                x[:] = 0
            if first == last:
                continue
            for k in range(factors):
                dense[k] = gram[k] + reg[row]
                r[k] = -dense[k] * x[k]
            fits = last - first <= _ROOM
            for start in range(first, last, _ROOM):  # r = Σ c y − A x
                stop = min(last, start + _ROOM)
                _gather(fixed, others[start:stop], buffer)
                for i in range(start, stop, _PIECE):
                    n = min(_PIECE, stop - i)
                    some = buffer[i - start : i - start + n]
                    project(some, x, t)
                    for j in range(n):
                        t[j] = 1 + extra[i + j] * (1 - t[j])
                    accumulate(some, t, r)
            rz = np.float32(0)
            for k in range(factors):
                p[k] = r[k] / dense[k]
                rz += r[k] * p[k]
            enough = tolerance * tolerance * rz
            for _ in range(steps):
                if rz <= enough or rz < 1e-30:
                    break
                for k in range(factors):  # q = A p
                    q[k] = dense[k] * p[k]
                for start in range(first, last, _ROOM):
                    stop = min(last, start + _ROOM)
                    if not fits:
                        _gather(fixed, others[start:stop], buffer)
                    for i in range(start, stop, _PIECE):
                        n = min(_PIECE, stop - i)
                        some = buffer[i - start : i - start + n]
                        project(some, p, t)
                        for j in range(n):
                            t[j] *= extra[i + j]
                        accumulate(some, t, q)
                pq = np.float32(0)
                for k in range(factors):
                    pq += p[k] * q[k]
                step = rz / pq
                before = rz
                rz = np.float32(0)
                for k in range(factors):
                    x[k] += step * p[k]
                    r[k] -= step * q[k]
                    rz += r[k] * r[k] / dense[k]
                for k in range(factors):
                    p[k] = r[k] / dense[k] + (rz / before) * p[k]


def confidence(counts: Float32, kind: str, alpha: float, epsilon: float) -> Float32:
    """c − 1 for play counts r: αr ("linear") or α log(1 + r/ε) ("log"); Hu et al., eq. 3 and 6."""
    shaped = counts if kind == "linear" else np.log1p(counts / epsilon)
    extra: Float32 = (alpha * shaped).astype(np.float32)
    return extra


def side(extra: sp.csr_matrix, regularisation: float, exponent: float) -> Side:
    """One side from the matrix of c − 1, rows being solved for.

    The regularisation of row i is ``λ (Σ_j c_ij)^ν``, the sum over all columns: λ as published
    for ν = 0, in proportion to the weight of the row's data for ν = 1 (Rendle et al. 2022).
    """
    weight = np.asarray(extra.sum(axis=1)).ravel() + extra.shape[1]
    return Side(
        extra.indptr.astype(np.int64),
        extra.indices.astype(np.int32, copy=False),
        extra.data,
        (regularisation * weight**exponent).astype(np.float32),
    )


@njit(fastmath=True, parallel=True, cache=True)
def _gram(matrix, shares):  # type: ignore[no-untyped-def]
    """matrixᵀ matrix, in float64 shares that add up to it. (_SHARES, n, n)"""
    n = matrix.shape[1]
    for share in prange(_SHARES):
        part = np.empty((n, n), np.float32)
        column = np.empty(_STRIP, np.float32)
        for block in range(share * _BLOCK, len(matrix), _SHARES * _BLOCK):
            part[:] = 0
            end = min(block + _BLOCK, len(matrix))
            for start in range(block, end, _STRIP):
                strip = matrix[start : min(start + _STRIP, end)]
                for k in range(n):
                    for i in range(len(strip)):
                        column[i] = strip[i, k]
                    accumulate(strip, column, part[k])
            for k in range(n):
                for m in range(n):
                    shares[share, k, m] += part[k, m]


@njit(fastmath=True, parallel=True, cache=True)
def _turn(matrix, turn):  # type: ignore[no-untyped-def]
    """matrix = matrix @ turn, in place."""
    for block in prange((len(matrix) + _BLOCK - 1) // _BLOCK):
        out = np.empty(matrix.shape[1], np.float32)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, len(matrix))):
            out[:] = 0
            accumulate(turn, matrix[i], out)
            matrix[i] = out


def diagonalise(fixed: Float32, *with_it: Float32) -> Float32:
    """Rotate `fixed`, and others with it, in place so that fixedᵀ fixed is diagonal.

    No BLAS: its threads and numba's, taking turns, stall each other on a busy machine.

    Returns:
        The diagonal. (factors,) float32
    """
    factors = fixed.shape[1]
    shares = np.zeros((_SHARES, factors, factors))
    _gram(fixed, shares)
    values, rotation = np.linalg.eigh(shares.sum(axis=0))
    turn = rotation.astype(np.float32)
    for matrix in (fixed, *with_it):
        _turn(matrix, turn)
    diagonal: Float32 = np.maximum(values, 0).astype(np.float32)
    return diagonal


def solve(
    of: Side,
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
        fixed: factors of the other side, their Gram matrix diagonal.
        gram: that diagonal.
        solved: where the rows' factors go; the start of the iteration unless `cold`.
        steps: of conjugate gradient, at most.
        tolerance: stop when the residual has fallen to this share of its first length.
        cold: start from zero.
    """
    _solve(*of, fixed, gram, solved, steps, np.float32(tolerance), cold)


def sweep(
    rows: Side, columns: Side, u: Float32, v: Float32, steps: int, cold: bool = False
) -> None:
    """Solve for u with v fixed, then for v with u fixed, in place."""
    gram = diagonalise(v, *(() if cold else (u,)))
    solve(rows, v, gram, u, steps, 0.0, cold)
    gram = diagonalise(u, v)
    solve(columns, u, gram, v, steps, 0.0, False)


def factorise(
    extra: sp.csr_matrix,
    factors: int,
    regularisation: float,
    exponent: float,
    sweeps: int,
    steps: int,
    rng: np.random.Generator,
    advance: Any = lambda step: None,
    each: Any = lambda u, v: None,
) -> tuple[Float32, Float32]:
    """Factors of both sides.

    Args:
        extra: c − 1 of the entries seen. (rows, columns) float32
        factors: length of a factor.
        regularisation, exponent: λ and ν of `side`.
        sweeps: over rows and columns.
        steps: of conjugate gradient for each row in a sweep. Few steps leave the factors short of
            each least-squares solution, which regularises them and costs less.
        rng: draws the start.
        advance: called with 1 after every sweep.
        each: called with both factors after every sweep.

    Returns:
        u (rows, factors), v (columns, factors), float32.
    """
    v = _start(extra, factors, regularisation, exponent, steps, rng)

    def after(u: Float32, v: Float32) -> None:
        advance(1)
        each(u, v)

    return _alternate(extra, v, regularisation, exponent, sweeps, steps, after), v


def _alternate(
    extra: sp.csr_matrix,
    v: Float32,
    regularisation: float,
    exponent: float,
    sweeps: int,
    steps: int,
    after: Any = lambda u, v: None,
) -> Float32:
    """Sweep from the column factors v, in place; returns the row factors."""
    rows = side(extra, regularisation, exponent)
    columns = side(extra.T.tocsr(), regularisation, exponent)
    u = np.empty((extra.shape[0], v.shape[1]), np.float32)
    for done in range(sweeps):
        sweep(rows, columns, u, v, steps, cold=done == 0)
        after(u, v)
    return u


def _start(
    extra: sp.csr_matrix,
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
    seen = np.bincount(extra.indices, minlength=extra.shape[1])
    scale = np.float32(_START_SCALE / np.sqrt(factors))
    v = np.zeros((extra.shape[1], factors), np.float32)
    popular = np.sort(np.argsort(-seen, kind="stable")[: int(_START_COLUMNS * len(seen))])
    if len(popular) < 4 * factors or extra.shape[0] < 4 * _START_ROWS * factors:
        popular = np.flatnonzero(seen)
        v[popular] = scale * rng.standard_normal((len(popular), factors), np.float32)
        return v
    core = extra[::_START_ROWS][:, popular].tocsr()
    start = scale * rng.standard_normal((len(popular), factors), np.float32)
    _alternate(core, start, regularisation, exponent, _START_SWEEPS, steps)
    v[popular] = start
    return v
