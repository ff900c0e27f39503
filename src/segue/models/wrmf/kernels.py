"""Compiled parts of the alternating least squares: products of small blocks, the row solver.

No BLAS: its threads and numba's, taking turns, stall each other on a busy machine, and products
with so few columns are faster in blocks that stay in the registers.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from segue.numeric.kernels import accumulate, multiply, project
from segue.numeric.parallel import parallel

_TASKS = 64
"""Shares that the rows are dealt into; not the number of threads, which decides nothing here."""
ROOM = 512
"""Entries of a row that the buffer holds; longer rows are gathered again at every step."""
_BLOCK = 1024
"""Rows multiplied at a time: float32 sums no longer than this."""
_STRIP = 32
"""Rows of a block multiplied at a time: they stay in the first-level cache."""
SHARES = 4
"""Shares of the Gram matrix; like the tasks not the number of threads."""
_PIECE = 16
"""Rows of the buffer worked on at a time: they stay in the first-level cache."""


@njit(inline="always")
def _gather(fixed, others, buffer):  # type: ignore[no-untyped-def]
    for i in range(len(others)):
        source, target = fixed[others[i]], buffer[i]
        for k in range(len(source)):
            target[k] = source[k]


@parallel(fastmath=True, cache=True)
def solve_rows(  # type: ignore[no-untyped-def]
    offsets, others, levels, extra, preference, reg, fixed, gram, solved, steps, tolerance, cold
):
    """Conjugate gradient on every row, from what `solved` holds (from zero if `cold`)."""
    factors = fixed.shape[1]
    for task in prange(_TASKS):
        buffer = np.empty((ROOM, factors), np.float32)
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
            fits = last - first <= ROOM
            for start in range(first, last, ROOM):  # r = Σ c p y − A x
                stop = min(last, start + ROOM)
                _gather(fixed, others[start:stop], buffer)
                for i in range(start, stop, _PIECE):
                    n = min(_PIECE, stop - i)
                    piece = buffer[i - start : i - start + n]
                    project(piece, x, t)
                    for j in range(n):
                        if preference is None:  # the compiler decides, not the loop
                            t[j] = 1 + extra[levels[i + j]] * (1 - t[j])
                        else:
                            p_j = preference[levels[i + j]]
                            t[j] = p_j + extra[levels[i + j]] * (p_j - t[j])
                    accumulate(piece, t, r)
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
                for start in range(first, last, ROOM):
                    stop = min(last, start + ROOM)
                    if not fits:
                        _gather(fixed, others[start:stop], buffer)
                    for i in range(start, stop, _PIECE):
                        n = min(_PIECE, stop - i)
                        piece = buffer[i - start : i - start + n]
                        project(piece, p, t)
                        for j in range(n):
                            t[j] *= extra[levels[i + j]]
                        accumulate(piece, t, q)
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


@parallel(fastmath=True, cache=True)
def gram_shares(matrix, shares):  # type: ignore[no-untyped-def]
    """matrixᵀ matrix, in float64 shares that add up to it. (SHARES, n, n)"""
    n = matrix.shape[1]
    for share in prange(SHARES):
        part = np.empty((n, n), np.float32)
        for block in range(share * _BLOCK, len(matrix), SHARES * _BLOCK):
            part[:] = 0
            end = min(block + _BLOCK, len(matrix))
            for start in range(block, end, _STRIP):
                strip = matrix[start : min(start + _STRIP, end)]
                multiply(strip.T, strip, part)
            for k in range(n):
                for m in range(n):
                    shares[share, k, m] += part[k, m]


@parallel(fastmath=True, cache=True)
def turn_rows(matrix, turn):  # type: ignore[no-untyped-def]
    """matrix = matrix @ turn, in place."""
    n = matrix.shape[1]
    for block in prange((len(matrix) + _BLOCK - 1) // _BLOCK):
        out = np.empty((_STRIP, n), np.float32)
        end = min((block + 1) * _BLOCK, len(matrix))
        for start in range(block * _BLOCK, end, _STRIP):
            strip = matrix[start : min(start + _STRIP, end)]
            rotated = out[: len(strip)]
            rotated[:] = 0
            for k in range(0, n, _STRIP):
                multiply(strip[:, k : k + _STRIP], turn[k : k + _STRIP], rotated)
            for i in range(len(strip)):  # a slice would compile the words of an error as well
                for k in range(n):
                    strip[i, k] = rotated[i, k]
