"""Compiled parts of the alternating least squares: products of small blocks, the row solver.

No BLAS: its threads and numba's, taking turns, stall each other on a busy machine, and products
with so few columns are faster in blocks that stay in the registers.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

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


@njit(fastmath=True, inline="always")
def multiply(a, b, out):  # type: ignore[no-untyped-def]
    """out += a @ b, in blocks of 4 × 4 numbers of a, which stay in registers."""
    rows, inner = len(a) - len(a) % 4, len(b) - len(b) % 4
    for i in range(0, rows, 4):
        x0, x1, x2, x3 = out[i], out[i + 1], out[i + 2], out[i + 3]
        for j in range(0, inner, 4):
            b0, b1, b2, b3 = b[j], b[j + 1], b[j + 2], b[j + 3]
            a00, a01, a02, a03 = a[i, j], a[i, j + 1], a[i, j + 2], a[i, j + 3]
            a10, a11, a12, a13 = a[i + 1, j], a[i + 1, j + 1], a[i + 1, j + 2], a[i + 1, j + 3]
            a20, a21, a22, a23 = a[i + 2, j], a[i + 2, j + 1], a[i + 2, j + 2], a[i + 2, j + 3]
            a30, a31, a32, a33 = a[i + 3, j], a[i + 3, j + 1], a[i + 3, j + 2], a[i + 3, j + 3]
            for k in range(out.shape[1]):
                y0, y1, y2, y3 = b0[k], b1[k], b2[k], b3[k]
                x0[k] += a00 * y0 + a01 * y1 + a02 * y2 + a03 * y3
                x1[k] += a10 * y0 + a11 * y1 + a12 * y2 + a13 * y3
                x2[k] += a20 * y0 + a21 * y1 + a22 * y2 + a23 * y3
                x3[k] += a30 * y0 + a31 * y1 + a32 * y2 + a33 * y3
        for m in range(i, i + 4):
            accumulate(b[inner:], a[m, inner:], out[m])
    for m in range(rows, len(a)):
        accumulate(b, a[m], out[m])


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
                    some = buffer[i - start : i - start + n]
                    project(some, x, t)
                    for j in range(n):
                        if preference is None:  # the compiler decides, not the loop
                            t[j] = 1 + extra[levels[i + j]] * (1 - t[j])
                        else:
                            p_j = preference[levels[i + j]]
                            t[j] = p_j + extra[levels[i + j]] * (p_j - t[j])
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
                for start in range(first, last, ROOM):
                    stop = min(last, start + ROOM)
                    if not fits:
                        _gather(fixed, others[start:stop], buffer)
                    for i in range(start, stop, _PIECE):
                        n = min(_PIECE, stop - i)
                        some = buffer[i - start : i - start + n]
                        project(some, p, t)
                        for j in range(n):
                            t[j] *= extra[levels[i + j]]
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
            some = out[: len(strip)]
            some[:] = 0
            for k in range(0, n, _STRIP):
                multiply(strip[:, k : k + _STRIP], turn[k : k + _STRIP], some)
            for i in range(len(strip)):  # a slice would compile the words of an error as well
                for k in range(n):
                    strip[i, k] = some[i, k]
