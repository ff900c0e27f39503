"""Dot products, and more for what the listener has played before.

    score(t) = u · v_t + past_weight · ln(1 + 8 plays(t))

plays(t) are those of the query's past, the late ones and what then followed what is played now
(`recency.habits`). The weight is found on validation; where it is 0, or a query has no past, only
the product is left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from segue.metrics.ranking import ndcg
from segue.models.base.recency import habits
from segue.models.base.scoring import EmbeddingModel
from segue.numeric.arrays import Float32, Int32, Int64
from segue.numeric.parallel import parallel
from segue.numeric.ragged import Ragged
from segue.queries import Queries, Query, Reason
from segue.retrieval.ranks import GivenScores, ranks_of_products
from segue.retrieval.select_kernels import write_best
from segue.retrieval.topk import Best, best_of_products

PAST_WEIGHT = 4.0
"""Weight of a past where nothing says which is best."""
_WEIGHTS = (PAST_WEIGHT, 8.0, 16.0, 2.0, 1.0, 0.5, 0.25, 0.0)
_PER_PLAY = 8


class Past(NamedTuple):
    """What each query's listener has played before, without repeats."""

    tracks: Ragged
    bonus: Float32
    """Added to the scores of `tracks`."""


class LongTermHistoryModel(EmbeddingModel):
    """A dot product with a bonus for tracks of the past; `config` has a `half_life`."""

    config: Any
    past_weight: float = 0.0

    @property
    def reads_past(self) -> bool:
        return self.past_weight > 0

    def weigh_past(self, queries: Queries, truth: Int32) -> None:
        """Take the weight with the best NDCG@10, of several the first of `_WEIGHTS`.

        Args:
            queries: of sessions that were not learned from.
            truth: the right track of each. (queries,)
        """

        def quality(weight: float) -> float:
            self.past_weight = weight
            return self.ndcg(queries, truth)

        self.past_weight = max(_WEIGHTS, key=quality)

    def ndcg(self, queries: Queries, truth: Int32) -> float:
        """Mean NDCG@10 where each query has one right track. truth: (queries,)"""
        slates = self.recommend(queries, 10)
        return float(ndcg(slates.tracks == truth[:, None], np.ones(len(truth), np.int64)).mean())

    def past_reasons(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """The past's part of the scores of `tracks`: none or one each."""
        if not self.past_weight:
            return [[] for _ in tracks]
        past = self._pasts(Queries.of([query]))
        own = dict(zip(past.tracks.values.tolist(), past.bonus.tolist(), strict=True))
        return [[Reason("track", t, own[t])] if t in own else [] for t in tracks.tolist()]

    def _pasts(self, queries: Queries) -> Past:
        tracks, plays = habits(
            queries.past_spans, queries.past, queries.liked(), self.config.half_life
        )
        bonus = self.past_weight * np.log1p(_PER_PLAY * plays)
        return Past(tracks, bonus.astype(np.float32))

    def top_n(self, queries: Queries, excluded: Ragged, n: int) -> Best:
        if not self.past_weight:
            return super().top_n(queries, excluded, n)
        past, vectors = self._pasts(queries), self.query_vectors(queries)
        best = best_of_products(vectors, self.vectors, self.bias, excluded, n)
        scores = self._products(vectors, past.tracks) + past.bonus
        tracks, banned = past.tracks.fixed(), excluded.fixed()
        _raise(tracks.offsets, tracks.values, scores, banned.offsets, banned.values, *best)
        return best

    def rank_of(self, queries: Queries, excluded: Ragged, targets: Ragged) -> Int64:
        if not self.past_weight:
            return super().rank_of(queries, excluded, targets)
        past, vectors = self._pasts(queries), self.query_vectors(queries)
        given = GivenScores(past.tracks, self._products(vectors, past.tracks) + past.bonus)
        return ranks_of_products(vectors, self.vectors, self.bias, excluded, targets, given)

    def score_candidates(self, queries: Queries, candidates: Ragged) -> Float32:
        values = super().score_candidates(queries, candidates)
        past = self._pasts(queries) if self.past_weight else None
        if past is None or not len(past.tracks.values):
            return values
        keys, past_keys = candidates.keys(), past.tracks.keys()
        at = np.minimum(np.searchsorted(past_keys, keys), len(past_keys) - 1)
        values += np.where(past_keys[at] == keys, past.bonus[at], np.float32(0))
        return values


@parallel(cache=True)
def _raise(ends, past, worth, offsets, excluded, tracks, scores, counts):  # type: ignore[no-untyped-def]
    """Give tracks of the past their scores in the lists of the best without them.

    Nothing of the past is worth less than without it: the best are among both, and what is below
    the last one listed is not among them.

    Args:
        ends, past, worth: tracks of each query's past, rising, and their scores.
        offsets, excluded: tracks that are not answered (`Queries.excluded`).
        tracks, scores, counts: as `best_of_products` gives them, changed.
    """
    for q in prange(len(tracks)):
        own, values = past[ends[q] : ends[q + 1]], worth[ends[q] : ends[q + 1]]
        listed, given = tracks[q, : counts[q]], scores[q, : counts[q]]
        if len(own) == 0 or len(listed) == 0:
            continue
        banned = excluded[offsets[q] : offsets[q + 1]]
        ids = np.empty(len(listed) + len(own), np.int32)
        amounts = np.empty(len(ids), np.float32)
        count = 0
        for i in range(len(listed)):
            at = np.searchsorted(own, listed[i])
            if at == len(own) or own[at] != listed[i]:
                ids[count], amounts[count] = listed[i], given[i]
                count += 1
        for i in range(len(own)):
            if values[i] >= given[-1]:
                at = np.searchsorted(banned, own[i])
                if at == len(banned) or banned[at] != own[i]:
                    ids[count], amounts[count] = own[i], values[i]
                    count += 1
        write_best(amounts[:count], ids[:count], listed, given)
