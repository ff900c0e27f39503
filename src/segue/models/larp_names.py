"""The side of LARP that reads captions by their names: a weighted sum over words and pairs.

Without order and attention, as in fastText (Joulin et al. 2016, "Bag of Tricks"; Bojanowski et al.
2017 for runs of characters): a caption's vector is the sum of those of its words, of its words with
the next one, and of runs of 3 to 5 characters, each hashed to a bucket. A vector's length at the
start is its feature's inverse document frequency (Spärck Jones 1972), so that rare names outweigh
common words before anything is learned: in real captions most of what tells which playlists a
track is in is who made it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segue.answers import Float32
from segue.models.audio_towers import Arrays
from segue.models.base import expect
from segue.models.text import hashed, words_in_order
from segue.models.text_encoding import end_to_end

if TYPE_CHECKING:
    from segue.models.larp_names_network import NamesNetwork

BUCKETS = 1 << 16
_WORDS = 32
_CHARACTERS = 32
_LONGEST = _WORDS * (_CHARACTERS + 1)
_GRAMS = (3, 4, 5)
_AT_ONCE = 256
"""Captions that are read together."""


class NamesSide:
    """Sums over the features of captions. Numpy alone answers."""

    trainable = True

    def check(self) -> None:
        """Nothing is needed but torch."""

    def items(self, captions: Sequence[str | None]) -> list[npt.NDArray[np.uint16]]:
        """Buckets of the features of captions, (features,) of each; none of one without words."""
        return [self._item(caption or "") for caption in captions]

    def _item(self, caption: str) -> npt.NDArray[np.uint16]:
        words = [w[:_CHARACTERS] for w in words_in_order(caption[:_LONGEST])[:_WORDS]]
        found = [_of_word(word) for word in words]
        pairs = [hashed(f"{a} {b}") % BUCKETS for a, b in pairwise(words)]
        return np.concatenate([np.array(pairs, np.uint16), *found]).astype(np.uint16)

    def network(self, items: Arrays, outputs: int, dropout: float) -> NamesNetwork:
        """The same in torch, with weights to be trained; see there."""
        from segue.models.larp_names_network import NamesNetwork

        return NamesNetwork(rarity(items), outputs, dropout)

    def restore(self, tensors: Mapping[str, Any], prefix: str, outputs: int) -> dict[str, Float32]:
        """The arrays of a network out of the tensors of a bundle.

        Raises:
            BundleError: one is missing or does not fit.
        """
        name = "features"
        return {name: expect(tensors, prefix + name, np.float32, BUCKETS, outputs)}

    def embed(self, arrays: Mapping[str, Float32], items: Arrays, outputs: int) -> Float32:
        """Vectors of captions, not normalised.

        Returns:
            (captions, outputs) float32; zeros for a caption without words.
        """
        out = np.zeros((len(items), outputs), np.float32)
        for first in range(0, len(items), _AT_ONCE):
            some = [items[i] for i in range(first, min(len(items), first + _AT_ONCE))]
            buckets, starts = end_to_end(some)
            there = np.flatnonzero([len(item) for item in some])
            if len(there):
                sums = np.add.reduceat(arrays["features"][buckets], starts[there], axis=0)
                out[first + there] = sums
        return out


def rarity(items: Arrays) -> Float32:
    """log(captions / captions with a feature), as a share of the most there can be. (buckets,)"""
    counts = np.zeros(BUCKETS, np.int64)
    for i in range(len(items)):
        counts[np.unique(items[i])] += 1
    total = max(2, len(items))
    shares: Float32 = (np.log(total / np.maximum(counts, 1)) / np.log(total)).astype(np.float32)
    return shares


@lru_cache(maxsize=1 << 17)
def _of_word(word: str) -> npt.NDArray[np.uint16]:
    """Buckets of a word and of its runs of characters, edges marked."""
    edged = f"<{word}>"
    runs = {edged[i : i + n] for n in _GRAMS for i in range(len(edged) - n + 1)}
    return np.array([hashed(run) % BUCKETS for run in sorted(runs | {edged})], np.uint16)
