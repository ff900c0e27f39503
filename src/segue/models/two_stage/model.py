"""Two stages: several models find candidates, boosted trees put them in order (`two-stage`).

Source: Volkovs et al. 2018, "Two-stage Model for Automatic Playlist Continuation at Scale" (vl6,
winner of the RecSys Challenge 2018). `docs/development/papers/two-stage.md` says what differs
and why. Training is in `two_stage.training`, tracks that nobody has played in
`two_stage.cold_start`.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import get_num_threads

from segue.catalog.catalog import Catalog
from segue.data.dataset import Dataset
from segue.errors import ConfigError
from segue.models.base.recommender import (
    POPULARITY,
    Recommender,
    TrainingOptions,
    knows_history,
)
from segue.models.base.scoring import ColdStartModel, EmbeddingModel
from segue.models.two_stage.candidates import FirstStage, Pool
from segue.models.two_stage.cold_start import AddedTracks
from segue.models.two_stage.config import TwoStageConfig
from segue.models.two_stage.features.compute import Feature, FeatureTables, features_of
from segue.models.two_stage.training import TwoStageTraining, new_model
from segue.models.two_stage.trees import Trees
from segue.numeric.arrays import Float32, Int32
from segue.numeric.ragged import Ragged
from segue.numeric.tensors import expect
from segue.queries import Queries, Query, Reason
from segue.retrieval.topk import Best

_TIE = np.float32(1e-3)
"""Share of the blend in a score: it orders what the trees leave in one place."""


_RECENT = 64
"""Queries whose candidates are remembered."""


class KnownQuery(NamedTuple):
    """Candidates of a query in the second stage.

    Attributes:
        pool: of the first stage.
        features: (n, features)
        scores: (n,)
    """

    pool: Pool
    features: Float32
    scores: Float32


class TwoStage(ColdStartModel):
    """Candidates of a first stage, in the order of boosted trees over features of each.

    Tracks that nobody has played are taken in by vectors of the first stage's `wrmf`.
    """

    name: ClassVar[str] = "two-stage"
    Config = TwoStageConfig
    config: TwoStageConfig
    first: FirstStage
    tables: FeatureTables
    trees: Trees
    cold: AddedTracks

    def __init__(self, /, **settings: Any) -> None:
        super().__init__(**settings)
        for needed in {"wrmf", self.config.candidates} - {"union", *self.config.models}:
            raise ConfigError(f"models lack {needed}", where="TwoStageConfig", do="add it")
        if self.config.wrmf.rows != "listeners":  # its row vectors stand beside the plays
            raise ConfigError("is not for two-stage", where="wrmf.rows", do='leave it "listeners"')
        self._recent: OrderedDict[bytes, KnownQuery] = OrderedDict()

    @property
    def extras(self) -> frozenset[str]:
        models = (new_model(self.config, name) for name in self.config.names)
        ranker = {"ranker"} if self.config.ranker.trees else set()
        return frozenset(ranker).union(*(model.extras for model in models))

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        trained = TwoStageTraining(self.config, run).fit(dataset, plays, self.catalog)
        self.first, self.tables, self.trees = trained
        self.cold = AddedTracks.none(self.first.wrmf)

    @property
    def features(self) -> tuple[Feature, ...]:
        """Columns that the trees look at."""
        return features_of(self.config.names, self.config.albums, self.config.families)

    @property
    def reads_titles(self) -> bool:
        return True  # features do, whatever the first stage

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return np.array([model != POPULARITY for model in self.serves(queries)], np.bool_)

    def serves(self, queries: Queries) -> list[str]:
        """Two stages where a learned track of the history is known.

        A history of cold tracks alone goes to `wrmf`, a title alone to `title`.
        """
        heard = knows_history(self.cold.learned_of(queries), self.first.wrmf.play_counts)
        folded = knows_history(queries, self.cold.wrmf.play_counts)
        title = self.first.models.get("title")
        served = [
            self.name if learned else "wrmf" if cold else POPULARITY
            for learned, cold in zip(heard, folded, strict=True)
        ]
        for q in np.flatnonzero(~heard & ~folded):
            if title and title.answerable(queries[q : q + 1])[0]:
                served[q] = "title"
        return served

    def top_n(self, queries: Queries, excluded: Ragged, n: int) -> Best:
        tracks = np.full((len(queries), n), -1, np.int32)
        scores = np.full((len(queries), n), np.nan, np.float32)
        counts = np.zeros(len(queries), np.int64)
        at = 0
        for model, group in groupby(self.serves(queries)):
            rows = slice(at, at + len(list(group)))
            at = rows.stop
            if model != POPULARITY:
                best = self._answers(model, queries[rows], excluded[rows], n)
                width = best[0].shape[1]
                tracks[rows, :width], scores[rows, :width], counts[rows] = best
        return tracks, scores, counts

    def _answers(self, model: str, queries: Queries, excluded: Ragged, n: int) -> Best:
        """`top_n` of queries that one model serves."""
        wrmf = self.cold.wrmf
        if model == "wrmf":
            return wrmf.top_n(queries, excluded, n)
        vectors = self._vectors(queries)
        learned = self.cold.learned_of(queries)
        banned = self.cold.within(excluded)
        if model == "title":
            best = self.first.models["title"].top_n(learned, self.cold.shut(banned), n)
        else:
            best = self._ordered(learned, banned, n, vectors)
        if vectors is None:
            return best
        known = wrmf.answerable(queries)
        return self.cold.dealt_in(best, known, vectors, excluded, n)

    def _vectors(self, queries: Queries) -> Float32 | None:
        """Of the queries by `wrmf`; None where no track is cold: the first stage finds them.

        A history of learned tracks has the vector that it had before: with more columns in the
        catalog `wrmf` would pull it a little more.
        """
        if not self.cold:
            return None
        vectors, learned = self.cold.wrmf.query_vectors(queries), self.cold.learned_of(queries)
        same = np.diff(learned.offsets) == np.diff(queries.offsets)
        return np.where(same[:, None], self.first.wrmf.query_vectors(learned), vectors)

    def _ordered(self, queries: Queries, excluded: Ragged, n: int, vectors: Float32 | None) -> Best:
        """The best n learned tracks of each query.

        Each is ordered on a thread of its own while candidates of the next ones are found.

        Args:
            vectors: as `FirstStage.pools` takes them.
        """
        tracks = np.full((len(queries), n), -1, np.int32)
        scores = np.full((len(queries), n), np.nan, np.float32)
        counts = np.zeros(len(queries), np.int64)

        def order(q: int, pool: Pool) -> None:
            banned = excluded.row(q)
            known = self._known(queries[q : q + 1], pool)
            self._remember(self._key(queries[q : q + 1], banned, vectors, q), known)
            best = self._order(known.scores, pool, banned, n)
            counts[q] = len(best[0])
            tracks[q, : counts[q]], scores[q, : counts[q]] = best

        pools = self.first.pools(queries, excluded, vectors=vectors)
        if len(queries) == 1 or get_num_threads() == 1:
            for q, pool in enumerate(pools):
                order(q, pool)
        else:
            with ThreadPoolExecutor(get_num_threads()) as threads:
                list(threads.map(order, range(len(queries)), pools))  # raises what they raise
        return tracks, scores, counts

    def _known(self, query: Queries, pool: Pool) -> KnownQuery:
        """Candidates of one query with their features and scores."""
        rows = self.tables.compute(query, pool)
        scores = pool.blend
        if self.trees.size:
            scores = self.trees.score(rows) + _TIE * pool.blend
        return KnownQuery(pool, rows, scores)

    def _remember(self, key: bytes, known: KnownQuery) -> None:
        """Reasons are asked for right after an answer, for the same query."""
        self._recent[key] = known
        while len(self._recent) > _RECENT:
            with suppress(KeyError):  # another thread was faster
                self._recent.popitem(last=False)

    @staticmethod
    def _key(query: Queries, excluded: Int32, vectors: Float32 | None, q: int) -> bytes:
        """All that decides about the candidates of one query, and their order."""
        parts = [query.tracks.tobytes(), query.outcomes.tobytes(), excluded.tobytes()]
        parts += [repr(query.titles[0]).encode(), b"" if vectors is None else vectors[q].tobytes()]
        return b"".join(len(part).to_bytes(8) + part for part in parts)

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

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """Those of the model that serves the query; of a cold track those of `wrmf`."""
        queries = Queries.of([query])
        model = self.serves(queries)[0]
        if model == "wrmf":
            return self.cold.wrmf.explain(query, tracks)
        cold = self.cold.mask[tracks]
        if model == "title":
            learned = self.first.models["title"].explain(query, tracks[~cold])
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
        reasons = self.cold.wrmf.explain(query, tracks) if known else [[] for _ in tracks]
        best = self.top_n(queries, queries.excluded(), len(self.catalog))
        scores = dict(zip(best[0][0].tolist(), best[1][0].tolist(), strict=True))
        for track, some in zip(tracks.tolist(), reasons, strict=True):
            score = scores.get(track, 0.0)  # one that is banned has none
            some.append(Reason("rest", None, score - sum(reason.amount for reason in some)))
        return reasons

    def _explained(self, query: Queries, tracks: Int32) -> list[list[Reason]]:
        """Each feature's part of the trees' score (see `Trees.explain`) of learned tracks."""
        vectors = self._vectors(query)
        excluded = self.cold.within(query.excluded()).values
        queries = self.cold.learned_of(query)
        known_as = self._key(queries, excluded, vectors, 0)
        found = self._recent.get(known_as)
        if found is None:
            found = self._known(queries, self.first.pool(queries, excluded, vectors=vectors))
        pool, features, scores = found
        beyond = self._beyond(tracks, scores)
        at = np.searchsorted(pool.tracks, tracks)
        at = np.where(at < len(pool.tracks), at, 0)
        known = pool.tracks[at] == tracks if len(pool.tracks) else np.zeros(len(tracks), np.bool_)
        reasons = [[Reason("popularity", None, float(score))] for score in beyond]
        rows = features[at[known]]
        if self.trees.size:
            bias, parts = self.trees.explain(rows)
            names = [feature.name for feature in self.features]
            rests = bias + _TIE * pool.blend[at[known]]
        else:
            parts = pool.scores[at[known]] * self.first.weights
            names = [f"{name}-score" for name in self.config.names]
            rests = np.zeros(len(parts), np.float32)
        for place, row, rest in zip(np.flatnonzero(known), parts, rests, strict=True):
            reasons[place] = [
                Reason("feature", name, float(part))
                for name, part in zip(names, row, strict=True)
                if part
            ] + [Reason("rest", None, float(rest))]
        return reasons

    # Tracks that came through another door

    @property
    def space(self) -> EmbeddingModel:
        return self.cold.wrmf

    def fallbacks(self) -> dict[str, Recommender]:
        title = self.first.models.get("title")
        return {"first stage": self.cold.wrmf} | ({"title": title} if title else {})

    def with_tracks(self, tracks: pa.Table, vectors: Float32) -> Self:
        return self._taking(self.cold.with_tracks(tracks, vectors))

    def placing(self, tracks: Int32, vectors: Float32) -> Self:
        return self._taking(self.cold.placing(tracks, vectors))

    def _taking(self, cold: AddedTracks) -> Self:
        more = copy.copy(self)
        more.cold, more.catalog, more._recent = cold, cold.wrmf.catalog, OrderedDict()
        return more

    # Bundles

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
        for name in self.config.names:
            if name in parts or name == "wrmf":
                models[name] = new_model(self.config, name)
                models[name].catalog = catalog
                models[name].restore(parts.get(name, {}))
        weights = expect(tensors, "blend", np.float32, len(self.config.names))
        self.first = FirstStage(self.config, models, weights)
        self.tables = FeatureTables.restore(
            parts.get("tables", {}), catalog, self.config.albums, self.config.families
        )
        self.trees = Trees.restore(tensors, "trees", len(self.features))
        self.cold = AddedTracks.restore(cold, self.first.wrmf, self.catalog)
