"""What recommenders that hear have in common: features of a file become a place in the catalog."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import pyarrow as pa

from segue.audio.bag_of_words import Bag
from segue.nn.items import Arrays
from segue.numeric.arrays import Float32


class ContentModel(ABC):
    """A recommender that places tracks by their sound, and by their artist.

    A file that has just arrived: extract the features that `sound` names, `place` them, and give
    `with_tracks` the vectors.
    """

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
        """The same model with further tracks, as `EmbeddingModel.with_tracks`."""
