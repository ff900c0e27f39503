"""Recommenders that score: the whole catalog at once, or by products of vectors."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.catalog.catalog import Catalog
from segue.errors import UsageError
from segue.models.base.recommender import Recommender
from segue.numeric.arrays import Float32, Int32, Int64, fixed
from segue.numeric.kernels import add_products
from segue.numeric.ragged import Ragged
from segue.queries import Queries
from segue.retrieval.ranks import pair_scores, ranks_of_products, ranks_of_scores
from segue.retrieval.topk import Best, Index, best_of_products, best_of_scores


class ScoringModel(Recommender):
    """A model that scores the whole catalog for each query."""

    @abstractmethod
    def scores(self, queries: Queries) -> Float32:
        """Score of every track. (queries, tracks) float32, finite."""

    def known_scores(self, queries: Queries) -> tuple[npt.NDArray[np.bool_], Float32]:
        """Which queries are answerable, and `scores`."""
        return self.answerable(queries), self.scores(queries)

    def score_catalog(self, queries: Queries, out: Float32) -> npt.NDArray[np.bool_]:
        known, out[:] = self.known_scores(queries)
        return known

    def top_n(self, queries: Queries, excluded: Ragged, n: int) -> Best:
        return best_of_scores(self.scores(queries), excluded, n)

    def rank_of(self, queries: Queries, excluded: Ragged, targets: Ragged) -> Int64:
        return ranks_of_scores(self.scores(queries), excluded, targets)

    def score_candidates(self, queries: Queries, candidates: Ragged) -> Float32:
        return self.scores(queries)[candidates.owners(), candidates.values]


class ColdStartModel(Recommender):
    """A model that takes in tracks that nobody has played, by vectors from elsewhere.

    They can be answered, and read in a history, like those that training knew.
    """

    @property
    @abstractmethod
    def space(self) -> EmbeddingModel:
        """The model whose vectors they have, with all that were taken in."""

    @property
    def item_vectors(self) -> Float32:
        return self.space.vectors

    @abstractmethod
    def placing(self, tracks: Int32, vectors: Float32) -> Self:
        """The same model, in which tracks of the catalog that nobody played have these vectors.

        Args:
            tracks: distinct. (tracks,)
            vectors: (tracks, factors) float32

        Raises:
            UsageError: shapes do not fit, or a number is not finite.
        """


class EmbeddingModel(ColdStartModel):
    """A model whose score is query vector times track vector, plus a bias of the track."""

    batch = 4096
    falling: ClassVar[bool] = False
    """Whether the last factors hold most of the vectors' length, the first ones little."""
    vectors: Float32
    """Track vectors. (tracks, factors) float32"""

    @abstractmethod
    def query_vectors(self, queries: Queries) -> Float32:
        """Fold-in: a vector for each query. (queries, factors) float32"""

    @property
    def bias(self) -> Float32:
        """Added to the score of each track. (tracks,)"""
        return np.zeros(len(self.vectors), np.float32)

    def top_n(self, queries: Queries, excluded: Ragged, n: int) -> Best:
        vectors = self.query_vectors(queries)
        return best_of_products(vectors, self.vectors, self.bias, excluded, n, self._index())

    def score_catalog(self, queries: Queries, out: Float32) -> npt.NDArray[np.bool_]:
        self.score_vectors(self.query_vectors(queries), out)
        return self.answerable(queries)

    def score_vectors(self, vectors: Float32, out: Float32) -> None:
        """`score_catalog` by query vectors that are known already. (queries, factors)"""
        out[:] = self.bias
        add_products(self.vectors, np.ones(len(self.vectors), np.float32), vectors, out)

    _indexed: tuple[Float32, Index | None] | None = None

    def _index(self) -> Index | None:
        """Of the vectors as they are now; None where it does not pay."""
        if not self.falling:
            return None
        if self._indexed is None or self._indexed[0] is not self.vectors:
            self._indexed = (self.vectors, Index.of(self.vectors))
        return self._indexed[1]

    def rank_of(self, queries: Queries, excluded: Ragged, targets: Ragged) -> Int64:
        vectors = self.query_vectors(queries)
        return ranks_of_products(vectors, self.vectors, self.bias, excluded, targets)

    def score_candidates(self, queries: Queries, candidates: Ragged) -> Float32:
        return self._products(self.query_vectors(queries), candidates)

    def _products(self, vectors: Float32, candidates: Ragged) -> Float32:
        """Scores of candidates by the vectors of their queries. (candidates,)"""
        out, rows = np.empty(len(candidates.values), np.float32), candidates.fixed()
        pair_scores(
            *(
                fixed(vectors, np.float32),
                fixed(self.vectors, np.float32),
                fixed(self.bias, np.float32),
            ),
            *(rows.offsets, rows.values, out),
        )
        return out

    # Tracks that came through another door

    @property
    def space(self) -> EmbeddingModel:
        return self

    def with_tracks(self, tracks: pa.Table, vectors: Float32) -> Self:
        more = self.catalog.with_tracks(tracks)
        return self.over(more, np.arange(len(self.catalog), len(more), dtype=np.int32), vectors)

    def placing(self, tracks: Int32, vectors: Float32) -> Self:
        return self.over(self.catalog, tracks, vectors)

    def over(self, catalog: Catalog, tracks: Int32, vectors: Float32) -> Self:
        """The same model over a catalog that begins with its own, in which tracks have vectors.

        Args:
            catalog: the model's, or one with further tracks.
            tracks: distinct, all that are new among them. (tracks,)
            vectors: (tracks, factors) float32

        Raises:
            UsageError: shapes do not fit, or a number is not finite.
        """
        self._check_vectors(len(tracks), vectors)
        more = copy.copy(self)
        more.catalog = catalog
        if len(catalog) > len(self.catalog):
            more._extend(len(catalog) - len(self.catalog))
        else:
            more.vectors = self.vectors.copy()
        more._place(tracks, vectors)
        return more

    @property
    def placed_by(self) -> int:
        """Numbers that place a track: the factors."""
        return int(self.vectors.shape[1])

    def _check_vectors(self, tracks: int, vectors: Float32) -> None:
        factors = self.placed_by
        if vectors.shape != (tracks, factors):
            raise UsageError(
                f"vectors of shape {vectors.shape} for {tracks} tracks",
                do=f"give {factors} numbers for each",
            )
        if not np.isfinite(vectors).all():
            raise UsageError("vectors are not finite")

    def _extend(self, tracks: int) -> None:
        """Rows for further tracks, which `_place` fills; the catalog has them already."""
        zeros = np.zeros((tracks, self.vectors.shape[1]), np.float32)
        self.vectors = np.concatenate([self.vectors, zeros])

    def _place(self, tracks: Int32, vectors: Float32) -> None:
        """Set the vectors of tracks that nobody played. `vectors` are this copy's own."""
        self.vectors[tracks] = vectors
