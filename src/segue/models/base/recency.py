"""What a listener is likely to come back to, from the past of a query."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import prange

from segue.numeric.arrays import Int32, Int64, fixed, indices, offsets_of
from segue.numeric.parallel import parallel
from segue.numeric.ragged import Ragged

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
    tracks, plays = habits(np.array([[0, len(past)]]), past, Ragged.of_lists([[]]), half_life)
    return tracks.values, plays


def habits(spans: Int64, past: Int32, history: Ragged, half_life: float) -> tuple[Ragged, Float64]:
    """As `recent_plays`, and what came in the past after the last tracks of a history.

    For the a-th track from the end of the history (a = 0, 1, 2), wherever it stands in the past,
    the b-th track after it (b = 1, 2, 3) counts 30 · 0.5^(a + b − 1) · 2^(-age / (4 half_life)).

    Args:
        spans, past: the past of query q is ``past[spans[q, 0]:spans[q, 1]]``, oldest first.
        history: of each query, oldest first.
        half_life: as in `recent_plays`.

    Returns:
        tracks of each query, rising, and their plays.
    """
    lengths = spans[:, 1] - spans[:, 0]
    room = offsets_of(lengths)
    ages = np.arange(lengths.max(initial=0))
    tracks, plays = np.empty(room[-1], np.int32), np.zeros(room[-1])
    counts = np.zeros(len(spans), np.int64)
    heard = history.fixed()
    _sum_plays(
        *(fixed(spans, np.int64), fixed(past, np.int32)),
        *(heard.offsets, heard.values),
        *(np.exp2(-ages / half_life), np.exp2(-ages / (_KEPT * half_life))),
        *(room, tracks, plays, counts),
    )
    some = indices(room[:-1], counts)
    return Ragged(offsets_of(counts), tracks[some]), plays[some]


@parallel(cache=True)
def _sum_plays(spans, past, ends, heard, fresh, kept, room, tracks, plays, counts):  # type: ignore[no-untyped-def]
    """Fill `tracks`, `plays` from ``room[q]`` on, and `counts`: how many of each query.

    Args:
        fresh, kept: worth of a play, and of what follows, by age.
        plays: zeros.
    """
    for q in prange(len(spans)):
        own = past[spans[q, 0] : spans[q, 1]]
        size = len(own)
        ids, sums = tracks[room[q] : room[q + 1]], plays[room[q] : room[q + 1]]
        keys = np.empty(size, np.int64)  # by track, then by place in the past
        for i in range(size):
            keys[i] = (np.int64(own[i]) << 32) | i
        keys.sort()
        which = np.empty(size, np.int64)
        count = 0
        for key in keys:
            track, place = key >> 32, key & 0xFFFFFFFF
            if count == 0 or ids[count - 1] != track:
                ids[count] = track
                count += 1
            which[place] = count - 1
            sums[count - 1] += fresh[size - 1 - place]
        counts[q] = count
        for a in range(min(_REACH, ends[q + 1] - ends[q])):
            now = np.int64(heard[ends[q + 1] - 1 - a])
            first, last = np.searchsorted(keys, now << 32), np.searchsorted(keys, (now + 1) << 32)
            for b in range(1, _REACH + 1):
                worth = _FOLLOWED * _FADES ** (a + b - 1)
                for key in keys[first:last]:
                    then = (key & 0xFFFFFFFF) + b
                    if then < size:
                        sums[which[then]] += worth * kept[size - 1 - then]
