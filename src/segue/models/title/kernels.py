"""Kernels of `title`: each row of a result in a fixed order of operations, whatever the batch."""

from __future__ import annotations

import numpy as np
from numba import prange

from segue.numeric.kernels import TILE, accumulate
from segue.numeric.parallel import parallel


@parallel(cache=True)
def cosines(offsets, features, weights, starts, documents, values, out):  # type: ignore[no-untyped-def]
    """Products of sparse rows (texts) with sparse columns (documents of each feature).

    Args:
        offsets, features, weights: rows of the texts, as in CSR.
        starts, documents, values: documents of the features, as in CSR.
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
    """Votes of documents for tracks, and the sum of the voted tracks' vectors.

    Args:
        offsets, documents, weights: voting documents of each row, as in CSR.
        starts, tracks, values: tracks of each document, as in CSR.
        root, vectors: root of play counts and vectors of tracks. (tracks,), (tracks, factors)
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
        for first in range(0, len(voted), TILE):
            tile = voted[first : first + TILE]
            accumulate(vectors[tile], (votes[tile] / root[tile]).astype(np.float32), z[q])
