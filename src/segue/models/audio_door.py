"""What recommenders that hear have in common: features of a file become a place in the catalog."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import pyarrow as pa

from segue.answers import Float32, Int32
from segue.catalog import Catalog
from segue.models.audio_towers import Arrays
from segue.models.bag_of_words import Bag


class AudioDoor(ABC):
    """A recommender that places tracks by their sound, and by their artist.

    A file that has just arrived: extract the features that `sound` names, `place` them, and give
    `with_tracks` the vectors.
    """

    catalog: Catalog
    bag: Bag | None = None
    """Of a model that hears a bag of words."""

    @property
    @abstractmethod
    def sound(self) -> str:
        """What is heard: a key of `segue.audio.extractors.SOUNDS`, or "none"."""

    def place(self, features: Arrays, artists: Sequence[str | None]) -> Float32:
        """Vectors of tracks that nobody played, as `with_tracks` takes them.

        Args:
            features: of each track, by the extractor for `sound`; any where that is "none".
            artists: name or uri of each track's artist, or None.

        Returns:
            (tracks, factors) float32; zeros for a track that nothing tells the place of.
        """
        by_name: dict[str, int] = {}
        if any(artists):
            table = self.catalog.table.select(["artist_uri", "artist"])
            for column in table.columns:
                names = zip(column.to_pylist(), self.catalog.artists.tolist(), strict=True)
                by_name |= {name: code for name, code in names if name and name not in by_name}
        codes = [by_name.get(artist, -1) if artist else -1 for artist in artists]
        sounds = features
        if self.bag is not None:
            sounds = [self.bag(features[i]) for i in range(len(features))]
        return self._placed(sounds, np.array(codes, np.int32))

    @abstractmethod
    def _placed(self, sounds: Arrays, artists: Int32) -> Float32:
        """`place` with what towers hear, and numbers of the catalog's artists or -1."""

    @abstractmethod
    def with_tracks(self, tracks: pa.Table, vectors: Float32) -> Self:
        """The same model with further tracks, as `DotRecommender.with_tracks`."""
