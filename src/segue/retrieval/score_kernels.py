"""Scores of one track at a time, in numba."""

from __future__ import annotations

import numpy as np
from numba import njit

CHUNK = 64
"""Scores that are compared with a bar at once."""
LANES = 32
LOWEST = np.float32(np.finfo(np.float32).min)
_HIGHEST = np.float32(np.finfo(np.float32).max)


@njit(cache=True)
def dot_score(a, b, bias, lanes):  # type: ignore[no-untyped-def]
    """The score: dot product of two float32 vectors plus bias, rounded to float32 once.

    Products of float32 are exact in float64 and the order of the sum is fixed by this code, so
    the result does not depend on the machine. Beyond float32 it is the largest finite number.
    """
    whole = len(a) - len(a) % LANES
    for lane in range(LANES):
        lanes[lane] = 0.0
    for k in range(0, whole, LANES):
        for lane in range(LANES):
            lanes[lane] += np.float64(a[k + lane]) * np.float64(b[k + lane])
    for k in range(whole, len(a)):
        lanes[k - whole] += np.float64(a[k]) * np.float64(b[k])
    half = LANES // 2
    while half > 0:
        for lane in range(half):
            lanes[lane] += lanes[lane + half]
        half //= 2
    return np.float32(min(max(lanes[0] + np.float64(bias), LOWEST), _HIGHEST))
