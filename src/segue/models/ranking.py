"""The best n of a catalog, exactly and in total order: score descending, then track index.

Dot products of a whole catalog are fast as matrix products, whose last bits depend on the shape
of the batch, the number of threads and the library. An order that depends on the batch is not
allowed here, so a product only *finds* candidates: everything that could be among the best n
within the product's error bound. Their scores are then computed one by one in a fixed order of
operations in float64. The answer is the same for a batch as for a single query.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit, prange

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

_TILE_TRACKS = 4096
_TILE_QUERIES = 256
_LANES = 16


@njit(inline="always")
def _dot(a, b):  # type: ignore[no-untyped-def]
    """Dot product of two float32 vectors in float64, in an order fixed by the code."""
    lanes = np.zeros(_LANES)
    n = len(a)
    whole = n - n % _LANES
    for k in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] += np.float64(a[k + lane]) * np.float64(b[k + lane])
    total = 0.0
    for lane in range(_LANES):
        total += lanes[lane]
    for k in range(whole, n):
        total += np.float64(a[k]) * np.float64(b[k])
    return total


@njit(cache=True)
def _shrink(values, tracks, count, n, slack):  # type: ignore[no-untyped-def]
    """Keep what may be among the best n; returns (kept, bar below which nothing can be)."""
    nth = np.partition(values[:count], count - n)[count - n]
    bar = nth - slack
    kept = 0
    if slack > 0:
        for i in range(count):
            if values[i] >= bar:
                values[kept] = values[i]
                tracks[kept] = tracks[i]
                kept += 1
        return kept, bar
    above = 0
    for i in range(count):
        if values[i] > nth:
            above += 1
    ties = n - above  # the first ones in track order, which is the order of the buffer
    for i in range(count):
        tie = values[i] == nth
        if values[i] > nth or (tie and ties > 0):
            if tie:
                ties -= 1
            values[kept] = values[i]
            tracks[kept] = tracks[i]
            kept += 1
    return kept, nth


@njit(parallel=True, cache=True)
def _scan(tile, first, offsets, excluded, at, n, slack, values, tracks, counts, bars):  # type: ignore[no-untyped-def]
    """Offer the scores of one tile of tracks (queries, tile) to every query's buffer.

    `at` walks through the excluded tracks; a count of -1 marks a buffer that overflowed.
    """
    width = tile.shape[1]
    room = values.shape[1]
    for q in prange(tile.shape[0]):
        row = tile[q]
        e = at[q]
        while e < offsets[q + 1] and excluded[e] < first + width:
            row[excluded[e] - first] = -np.inf
            e += 1
        at[q] = e
        count = counts[q]
        bar = bars[q]
        if count < 0:
            continue
        full = slack[q] > 0
        for t in range(width):
            score = row[t]
            # With no slack a tie with the bar comes later in track order, so it loses.
            if score > bar or (full and score == bar):
                if score == -np.inf:
                    continue
                if count == room:
                    count, bar = _shrink(values[q], tracks[q], count, n, slack[q])
                    if count > room - room // 8:
                        count = -1
                        break
                    if score < bar or (score == bar and not full):
                        continue
                values[q, count] = score
                tracks[q, count] = first + t
                count += 1
        counts[q] = count
        bars[q] = bar


@njit(parallel=True, cache=True)
def _finish(values, tracks, counts, n, out_tracks, out_scores, out_counts):  # type: ignore[no-untyped-def]
    """Sort each buffer by score descending, then track, and hand out the best n."""
    for q in prange(len(counts)):
        count = counts[q]
        if count < 0:
            continue
        some = tracks[q, :count]
        by_track = np.argsort(some)
        score = values[q, :count][by_track]
        some = some[by_track]
        order = np.argsort(-score, kind="mergesort")
        m = min(n, count)
        for i in range(m):
            out_tracks[q, i] = some[order[i]]
            out_scores[q, i] = score[order[i]]
        out_counts[q] = m


@njit(parallel=True, cache=True)
def _rescore(queries, vectors, bias, values, tracks, counts):  # type: ignore[no-untyped-def]
    """Replace the candidates' scores by their exact ones."""
    for q in prange(len(counts)):
        for i in range(counts[q]):
            t = tracks[q, i]
            values[q, i] = _dot(queries[q], vectors[t]) + bias[t]


@njit(parallel=True, cache=True)
def _score_all(queries, vectors, bias, out):  # type: ignore[no-untyped-def]
    for t in prange(len(vectors)):
        for q in range(len(queries)):
            out[q, t] = _dot(queries[q], vectors[t]) + bias[t]


class _Best:
    """Buffers of candidates for a block of queries."""

    def __init__(self, offsets: Int64, excluded: Int32, n: int, slack: Float32) -> None:
        q = len(offsets) - 1
        self.n, self.slack = n, slack
        self.offsets, self.excluded, self.at = offsets, excluded, offsets[:-1].copy()
        room = 3 * n + 1024
        self.values = np.empty((q, room), np.float32)
        self.tracks = np.empty((q, room), np.int32)
        self.counts = np.zeros(q, np.int64)
        self.bars = np.full(q, -np.inf, np.float32)

    def offer(self, tile: Float32, first: int) -> None:
        _scan(
            tile, first, self.offsets, self.excluded, self.at, self.n, self.slack,
            self.values, self.tracks, self.counts, self.bars,
        )  # fmt: skip

    def finish(self, tracks: Int32, scores: Float32, counts: Int64) -> None:
        _finish(self.values, self.tracks, self.counts, self.n, tracks, scores, counts)


def _outputs(queries: int, n: int) -> tuple[Int32, Float32, Int64]:
    return (
        np.full((queries, n), -1, np.int32),
        np.full((queries, n), np.nan, np.float32),
        np.zeros(queries, np.int64),
    )


def best_of_scores(
    scores: Float32, offsets: Int64, excluded: Int32, n: int
) -> tuple[Int32, Float32, Int64]:
    """The best n tracks of dense scores.

    Args:
        scores: (queries, tracks) float32, finite. Changed: excluded tracks become -inf.
        offsets, excluded: tracks not to answer, sorted within a query (`Queries.excluded`).
        n: how many.

    Returns:
        tracks (queries, n) int32 padded with -1, scores (queries, n) padded with NaN, counts.
    """
    n = min(n, scores.shape[1])
    out = _outputs(len(scores), n)
    if n:
        best = _Best(offsets, excluded, n, np.zeros(len(scores), np.float32))
        best.offer(scores, 0)
        best.finish(*out)
    return out


def best_of_products(
    queries: Float32,
    vectors: Float32,
    bias: Float32,
    offsets: Int64,
    excluded: Int32,
    n: int,
) -> tuple[Int32, Float32, Int64]:
    """The best n tracks by ``queries @ vectors.T + bias``, exact and independent of the batch.

    Args:
        queries: (queries, factors) float32.
        vectors: (tracks, factors) float32.
        bias: (tracks,) float32.
        offsets, excluded, n, returns: as in `best_of_scores`.
    """
    n = min(n, len(vectors))
    tracks, scores, counts = _outputs(len(queries), n)
    if not n:
        return tracks, scores, counts
    factors = vectors.shape[1]
    longest = float(np.sqrt(np.einsum("tf,tf->t", vectors, vectors).max(initial=0.0)))
    highest = float(np.abs(bias).max(initial=0.0))
    # A float32 dot product errs by at most about factors * 2^-24 * |q| |v|; twice that on each
    # of the two scores that a comparison is between.
    lengths = np.sqrt(np.einsum("qf,qf->q", queries, queries))
    unit = np.float32(2.0**-24)
    slack = (4 * (factors + 2) * unit * (lengths * longest + highest)).astype(np.float32)
    slack += np.float32(1e-30)
    for start in range(0, len(queries), _TILE_QUERIES):
        rows = slice(start, min(start + _TILE_QUERIES, len(queries)))
        base = offsets[rows.start]
        best = _Best(
            offsets[rows.start : rows.stop + 1] - base,
            excluded[base : offsets[rows.stop]],
            n,
            slack[rows],
        )
        block = np.ascontiguousarray(queries[rows])
        for first in range(0, len(vectors), _TILE_TRACKS):
            tile = block @ vectors[first : first + _TILE_TRACKS].T
            tile += bias[first : first + _TILE_TRACKS]
            best.offer(tile, first)
        _rescore(block, vectors, bias, best.values, best.tracks, best.counts)
        best.finish(tracks[rows], scores[rows], counts[rows])
        for q in np.flatnonzero(best.counts < 0) + start:  # too many near-ties for the buffer
            dense = np.empty((1, len(vectors)), np.float32)
            _score_all(queries[q : q + 1], vectors, bias, dense)
            some = offsets[q : q + 2] - offsets[q]
            banned = excluded[offsets[q] : offsets[q + 1]]
            tracks[q], scores[q], counts[q] = (
                part[0] for part in best_of_scores(dense, some, banned, n)
            )
    return tracks, scores, counts
