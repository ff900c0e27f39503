"""Two stages: several models find candidates, boosted trees put them in order (`two-stage`).

Source: Volkovs et al. 2018, "Two-stage Model for Automatic Playlist Continuation at Scale" (vl6,
winner of the RecSys Challenge 2018). `docs/two-stage.md` says what differs and why.

Training keeps what is tested away from what is learned. Playlists are dealt into folds; for each,
which are cut into queries and labels of the challenge's types with tracks, the first stage and the
tables of features are fitted without the labels. The trees learn from these; the first stage and
the tables are fitted once more on everything, for answering.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from segue.answers import Float32, Int32, Int64, Queries, Query, Reason
from segue.catalog import Catalog
from segue.continuation.examples import cut_fold, deal, labels_of, sample, without
from segue.continuation.features import Feature, FeatureTables, features_of
from segue.continuation.first_stage import FirstStage, Pool, find_weights
from segue.continuation.ranker import Rows, fit_ranker, library
from segue.continuation.settings import TwoStageConfig
from segue.continuation.trees import Trees
from segue.data.dataset import Dataset
from segue.errors import ConfigError, DataError
from segue.models.base import (
    POPULARITY,
    RECOMMENDERS,
    Recommender,
    Run,
    catalog_of,
    expect,
    knows_history,
)
from segue.models.wrmf import WRMF
from segue.playlist_types import Cuts, PlaylistRows
from segue.progress import note, task

_LEAST = 30
"""Queries that trees are learned from; with fewer the blend alone is the answer."""
_WEIGHED = 300
"""Queries that the blend's weights are found on."""
_TIE = np.float32(1e-3)
"""Share of the blend in a score: it orders what the trees leave in one place."""


class TwoStage(Recommender):
    """Candidates of a first stage, in the order of boosted trees over features of each."""

    name: ClassVar[str] = "two-stage"
    Config = TwoStageConfig
    config: TwoStageConfig
    first: FirstStage
    tables: FeatureTables
    trees: Trees

    def __init__(self, /, **settings: Any) -> None:
        super().__init__(**settings)
        for needed in {"wrmf", self.config.candidates} - {"union", *self.config.models}:
            raise ConfigError(f"models lack {needed}", where="TwoStageConfig", do="add it")
        if self.config.wrmf.rows != "listeners":  # its row vectors stand beside the plays
            raise ConfigError("is not for two-stage", where="wrmf.rows", do='leave it "listeners"')

    # Training

    def _fit(self, dataset: Dataset, plays: Any, run: Run) -> None:
        if self.config.ranker.trees:
            library()  # what is not there is said before the work, not after
        rng = np.random.default_rng([run.seed, 2])
        tables: FeatureTables | None = None
        blocks: list[Rows] = []
        weights: Float32 | None = None
        playlists = PlaylistRows.of(dataset)
        folds = deal(dataset, self.config.folds, self.config.playlists, rng)
        for number, fold in enumerate(folds):
            cuts = cut_fold(playlists, fold, rng)
            if cuts is None:
                continue
            reduced = without(dataset, playlists, fold, cuts, self.config.seeds_kept, rng)
            some = reduced.plays()
            tables = self._learn(reduced, some, catalog_of(reduced, some), run, rng, tables)
            if weights is None:
                weights = self._weigh(cuts, rng)
            if not self.config.ranker.trees:
                break  # the blend alone is asked for
            self.first.weights = weights
            title = f"candidates of part {number + 1} of {len(folds)}"
            with task(title, len(cuts.queries), "playlists", show=run.progress) as advance:
                blocks += self._examples(cuts, rng, advance)
        self.trees = self._rank(blocks, run)
        self._learn(dataset, plays, self.catalog, run, rng, tables)
        if weights is not None:
            self.first.weights = weights

    def _learn(
        self,
        dataset: Dataset,
        plays: Any,
        catalog: Catalog,
        run: Run,
        rng: np.random.Generator,
        like: FeatureTables | None,
    ) -> FeatureTables:
        """The first stage and the tables of features, from these rows and nothing else.

        like: earlier tables, whose columns the new ones shall mean.
        """
        models: dict[str, Recommender] = {}
        for name in dict.fromkeys(self.config.models):
            try:
                models[name] = self._fitted(name, dataset, plays, catalog, run)
            except DataError:  # no titles, or no order: the others answer
                continue
        self._set_first(models, np.ones(len(self.names), np.float32))
        wrmf = self._wrmf
        near = slice(-self.config.feature_factors, None)
        self.tables = FeatureTables.learn(
            dataset, plays, catalog,
            np.ascontiguousarray(wrmf.vectors[:, near]),
            np.ascontiguousarray(wrmf.row_vectors[:, near]),
            self.config.name_factors, self.config.side_factors, self.config.albums,
            rng, self.config.families, like,
        )  # fmt: skip
        return self.tables

    def _fitted(
        self, name: str, dataset: Dataset, plays: Any, catalog: Catalog, run: Run
    ) -> Recommender:
        """A model of the first stage that has learned from these rows."""
        return self._new(name).learn(dataset, plays, catalog, run)

    def _new(self, name: str) -> Recommender:
        """A model of the first stage with its settings."""
        settings = getattr(self.config, name.replace("-", "_"))
        return RECOMMENDERS[name](**msgspec.structs.asdict(settings))

    @property
    def names(self) -> list[str]:
        """Models of the first stage, in the order of their scores."""
        return list(dict.fromkeys(self.config.models))

    @property
    def _wrmf(self) -> WRMF:
        wrmf = self.first.models["wrmf"]
        assert isinstance(wrmf, WRMF)
        return wrmf

    def _set_first(self, models: dict[str, Recommender], weights: Float32) -> None:
        config = self.config
        self.first = FirstStage(
            self.names, models, config.candidates, config.retrieved, config.reranked, weights
        )

    def _weigh(self, cuts: Cuts, rng: np.random.Generator) -> Float32:
        """Weights of the blend from some of the queries."""
        some = rng.permutation(len(cuts.queries))[:_WEIGHED]
        pools, labels = [], []
        for q in some:
            query = cuts.queries[q : q + 1]
            pools.append(self.first.pool(query, query.excluded()[1], everything=True))
            labels.append(labels_of(cuts, q, pools[-1].tracks))
        return find_weights(pools, labels)

    def _examples(self, cuts: Cuts, rng: np.random.Generator, advance: Any) -> list[Rows]:
        """Features and labels of some candidates of each query, a block a query."""
        blocks = []
        for q in range(len(cuts.queries)):
            query = cuts.queries[q : q + 1]
            pool = self.first.pool(query, query.excluded()[1])
            found = labels_of(cuts, q, pool.tracks)
            if found.any():
                chosen = sample(pool.blend, found, self.config, rng)
                blocks.append(
                    Rows(
                        self._features(query, pool)[chosen.at],
                        found[chosen.at],
                        np.array([len(chosen.at)]),
                        chosen.weights,
                    )
                )
            advance(1)
        return blocks

    def _rank(self, blocks: list[Rows], run: Run) -> Trees:
        """Trees, or none where there is too little to learn them from."""
        if len(blocks) < _LEAST:
            if self.config.ranker.trees:
                found = f"{len(blocks)} playlists to learn the order from, {_LEAST} are needed"
                note(f"{found}: the blend alone answers", show=run.progress)
            return Trees.none()
        rows = Rows(*(np.concatenate(field) for field in zip(*blocks, strict=True)))
        return fit_ranker(rows, self.config.ranker, seed=run.seed, show=run.progress)

    # Answering

    @property
    def reads_titles(self) -> bool:
        return True  # features do, whatever the first stage

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return np.array([model != POPULARITY for model in self.serves(queries)], np.bool_)

    def serves(self, queries: Queries) -> list[str]:
        """Two stages where a track of the history is known; a title alone goes to `title`."""
        heard = knows_history(queries, self._wrmf.heard)
        title = self.first.models.get("title")
        served = [self.name if some else POPULARITY for some in heard]
        for q in np.flatnonzero(~heard):
            if title and title.answerable(queries[q : q + 1])[0]:
                served[q] = "title"
        return served

    def _best(
        self, queries: Queries, offsets: Int64, excluded: Int32, n: int
    ) -> tuple[Int32, Float32, Int64]:
        tracks = np.full((len(queries), n), -1, np.int32)
        scores = np.full((len(queries), n), np.nan, np.float32)
        counts = np.zeros(len(queries), np.int64)
        at = 0
        for model, group in groupby(self.serves(queries)):
            rows = slice(at, at + len(list(group)))
            some, ends = queries[rows], offsets[rows.start : rows.stop + 1]
            out, ends = excluded[ends[0] : ends[-1]], ends - ends[0]
            if model == self.name:
                for q, best in enumerate(self._ordered(some, ends, out, n), at):
                    counts[q] = len(best[0])
                    tracks[q, : counts[q]], scores[q, : counts[q]] = best
            elif model == "title":
                title = self.first.models["title"]
                tracks[rows], scores[rows], counts[rows] = title._best(some, ends, out, n)
            at = rows.stop
        return tracks, scores, counts

    def _ordered(
        self, queries: Queries, offsets: Int64, excluded: Int32, n: int
    ) -> Iterator[tuple[Int32, Float32]]:
        """The best n of each query, each on a thread of its own while the next ones are found."""

        def order(q: int, pool: Pool) -> tuple[Int32, Float32]:
            out = excluded[offsets[q] : offsets[q + 1]]
            return self._order(self._scored(queries[q : q + 1], pool), pool, out, n)

        pools = self.first.pools(queries, offsets, excluded)
        if len(queries) == 1 or get_num_threads() == 1:
            yield from map(order, range(len(queries)), pools)
            return
        with ThreadPoolExecutor(get_num_threads()) as threads:
            yield from threads.map(order, range(len(queries)), pools)

    def _features(self, query: Queries, pool: Pool) -> Float32:
        """Features of the candidates of one query. (n, features)"""
        near = pool.vector[-self.config.feature_factors :]
        return self.tables.compute(query, near, pool.tracks, pool.scores, pool.blend)

    def _scored(self, query: Queries, pool: Pool) -> Float32:
        """Scores of the candidates of one query. (n,)"""
        if self.trees.size:
            return self.trees.score(self._features(query, pool)) + _TIE * pool.blend
        return pool.blend

    def _order(self, scores: Float32, pool: Pool, excluded: Int32, n: int) -> tuple[Int32, Float32]:
        """The best n: candidates by their score, then all others by popularity."""
        order = np.lexsort((pool.tracks, -scores))[:n]
        tracks, ordered = pool.tracks[order], scores[order]
        if len(tracks) < n:
            others = np.setdiff1d(np.arange(len(self.catalog)), np.append(pool.tracks, excluded))
            rest = self._beyond(others, scores)
            best = np.lexsort((others, -rest))[: n - len(tracks)]
            tracks = np.concatenate([tracks, others[best]])
            ordered = np.concatenate([ordered, rest[best]])
        return tracks.astype(np.int32), ordered.astype(np.float32)

    def _beyond(self, tracks: npt.NDArray[Any], candidates: Float32) -> Float32:
        """Scores of tracks that are no candidates: below those of these, by popularity. (n,)"""
        floor = float(candidates.min(initial=0)) - 1
        plays = self.catalog.plays[tracks].astype(np.float64)
        scores: Float32 = (floor - 1 / (1 + plays)).astype(np.float32)
        return scores

    def _reasons(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """Each feature's part of the trees' score (see `Trees.explain`)."""
        queries = Queries.of([query])
        if self.serves(queries)[0] == "title":
            return self.first.models["title"]._reasons(query, tracks)
        pool = self.first.pool(queries, queries.excluded()[1])
        beyond = self._beyond(tracks, self._scored(queries, pool))
        at = np.searchsorted(pool.tracks, tracks)
        at = np.where(at < len(pool.tracks), at, 0)
        known = pool.tracks[at] == tracks if len(pool.tracks) else np.zeros(len(tracks), np.bool_)
        reasons = [[Reason("popularity", None, float(score))] for score in beyond]
        rows = self._features(queries, pool)[at[known]]
        if self.trees.size:
            bias, parts = self.trees.explain(rows)
            names = [feature.name for feature in self.features]
            rests = bias + _TIE * pool.blend[at[known]]
        else:
            parts = pool.scores[at[known]] * self.first.weights
            names = [f"{name}-score" for name in self.names]
            rests = np.zeros(len(parts), np.float32)
        for place, row, rest in zip(np.flatnonzero(known), parts, rests, strict=True):
            reasons[place] = [
                Reason("feature", name, float(part))
                for name, part in zip(names, row, strict=True)
                if part
            ] + [Reason("rest", None, float(rest))]
        return reasons

    @property
    def features(self) -> tuple[Feature, ...]:
        """Columns that the trees look at."""
        return features_of(self.names, self.config.albums, self.config.families)

    # Keeping

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors = {"blend": self.first.weights, **self.trees.tensors("trees")}
        parts: dict[str, Any] = {**self.first.models, "tables": self.tables}
        for name, part in parts.items():
            tensors |= {f"{name}/{key}": tensor for key, tensor in part.tensors().items()}
        return tensors

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for key, tensor in tensors.items():
            name, _, inner = key.rpartition("/")
            parts.setdefault(name, {})[inner] = tensor
        models = {}
        for name in self.names:
            if name in parts or name == "wrmf":
                models[name] = self._new(name)
                models[name].catalog = self.catalog
                models[name].restore(parts.get(name, {}))
        self._set_first(models, expect(tensors, "blend", np.float32, len(self.names)))
        self.tables = FeatureTables.restore(
            parts.get("tables", {}), self.catalog, self.config.albums, self.config.families
        )
        self.trees = Trees.restore(tensors, "trees", len(self.features))
