"""The best n of a catalog, exactly and in total order: score descending, then track index.

A float32 product is fast, but its last bits depend on how it is summed, and an order that depends
on the batch, the threads or the library is not allowed here. So a product only *finds*
candidates: all tracks that could be among the best n within the product's error bound. Their
scores are then computed one by one in a fixed order of operations in float64 and rounded to
float32 once. The answer is the same for a batch as for a single query.

Finding is one pass over tiles of tracks that stay in the cache. A query's bar is the score that a
track must reach to matter, given the tracks seen so far. Tracks are visited from the longest
vector to the shortest, so bars rise early, and a tile is skipped when even a vector that points
the query's way could not reach the bar (Cauchy-Schwarz).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from segue.numeric.arrays import fixed
from segue.numeric.ragged import Ragged
from segue.retrieval.score_kernels import CHUNK, LOWEST
from segue.retrieval.topk_kernels import (
    TILE,
    best_dense,
    best_found,
    exact_scores,
    last_lengths,
    last_scores,
    near_scores,
    reached,
    whole_scores,
)

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Best = tuple[Int32, Float32, Int64]

_TILE_BYTES = 16 << 20  # tiles that are laid out at a time
_BUFFER_BYTES = 64 << 20  # candidates of the queries that are ranked at a time
_DENSE_BYTES = 16 << 20  # scores of whole catalogs that are held at a time
_BLOCK = 64  # queries that one thread takes through the tiles at a time
_FEW_QUERIES = 32  # from here on, laying out tiles pays
_FIRST, _SECOND = 64, 192  # last factors that are looked at first, and next
_PROMISING = 4  # times n tracks whose complete scores make a bar
_SHORT = 100  # tracks of a list that an index is of use for


class Index(NamedTuple):
    """What is laid out once for vectors whose last factors hold most of their length.

    Few queries then need few factors of most tracks: see `whole_scores`.
    """

    tiles: Float32
    """The last factors of the tracks. (tiles, `_FIRST`, `TILE`)"""
    heads: Float32
    """Lengths of the vectors without their last `_FIRST` and `_SECOND` factors. (tracks, 2)"""
    lengths: Float64
    """Of the vectors. (tracks,)"""

    @classmethod
    def of(cls, vectors: Float32) -> Index | None:
        """The index of vectors (tracks, factors); None where they have few factors."""
        size, factors = vectors.shape
        if factors < _SECOND + _FIRST or not size:
            return None
        heads, lengths = np.empty((size, 2), np.float32), np.empty(size)
        last_lengths(fixed(vectors, np.float32), _FIRST, _SECOND, heads, lengths)
        tiles = _aligned(-(-size // TILE), _FIRST, TILE)
        for i, tile in enumerate(tiles):
            some = vectors[i * TILE : (i + 1) * TILE, -_FIRST:]
            tile[:, : len(some)] = some.T
        return cls(tiles, heads, lengths)


def best_of_scores(scores: Float32, excluded: Ragged, n: int) -> Best:
    """The best n tracks of dense scores.

    Args:
        scores: (queries, tracks) float32, finite. Changed: excluded tracks become -inf.
        excluded: tracks not to answer, sorted within a query (`Queries.excluded`).
        n: how many.

    Returns:
        tracks (queries, n) int32 padded with -1, scores (queries, n) padded with NaN, counts.
    """
    n = min(n, scores.shape[1])
    out = _outputs(len(scores), n)
    if n:
        nothing = fixed(np.empty((len(scores), 0)), np.float32)
        exact = np.zeros(len(scores))
        _dense(nothing, nothing, nothing.ravel(), scores, exact, excluded, n, out)
    return out


def best_of_products(
    queries: Float32,
    vectors: Float32,
    bias: Float32,
    excluded: Ragged,
    n: int,
    index: Index | None = None,
) -> Best:
    """The best n tracks by ``queries @ vectors.T + bias``, exact and independent of the batch.

    A score is summed in float64 and rounded to float32 once; beyond float32 it is the largest
    finite number. Memory besides inputs and outputs is 0.1 GB, and 30 bytes for each track and
    4 for each entry of `queries` and `excluded`, while n is below 10,000.

    Args:
        queries: (queries, factors) float32, finite.
        vectors: (tracks, factors) float32, finite.
        bias: (tracks,) float32, finite.
        excluded, n, returns: as in `best_of_scores`.
        index: of the vectors; it changes nothing but the time.
    """
    size, factors = vectors.shape
    n = min(n, size)
    out = _outputs(len(queries), n)
    if not n:
        return out
    queries, vectors = fixed(queries, np.float32), fixed(vectors, np.float32)
    bias = fixed(bias, np.float32)
    reach = _lengths(queries)
    lengths = np.empty(size) if index is None else index.lengths
    few = len(queries) < _FEW_QUERIES
    if few and index is not None and n <= _SHORT and _room(_PROMISING * n, size) < size:
        slack = _slack(reach, lengths, bias, factors)
        _look(queries, vectors, bias, index, slack, excluded, n, out)
    elif not few and _room(n, size) < size and factors:
        near_scores(queries[:0], vectors, bias, lengths, np.empty((0, size), np.float32))
        slack = _slack(reach, lengths, bias, factors)
        _find(queries, vectors, bias, slack, lengths, excluded, n, out)
    else:
        for rows in _steps(len(queries), _DENSE_BYTES // (4 * size)):
            scores = np.empty((rows.stop - rows.start, size), np.float32)
            near_scores(queries[rows], vectors, bias, lengths, scores)
            slack = _slack(reach[rows], lengths, bias, factors)
            part = (out[0][rows], out[1][rows], out[2][rows])
            _dense(queries[rows], vectors, bias, scores, slack, excluded[rows], n, part)
    for q in np.flatnonzero(out[2] < 0):  # too many candidates, or too large for float32
        scores = np.empty((1, size), np.float32)
        exact_scores(queries[q], vectors, bias, scores[0])
        one = best_of_scores(scores, excluded[q : q + 1], n)
        out[0][q], out[1][q], out[2][q] = one[0][0], one[1][0], one[2][0]
    return out


def error_bound(queries: Float32, vectors: Float32, bias: Float32) -> Float64:
    """`_slack` of each query for ``queries @ vectors.T + bias``, summed in any order. (queries,)"""
    queries, vectors = fixed(queries, np.float32), fixed(vectors, np.float32)
    bias, lengths = fixed(bias, np.float32), np.zeros(len(vectors))
    near_scores(queries[:0], vectors, bias, lengths, np.empty((0, len(vectors)), np.float32))
    return _slack(_lengths(queries), lengths, bias, vectors.shape[1])


def _lengths(queries: Float32) -> Float64:
    """Euclidean lengths, rounded up."""
    squares: Float64 = np.square(queries, dtype=np.float64).sum(axis=1)
    return np.sqrt(squares) * (1 + 1e-9)


def _slack(reach: Float64, lengths: Float64, bias: Float32, factors: int) -> Float64:
    """How far below the n-th best score found, p, the bar must lie; inf where float32 fails.

    Let u = 2^-24, M = |q| L + B with the longest track vector L and the largest |bias| B, f the
    factors and g = (f + 1) u / (1 - (f + 1) u).

    - A float32 sum of f products and a bias, in any order and with or without fused operations,
      rounds each term at most f + 1 times, so it errs by at most g (sum_k |q_k v_k| + |b|) <= g M
      (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1, and
      Cauchy-Schwarz). Results below the normal range add at most 2^-126 for each of the 2 f + 1
      operations, even where the processor flushes them to zero.
    - The exact score is rounded to float32 once: u M, and 2^-126. (Its float64 sum errs 2^-29
      times less than the float32 one; the factor 1.001 below covers it and the rounding of M.)
    - So a found score and the score differ by at most E = (g + u) M + (2 f + 2) 2^-126. At least
      n tracks have a score of p - E or more, and a track found below p - 2 E has a lower one.
    - The bar itself is rounded to float32: another u M, and 2^-126.

    With M <= 1e38 no partial sum of any order leaves float32. A tile may be skipped when no found
    score in it can reach the bar: they are at most |q| L' + B' + E with L' and B' of the tile.
    """
    unit = 2.0**-24
    g = (factors + 1) * unit / (1 - (factors + 1) * unit)
    most = reach * lengths.max() + float(np.abs(bias).max())
    slack = 1.001 * (2 * g + 3 * unit) * most + (4 * factors + 5) * 2.0**-126
    return np.where(most < 1e38, slack, np.inf)


def _look(
    queries: Float32,
    vectors: Float32,
    bias: Float32,
    index: Index,
    slack: Float64,
    excluded: Ragged,
    n: int,
    out: Best,
) -> None:
    """Rank few queries: most tracks by their last factors alone.

    What the last factors give is rounded less often than `_slack` allows for, and what it leaves
    (31 u M and more) covers the rounding of the bound itself.
    """
    size, factors = vectors.shape
    ids = np.arange(size, dtype=np.int32)
    some = min(_PROMISING * n, size)
    for rows in _steps(len(queries), _DENSE_BYTES // (4 * size)):
        asked, banned = queries[rows], excluded[rows].fixed()
        scores = np.empty((len(asked), size), np.float32)
        last = fixed(asked[:, factors - _FIRST :], np.float32)
        last_scores(last, index.tiles, bias, scores)
        bars = np.empty(len(asked), np.float32)
        reached(
            asked,
            vectors,
            scores,
            slack[rows],
            banned.offsets,
            banned.values,
            ids,
            n,
            some,
            _FIRST,
            _room(some, size),
            bars,
        )
        reach = np.stack(
            [_lengths(asked[:, : factors - width]) for width in (_FIRST, _SECOND)], axis=1
        ).astype(np.float32) * np.float32(1 + 1e-6)
        whole_scores(asked, reach, vectors, index.heads, bars, _FIRST, _SECOND, scores)
        part = (out[0][rows], out[1][rows], out[2][rows])
        _dense(asked, vectors, bias, scores, slack[rows], banned, n, part)


def _find(
    queries: Float32,
    vectors: Float32,
    bias: Float32,
    slack: Float64,
    lengths: Float64,
    excluded: Ragged,
    n: int,
    out: Best,
) -> None:
    """Rank many queries: tracks in tiles, by falling length."""
    size, factors = vectors.shape
    reach = _lengths(queries)
    order = np.argsort(-(lengths * reach.mean() + bias)).astype(np.int32)
    place = np.empty(size, np.int64)
    place[order] = np.arange(size)
    order = np.concatenate([order, np.repeat(order[-1:], -size % TILE)])
    padded = np.zeros((len(queries), factors + -factors % 4), np.float32)
    padded[:, :factors] = queries
    count = max(1, min(_TILE_BYTES // (4 * TILE * factors), len(order) // TILE))
    tiles, bases = _aligned(count, padded.shape[1], TILE), _aligned(count, TILE)
    out[2][slack == np.inf] = -1
    room = _room(n, size)
    for rows in _steps(len(queries), max(_BLOCK, _BUFFER_BYTES // (8 * room))):
        width = rows.stop - rows.start
        step = min(_BLOCK, 4 * -(-width // (4 * get_num_threads())))
        banned = excluded[rows]
        # Sorted by query, then by place in the order.
        places = banned.owners() * size + place[banned.values]
        places.sort()
        places %= size
        best_found(
            queries[rows],
            padded[rows],
            reach[rows],
            slack[rows],
            banned.offsets,
            places,
            vectors,
            bias,
            lengths,
            order,
            tiles,
            bases,
            step,
            _aligned(-(-width // step), 4, TILE),
            np.full(width, LOWEST),
            n,
            np.empty((width, room), np.float32),
            np.empty((width, room), np.int32),
            out[0][rows],
            out[1][rows],
            out[2][rows],
        )


def _dense(
    queries: Float32,
    vectors: Float32,
    bias: Float32,
    scores: Float32,
    slack: Float64,
    excluded: Ragged,
    n: int,
    out: Best,
) -> None:
    size = scores.shape[1]
    ids = np.arange(size, dtype=np.int32)
    room = _room(n, size)
    banned = excluded.fixed()
    exclusion = (banned.offsets, banned.values)
    best_dense(queries, vectors, bias, scores, slack, *exclusion, ids, n, room, *out)


def _room(n: int, tracks: int) -> int:
    """Length of a buffer of candidates."""
    return min(3 * n + 1024, tracks + 2 * CHUNK)


def _steps(total: int, step: int) -> Iterator[slice]:
    for start in range(0, total, max(1, step)):
        yield slice(start, min(start + max(1, step), total))


def _outputs(queries: int, n: int) -> Best:
    return (
        np.full((queries, n), -1, np.int32),
        np.full((queries, n), np.nan, np.float32),
        np.zeros(queries, np.int64),
    )


def _aligned(*shape: int) -> Float32:
    """Zeros that start at a cache line: loads of whole vectors are a third faster."""
    size = int(np.prod(shape))
    raw = np.zeros(size + 15, np.float32)
    first = -(raw.ctypes.data // 4) % 16
    return raw[first : first + size].reshape(shape)
