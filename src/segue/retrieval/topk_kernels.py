"""Kernels of `segue.retrieval.topk`: tiles of float32 scores, candidates, exact scores, order."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from segue.numeric.parallel import parallel
from segue.retrieval.score_kernels import LANES, LOWEST, dot_score
from segue.retrieval.select_kernels import finish, nth_largest, offer

TILE = 512
"""Tracks of a tile: 256 KB at 128 factors, which stay in the cache of a core."""
_PACK = 16  # tracks that are laid out side by side at once: floats of a cache line


@njit(fastmath={"contract"}, cache=True)
def _multiply(q0, q1, q2, q3, tile, bias, s0, s1, s2, s3):  # type: ignore[no-untyped-def]
    """Scores of four queries for a tile (factors, tracks); factors is a multiple of four.

    Sixteen multiply-adds for eight loads and four stores, in plain loops that compilers turn
    into the machine's widest vectors: as fast as a matrix product, and the scores stay in L1.
    """
    for j in range(tile.shape[1]):
        s0[j] = s1[j] = s2[j] = s3[j] = bias[j]
    for k in range(0, tile.shape[0] - tile.shape[0] % 4, 4):  # shown to be in bounds: 15 % faster
        t0, t1, t2, t3 = tile[k], tile[k + 1], tile[k + 2], tile[k + 3]
        a0, a1, a2, a3 = q0[k], q0[k + 1], q0[k + 2], q0[k + 3]
        b0, b1, b2, b3 = q1[k], q1[k + 1], q1[k + 2], q1[k + 3]
        c0, c1, c2, c3 = q2[k], q2[k + 1], q2[k + 2], q2[k + 3]
        d0, d1, d2, d3 = q3[k], q3[k + 1], q3[k + 2], q3[k + 3]
        for j in range(tile.shape[1]):
            v0, v1, v2, v3 = t0[j], t1[j], t2[j], t3[j]
            s0[j] = s0[j] + a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3
            s1[j] = s1[j] + b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3
            s2[j] = s2[j] + c0 * v0 + c1 * v1 + c2 * v2 + c3 * v3
            s3[j] = s3[j] + d0 * v0 + d1 * v1 + d2 * v2 + d3 * v3


@njit(fastmath={"reassoc", "contract"}, cache=True)
def near(a, b):  # type: ignore[no-untyped-def]
    """Float32 dot product, summed in the order that is fastest."""
    total = np.float32(0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@njit(fastmath={"reassoc", "contract"}, cache=True)
def _length(a):  # type: ignore[no-untyped-def]
    """Euclidean length, rounded up."""
    total = 0.0
    for k in range(len(a)):
        total += np.float64(a[k]) * np.float64(a[k])
    return np.sqrt(total) * (1 + 1e-9)


@parallel(cache=True)
def near_scores(queries, vectors, bias, lengths, scores):  # type: ignore[no-untyped-def]
    """One pass over the vectors: their lengths (tracks,), and scores (queries, tracks)."""
    for chunk in prange((len(vectors) + TILE - 1) // TILE):
        for t in range(chunk * TILE, min(len(vectors), (chunk + 1) * TILE)):
            lengths[t] = _length(vectors[t])
            for q in range(len(queries)):
                scores[q, t] = near(queries[q], vectors[t]) + bias[t]


@njit(cache=True)
def _end(vector, first, last):  # type: ignore[no-untyped-def]
    """Factors from the last `last` up to the last `first`, the latter left out."""
    return vector[len(vector) - last : len(vector) - first]


@parallel(cache=True, nogil=True)
def last_lengths(vectors, first, second, heads, lengths):  # type: ignore[no-untyped-def]
    """Lengths of the vectors, and of what they are without their last factors.

    heads: (tracks, 2) float32, rounded up; without `first` and without `second` factors.
    """
    for t in prange(len(vectors)):
        lengths[t] = _length(vectors[t])
        size = len(vectors[t])
        heads[t, 0] = np.float32(_length(vectors[t, : size - first]) * (1 + 1e-6))
        heads[t, 1] = np.float32(_length(vectors[t, : size - second]) * (1 + 1e-6))


@parallel(fastmath={"contract"}, cache=True, nogil=True)
def last_scores(queries, tiles, bias, scores):  # type: ignore[no-untyped-def]
    """Scores by the last factors alone, and the bias. (queries, tracks)

    queries: their last factors. tiles: those of the tracks. (tiles, factors, TILE)
    """
    for i in prange(len(tiles)):
        tile, first = tiles[i], i * TILE
        here = min(TILE, len(bias) - first)
        sums = np.empty(TILE, np.float32)
        for q in range(len(queries)):
            for j in range(TILE):
                sums[j] = 0
            for k in range(0, tile.shape[0], 4):
                a0, a1, a2, a3 = (
                    queries[q, k],
                    queries[q, k + 1],
                    queries[q, k + 2],
                    queries[q, k + 3],
                )
                t0, t1, t2, t3 = tile[k], tile[k + 1], tile[k + 2], tile[k + 3]
                for j in range(TILE):
                    sums[j] = sums[j] + a0 * t0[j] + a1 * t1[j] + a2 * t2[j] + a3 * t3[j]
            for j in range(here):
                scores[q, first + j] = sums[j] + bias[first + j]


@parallel(cache=True, nogil=True)
def reached(  # type: ignore[no-untyped-def]
    queries, vectors, scores, slack, offsets, excluded, ids, n, some, first, room, bars,
):  # fmt: skip
    """The bar of each query: what the n-th best of `some` promising tracks has, less the slack.

    scores: by the last `first` factors; those of excluded tracks become -inf.
    """
    for q in prange(len(queries)):
        bars[q] = LOWEST
        for e in range(offsets[q], offsets[q + 1]):
            scores[q, excluded[e]] = -np.inf
        values, tracks = np.empty(room, np.float32), np.empty(room, np.int32)
        count, _ = offer(scores[q], ids, some, 0.0, values, tracks, 0, LOWEST)
        if count >= n and slack[q] < np.inf:
            head = queries[q, : queries.shape[1] - first]
            for c in range(count):
                values[c] += near(head, vectors[tracks[c], : len(head)])
            bars[q] = np.float32(nth_largest(values[:count], n) - slack[q])


@parallel(cache=True, nogil=True)
def whole_scores(queries, reach, vectors, heads, bars, first, second, scores):  # type: ignore[no-untyped-def]
    """Complete scores of the tracks that may reach their query's bar; -inf for the others.

    A product is at most what the last factors give, and the product of the lengths of the rest.

    reach: lengths of the queries without their last `first` and `second` factors. (queries, 2)
    scores: by the last `first` factors.
    """
    for chunk in prange((len(vectors) + TILE - 1) // TILE):
        for q in range(len(queries)):
            query, bar = queries[q], bars[q]
            middle, head = _end(query, first, second), query[: len(query) - second]
            for t in range(chunk * TILE, min(len(vectors), (chunk + 1) * TILE)):
                score = scores[q, t]
                if score + reach[q, 0] * heads[t, 0] >= bar:
                    score += near(middle, _end(vectors[t], first, second))
                    if score + reach[q, 1] * heads[t, 1] >= bar:
                        scores[q, t] = score + near(head, vectors[t, : len(head)])
                        continue
                scores[q, t] = -np.inf


@parallel(cache=True)
def exact_scores(query, vectors, bias, scores):  # type: ignore[no-untyped-def]
    """The score of every track for one query. (tracks,)"""
    for chunk in prange((len(vectors) + TILE - 1) // TILE):
        lanes = np.empty(LANES)
        for t in range(chunk * TILE, min(len(vectors), (chunk + 1) * TILE)):
            scores[t] = dot_score(query, vectors[t], bias[t], lanes)


@parallel(cache=True)
def best_dense(  # type: ignore[no-untyped-def]
    queries, vectors, bias, scores, slack, offsets, excluded, ids, n, room,
    out_tracks, out_scores, out_counts,
):  # fmt: skip
    """The best n by `scores` (queries, tracks), which are exact where `slack` is 0."""
    for q in prange(len(scores)):
        values = np.empty(room, np.float32)
        tracks = np.empty(room, np.int32)
        for e in range(offsets[q], offsets[q + 1]):
            scores[q, excluded[e]] = -np.inf
        count = -1
        if slack[q] < np.inf:
            count, _ = offer(scores[q], ids, n, slack[q], values, tracks, 0, LOWEST)
        if count >= 0:
            count = finish(
                queries[q], vectors, bias, n, slack[q], values, tracks, count,
                out_tracks[q], out_scores[q],
            )  # fmt: skip
        out_counts[q] = count


@njit(cache=True)
def _pack(vectors, bias, lengths, some, size, tile, base):  # type: ignore[no-untyped-def]
    """Lay out the tracks `some` side by side; returns the longest length and the highest bias.

    The last tile is filled up with tracks whose score is -inf. (`size` are real.)
    """
    longest, highest = 0.0, -np.inf
    for j in range(TILE):
        t = some[j]
        base[j] = bias[t] if j < size else -np.inf
        longest = max(longest, lengths[t])
        highest = max(highest, np.float64(bias[t]))
    for j in range(0, TILE, _PACK):
        rows = some[j : j + _PACK]
        for k in range(vectors.shape[1]):
            for lane in range(_PACK):
                tile[k, j + lane] = vectors[rows[lane], k]
    return longest, highest


@parallel(cache=True)
def best_found(  # type: ignore[no-untyped-def]
    queries, padded, reach, slack, offsets, places,
    vectors, bias, lengths, order, tiles, bases, step, found, bars, n, values, tracks,
    out_tracks, out_scores, counts,
):  # fmt: skip
    """The best n of each query, by finding candidates first.

    Args:
        queries, padded: (queries, factors), and the same with factors up to a multiple of four.
        reach, slack: lengths of the queries, and what a bar lies below the n-th best score.
        offsets, places: where excluded tracks stand in `order`, sorted within a query.
        lengths, order: of the track vectors, and the order to visit them, up to a multiple of
            `TILE` (what is beyond the tracks is ignored).
        tiles, bases: room for some tiles. (tiles, factors, TILE), (tiles, TILE)
        step: queries that one thread takes through the tiles at a time.
        found: room for scores of a tile. (blocks of queries, 4, TILE)
        bars: the lowest float32 number, for each query.
        values, tracks: room for candidates. (queries, candidates)
        counts: 0, or -1 for queries to pass over; -1 afterwards for too many candidates, else
            how many were written.
    """
    at = offsets[:-1].copy()
    longest = np.zeros(len(tiles))
    highest = np.zeros(len(tiles))
    for start in range(0, len(order), len(tiles) * TILE):
        here = min(len(tiles), (len(order) - start) // TILE)
        for i in prange(here):
            first = start + i * TILE
            longest[i], highest[i] = _pack(
                vectors, bias, lengths, order[first : first + TILE], len(vectors) - first,
                tiles[i], bases[i],
            )  # fmt: skip
        for block in prange((len(queries) + step - 1) // step):
            live = np.empty(step + 3, np.int64)
            scores = found[block]
            s0, s1, s2, s3 = scores[0], scores[1], scores[2], scores[3]
            for i in range(here):
                first = start + i * TILE
                m = 0
                for q in range(block * step, min(len(queries), (block + 1) * step)):
                    limit = reach[q] * longest[i] + highest[i] + slack[q]
                    if counts[q] >= 0 and limit >= bars[q]:
                        live[m] = q
                        m += 1
                for beyond in range(m, m + 3):
                    live[beyond] = live[max(m - 1, 0)]
                for four in range(0, m, 4):
                    _multiply(
                        padded[live[four]], padded[live[four + 1]],
                        padded[live[four + 2]], padded[live[four + 3]],
                        tiles[i], bases[i], s0, s1, s2, s3,
                    )  # fmt: skip
                    for row in range(min(4, m - four)):
                        q = live[four + row]
                        while at[q] < offsets[q + 1] and places[at[q]] < first + TILE:
                            if places[at[q]] >= first:
                                scores[row, places[at[q]] - first] = -np.inf
                            at[q] += 1
                        counts[q], bars[q] = offer(
                            scores[row], order[first:], n, slack[q],
                            values[q], tracks[q], counts[q], bars[q],
                        )  # fmt: skip
    for q in prange(len(queries)):
        if counts[q] >= 0:
            counts[q] = finish(
                queries[q], vectors, bias, n, slack[q], values[q], tracks[q], counts[q],
                out_tracks[q], out_scores[q],
            )  # fmt: skip
