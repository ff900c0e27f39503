"""Kernels of the features: one query's candidates, in a fixed order of operations.

They run on one thread and let others run; candidates are independent of each other.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from segue.numeric.kernels import project


@njit(fastmath=True, cache=True, nogil=True)
def dots(table, rows, x, out):  # type: ignore[no-untyped-def]
    """out[i] = table[rows[i]] . x, 0 where the row is -1."""
    for i in range(len(rows)):
        total = np.float32(0)
        if rows[i] >= 0:
            row = table[rows[i]]
            for k in range(len(x)):
                total += row[k] * x[k]
        out[i] = total


@njit(fastmath=True, cache=True, nogil=True)
def cosines(vectors, inverse, rows, unit, out):  # type: ignore[no-untyped-def]
    """Cosine of tracks with the seed that is nearest, and with the last seed.

    Args:
        vectors: of all tracks. (tracks, d)
        inverse: 1 / length of each, 0 where that is 0. (tracks,)
        rows: tracks that are wanted. (n,)
        unit: vectors of the seeds, of length 1 or 0. (seeds, d), at least one
        out: (n, 2)
    """
    products = np.empty(len(unit), np.float32)
    for i in range(len(rows)):
        project(unit, vectors[rows[i]], products)
        most = products[0]
        for k in range(1, len(unit)):
            most = max(most, products[k])
        out[i, 0] = most * inverse[rows[i]]
        out[i, 1] = products[len(unit) - 1] * inverse[rows[i]]


@njit(fastmath=True, cache=True, nogil=True)
def compare(artist, album, duration, artists, albums, durations, out):  # type: ignore[no-untyped-def]
    """Each track with all seeds.

    Args:
        artist, album, duration: of the tracks; numbers are -1 where unknown. (n,)
        artists, albums, durations: of the seeds. (seeds,)
        out: seeds by the artist, seeds on the album (0 where unknown), sum of the track's minus
            the seed's duration, sum of its absolute value. (n, 4)
    """
    for i in range(len(artist)):
        by = on = np.int32(0)
        difference = distance = np.float32(0)
        for k in range(len(artists)):
            by += artists[k] == artist[i]
            on += albums[k] == album[i]
            difference += duration[i] - durations[k]
            distance += abs(duration[i] - durations[k])
        out[i, 0] = by if artist[i] >= 0 else 0
        out[i, 1] = on if album[i] >= 0 else 0
        out[i, 2] = difference
        out[i, 3] = distance
