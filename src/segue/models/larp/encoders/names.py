"""The names encoder of captions: a weighted sum over words and pairs.

It has no order and no attention, as in fastText (Joulin et al. 2016, "Bag of Tricks"): a caption's
vector is the sum of those of its words, of its words with the next one, and of the artist and the
artist's album as a whole, each hashed to a bucket.

A vector's length at the start is its feature's inverse document frequency (Spärck Jones 1972), so
that rare names outweigh common words before training: in real captions the artist tells most about
the playlists of a track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segue.nn.items import Arrays
from segue.nn.layers import end_to_end
from segue.numeric.arrays import Float32
from segue.numeric.tensors import expect
from segue.text.captions import by_and_on
from segue.text.ngrams import hashed, words_in_order

if TYPE_CHECKING:
    from segue.models.larp.encoders.names_network import NamesNetwork

BUCKETS = 1 << 18
_WORDS = 32
_CHARACTERS = 32
_LONGEST = _WORDS * (_CHARACTERS + 1)
_AT_ONCE = 256
"""Captions of a batch."""

Features = dict[str, npt.NDArray[np.float16]]
"""Vectors of all buckets, as "features"; in half precision, as in bundles."""


class NamesEncoder:
    """Sums over the features of captions. Inference needs only numpy."""

    trainable = True

    def check(self) -> None:
        """Training needs only torch."""

    def items(self, captions: Sequence[str | None]) -> list[npt.NDArray[np.uint32]]:
        """Buckets of the features of captions, (features,) of each; none of one without words."""
        return [self._item(caption or "") for caption in captions]

    def _item(self, caption: str) -> npt.NDArray[np.uint32]:
        caption = caption[:_LONGEST]
        words = _words(caption)
        pairs = [f"{a} {b}" for a, b in pairwise(words)]
        artist, album = (" ".join(_words(name)) for name in by_and_on(caption))
        # The colon and comma occur in no word.
        whole = [f"by: {artist}"] * bool(artist) + [f"on: {album}, by: {artist}"] * bool(album)
        return np.array([hashed(feature) % BUCKETS for feature in words + pairs + whole], np.uint32)

    def network(self, items: Arrays, outputs: int, dropout: float) -> NamesNetwork:
        """The network in torch, for training."""
        from segue.models.larp.encoders.names_network import NamesNetwork

        return NamesNetwork(rarity(items), outputs, dropout)

    def restore(self, tensors: Mapping[str, Any], prefix: str, outputs: int) -> Features:
        """Arrays of a network, from the tensors of a bundle.

        Raises:
            BundleError: one is missing or does not fit.
        """
        name = "features"
        return {name: expect(tensors, prefix + name, np.float16, BUCKETS, outputs)}

    def embed(self, arrays: Mapping[str, npt.NDArray[Any]], items: Arrays, outputs: int) -> Float32:
        """Vectors of captions, not normalised.

        Returns:
            (captions, outputs) float32; zeros for a caption without words.
        """
        out = np.zeros((len(items), outputs), np.float32)
        for first in range(0, len(items), _AT_ONCE):
            batch = [items[i] for i in range(first, min(len(items), first + _AT_ONCE))]
            buckets, starts = end_to_end(batch)
            with_words = np.flatnonzero([len(item) for item in batch])
            if len(with_words):
                rows = arrays["features"][buckets].astype(np.float32)
                out[first + with_words] = np.add.reduceat(rows, starts[with_words], axis=0)
        return out


def _words(text: str) -> list[str]:
    return [word[:_CHARACTERS] for word in words_in_order(text)[:_WORDS]]


def rarity(items: Arrays) -> Float32:
    """log(captions / captions with a feature), as a share of the maximum. (buckets,)"""
    counts = np.zeros(BUCKETS, np.int64)
    for i in range(len(items)):
        counts[np.unique(items[i])] += 1
    total = max(2, len(items))
    shares: Float32 = (np.log(total / np.maximum(counts, 1)) / np.log(total)).astype(np.float32)
    return shares
