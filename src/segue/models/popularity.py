"""Popularity: the same tracks for everybody. The baseline that every figure stands beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from segue.config import Config
from segue.data.dataset import Dataset
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import ScoringModel
from segue.numeric.arrays import Float32, Int32
from segue.queries import Queries, Query, Reason


class PopularityConfig(Config, frozen=True):
    """Popularity has no settings."""


class Popularity(ScoringModel):
    """score(t) = number of playlists and listeners that have t."""

    name = "popularity"
    Config = PopularityConfig

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        pass

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return np.ones(len(queries), np.bool_)

    def scores(self, queries: Queries) -> Float32:
        return np.tile(self.catalog.plays.astype(np.float32), (len(queries), 1))

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        return [[Reason("popularity", None, float(self.catalog.plays[t]))] for t in tracks]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        pass
