"""Quality of ranked lists, one value a query.

R is the ranked list (distinct tracks, best first), G the truth, a set of tracks. Every metric is
undefined (NaN) for a query without truth; nothing is ever averaged here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from segue.errors import UsageError
from segue.numeric.arrays import Int32, Int64

Float64 = npt.NDArray[np.float64]

CLICK_WINDOW = 500
"""Tracks that a listener of the challenge looks through before giving up."""
CLICKS_NONE = 51
"""Clicks where the window holds no hit."""
ARTIST_CREDIT = 0.25
"""What the right artist is worth where the track is wrong."""

PLAIN = ("rprec", "rprec_artist", "rprec_artist_literal", "clicks")
"""Metrics without a cut-off, in the kernel's order."""
AT_CUTOFF = ("ndcg", "recall", "hr", "mrr", "map")
"""Metrics that are written ``name@K``, in the kernel's order."""
_BOUNDS = {"clicks": (0.0, float(CLICKS_NONE)), "delta_hr": (-1.0, 1.0)}
LESS_IS_BETTER = frozenset({"clicks", "rank_played", "skip_mrr"})


@njit(cache=True)
def _has(sorted_values, value):  # type: ignore[no-untyped-def]
    """Whether a sorted array holds a value."""
    at = np.searchsorted(sorted_values, value)
    return at < len(sorted_values) and sorted_values[at] == value


@njit(cache=True)
def _score(ranked, offsets, truth, artists, cutoffs, out):  # type: ignore[no-untyped-def]
    """Fill `out` (queries, 4 + 5 cutoffs) in the order of `PLAIN`, then `AT_CUTOFF` per cutoff.

    Returns the first query whose list or truth names a track twice, or one without an artist's
    number; -1 if there is none.
    """
    n = ranked.shape[1]
    size = len(artists)
    listed_in, right_in = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    hit = np.zeros(n, np.bool_)
    gains = 1.0 / np.log2(np.arange(n) + 2.0)
    ideal = np.zeros(n + 1)
    ideal[1:] = np.cumsum(gains)
    for q in range(len(ranked)):
        goal = truth[offsets[q] : offsets[q + 1]]
        for track in goal:
            if not 0 <= track < size or right_in[track] == q:
                return q
            right_in[track] = q
        count = 0
        while count < n and ranked[q, count] >= 0:
            track = ranked[q, count]
            if track >= size or listed_in[track] == q:
                return q
            listed_in[track] = q
            hit[count] = right_in[track] == q
            count += 1
        if len(goal) == 0:
            out[q] = np.nan
            continue

        # The first |G| tracks, in three readings.
        goal_artists = np.unique(artists[goal])
        listed = artists[ranked[q, : min(count, len(goal))]]
        hits = 0
        credits = 0
        credited = np.zeros(len(goal_artists), np.bool_)
        seen = np.zeros(len(goal_artists), np.bool_)
        for i in range(len(listed)):
            hits += hit[i]
            artist = listed[i]
            if artist < 0 or not _has(goal_artists, artist):
                continue
            a = np.searchsorted(goal_artists, artist)
            seen[a] = True
            if not hit[i] and not credited[a]:
                credited[a] = True
                credits += 1
        out[q, 0] = hits / len(goal)
        out[q, 1] = (hits + ARTIST_CREDIT * credits) / max(1, len(listed))
        out[q, 2] = (hits + ARTIST_CREDIT * seen.sum()) / len(goal)

        first = n  # of the hits
        for i in range(count):
            if hit[i]:
                first = i
                break
        out[q, 3] = first // 10 if first < min(n, CLICK_WINDOW) else CLICKS_NONE

        for c in range(len(cutoffs)):
            k = min(cutoffs[c], count)
            found = 0
            dcg = 0.0
            precisions = 0.0
            for i in range(k):
                if hit[i]:
                    found += 1
                    dcg += gains[i]
                    precisions += found / (i + 1)
            possible = min(len(goal), cutoffs[c])
            # A list shorter than the cut-off is measured against the full ideal all the same.
            best = ideal[min(possible, n)]
            for i in range(n, possible):
                best += 1.0 / np.log2(i + 2.0)
            at = 4 + 5 * c
            out[q, at] = dcg / best
            out[q, at + 1] = found / len(goal)
            out[q, at + 2] = found > 0
            out[q, at + 3] = 1.0 / (first + 1) if first < k else 0.0
            out[q, at + 4] = precisions / possible
    return -1


def ndcg(hits: npt.NDArray[np.bool_], relevant: npt.ArrayLike) -> Float64:
    """``ndcg@K`` of lists of which the hits are known. (queries,)

    Args:
        hits: which places of each list, best first, hold a right track. (queries, K)
        relevant: right tracks of each query. A query without any has 0. (queries,)
    """
    gains = 1 / np.log2(np.arange(hits.shape[1]) + 2.0)
    ideal = np.concatenate([[0], np.cumsum(gains)])
    best = ideal[np.minimum(np.asarray(relevant, np.int64), hits.shape[1])]
    found: Float64 = np.divide(hits @ gains, best, out=np.zeros(len(hits)), where=best > 0)
    return found


def _columns(metrics: Sequence[str]) -> tuple[list[int], list[int]]:
    """The cut-offs that are asked for, and the kernel's column of each metric."""
    parsed: list[tuple[str, int | None]] = []
    for metric in metrics:
        name, at, digits = metric.partition("@")
        if not at and name in PLAIN:
            parsed.append((name, None))
        elif name in AT_CUTOFF and digits.isdecimal() and int(digits) > 0:
            parsed.append((name, int(digits)))
        else:
            known = ", ".join([*PLAIN, *(f"{name}@K" for name in AT_CUTOFF)])
            raise UsageError(f"no metric is called {metric!r}", do=f"metrics are: {known}")
    cutoffs = sorted({k for _, k in parsed if k is not None})
    return cutoffs, [
        PLAIN.index(name)
        if k is None
        else len(PLAIN) + len(AT_CUTOFF) * cutoffs.index(k) + AT_CUTOFF.index(name)
        for name, k in parsed
    ]


def bounds_of(metric: str) -> tuple[float, float]:
    """The least and the largest value of a metric."""
    return _BOUNDS.get(metric.partition("@")[0], (0.0, 1.0))


def per_query(
    ranked: Int32,
    truth_offsets: Int64,
    truth: Int32,
    artists: Int32,
    metrics: Sequence[str],
) -> dict[str, Float64]:
    """Each metric of each query; NaN where the truth is empty.

    With ``i`` counted from 1, ``rel_i`` = 1 where the i-th track of R is in G, and sums that run
    over the first K tracks:

    - ``rprec``: hits in the first |G| / |G|.
    - ``rprec_artist``: walk the first |G|; a hit earns 1, else the artist of a track of G that
      has not been credited in this list earns 1/4; divided by min(|G|, |R|). The evaluator of
      Volkovs et al., "Two-stage Model for Automatic Playlist Continuation at Scale" (2018).
    - ``rprec_artist_literal``: (hits + |artists of the first |G| that are artists of G| / 4) / |G|,
      where a hit earns its artist too. Zamani et al., "An Analysis of Approaches Taken in the
      ACM RecSys Challenge 2018", the formula as it is printed.
    - ``clicks``: floor((rank of the first hit - 1) / 10); 51 where the first 500 hold none.
    - ``ndcg@K``: sum of rel_i / log2(i + 1), over the same sum with min(|G|, K) hits on top.
    - ``recall@K``: hits / |G|.
    - ``hr@K``: 1 where there is a hit.
    - ``mrr@K``: 1 / rank of the first hit, 0 where there is none.
    - ``map@K``: sum of rel_i * (hits in the first i) / i, over min(|G|, K).

    Args:
        ranked: distinct tracks, best first, padded with -1 at the end. (queries, n) int32
        truth_offsets, truth: distinct tracks of query q are
            ``truth[truth_offsets[q]:truth_offsets[q + 1]]``.
        artists: artist of every track that the lists or the truth name, -1 = unknown. (tracks,)
        metrics: names as above.

    Returns:
        (queries,) float64 for each metric.

    Raises:
        UsageError: a metric is not known; a list or a truth names a track twice, or one without a
            number in `artists`.
    """
    cutoffs, columns = _columns(metrics)
    out = np.empty((len(ranked), len(PLAIN) + len(AT_CUTOFF) * len(cutoffs)))
    ranked = np.ascontiguousarray(ranked, np.int32)
    offsets = np.asarray(truth_offsets, np.int64)
    wrong = _score(ranked, offsets, truth, artists, np.array(cutoffs, np.int64), out)
    if wrong >= 0:
        raise UsageError(
            "the list or the truth names a track twice, or one that `artists` lacks",
            where=f"query {wrong}",
            do="give each track once",
        )
    return {metric: out[:, column].copy() for metric, column in zip(metrics, columns, strict=True)}
