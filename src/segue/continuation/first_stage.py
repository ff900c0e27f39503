"""The first stage: several models that score the catalog, and the candidates they agree on.

Source: Volkovs et al. 2018, "Two-stage Model for Automatic Playlist Continuation at Scale",
section 3: candidates are retrieved, every model's scores are standardised within the candidates of
a query, and their weighted sum, the blend, keeps the best of them for the second stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from segue.answers import Float32, Int32, Queries
from segue.models.base import DenseRecommender, DotRecommender, Recommender

Generator = Literal["union", "wrmf", "user-knn"]
GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Weights that the blend is made of (section 3.4)."""
_CUT_OFF = 500
_ROUNDS = 3


class Pool(NamedTuple):
    """Candidates of one query.

    Attributes:
        tracks: rising. (n,)
        scores: of each model, standardised within the query; 0 where the model knows nothing.
            (n, models)
        blend: their weighted sum. (n,)
    """

    tracks: Int32
    scores: Float32
    blend: Float32


@njit(parallel=True, cache=True, fastmath=True)
def _products(vectors, bias, query, out):  # type: ignore[no-untyped-def]
    """out = vectors @ query + bias; each sum in one order, whatever the number of threads."""
    for t in prange(len(vectors)):
        row = vectors[t]
        total = np.float32(0)
        for k in range(len(query)):
            total += row[k] * query[k]
        out[t] = total + bias[t]


class FirstStage:
    """Models that score whole catalogs.

    Args:
        names: of the models, in the order of their scores.
        models: fitted on the same dataset, by name; one that is not there knows no query.
        generator: which tracks become candidates: the best of every model ("union"), of `wrmf`
            (the paper), or of `user-knn`, filled up from `wrmf` (the authors' code).
        retrieved: how many, of each model that generates.
        reranked: how many of them the blend keeps.
        weights: of the models in the blend.
    """

    def __init__(
        self,
        names: Sequence[str],
        models: Mapping[str, Recommender],
        generator: Generator,
        retrieved: int,
        reranked: int,
        weights: Float32,
    ) -> None:
        self.names, self.models, self.generator = names, models, generator
        self.retrieved, self.reranked = retrieved, reranked
        self.weights = weights

    def pool(self, query: Queries, excluded: Int32, everything: bool = False) -> Pool:
        """Candidates of one query, never one of `excluded` (rising).

        Args:
            everything: keep all that were retrieved, not the `reranked` best.
        """
        scores, known = self._scores(query)
        scores[:, excluded] = -np.inf
        left = scores.shape[1] - len(excluded)
        tracks = self._retrieve(scores, known, left)
        standard = _standardised(scores[:, tracks], known)
        pool = Pool(tracks, standard, standard @ self.weights)
        if everything or len(tracks) <= self.reranked:
            return pool
        best = np.sort(_best(pool.blend, self.reranked))
        return Pool(tracks[best], standard[best], pool.blend[best])

    def _scores(self, query: Queries) -> tuple[Float32, npt.NDArray[np.bool_]]:
        """Scores of every track by every model; and which models know the query."""
        known = np.zeros(len(self.names), np.bool_)
        scores = np.zeros((len(self.names), len(self.models["wrmf"].catalog)), np.float32)
        for m, name in enumerate(self.names):
            model = self.models.get(name)
            if model is None or not model.answerable(query)[0]:
                continue
            known[m] = True
            if isinstance(model, DotRecommender):
                vector = model.query_vectors(query)[0]
                _products(model.vectors, model.bias, vector, scores[m])
            elif isinstance(model, DenseRecommender):
                scores[m] = model.scores(query)[0]
        return scores, known

    def _retrieve(self, scores: Float32, known: npt.NDArray[np.bool_], left: int) -> Int32:
        """Candidates, rising."""
        wanted = min(self.retrieved, left)
        if self.generator == "union":
            parts = [_best(scores[m], wanted) for m in np.flatnonzero(known)]
            return np.unique(np.concatenate([*parts, np.zeros(0, np.int64)])).astype(np.int32)
        factorised = _best(scores[self.names.index("wrmf")], wanted)
        if self.generator == "wrmf":
            return np.sort(factorised).astype(np.int32)
        voted = scores[self.names.index("user-knn")]
        best = _best(voted, wanted)
        best = best[voted[best] > 0]
        rest = factorised[~np.isin(factorised, best)][: wanted - len(best)]
        return np.sort(np.concatenate([best, rest])).astype(np.int32)


def _best(scores: Float32, n: int) -> npt.NDArray[np.int64]:
    """Places of the n highest, highest first. n is at most the number of finite scores."""
    best = np.argpartition(-scores, n)[:n] if n < len(scores) else np.arange(len(scores))
    return best[np.lexsort((best, -scores[best]))][:n]


def _standardised(scores: Float32, known: npt.NDArray[np.bool_]) -> Float32:
    """Each model's scores with mean 0 and deviation 1; 0 where all are equal. (n, models)"""
    out = np.zeros(scores.T.shape, np.float32)
    for m in np.flatnonzero(known):
        values = scores[m].astype(np.float64)
        deviation = values.std() if len(values) else 0.0
        if deviation > 0:
            out[:, m] = (values - values.mean()) / deviation
    return out


def find_weights(pools: Sequence[Pool], labels: Sequence[npt.NDArray[np.bool_]]) -> Float32:
    """Weights of the blend, greedily from `GRID` for the mean NDCG@500 of some queries.

    One model after the other gets the weight that serves the queries best with the others as
    they are, in three rounds.

    Args:
        pools: of queries that the models never saw.
        labels: which of their candidates continue the playlist.
    """
    models = pools[0].scores.shape[1]
    weights = np.zeros(models, np.float32)
    best = -1.0
    for _ in range(_ROUNDS):
        before = weights.copy()
        for m in range(models):
            for value in GRID:
                tried = weights.copy()
                tried[m] = value
                quality = _ndcg(pools, labels, tried)
                if quality > best + 1e-9:
                    best, weights = quality, tried
        if (weights == before).all():
            break
    return weights


def _ndcg(
    pools: Sequence[Pool], labels: Sequence[npt.NDArray[np.bool_]], weights: Float32
) -> float:
    if not weights.any():
        return -1.0
    gains = 1 / np.log2(np.arange(2, _CUT_OFF + 2))
    values = []
    for pool, label in zip(pools, labels, strict=True):
        hits = label[_best(pool.scores @ weights, min(_CUT_OFF, len(label)))]
        ideal = gains[: min(_CUT_OFF, int(label.sum()))].sum()
        values.append((gains[: len(hits)] * hits).sum() / ideal if ideal else 0.0)
    return float(np.mean(values))
