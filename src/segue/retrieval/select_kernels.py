"""The best n of scores, in numba."""

from __future__ import annotations

import numpy as np
from numba import njit

from segue.retrieval.score_kernels import CHUNK, LANES, dot_score

_SIGN = np.uint32(1 << 31)


@njit(cache=True)
def _keys(values):  # type: ignore[no-untyped-def]
    """Unsigned integers in the order of the float32 values: their bits, negative ones flipped."""
    bits = values.view(np.int32)
    keys = np.empty(len(values), np.uint32)
    for i in range(len(values)):
        some = bits[i] if values[i] != 0 else np.int32(0)  # -0 is 0
        keys[i] = np.uint32(some) ^ (np.uint32(some >> 31) | _SIGN)
    return keys


@njit(cache=True)
def _bits(key):  # type: ignore[no-untyped-def]
    """The bits of the float32 value of a key."""
    return key ^ _SIGN if key & _SIGN else ~key


@njit(cache=True)
def nth_largest(values, n):  # type: ignore[no-untyped-def]
    """The n-th largest value: byte by byte, keep those that share the leading bytes with it."""
    keys = _keys(values)
    byte = np.uint32(255)
    seen = np.zeros(256, np.int64)
    for shift in (np.uint32(24), np.uint32(16), np.uint32(8), np.uint32(0)):
        for i in range(256):
            seen[i] = 0
        for key in keys:
            seen[(key >> shift) & byte] += 1
        digit = 255
        while n > seen[digit]:
            n -= seen[digit]
            digit -= 1
        kept = 0
        for key in keys:
            keys[kept] = key
            kept += ((key >> shift) & byte) == digit
        keys = keys[:kept]
    keys[0] = _bits(keys[0])
    return keys.view(np.float32)[0]


@njit(cache=True)
def shrink(values, tracks, count, n, slack):  # type: ignore[no-untyped-def]
    """Keep what may be among the best n; returns (kept, bar that others must reach).

    Without slack, of the tracks that tie with the n-th the first in the buffer are kept.
    """
    nth = nth_largest(values[:count], n)
    bar = np.float32(nth - slack)
    ties = 0
    if slack == 0:
        bar = np.nextafter(nth, np.float32(np.inf))
        ties = n
        for i in range(count):
            ties -= values[i] > nth
    kept = 0
    for i in range(count):
        tie = ties > 0 and values[i] == nth
        ties -= tie
        values[kept] = values[i]
        tracks[kept] = tracks[i]
        kept += values[i] >= bar or tie
    return kept, bar


@njit(cache=True)
def offer(scores, ids, n, slack, values, tracks, count, bar):  # type: ignore[no-untyped-def]
    """Put the tracks that reach the bar into a query's buffer; returns (count, bar).

    A count of -1 says that too many tracks are too close for the buffer.
    """
    for first in range(0, len(scores), CHUNK):
        some = scores[first : first + CHUNK]
        any_hit = False
        for j in range(len(some)):
            any_hit |= some[j] >= bar
        if not any_hit:
            continue
        if count + CHUNK >= len(values):
            count, bar = shrink(values, tracks, count, n, slack)
            if count + CHUNK >= len(values) - len(values) // 8:
                return -1, bar
        for j in range(len(some)):
            values[count] = some[j]
            tracks[count] = ids[first + j]
            count += some[j] >= bar
    return count, bar


@njit(cache=True)
def write_best(values, tracks, out_tracks, out_scores):  # type: ignore[no-untyped-def]
    """Write the best by score descending, then track; returns how many."""
    keys = _keys(values)
    pairs = np.empty(len(keys), np.uint64)
    for i in range(len(keys)):
        pairs[i] = (np.uint64(~keys[i]) << np.uint64(32)) | np.uint64(tracks[i])
    pairs.sort()
    m = min(len(pairs), len(out_tracks))
    out_bits = out_scores.view(np.uint32)
    for i in range(m):
        out_tracks[i] = np.int32(pairs[i] & np.uint64(0xFFFFFFFF))
        out_bits[i] = _bits(~np.uint32(pairs[i] >> np.uint64(32)))
    return m


@njit(cache=True)
def finish(query, vectors, bias, n, slack, values, tracks, count, out_tracks, out_scores):  # type: ignore[no-untyped-def]
    """Score the candidates of a query exactly and write the best; returns how many."""
    if count > n:
        count, _ = shrink(values, tracks, count, n, slack)
    if slack > 0:
        lanes = np.empty(LANES)
        for c in range(count):
            values[c] = dot_score(query, vectors[tracks[c]], bias[tracks[c]], lanes)
    return write_best(values[:count], tracks[:count], out_tracks, out_scores)
