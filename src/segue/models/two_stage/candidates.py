"""The first stage: several models that score the catalog, and the candidates they agree on.

Source: Volkovs et al. 2018, "Two-stage Model for Automatic Playlist Continuation at Scale",
section 3: candidates are retrieved, every model's scores are standardised within the candidates of
a query, and their weighted sum, the blend, keeps the best of them for the second stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from segue.metrics.ranking import ndcg
from segue.models.base.recommender import Recommender
from segue.models.two_stage.config import TwoStageConfig
from segue.models.wrmf.model import WRMF
from segue.numeric.arrays import Float32, Int32
from segue.numeric.ragged import Ragged
from segue.queries import Queries
from segue.retrieval.topk import best_of_scores

Known = npt.NDArray[np.bool_]
GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Weights that the blend is made of (section 3.4)."""
_CUT_OFF = 500
_ROUNDS = 3
_BLOCK_BYTES = 64 << 20  # scores of whole catalogs that are held at a time


class Pool(NamedTuple):
    """Candidates of one query.

    Attributes:
        tracks: rising. (n,)
        scores: of each model, standardised within the query; 0 where the model knows nothing.
            (n, models)
        blend: their weighted sum. (n,)
        vector: of the query, by `wrmf`. (factors,)
    """

    tracks: Int32
    scores: Float32
    blend: Float32
    vector: Float32


class FirstStage:
    """Models that score whole catalogs.

    Args:
        config: `candidates` says which tracks become candidates: the best of every model
            ("union"), of `wrmf` (the paper), or of `user-knn`, filled up from `wrmf` (the authors'
            code); `retrieved` how many, of each model that generates; `reranked` how many of them
            the blend keeps.
        models: fitted on the same dataset, by name; one that is missing knows no query.
        weights: of the models in the blend. (models,)
    """

    def __init__(
        self, config: TwoStageConfig, models: Mapping[str, Recommender], weights: Float32
    ) -> None:
        self.config, self.models, self.weights = config, models, weights
        self.names = config.names

    @property
    def wrmf(self) -> WRMF:
        """The model that a first stage always has."""
        return cast(WRMF, self.models["wrmf"])

    def pool(
        self,
        query: Queries,
        excluded: Int32,
        everything: bool = False,
        vectors: Float32 | None = None,
    ) -> Pool:
        """Candidates of one query, never one of `excluded` (rising).

        Args:
            everything: keep all that were retrieved, not the `reranked` best.
            vectors: see `pools`.
        """
        return next(self.pools(query, Ragged.of_lists([excluded]), everything, vectors))

    def pools(
        self,
        queries: Queries,
        excluded: Ragged,
        everything: bool = False,
        vectors: Float32 | None = None,
    ) -> Iterator[Pool]:
        """Candidates of each query, the same as of each alone.

        Several queries are scored at once: the models' tables are then read once for all.

        Args:
            excluded: tracks not to answer, rising within a query.
            everything: see `pool`.
            vectors: of the queries by `wrmf`, where more is known of them than these models can
                read. (queries, factors)
        """
        size = len(self.models["wrmf"].catalog)
        step = max(1, _BLOCK_BYTES // (4 * size * len(self.names)))
        for start in range(0, len(queries), step):
            some = queries[start : start + step]
            rows = slice(start, start + len(some))
            given = None if vectors is None else vectors[rows]
            scores, known, of_wrmf = self._scores(some, given)
            found = self._retrieve(scores, known, excluded[rows])
            for q, tracks in enumerate(found):
                standard = _standardised(scores[:, q, tracks], known[:, q])
                blend = standard @ self.weights
                if not everything and len(tracks) > self.config.reranked:
                    kept = np.sort(top_n(blend, self.config.reranked))
                    tracks, standard, blend = tracks[kept], standard[kept], blend[kept]
                yield Pool(tracks, standard, blend, of_wrmf[q])

    def _scores(self, queries: Queries, given: Float32 | None) -> tuple[Float32, Known, Float32]:
        """Scores by each model, which models know which query, and the queries' vectors by `wrmf`.

        Args:
            given: these vectors; None: `wrmf` finds them.

        Returns:
            (models, queries, tracks), 0 where the model knows nothing; (models, queries);
            (queries, factors)
        """
        shape = (len(self.names), len(queries), len(self.models["wrmf"].catalog))
        scores, known = np.zeros(shape, np.float32), np.zeros(shape[:2], np.bool_)
        of_wrmf = np.zeros((len(queries), 0), np.float32)
        for m, name in enumerate(self.names):
            model = self.models.get(name)
            if name == "wrmf":
                known[m] = self.wrmf.answerable(queries)
                of_wrmf = self.wrmf.query_vectors(queries) if given is None else given
                self.wrmf.score_vectors(of_wrmf, scores[m])
            elif model is not None:
                known[m] = model.score_catalog(queries, scores[m])
            scores[m, ~known[m]] = 0
        return scores, known, of_wrmf

    def _retrieve(self, scores: Float32, known: Known, excluded: Ragged) -> list[Int32]:
        """Candidates of each query, rising."""
        best = {}
        if self.config.candidates == "union":
            wanted = [name for name, some in zip(self.names, known, strict=True) if some.any()]
        else:
            wanted = list(dict.fromkeys(["wrmf", self.config.candidates]))
        for name in wanted:
            m = self.names.index(name)
            best[name] = best_of_scores(scores[m], excluded, self.config.retrieved)
        found = []
        for q in range(scores.shape[1]):
            lists = {
                name: tracks[q, : counts[q]]
                for name, (tracks, _, counts) in best.items()
                if known[self.names.index(name), q]
            }
            chosen = np.zeros(scores.shape[2], np.bool_)
            if self.config.candidates == "user-knn":
                voted = scores[self.names.index("user-knn"), q]
                near = lists.pop("user-knn", np.zeros(0, np.int32))
                near = near[voted[near] > 0]
                chosen[near] = True
                far = lists.get("wrmf", near[:0])
                lists["wrmf"] = far[~chosen[far]][: len(far) - len(near)]
            for tracks in lists.values():
                chosen[tracks] = True
            found.append(np.flatnonzero(chosen).astype(np.int32))
        return found


def top_n(scores: Float32, n: int) -> Int32:
    """Places of the n highest, highest first."""
    best: Int32 = best_of_scores(scores[None].copy(), Ragged.of_lists([[]]), n)[0][0]
    return best


def _standardised(scores: Float32, known: Known) -> Float32:
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
    they are, in three rounds. High weights come first: only their proportions matter, and the
    first model's leaves room below.

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
            for value in GRID[::-1]:
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
    hits = np.zeros((len(pools), _CUT_OFF), np.bool_)
    for row, pool, label in zip(hits, pools, labels, strict=True):
        best = top_n(pool.scores @ weights, min(_CUT_OFF, len(label)))
        row[: len(best)] = label[best]
    return float(ndcg(hits, [label.sum() for label in labels]).mean())
