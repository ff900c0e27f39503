"""What a listener is likely to come back to, from the past of a query."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segue.answers import Int32

Float64 = npt.NDArray[np.float64]

_REACH = 3
"""Tracks of the history that are looked up in the past, the last ones, and tracks after each."""
_FOLLOWED = 30.0
"""What it counts, in plays, that a track came right after the last one before."""
_FADES = 0.5
"""Of that, for each track further away."""
_KEPT = 4.0
"""What follows what is remembered for so many half-lives of plays."""


def recent_plays(past: Int32, half_life: float) -> tuple[Int32, Float64]:
    """The tracks of a past, rising, and their plays: sums of 2^(-age / half_life).

    Args:
        past: oldest first.
        half_life: listens after which a play counts half; the age of a play is how many listens
            of the past came after it.
    """
    tracks, which = np.unique(past, return_inverse=True)
    ages = np.arange(len(past), 0, -1) - 1
    plays = np.bincount(which, np.exp2(-ages / half_life), len(tracks))
    return tracks, plays.astype(np.float64)


def habits(past: Int32, history: Int32, half_life: float) -> tuple[Int32, Float64]:
    """As `recent_plays`, and what came in the past after the last tracks of a history.

    For the a-th track from the end of the history (a = 0, 1, 2), wherever it stands in the past,
    the b-th track after it (b = 1, 2, 3) counts 30 · 0.5^(a + b − 1) · 2^(-age / (4 half_life)).

    Args:
        past, half_life: as in `recent_plays`.
        history: oldest first.
    """
    tracks, plays = recent_plays(past, half_life)
    for a, heard in enumerate(history[: -_REACH - 1 : -1]):
        at = np.flatnonzero(past == heard)
        for b in range(1, _REACH + 1):
            then = at[at + b < len(past)] + b
            ages = len(past) - 1 - then
            worth = _FOLLOWED * _FADES ** (a + b - 1) * np.exp2(-ages / (_KEPT * half_life))
            np.add.at(plays, np.searchsorted(tracks, past[then]), worth)
    return tracks, plays
