"""Two stages: several models find candidates, boosted trees put them in order (`two-stage`).

Source: Volkovs et al. 2018, "Two-stage Model for Automatic Playlist Continuation at Scale" (vl6,
winner of the RecSys Challenge 2018). `docs/two-stage.md` says what differs and why.

Training keeps what is tested away from what is learned. Playlists are dealt into folds; for each,
which are cut into queries and labels of the challenge's types with tracks, the first stage and the
tables of features are fitted without the labels. The trees learn from these; the first stage and
the tables are fitted once more on everything, for answering.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import get_num_threads

from segue.answers import Float32, Int32, Int64, Queries, Query, Reason
from segue.catalog import Catalog
from segue.continuation.cold import Cold
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
from segue.models.ranking import Best
from segue.models.scoring import DotRecommender, OpenRecommender
from segue.models.wrmf import WRMF
from segue.playlist_types import Cuts, PlaylistRows
from segue.progress import note, task

_LEAST = 30
"""Queries that trees are learned from; with fewer the blend alone is the answer."""
_WEIGHED = 300
"""Queries that the blend's weights are found on."""
_TIE = np.float32(1e-3)
"""Share of the blend in a score: it orders what the trees leave in one place."""


class TwoStage(OpenRecommender):
    """Candidates of a first stage, in the order of boosted trees over features of each.

    Tracks that nobody has played are taken in by vectors of the first stage's `wrmf` (`Cold`).
    """

    name: ClassVar[str] = "two-stage"
    Config = TwoStageConfig
    config: TwoStageConfig
    first: FirstStage
    tables: FeatureTables
    trees: Trees
    cold: Cold

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
        self.cold = Cold.none(self._wrmf)

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
        """Two stages where a learned track of the history is known; else `wrmf`, where it is a
        cold one; a title alone goes to `title`."""
        heard = knows_history(self.cold.learned_of(queries), self._wrmf.heard)
        folded = knows_history(queries, self.cold.wrmf.heard)
        title = self.first.models.get("title")
        served = [
            self.name if learned else "wrmf" if cold else POPULARITY
            for learned, cold in zip(heard, folded, strict=True)
        ]
        for q in np.flatnonzero(~heard & ~folded):
            if title and title.answerable(queries[q : q + 1])[0]:
                served[q] = "title"
        return served

    def _best(self, queries: Queries, offsets: Int64, excluded: Int32, n: int) -> Best:
        tracks = np.full((len(queries), n), -1, np.int32)
        scores = np.full((len(queries), n), np.nan, np.float32)
        counts = np.zeros(len(queries), np.int64)
        at = 0
        for model, group in groupby(self.serves(queries)):
            rows = slice(at, at + len(list(group)))
            at = rows.stop
            if model != POPULARITY:
                ends = offsets[rows.start : rows.stop + 1]
                out = excluded[ends[0] : ends[-1]]
                best = self._answers(model, queries[rows], ends - ends[0], out, n)
                width = best[0].shape[1]
                tracks[rows, :width], scores[rows, :width], counts[rows] = best
        return tracks, scores, counts

    def _answers(
        self, model: str, queries: Queries, offsets: Int64, excluded: Int32, n: int
    ) -> Best:
        """What `_best` gives of queries that one model serves."""
        wrmf = self.cold.wrmf
        if model == "wrmf":
            return wrmf._best(queries, offsets, excluded, n)
        vectors = wrmf.query_vectors(queries) if self.cold else None
        learned = self.cold.learned_of(queries)
        ends, out = self.cold.within(offsets, excluded)
        if model == "title":
            best = self.first.models["title"]._best(learned, *self.cold.shut(ends, out), n)
        else:
            best = self._ordered(learned, ends, out, n, vectors)
        if vectors is None:
            return best
        known = wrmf.answerable(queries)
        return self.cold.dealt_in(best, known, vectors, offsets, excluded, n)

    def _ordered(
        self,
        queries: Queries,
        offsets: Int64,
        excluded: Int32,
        n: int,
        vectors: Float32 | None,
    ) -> Best:
        """The best n learned tracks of each query, each on a thread of its own while the next
        ones are found. vectors: as `FirstStage.pools` takes them."""
        tracks = np.full((len(queries), n), -1, np.int32)
        scores = np.full((len(queries), n), np.nan, np.float32)
        counts = np.zeros(len(queries), np.int64)

        def order(q: int, pool: Pool) -> None:
            out = excluded[offsets[q] : offsets[q + 1]]
            best = self._order(self._scored(queries[q : q + 1], pool), pool, out, n)
            counts[q] = len(best[0])
            tracks[q, : counts[q]], scores[q, : counts[q]] = best

        pools = self.first.pools(queries, offsets, excluded, vectors=vectors)
        if len(queries) == 1 or get_num_threads() == 1:
            for q, pool in enumerate(pools):
                order(q, pool)
        else:
            with ThreadPoolExecutor(get_num_threads()) as threads:
                list(threads.map(order, range(len(queries)), pools))  # raises what they raise
        return tracks, scores, counts

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
        """The best n learned tracks: candidates by their score, then all others by popularity.

        A cold one that is among the candidates, by what little training told of it, is left out
        only now: to the others it makes no difference that it has come to be placed.
        """
        cold = self.cold.mask[: self.cold.learned]
        order = np.lexsort((pool.tracks, -scores))
        order = order[~cold[pool.tracks[order]]][:n]
        tracks, ordered = pool.tracks[order], scores[order]
        if len(tracks) < n:
            others = np.setdiff1d(np.flatnonzero(~cold), np.append(pool.tracks, excluded))
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
        """Those of the model that serves the query; of a cold track those of `wrmf`."""
        queries = Queries.of([query])
        model = self.serves(queries)[0]
        if model == "wrmf":
            return self.cold.wrmf._reasons(query, tracks)
        cold = self.cold.mask[tracks]
        if model == "title":
            learned = self.first.models["title"]._reasons(query, tracks[~cold])
        else:
            learned = self._explained(queries, tracks[~cold])
        reasons, of_cold = iter(learned), iter(self._placed(query, tracks[cold]))
        return [next(of_cold if it else reasons) for it in cold]

    def _placed(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """Reasons of cold tracks: those of `wrmf`, which told the place, and what they leave."""
        if not len(tracks):
            return []
        queries = Queries.of([query])
        known = self.cold.wrmf.answerable(queries)[0]
        reasons = self.cold.wrmf._reasons(query, tracks) if known else [[] for _ in tracks]
        best = self._best(queries, *queries.excluded(), len(self.catalog))
        scores = dict(zip(best[0][0].tolist(), best[1][0].tolist(), strict=True))
        for track, some in zip(tracks.tolist(), reasons, strict=True):
            score = scores.get(track, 0.0)  # one that is banned has none
            some.append(Reason("rest", None, score - sum(reason.amount for reason in some)))
        return reasons

    def _explained(self, query: Queries, tracks: Int32) -> list[list[Reason]]:
        """Each feature's part of the trees' score (see `Trees.explain`) of learned tracks."""
        vectors = self.cold.wrmf.query_vectors(query) if self.cold else None
        _, excluded = self.cold.within(*query.excluded())
        queries = self.cold.learned_of(query)
        pool = self.first.pool(queries, excluded, vectors=vectors)
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

    # Tracks that came through another door

    @property
    def space(self) -> DotRecommender:
        return self.cold.wrmf

    def with_tracks(self, tracks: pa.Table, vectors: Float32) -> Self:
        return self._taking(self.cold.with_tracks(tracks, vectors))

    def placing(self, tracks: Int32, vectors: Float32) -> Self:
        return self._taking(self.cold.placing(tracks, vectors))

    def _taking(self, cold: Cold) -> Self:
        more = copy.copy(self)
        more.cold, more.catalog = cold, cold.wrmf.catalog
        return more

    # Keeping

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors = {"blend": self.first.weights, **self.trees.tensors("trees")}
        parts: dict[str, Any] = {**self.first.models, "tables": self.tables, "cold": self.cold}
        for name, part in parts.items():
            tensors |= {f"{name}/{key}": tensor for key, tensor in part.tensors().items()}
        return tensors

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for key, tensor in tensors.items():
            name, _, inner = key.rpartition("/")
            parts.setdefault(name, {})[inner] = tensor
        catalog, cold = self.catalog, parts.get("cold", {})
        if cold:  # they are placed beside those that were learned
            rows = len(expect(parts.get("wrmf", {}), "vectors", np.float32, None, None))
            catalog = Catalog(catalog.table.slice(0, rows))
        models = {}
        for name in self.names:
            if name in parts or name == "wrmf":
                models[name] = self._new(name)
                models[name].catalog = catalog
                models[name].restore(parts.get(name, {}))
        self._set_first(models, expect(tensors, "blend", np.float32, len(self.names)))
        self.tables = FeatureTables.restore(
            parts.get("tables", {}), catalog, self.config.albums, self.config.families
        )
        self.trees = Trees.restore(tensors, "trees", len(self.features))
        self.cold = Cold.restore(cold, self._wrmf, self.catalog)
