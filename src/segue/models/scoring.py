"""Recommenders that score: the whole catalog at once, or by products of vectors."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from segue.answers import Float32, Int32, Int64, Queries
from segue.models.base import Recommender
from segue.models.placing import pair_scores, places_of_products, places_of_scores
from segue.models.ranking import best_of_products, best_of_scores, fixed


class DenseRecommender(Recommender):
    """A model that scores the whole catalog for each query."""

    @abstractmethod
    def scores(self, queries: Queries) -> Float32:
        """Score of every track. (queries, tracks) float32, finite."""

    def known_scores(self, queries: Queries) -> tuple[npt.NDArray[np.bool_], Float32]:
        """Which queries are answerable, and `scores`."""
        return self.answerable(queries), self.scores(queries)

    def _best(
        self, queries: Queries, offsets: Int64, excluded: Int32, n: int
    ) -> tuple[Int32, Float32, Int64]:
        return best_of_scores(self.scores(queries), offsets, excluded, n)

    def _places(
        self, queries: Queries, excluded_offsets: Int64, excluded: Int32, offsets: Int64,
        tracks: Int32,
    ) -> Int64:  # fmt: skip
        scores = self.scores(queries)
        return places_of_scores(scores, excluded_offsets, excluded, offsets, tracks)

    def _values(self, queries: Queries, offsets: Int64, tracks: Int32) -> Float32:
        owners = np.repeat(np.arange(len(queries)), np.diff(offsets))
        return self.scores(queries)[owners, tracks]


class DotRecommender(Recommender):
    """A model whose score is query vector times track vector, plus a bias of the track."""

    batch = 4096
    vectors: Float32
    """Track vectors. (tracks, factors) float32"""

    @abstractmethod
    def query_vectors(self, queries: Queries) -> Float32:
        """Fold-in: a vector for each query. (queries, factors) float32"""

    @property
    def bias(self) -> Float32:
        """Added to the score of each track. (tracks,)"""
        return np.zeros(len(self.vectors), np.float32)

    def _best(
        self, queries: Queries, offsets: Int64, excluded: Int32, n: int
    ) -> tuple[Int32, Float32, Int64]:
        vectors = self.query_vectors(queries)
        return best_of_products(vectors, self.vectors, self.bias, offsets, excluded, n)

    def _places(
        self, queries: Queries, excluded_offsets: Int64, excluded: Int32, offsets: Int64,
        tracks: Int32,
    ) -> Int64:  # fmt: skip
        vectors = self.query_vectors(queries)
        return places_of_products(
            vectors, self.vectors, self.bias, excluded_offsets, excluded, offsets, tracks
        )

    def _values(self, queries: Queries, offsets: Int64, tracks: Int32) -> Float32:
        return self._products(self.query_vectors(queries), offsets, tracks)

    def _products(self, vectors: Float32, offsets: Int64, tracks: Int32) -> Float32:
        """Scores of given tracks by the vectors of their queries. (tracks,)"""
        out = np.empty(len(tracks), np.float32)
        pair_scores(
            *(
                fixed(vectors, np.float32),
                fixed(self.vectors, np.float32),
                fixed(self.bias, np.float32),
            ),
            *(fixed(offsets, np.int64), fixed(tracks, np.int32), out),
        )
        return out
