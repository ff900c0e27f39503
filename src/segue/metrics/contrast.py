"""Contrast of played and skipped tracks: AUC and paired ranks."""

from __future__ import annotations

import numpy as np
from numba import njit

from segue.metrics.ranking import Float64
from segue.numeric.arrays import Int32, Int64


def auc_of_ranks(places: Int64, among: Int32, offsets: Int64, truth: Int32) -> Float64:
    """Of rankings of the same tracks: the share of pairs of a right and a wrong one, right first.

    With places p of the g right tracks, from 0, among m: Σ (m - 1 - p) less the g (g - 1) / 2 pairs
    of two right ones, over g (m - g).

    Args:
        places: of each track in the ranking of each query; beyond all of them where it is not
            ranked. (queries, tracks)
        among: the tracks, rising. (tracks,)
        offsets, truth: as in `per_query`; tracks that are not ranked are in no pair.

    Returns:
        NaN where all or none of what is ranked is right. (queries,)
    """
    owners = np.repeat(np.arange(len(places)), np.diff(offsets))
    known = np.isin(truth, among)
    owners, right = owners[known], np.searchsorted(among, truth[known])
    size = (places < places.shape[1]).sum(axis=1)
    found = places[owners, right]
    ranked = found < places.shape[1]
    owners, found = owners[ranked], found[ranked]
    g = np.bincount(owners, minlength=len(places))
    after = np.bincount(owners, size[owners] - 1 - found, minlength=len(places))
    pairs = g * (size - g)
    with np.errstate(invalid="ignore"):
        return np.where(pairs > 0, (after - g * (g - 1) / 2) / pairs, np.nan)


@njit(cache=True)
def _contrast(offsets, played, against_offsets, against, size, k, out):  # type: ignore[no-untyped-def]
    """Fill `out` (queries, 7) in the order of `played_against_skipped`."""
    for q in range(len(out)):
        good = played[offsets[q] : offsets[q + 1]]
        bad = against[against_offsets[q] : against_offsets[q + 1]]
        above, pairs = 0.0, 0
        for p in good:
            for s in bad:
                if p >= 0 and s >= 0:
                    above += 1.0 if p < s else 0.5 if p == s else 0.0
                    pairs += 1
        out[q, 0] = above / pairs if pairs else np.nan
        hits = np.zeros(2)
        first = size + k  # of the negatives
        for side, places in enumerate((good, bad)):
            total, known = 0, 0
            for place in places:
                if place < 0:
                    continue
                total += place
                known += 1
                hits[side] += place < k
                if side == 1:
                    first = min(first, place)
            out[q, 1 + side] = total / known / size if known else np.nan
        out[q, 3] = 1.0 / (first + 1) if first < k else 0.0
        out[q, 4] = hits[0] > 0
        out[q, 5] = hits[0] / len(good) if len(good) else np.nan
        out[q, 6] = out[q, 5] - hits[1] / len(bad) if len(bad) else np.nan
        if len(good) == 0:
            out[q, 4] = np.nan
        if len(bad) == 0:
            out[q, 3] = np.nan


def played_against_skipped(
    offsets: Int64, played: Int64, against_offsets: Int64, against: Int64, size: int, k: int
) -> dict[str, Float64]:
    """How tracks that a session played later are ranked against those that it skipped later.

    With places from 0 in the complete ranking of the catalog, each NaN where it is not defined:

    - ``auc``: share of the pairs of a played and a skipped track in which the played one stands
      higher; 1/2 for two that stand equal.
    - ``rank_played``, ``rank_skipped``: mean place / size of the catalog.
    - ``skip_mrr@K``: 1 / rank of the highest skipped track, 0 where the first K have none.
    - ``hr@K``: 1 where one of the played is among the first K.
    - ``recall@K``: share of the played that is.
    - ``delta_hr@K``: ``recall@K`` minus the same of the skipped. Each later track counts as a
      question with one right answer, as in HR(positives) - HR(negatives) of Ivanova et al.,
      "Leveraging Negative Feedback in Sequential Recommendation" (PNFRec, 2025); so a ranking
      that is blind to skips has 0, however many of the one or the other a session has.

    Args:
        offsets, played: places of the played tracks of query q are
            ``played[offsets[q]:offsets[q + 1]]``; -1 for one that the catalog lacks, which has no
            rank and is never among the first K.
        against_offsets, against: of the skipped ones.
        size: of the catalog.
        k: K.

    Returns:
        (queries,) float64 for each metric.
    """
    out = np.empty((len(offsets) - 1, 7))
    _contrast(offsets, played, against_offsets, against, size, k, out)
    names = ("auc", "rank_played", "rank_skipped", "skip_mrr", "hr", "recall", "delta_hr")
    return {
        name if "auc" in name or "rank" in name else f"{name}@{k}": out[:, column].copy()
        for column, name in enumerate(names)
    }
