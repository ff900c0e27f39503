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
        for first in range(0, len(voted), TILE):
            some = voted[first : first + TILE]
            accumulate(vectors[some], (votes[some] / root[some]).astype(np.float32), z[q])
