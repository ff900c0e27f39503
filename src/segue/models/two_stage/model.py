"""Two stages: several models find candidates, boosted trees put them in order (`two-stage`).

Source: Volkovs et al. 2018, "Two-stage Model for Automatic Playlist Continuation at Scale" (vl6,
winner of the RecSys Challenge 2018). `docs/development/papers/two-stage.md` says what differs
and why.

Training keeps what is tested away from what is learned. Playlists are dealt into folds; for each,
which are cut into queries and labels of the challenge's types with tracks, the first stage and the
tables of features are fitted without the labels. The trees learn from these; the first stage and
the tables are fitted once more on everything, for answering.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from segue.catalog.catalog import Catalog, catalog_of
from segue.data.dataset import Dataset
from segue.errors import ConfigError, DataError
from segue.models.base.recommender import RECOMMENDERS, Recommender, TrainingOptions
from segue.models.two_stage.answering import Stages
from segue.models.two_stage.candidates import FirstStage, find_weights
from segue.models.two_stage.cold_start import AddedTracks
from segue.models.two_stage.config import TwoStageConfig
from segue.models.two_stage.examples import cut_fold, deal, labels_of, sample, without
from segue.models.two_stage.features.compute import FeatureTables
from segue.models.two_stage.ranker import RankerRows, fit_ranker, library
from segue.models.two_stage.trees import Trees
from segue.numeric.arrays import Float32
from segue.numeric.tensors import expect
from segue.protocols.playlist_cuts import Cuts, PlaylistRows
from segue.system.progress import note, task

_LEAST = 30
"""Queries that trees are learned from; with fewer the blend alone is the answer."""
_WEIGHED = 300
"""Queries that the blend's weights are found on."""


class TwoStage(Stages):
    """Candidates of a first stage, in the order of boosted trees over features of each."""

    name: ClassVar[str] = "two-stage"
    Config = TwoStageConfig

    def __init__(self, /, **settings: Any) -> None:
        super().__init__(**settings)
        for needed in {"wrmf", self.config.candidates} - {"union", *self.config.models}:
            raise ConfigError(f"models lack {needed}", where="TwoStageConfig", do="add it")
        if self.config.wrmf.rows != "listeners":  # its row vectors stand beside the plays
            raise ConfigError("is not for two-stage", where="wrmf.rows", do='leave it "listeners"')

    # Training

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        if self.config.ranker.trees:
            library()  # what is not there is said before the work, not after
        rng = np.random.default_rng([run.seed, 2])
        tables: FeatureTables | None = None
        blocks: list[RankerRows] = []
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
        run: TrainingOptions,
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
            dataset,
            plays,
            catalog,
            np.ascontiguousarray(wrmf.vectors[:, near]),
            np.ascontiguousarray(wrmf.row_vectors[:, near]),
            self.config,
            rng,
            like,
        )
        return self.tables

    def _fitted(
        self, name: str, dataset: Dataset, plays: Any, catalog: Catalog, run: TrainingOptions
    ) -> Recommender:
        """A model of the first stage that has learned from these rows."""
        return self._new(name).learn(dataset, plays, catalog, run)

    def _new(self, name: str) -> Recommender:
        """A model of the first stage with its settings."""
        settings = getattr(self.config, name.replace("-", "_"))
        return RECOMMENDERS[name](**msgspec.structs.asdict(settings))

    def _set_first(self, models: dict[str, Recommender], weights: Float32) -> None:
        config = self.config
        self.first = FirstStage(
            self.names, models, config.candidates, config.retrieved, config.reranked, weights
        )
        self.cold = AddedTracks.none(self._wrmf)
        self._recent.clear()

    def _weigh(self, cuts: Cuts, rng: np.random.Generator) -> Float32:
        """Weights of the blend from some of the queries."""
        some = rng.permutation(len(cuts.queries))[:_WEIGHED]
        pools, labels = [], []
        for q in some:
            query = cuts.queries[q : q + 1]
            pools.append(self.first.pool(query, query.excluded()[1], everything=True))
            labels.append(labels_of(cuts, q, pools[-1].tracks))
        return find_weights(pools, labels)

    def _examples(self, cuts: Cuts, rng: np.random.Generator, advance: Any) -> list[RankerRows]:
        """Features and labels of some candidates of each query, a block a query."""
        blocks = []
        for q in range(len(cuts.queries)):
            query = cuts.queries[q : q + 1]
            pool = self.first.pool(query, query.excluded()[1])
            found = labels_of(cuts, q, pool.tracks)
            if found.any():
                chosen = sample(pool.blend, found, self.config, rng)
                blocks.append(
                    RankerRows(
                        self._features(query, pool)[chosen.at],
                        found[chosen.at],
                        np.array([len(chosen.at)]),
                        chosen.weights,
                    )
                )
            advance(1)
        return blocks

    def _rank(self, blocks: list[RankerRows], run: TrainingOptions) -> Trees:
        """Trees, or none where there is too little to learn them from."""
        if len(blocks) < _LEAST:
            if self.config.ranker.trees:
                found = f"{len(blocks)} playlists to learn the order from, {_LEAST} are needed"
                note(f"{found}: the blend alone answers", show=run.progress)
            return Trees.none()
        rows = RankerRows(*(np.concatenate(field) for field in zip(*blocks, strict=True)))
        return fit_ranker(rows, self.config.ranker, seed=run.seed, show=run.progress)

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
        self.cold = AddedTracks.restore(cold, self._wrmf, self.catalog)
