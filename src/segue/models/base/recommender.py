"""The contract of every recommender, and what all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.catalog.catalog import Catalog, catalog_of
from segue.config import Config
from segue.data.dataset import Dataset
from segue.errors import NotFittedError, UsageError
from segue.models.base.fallback import PopularityFallback
from segue.models.registry import HOMES, Registry
from segue.nn.items import Arrays
from segue.numeric.arrays import Float32, Int32, Int64
from segue.numeric.ragged import Ragged
from segue.queries import Queries, Query, Reason, Slates
from segue.retrieval.ranks import ranks_among
from segue.retrieval.topk import Best
from segue.system.progress import note

POPULARITY = "popularity"
_BLOCK_BYTES = 64 << 20


Monitor = Callable[[int, "float | Recommender"], None]
"""Follows training; see `TrainingOptions`."""


@dataclass(frozen=True)
class TrainingOptions:
    """Facts of one run, not part of the configuration.

    Attributes:
        seed: of everything random.
        progress: whether to report progress on stderr.
        verbose: whether to report every epoch, too.
        checkpoint: file that long training goes on from, where it fits, and writes to.
        monitor: called after each epoch or sweep with its number, from 1, and with the model's own
            validation score (larger is better) or the model as it is then. It ends training by
            raising.
    """

    seed: int = 0
    progress: bool = False
    checkpoint: Path | None = None
    monitor: Monitor | None = None
    verbose: bool = False

    def note(self, line: str) -> None:
        """Report a line."""
        note(line, show=self.progress)

    def detail(self, line: str) -> None:
        """Report a line that only `verbose` shows."""
        note(line, show=self.progress and self.verbose)

    def part(self, name: str) -> TrainingOptions:
        """The same run for a model within this one: its checkpoint is ``CHECKPOINT.name``."""
        own = self.checkpoint and self.checkpoint.with_name(f"{self.checkpoint.name}.{name}")
        return replace(self, checkpoint=own, monitor=None)


class Recommender(ABC):
    """Maps queries to slates, from its own tensors and catalog alone.

    A subclass gives `name`, a `Config`, and the five methods below `recommend`. `RECOMMENDERS`
    finds it by name: from its table, or once it is defined.

    Args:
        settings: fields of `Config`.

    Raises:
        ConfigError: a setting is unknown or out of bounds.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Config]]
    config: Any
    fitted_on: tuple[Dataset, int] | None = None
    """Dataset and seed of `fit` without options, for the manifest of a bundle."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            RECOMMENDERS.define(cls.name, cls)
        if "Config" in cls.__dict__:
            cls.__signature__ = _signature(cls.Config)  # type: ignore[attr-defined]

    def __init__(self, /, **settings: Any) -> None:
        self.config = self.Config.make(settings)

    @property
    def fitted(self) -> bool:
        """Whether it is trained."""
        return "catalog" in self.__dict__

    @property
    def catalog(self) -> Catalog:
        """The tracks that it knows.

        Raises:
            NotFittedError: it is not trained.
        """
        try:
            catalog: Catalog = self.__dict__["catalog"]
        except KeyError:
            raise NotFittedError(
                f"this {self._class_name()} is not fitted",
                do="call its fit(data), or train it with segue.train",
            ) from None
        return catalog

    @catalog.setter
    def catalog(self, catalog: Catalog) -> None:
        self.__dict__["catalog"] = catalog

    @classmethod
    def _class_name(cls) -> str:
        """Of the class that has the recommender's name: others below it are its variants."""
        return next(kind.__name__ for kind in cls.__mro__ if "name" in kind.__dict__)

    def __repr__(self) -> str:
        given = [
            f"{field.name}={getattr(self.config, field.name)!r}"
            for field in msgspec.structs.fields(self.Config)
            if getattr(self.config, field.name) != _default(field)
        ]
        text = f"{self._class_name()}({', '.join(given)})"
        return f"<{text} fitted on {len(self.catalog):,} tracks>" if self.fitted else text

    def fit(
        self, dataset: Dataset | Path | str, run: TrainingOptions | None = None, *, seed: int = 0
    ) -> Self:
        """Learn from all rows of `dataset`.

        Args:
            dataset: to learn from, or its folder.
            run: facts of the run, for training within training; None: those of `seed`.
            seed: of everything random.

        Raises:
            DataError: the dataset lacks what this recommender learns from.
            UsageError: it is no dataset.
        """
        dataset = Dataset.of(dataset)
        plays = dataset.plays()
        options = run or TrainingOptions(seed)
        self.learn(dataset, plays, catalog_of(dataset, plays), options)
        self.fitted_on = None if run else (dataset, seed)
        return self

    def learn(self, dataset: Dataset, plays: Any, catalog: Catalog, run: TrainingOptions) -> Self:
        """`fit` from what several models share.

        Args:
            dataset: to learn from.
            plays: ``dataset.plays()``, not to be changed.
            catalog: of its tracks (`catalog_of`).
            run: facts of the run.

        Raises:
            DataError: as `fit`.
        """
        self.catalog = catalog
        self._fit(dataset, plays, run)
        return self

    def recommend(self, queries: Queries, n: int) -> Slates:
        """The best n tracks for each query: exactly min(n, available), in total order.

        Never a track of the query's history or bans. Queries that the model knows nothing about
        (see `answerable`) are answered by popularity, and their slates say so.

        Raises:
            UsageError: n is below 1, or a track is not in the catalog.
            NotFittedError: the model is not trained.
        """
        if not isinstance(queries, Queries):
            raise UsageError(
                f"the queries are {type(queries).__name__}",
                do="make them with Queries.of, or ask by URI with segue.recommend",
            )
        if n < 1:
            raise UsageError(f"n is {n}", do="ask for at least 1 track")
        self._check(queries.tracks, queries.bans, queries.past)
        served_by = self.serves(queries)
        known = np.array([model != POPULARITY for model in served_by], np.bool_)
        n = min(n, len(self.catalog))
        tracks = np.full((len(queries), n), -1, np.int32)
        scores = np.full((len(queries), n), np.nan, np.float32)
        counts = np.zeros(len(queries), np.int64)
        fallback = PopularityFallback(self.catalog.plays)
        step = self.batch_size()
        for start in range(0, len(queries), step):
            some = queries[start : start + step]
            excluded = some.excluded()
            mask = known[start : start + step]
            rows = slice(start, start + len(some))
            if mask.any():
                best = self.top_n(some, excluded, n)
                tracks[rows], scores[rows], counts[rows] = best
            for q in np.flatnonzero(~mask).tolist():
                tracks[start + q], scores[start + q], counts[start + q] = fallback.top_n(
                    excluded.row(q), n
                )
        return Slates(tracks, scores, counts, served_by)

    def ranks(self, queries: Queries, targets: Ragged) -> Int64:
        """Where given tracks stand in the complete ranking, as `recommend` would give it.

        Args:
            queries: what is asked.
            targets: distinct tracks of each query.

        Returns:
            ranks from 0; the size of the catalog for a track of the query's history or bans,
            which is never answered. (targets,) int64

        Raises:
            UsageError: a track is not in the catalog.
        """
        self._check(queries.tracks, queries.bans, queries.past, targets.values)
        known = np.array([model != POPULARITY for model in self.serves(queries)], np.bool_)
        ranks = np.zeros(len(targets.values), np.int64)
        fallback = PopularityFallback(self.catalog.plays)
        step = self.batch_size()
        for start in range(0, len(queries), step):
            some = queries[start : start + step]
            mask = known[start : start + step]
            rows = slice(start, start + len(some))
            excluded = some.excluded()
            if mask.any():
                ranks[targets.span(rows)] = self.rank_of(some, excluded, targets[rows])
            for q in np.flatnonzero(~mask).tolist():
                at = slice(start + q, start + q + 1)
                ranks[targets.span(at)] = fallback.rank_of(excluded.row(q), targets[at].values)
        return ranks

    def ranks_among(self, queries: Queries, candidates: Ragged, ties: Int64 | None = None) -> Int64:
        """Where given tracks stand when only those given for a query may be answered.

        Args:
            queries: what is asked.
            candidates: distinct tracks of each query.
            ties: a number for each candidate: of those of equal score the lower one stands
                first. None: the index of the track. (candidates,)

        Returns:
            ranks from 0; the number of all candidates for one that is never answered.
            (candidates,) int64

        Raises:
            UsageError: a track is not in the catalog.
        """
        self._check(queries.tracks, queries.bans, queries.past, candidates.values)
        known = np.array([model != POPULARITY for model in self.serves(queries)], np.bool_)
        scores = self.catalog.plays[candidates.values].astype(np.float32)
        for start in range(0, len(queries), self.batch_size()):
            some = queries[start : start + self.batch_size()]
            mask = known[start : start + len(some)]
            rows = slice(start, start + len(some))
            if mask.any():
                span, part = candidates.span(rows), candidates[rows]
                known_scores = self.score_candidates(some, part)
                scores[span] = np.where(mask[part.owners()], known_scores, scores[span])
        return ranks_among(scores, queries.excluded(), candidates, ties)

    def _check(self, *columns: Int32) -> None:
        size = len(self.catalog)
        for tracks in columns:
            if len(tracks) and (tracks.min() < 0 or tracks.max() >= size):
                raise UsageError(f"a query names a track outside 0..{size - 1}")

    def batch_size(self) -> int:
        """Queries that are scored at once."""
        return self.batch or max(1, min(256, _BLOCK_BYTES // (4 * max(1, len(self.catalog)))))

    def rank_of(self, queries: Queries, excluded: Ragged, targets: Ragged) -> Int64:
        """Ranks as `ranks_of_scores` gives them, of answerable queries; here by ranking all."""
        size = len(self.catalog)
        out = np.empty(len(targets.values), np.int64)
        ranked, _, counts = self.top_n(queries, excluded, size)
        rank = np.empty(size, np.int64)
        for q, count in enumerate(counts):
            rank[:] = size
            rank[ranked[q, :count]] = np.arange(count)
            out[targets.span(slice(q, q + 1))] = rank[targets.row(q)]
        return out

    def score_candidates(self, queries: Queries, candidates: Ragged) -> Float32:
        """Scores of candidates of answerable queries, or what has their order. (candidates,)"""
        none = Ragged.repeat(np.zeros(0, np.int32), len(queries))
        return -self.rank_of(queries, none, candidates).astype(np.float32)

    @property
    def extras(self) -> frozenset[str]:
        """Extras of the package that training needs (`segue.system.extras.EXTRAS`)."""
        return frozenset()

    batch: ClassVar[int | None] = None
    """Queries scored at once; None sets it by the size of a dense block of scores."""

    @property
    def reads_titles(self) -> bool:
        """Whether a title can change an answer."""
        return False

    @property
    def reads_past(self) -> bool:
        """Whether what was heard in earlier sessions can change an answer."""
        return False

    def serves(self, queries: Queries) -> list[str]:
        """Name of the model that answers each query."""
        return [self.name if known else POPULARITY for known in self.answerable(queries)]

    def explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """Why each of `tracks` has its score: parts that add up to it, largest first.

        Raises:
            NotFittedError: the model is not trained.
        """
        self._check(tracks)
        if not self.answerable(Queries.of([query]))[0]:
            return [[Reason("popularity", None, float(self.catalog.plays[t]))] for t in tracks]
        reasons = self._explain(query, tracks)
        return [sorted(some, key=lambda reason: -reason.amount) for some in reasons]

    # Capabilities that not every model has

    @property
    def sound(self) -> str | None:
        """Audio features that `place` reads: a key of `segue.audio.extractors.SOUNDS`, or "none".

        None: the model places no tracks by their content.
        """
        return None

    @property
    def item_vectors(self) -> Float32 | None:
        """Vectors of the tracks, None where the model has none. (tracks, factors)"""
        return None

    def place(self, features: Arrays, tracks: pa.Table) -> Float32:
        """Predict vectors of tracks that nobody played, as `with_tracks` takes them.

        Args:
            features: of each track, by the extractor for `sound`; any where that is "none".
            tracks: rows of the table `tracks`: their titles and artists.

        Returns:
            (tracks, factors) float32; zeros for a track that nothing tells the place of.

        Raises:
            UsageError: the model places no tracks by their content.
        """
        raise UsageError(f"{self.name} places no new tracks", do="train the recipe audio")

    def with_tracks(self, tracks: pa.Table, vectors: Float32) -> Self:
        """Add tracks, placed by given vectors, to a copy of the model.

        Args:
            tracks: of the schema of `tracks`; their uris are new to the catalog.
            vectors: predicted from sound or words. (tracks, factors) float32

        Raises:
            UsageError: the model takes in no tracks, shapes do not fit, a number is not finite, or
                a uri is not new.
        """
        raise UsageError(f"{self.name} takes in no new tracks")

    def score_catalog(self, queries: Queries, out: Float32) -> npt.NDArray[np.bool_]:
        """Score every track for each query; scores need not be exact to the last bit.

        Args:
            queries: to score.
            out: takes the scores; rows of queries that are not answerable may hold anything
                finite. (queries, tracks) float32

        Returns:
            which queries are answerable. (queries,)
        """
        every = Ragged.repeat(np.arange(len(self.catalog), dtype=np.int32), len(queries))
        out[:] = self.score_candidates(queries, every).reshape(out.shape)
        return self.answerable(queries)

    def fallbacks(self) -> dict[str, Recommender]:
        """Parts of the model that answer alone, faster or of less, by name; best first."""
        return {}

    # What a model is

    @abstractmethod
    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        """Learn. `plays` is ``dataset.plays()``; `catalog` is set."""

    @abstractmethod
    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        """Which queries hold something that the model knows. (queries,)"""

    @abstractmethod
    def top_n(self, queries: Queries, excluded: Ragged, n: int) -> Best:
        """Tracks, scores and counts as `best_of_scores` gives them.

        Rows of queries that are not answerable may hold anything finite; they are replaced.
        """

    @abstractmethod
    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """Parts of the scores of `tracks`, in any order."""

    @abstractmethod
    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Everything learned, by name; together with config and catalog it is the model."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take tensors as `tensors` gave them; config and catalog are set.

        Raises:
            BundleError: shapes or types do not fit (use `expect`).
        """


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """The default of a setting."""
    factory = field.default_factory
    return field.default if factory is msgspec.NODEFAULT else factory()


def _signature(config: type[Config]) -> Signature:
    """Settings with their types and defaults, as keywords of the model's class."""
    parameters = []
    for field in msgspec.structs.fields(config):
        plain = get_args(field.type)[0] if get_origin(field.type) is Annotated else field.type
        default = Parameter.empty if field.required else _default(field)
        parameters.append(
            Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=plain)
        )
    return Signature(parameters)


RECOMMENDERS: Registry[type[Recommender]] = Registry(HOMES)
"""Every recommender by name."""


def knows_history(queries: Queries, plays: Int32) -> npt.NDArray[np.bool_]:
    """Which queries like a track that somebody played. plays: of each track. (queries,)"""
    liked = queries.liked()
    known: npt.NDArray[np.bool_] = liked.where(plays[liked.values] > 0).lengths() > 0
    return known
