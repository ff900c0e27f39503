"""Training of both stages (`two-stage`).

Training keeps what is tested away from what is learned. Playlists are dealt into folds; for each,
which are cut into queries and labels of the challenge's types with tracks, the first stage and the
tables of features are fitted without the labels. The trees learn from these; the first stage and
the tables are fitted once more on everything, for answering.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from segue.catalog.catalog import Catalog, catalog_of
from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.models.base.recommender import RECOMMENDERS, Recommender, TrainingOptions
from segue.models.two_stage.candidates import FirstStage, find_weights
from segue.models.two_stage.config import TwoStageConfig
from segue.models.two_stage.examples import cut_fold, deal, labels_of, sample, without
from segue.models.two_stage.features.compute import FeatureTables
from segue.models.two_stage.ranker import RankerRows, fit_ranker, library
from segue.models.two_stage.trees import Trees
from segue.numeric.arrays import Float32
from segue.protocols.playlist_cuts import Cuts, PlaylistRows
from segue.system.progress import task

_LEAST = 30
"""Queries that trees are learned from; with fewer the blend alone is the answer."""
_WEIGHED = 300
"""Queries that the blend's weights are found on."""


class Trained(NamedTuple):
    """Both stages."""

    first: FirstStage
    tables: FeatureTables
    trees: Trees


def new_model(config: TwoStageConfig, name: str) -> Recommender:
    """A model of the first stage with its settings."""
    settings = getattr(config, name.replace("-", "_"))
    return RECOMMENDERS[name](**msgspec.structs.asdict(settings))


class TwoStageTraining:
    """Fits the first stage, the tables of features and the trees.

    Args:
        config: settings of the model.
        run: facts of the run.
    """

    def __init__(self, config: TwoStageConfig, run: TrainingOptions) -> None:
        self.config, self.run = config, run
        self.rng = np.random.default_rng([run.seed, 2])

    def fit(self, dataset: Dataset, plays: Any, catalog: Catalog) -> Trained:
        """Fit both stages; see the module. Arguments as in `Recommender.learn`."""
        if self.config.ranker.trees:
            library()  # a missing library is an error before the work, not after
        tables: FeatureTables | None = None
        blocks: list[RankerRows] = []
        weights: Float32 | None = None
        playlists = PlaylistRows.of(dataset)
        folds = deal(dataset, self.config.folds, self.config.playlists, self.rng)
        for number, fold in enumerate(folds):
            cuts = cut_fold(playlists, fold, self.rng)
            if cuts is None:
                continue
            share = self.config.seeds_kept
            reduced = without(dataset, playlists, fold, cuts, share, self.rng)
            reduced_plays = reduced.plays()
            reduced_catalog = catalog_of(reduced, reduced_plays)
            first, tables = self.fit_stages(reduced, reduced_plays, reduced_catalog, tables)
            if weights is None:
                weights = self._find_weights(first, cuts)
            if not self.config.ranker.trees:
                break  # the blend alone is asked for
            first.weights = weights
            title = f"candidates of part {number + 1} of {len(folds)}"
            with task(title, len(cuts.queries), "playlists", show=self.run.progress) as advance:
                blocks += self._examples(first, tables, cuts, advance)
        trees = self._fit_trees(blocks)
        first, tables = self.fit_stages(dataset, plays, catalog, tables)
        if weights is not None:
            first.weights = weights
        return Trained(first, tables, trees)

    def fit_stages(
        self, dataset: Dataset, plays: Any, catalog: Catalog, like: FeatureTables | None
    ) -> tuple[FirstStage, FeatureTables]:
        """The first stage and the tables of features, from these rows and nothing else.

        Args:
            dataset, plays, catalog: as in `Recommender.learn`.
            like: earlier tables, whose columns the new ones shall mean.
        """
        models: dict[str, Recommender] = {}
        for name in self.config.names:
            try:
                models[name] = self.fit_model(name, dataset, plays, catalog)
            except DataError:  # no titles, or no order: the others answer
                continue
        first = FirstStage(self.config, models, np.ones(len(self.config.names), np.float32))
        strongest = slice(-self.config.feature_factors, None)
        tables = FeatureTables.learn(
            dataset,
            plays,
            catalog,
            np.ascontiguousarray(first.wrmf.vectors[:, strongest]),
            np.ascontiguousarray(first.wrmf.row_vectors[:, strongest]),
            self.config,
            self.rng,
            like,
        )
        return first, tables

    def fit_model(self, name: str, dataset: Dataset, plays: Any, catalog: Catalog) -> Recommender:
        """A model of the first stage, fitted on these rows."""
        return new_model(self.config, name).learn(dataset, plays, catalog, self.run)

    def _find_weights(self, first: FirstStage, cuts: Cuts) -> Float32:
        """Weights of the blend from a part of the queries."""
        pools, labels = [], []
        for q in self.rng.permutation(len(cuts.queries))[:_WEIGHED]:
            query = cuts.queries[q : q + 1]
            pools.append(first.pool(query, query.excluded().values, everything=True))
            labels.append(labels_of(cuts, q, pools[-1].tracks))
        return find_weights(pools, labels)

    def _examples(
        self, first: FirstStage, tables: FeatureTables, cuts: Cuts, advance: Callable[[int], object]
    ) -> list[RankerRows]:
        """Features and labels of sampled candidates of each query, a block a query."""
        blocks = []
        for q in range(len(cuts.queries)):
            query = cuts.queries[q : q + 1]
            pool = first.pool(query, query.excluded().values)
            labels = labels_of(cuts, q, pool.tracks)
            if labels.any():
                chosen = sample(pool.blend, labels, self.config, self.rng)
                features = tables.compute(query, pool)
                count = np.array([len(chosen.at)])
                blocks.append(
                    RankerRows(features[chosen.at], labels[chosen.at], count, chosen.weights)
                )
            advance(1)
        return blocks

    def _fit_trees(self, blocks: list[RankerRows]) -> Trees:
        """Trees, or none where there is too little to learn them from."""
        if len(blocks) < _LEAST:
            if self.config.ranker.trees:
                lack = f"{len(blocks)} playlists to learn the order from, {_LEAST} are needed"
                self.run.note(f"{lack}: the blend alone answers")
            return Trees.none()
        rows = RankerRows(*(np.concatenate(field) for field in zip(*blocks, strict=True)))
        return fit_ranker(rows, self.config.ranker, seed=self.run.seed, show=self.run.progress)
