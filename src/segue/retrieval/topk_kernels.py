"""Kernels of `segue.retrieval.topk`: tiles of float32 scores, candidates, exact scores, order."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from segue.numeric.parallel import parallel

TILE = 512
"""Tracks of a tile: 256 KB at 128 factors, which stay in the cache of a core."""
CHUNK = 64
"""Scores that are compared with a bar at once."""
_LANES = 32
_PACK = 16  # tracks that are laid out side by side at once: floats of a cache line
LOWEST = np.float32(np.finfo(np.float32).min)
_HIGHEST = np.float32(np.finfo(np.float32).max)
_SIGN = np.uint32(1 << 31)


@njit(cache=True)
def dot_score(a, b, bias, lanes):  # type: ignore[no-untyped-def]
    """The score: dot product of two float32 vectors plus bias, rounded to float32 once.

    Products of float32 are exact in float64 and the order of the sum is fixed by this code, so
    the result does not depend on the machine. Beyond float32 it is the largest finite number.
    """
    whole = len(a) - len(a) % _LANES
    for lane in range(_LANES):
        lanes[lane] = 0.0
    for k in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] += np.float64(a[k + lane]) * np.float64(b[k + lane])
    for k in range(whole, len(a)):
        lanes[k - whole] += np.float64(a[k]) * np.float64(b[k])
    half = _LANES // 2
    while half > 0:
        for lane in range(half):
            lanes[lane] += lanes[lane + half]
        half //= 2
    return np.float32(min(max(lanes[0] + np.float64(bias), LOWEST), _HIGHEST))


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
def _nth(values, n):  # type: ignore[no-untyped-def]
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
def _shrink(values, tracks, count, n, slack):  # type: ignore[no-untyped-def]
    """Keep what may be among the best n; returns (kept, bar that others must reach).

    Without slack, of the tracks that tie with the n-th the first in the buffer are kept.
    """
    nth = _nth(values[:count], n)
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
def _offer(scores, ids, n, slack, values, tracks, count, bar):  # type: ignore[no-untyped-def]
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
            count, bar = _shrink(values, tracks, count, n, slack)
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
def _finish(query, vectors, bias, n, slack, values, tracks, count, out_tracks, out_scores):  # type: ignore[no-untyped-def]
    """Score the candidates of a query exactly and write the best; returns how many."""
    if count > n:
        count, _ = _shrink(values, tracks, count, n, slack)
    if slack > 0:
        lanes = np.empty(_LANES)
        for c in range(count):
            values[c] = dot_score(query, vectors[tracks[c]], bias[tracks[c]], lanes)
    return write_best(values[:count], tracks[:count], out_tracks, out_scores)


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
        count, _ = _offer(scores[q], ids, some, 0.0, values, tracks, 0, LOWEST)
        if count >= n and slack[q] < np.inf:
            head = queries[q, : queries.shape[1] - first]
            for c in range(count):
                values[c] += near(head, vectors[tracks[c], : len(head)])
            bars[q] = np.float32(_nth(values[:count], n) - slack[q])


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
        lanes = np.empty(_LANES)
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
            count, _ = _offer(scores[q], ids, n, slack[q], values, tracks, 0, LOWEST)
        if count >= 0:
            count = _finish(
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
                        counts[q], bars[q] = _offer(
                            scores[row], order[first:], n, slack[q],
                            values[q], tracks[q], counts[q], bars[q],
                        )  # fmt: skip
    for q in prange(len(queries)):
        if counts[q] >= 0:
            counts[q] = _finish(
                queries[q], vectors, bias, n, slack[q], values[q], tracks[q], counts[q],
                out_tracks[q], out_scores[q],
            )  # fmt: skip
