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

from segue.models.base.recency import habits
from segue.models.base.scoring import EmbeddingModel
from segue.numeric.arrays import Float32, Int32, Int64, fixed
from segue.numeric.parallel import parallel
from segue.numeric.ragged import Ragged
from segue.queries import Queries, Query, Reason
from segue.retrieval.ranks import Targets, ranks_of_products
from segue.retrieval.select_kernels import write_best
from segue.retrieval.topk import Best, best_of_products

PAST_WEIGHT = 4.0
"""Weight of a past where nothing says which is best."""
_WEIGHTS = (PAST_WEIGHT, 8.0, 16.0, 2.0, 1.0, 0.5, 0.25, 0.0)
_PER_PLAY = 8


class Past(NamedTuple):
    """What each query's listener has played before, without repeats."""

    offsets: Int64
    tracks: Int32
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
        hit = slates.tracks == truth[:, None]
        return float(np.where(hit.any(axis=1), 1 / np.log2(hit.argmax(axis=1) + 2.0), 0.0).mean())

    def past_reasons(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """The past's part of the scores of `tracks`: none or one each."""
        if not self.past_weight:
            return [[] for _ in tracks]
        past = self._pasts(Queries.of([query]))
        own = dict(zip(past.tracks.tolist(), past.bonus.tolist(), strict=True))
        return [[Reason("track", t, own[t])] if t in own else [] for t in tracks.tolist()]

    def _pasts(self, queries: Queries) -> Past:
        offsets, tracks, plays = habits(
            queries.past_spans, queries.past, *queries.liked(), self.config.half_life
        )
        bonus = self.past_weight * np.log1p(_PER_PLAY * plays)
        return Past(offsets, tracks, bonus.astype(np.float32))

    def top_n(self, queries: Queries, offsets: Int64, excluded: Int32, n: int) -> Best:
        if not self.past_weight:
            return super().top_n(queries, offsets, excluded, n)
        past, vectors = self._pasts(queries), self.query_vectors(queries)
        best = best_of_products(vectors, self.vectors, self.bias, offsets, excluded, n)
        scores = self._products(vectors, past.offsets, past.tracks) + past.bonus
        _raise(
            *(fixed(past.offsets, np.int64), fixed(past.tracks, np.int32), scores),
            *(fixed(offsets, np.int64), fixed(excluded, np.int32), *best),
        )
        return best

    def rank_of(
        self,
        queries: Queries,
        excluded_offsets: Int64,
        excluded: Int32,
        offsets: Int64,
        tracks: Int32,
    ) -> Int64:
        if not self.past_weight:
            return super().rank_of(queries, excluded_offsets, excluded, offsets, tracks)
        past, vectors = self._pasts(queries), self.query_vectors(queries)
        scores = self._products(vectors, past.offsets, past.tracks) + past.bonus
        given = Targets(past.offsets, past.tracks, scores)
        return ranks_of_products(
            *(vectors, self.vectors, self.bias, excluded_offsets, excluded, offsets, tracks, given)
        )

    def score_candidates(self, queries: Queries, offsets: Int64, tracks: Int32) -> Float32:
        values = super().score_candidates(queries, offsets, tracks)
        past = self._pasts(queries) if self.past_weight else None
        if past is None or not len(past.tracks):
            return values
        wanted, own = Ragged(offsets, tracks).keys(), Ragged(past.offsets, past.tracks).keys()
        at = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
        values += np.where(own[at] == wanted, past.bonus[at], np.float32(0))
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
