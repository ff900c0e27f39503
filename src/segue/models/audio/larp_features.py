"""What LARP tells of tracks, for `audio`: its sound "larp".

The sides of `larp` learn from the same dataset as the base. Their content e_s is a vector of
every track that they know by its sound, by its caption or by both, whoever has played it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.catalog.catalog import CATALOG_SCHEMA, Catalog
from segue.data.dataset import Dataset
from segue.errors import ConfigError
from segue.models.base.audio_features import Sounds
from segue.models.base.recommender import TrainingOptions
from segue.models.larp.config import LARPConfig
from segue.models.larp.model import LARP
from segue.nn.items import Arrays
from segue.numeric.arrays import Float32, Int64


class LARPFeatures:
    """LARP without what it learned from: its sides, which tell content of new tracks.

    Args:
        settings: of `larp`.

    Raises:
        ConfigError: they do not go together, or name a top.
    """

    def __init__(self, settings: LARPConfig) -> None:
        if settings.top != "item-knn":
            raise ConfigError(
                f"{settings.top!r} would have nobody to answer",
                where="AudioConfig.larp.top",
                do="leave it out: the base answers",
            )
        self.larp = LARP(**{name: getattr(settings, name) for name in settings.__struct_fields__})

    @property
    def numbers(self) -> int:
        """Of content of a track."""
        return self.larp.placed_by

    def learn(
        self, dataset: Dataset, plays: Any, catalog: Catalog, run: TrainingOptions
    ) -> tuple[Sounds, Int64]:
        """Train the sides, as `Recommender.learn`.

        Returns:
            tracks that something is known of, with their content; and rows of tracks that no
            stage has learned from, none where nothing is trained.
        """
        larp = self.larp
        larp.learn(dataset, plays, catalog, run)
        known = np.flatnonzero(larp.content.any(axis=1)).astype(np.int32)
        sounds = Sounds(known, larp.content[known])
        held = np.zeros(0, np.int64) if larp.held is None else larp.held
        larp.catalog, larp.encoder_vectors, larp.held = _nothing(), {}, None
        larp.content, larp.vectors = larp.content[:0].copy(), larp.vectors[:0].copy()
        return sounds, held

    def __call__(self, sounds: Arrays, tracks: pa.Table) -> Float32:
        """Content of new tracks, as `ContentModel.place` is given them; zeros: nothing is known."""
        return self.larp.place(sounds, tracks)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """As LARP's own; its tables of tracks have no rows."""
        return self.larp.tensors()

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take them.

        Raises:
            BundleError: one is missing or does not fit.
        """
        self.larp.catalog = _nothing()
        self.larp.restore(tensors)


def _nothing() -> Catalog:
    return Catalog(CATALOG_SCHEMA.empty_table())
