"""What recommenders that hear have in common: features of a file become a place in the catalog."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segue.audio.bag_of_words import Bag
from segue.catalog.catalog import Catalog
from segue.nn.tower import Arrays
from segue.queries import Float32, Int32


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

    def place(self, features: Arrays, tracks: pa.Table) -> Float32:
        """Vectors of tracks that nobody played, as `with_tracks` takes them.

        Args:
            features: of each track, by the extractor for `sound`; any where that is "none".
            tracks: rows of the table `tracks`; what they are called, and by whom.

        Returns:
            (tracks, factors) float32; zeros for a track that nothing tells the place of.
        """
        sounds = features
        if self.bag is not None:
            sounds = [self.bag(features[i]) for i in range(len(features))]
        return self._placed(sounds, tracks)

    @abstractmethod
    def _placed(self, sounds: Arrays, tracks: pa.Table) -> Float32:
        """`place` with what towers hear."""

    @abstractmethod
    def with_tracks(self, tracks: pa.Table, vectors: Float32) -> Self:
        """The same model with further tracks, as `DotRecommender.with_tracks`."""


def artists_of(catalog: Catalog, tracks: pa.Table) -> Int32:
    """Numbers of a catalog's artists, by uri or by name, -1 where it has none. (tracks,)

    Args:
        catalog: whose artists are known.
        tracks: rows of the table `tracks`.
    """
    codes = np.full(len(tracks), -1, np.int32)
    for column in ("artist", "artist_uri"):
        known = catalog.table[column]
        # Only rows of these names are looked at one by one: a catalog has many others.
        rows = np.flatnonzero(pc.is_in(known, value_set=tracks[column].drop_null()))[::-1]
        artists = catalog.artists[rows].tolist()
        by_name = dict(zip(known.take(rows).to_pylist(), artists, strict=True))
        found = np.array([by_name.get(name, -1) for name in tracks[column].to_pylist()])
        codes = np.where(found >= 0, found, codes).astype(np.int32)
    return codes
