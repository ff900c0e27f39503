"""Dense kernels that models share."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from segue.numeric.parallel import parallel

TILE = 512
"""Tracks whose vectors stay in the cache while all queries pass."""


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


@parallel(cache=True)
def add_products(vectors, scale, z, out):  # type: ignore[no-untyped-def]
    """out[q, t] += scale[t] vectors[t] . z[q]"""
    for tile in prange((len(vectors) + TILE - 1) // TILE):
        first, last = tile * TILE, min(len(vectors), (tile + 1) * TILE)
        product = np.empty(TILE, np.float32)
        _add_tile(vectors[first:last], scale[first:last], z, product, out[:, first:last])


@njit(fastmath=True, cache=True)
def _add_tile(vectors, scale, z, product, out):  # type: ignore[no-untyped-def]
    """On its own, so that the compiler knows what does not overlap: five times as fast."""
    for q in range(len(z)):
        project(vectors, z[q], product)
        row = out[q]
        for t in range(len(vectors)):
            row[t] += scale[t] * product[t]
