"""What recommenders that hear have in common: features of a file become a place in the catalog."""

from __future__ import annotations

from abc import abstractmethod

import pyarrow as pa

from segue.audio.bag_of_words import Bag
from segue.models.base.recommender import Recommender
from segue.nn.items import Arrays
from segue.numeric.arrays import Float32


class ContentModel(Recommender):
    """A recommender that places tracks by their sound, and by their artist.

    A file that has just arrived: extract the features that `sound` names, `place` them, and give
    `with_tracks` the vectors.
    """

    bag: Bag | None = None
    """Of a model that hears a bag of words."""

    @property
    @abstractmethod
    def sound(self) -> str:
        """Audio features that `place` reads, or "none"."""

    def place(self, features: Arrays, tracks: pa.Table) -> Float32:
        sounds = features
        if self.bag is not None:
            sounds = [self.bag(features[i]) for i in range(len(features))]
        return self._placed(sounds, tracks)

    @abstractmethod
    def _placed(self, sounds: Arrays, tracks: pa.Table) -> Float32:
        """`place` with what towers hear."""
