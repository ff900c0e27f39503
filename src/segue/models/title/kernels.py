"""Kernels of `title`: each row of a result in a fixed order of operations, whatever the batch."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from segue.numeric.kernels import accumulate, project
from segue.numeric.parallel import parallel

_TILE = 512
"""Tracks whose vectors stay in the cache while all queries pass."""


@parallel(cache=True)
def cosines(offsets, features, weights, starts, documents, values, out):  # type: ignore[no-untyped-def]
    """Products of sparse rows (texts) with sparse columns (documents of each feature).

    Args:
        offsets, features, weights: of the texts, as in CSR.
        starts, documents, values: of the features, as in CSR.
        out: (texts, documents)
    """
    for q in prange(len(out)):
        row = out[q]
        row[:] = 0
        for i in range(offsets[q], offsets[q + 1]):
            for e in range(starts[features[i]], starts[features[i] + 1]):
                row[documents[e]] += weights[i] * values[e]


@parallel(cache=True)
def vote(offsets, documents, weights, starts, tracks, values, root, vectors, out, z):  # type: ignore[no-untyped-def]
    """Votes of documents for tracks, and where they point.

    Args:
        offsets, documents, weights: who votes in each row, as in CSR.
        starts, tracks, values: what each document votes for, as in CSR.
        root, vectors: of the tracks. (tracks,), (tracks, factors)
        out: votes a of each row. (rows, tracks)
        z: sum over t of a_t / root_t v_t. (rows, factors)
    """
    for q in prange(len(out)):
        votes = np.zeros(len(root))
        for i in range(offsets[q], offsets[q + 1]):
            for e in range(starts[documents[i]], starts[documents[i] + 1]):
                votes[tracks[e]] += weights[i] * values[e]
        out[q] = votes
        voted = np.flatnonzero(votes)
        z[q] = 0
        for first in range(0, len(voted), _TILE):
            some = voted[first : first + _TILE]
            accumulate(vectors[some], (votes[some] / root[some]).astype(np.float32), z[q])


@njit(fastmath=True, cache=True)
def _add_tile(vectors, scale, z, product, out):  # type: ignore[no-untyped-def]
    """On its own, so that the compiler knows what does not overlap: five times as fast."""
    for q in range(len(z)):
        project(vectors, z[q], product)
        row = out[q]
        for t in range(len(vectors)):
            row[t] += scale[t] * product[t]


@parallel(cache=True)
def add_products(vectors, scale, z, out):  # type: ignore[no-untyped-def]
    """out[q, t] += scale[t] vectors[t] . z[q]"""
    for tile in prange((len(vectors) + _TILE - 1) // _TILE):
        first, last = tile * _TILE, min(len(vectors), (tile + 1) * _TILE)
        product = np.empty(_TILE, np.float32)
        _add_tile(vectors[first:last], scale[first:last], z, product, out[:, first:last])
