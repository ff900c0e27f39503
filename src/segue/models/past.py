"""Dot products, and more for what the listener has played before.

    score(t) = u · v_t + past_weight · ln(1 + 8 plays(t))

plays(t) are those of the query's past, the late ones and what then followed what is played now
(`recency.habits`). The weight is found on validation; where it is 0, or a query has no past, only
the product is left.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from segue.answers import Float32, Int32, Int64, Queries, Query, Reason
from segue.models.placing import places_of_scores
from segue.models.ranking import Best, best_of_products
from segue.models.ranking_kernels import exact_scores
from segue.models.recency import habits
from segue.models.scoring import DotRecommender
from segue.runs import offsets_of

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


class PastRecommender(DotRecommender):
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
        ends, heard = queries.liked()
        own = [
            habits(queries.past[first:last], heard[ends[q] : ends[q + 1]], self.config.half_life)
            for q, (first, last) in enumerate(queries.past_spans)
        ]
        plays = np.concatenate([np.zeros(0), *(some for _, some in own)])
        return Past(
            offsets_of([len(tracks) for tracks, _ in own]),
            np.concatenate([np.zeros(0, np.int32), *(tracks for tracks, _ in own)]),
            (self.past_weight * np.log1p(_PER_PLAY * plays)).astype(np.float32),
        )

    def _best(self, queries: Queries, offsets: Int64, excluded: Int32, n: int) -> Best:
        if not self.past_weight:
            return super()._best(queries, offsets, excluded, n)
        past, vectors = self._pasts(queries), self.query_vectors(queries)
        best = best_of_products(vectors, self.vectors, self.bias, offsets, excluded, n)
        scores = self._products(vectors, past.offsets, past.tracks) + past.bonus
        for q in range(len(queries)):
            banned = excluded[offsets[q] : offsets[q + 1]]
            own = slice(past.offsets[q], past.offsets[q + 1])
            tracks, values = past.tracks[own], scores[own]
            free = ~np.isin(tracks, banned)
            # Nothing of the past is worth less than without it: the best are among these.
            others = ~np.isin(best[0][q, : best[2][q]], tracks)
            both = np.concatenate([best[0][q, : best[2][q]][others], tracks[free]])
            worth = np.concatenate([best[1][q, : best[2][q]][others], values[free]])
            order = np.lexsort([both, -worth])[: best[2][q]]
            best[0][q, : len(order)], best[1][q, : len(order)] = both[order], worth[order]
        return best

    def _places(
        self,
        queries: Queries,
        excluded_offsets: Int64,
        excluded: Int32,
        offsets: Int64,
        tracks: Int32,
    ) -> Int64:
        if not self.past_weight:
            return super()._places(queries, excluded_offsets, excluded, offsets, tracks)
        past, vectors = self._pasts(queries), self.query_vectors(queries)
        out = np.empty(len(tracks), np.int64)
        for q in range(len(queries)):
            scores = np.empty((1, len(self.vectors)), np.float32)
            exact_scores(vectors[q], self.vectors, self.bias, scores[0])
            own = slice(past.offsets[q], past.offsets[q + 1])
            scores[0, past.tracks[own]] += past.bonus[own]
            some, wanted = excluded_offsets[q : q + 2], slice(offsets[q], offsets[q + 1])
            out[wanted] = places_of_scores(
                scores,
                some - some[0],
                excluded[some[0] : some[1]],
                offsets[q : q + 2] - offsets[q],
                tracks[wanted],
            )
        return out

    def _values(self, queries: Queries, offsets: Int64, tracks: Int32) -> Float32:
        values = super()._values(queries, offsets, tracks)
        if self.past_weight:
            past = self._pasts(queries)
            for q in range(len(queries)):
                own, some = (slice(o[q], o[q + 1]) for o in (past.offsets, offsets))
                _, mine, wanted = np.intersect1d(
                    past.tracks[own], tracks[some], assume_unique=True, return_indices=True
                )
                values[some][wanted] += past.bonus[own][mine]
        return values
