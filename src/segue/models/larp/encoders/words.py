"""The small text encoder: a transformer over the words of a caption. Inference needs only numpy.

The vector of a word is the mean over the word and its runs of 3 to 6 characters, edges marked, each
hashed to a bucket with a vector (Bojanowski et al. 2017, "fastText"); so an unknown word has a
vector from its parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segue.models.larp.encoders.words_inference import WORDS, WordsForm, embedded, laid
from segue.nn.items import Arrays
from segue.nn.layers import of_one_length
from segue.numeric.arrays import Float32
from segue.numeric.tensors import expect
from segue.text.ngrams import hashed, words_in_order

if TYPE_CHECKING:
    from segue.models.larp.encoders.words_network import WordsNetwork

_CHARACTERS = 32
"""Maximum number of characters of a word."""
_LONGEST = WORDS * (_CHARACTERS + 1)
"""Maximum number of characters of a caption, so that endless ones take no time."""
_GRAMS = (3, 4, 5, 6)
_AT_ONCE = 2048
"""Words of a batch."""


class WordsEncoder:
    """The encoder of captions by a small transformer.

    Args:
        form: sizes.
    """

    trainable = True

    def __init__(self, form: WordsForm | None = None) -> None:
        self.form = form or WordsForm()

    def check(self) -> None:
        """Training needs only torch."""

    def items(self, captions: Sequence[str | None]) -> list[npt.NDArray[np.uint16]]:
        """Features of the words of captions, in order.

        Returns:
            (features, 2) of each: place of the word, from 0, and bucket; without rows where a
            caption is None or has no word.
        """
        return [self._item(caption or "") for caption in captions]

    def _item(self, caption: str) -> npt.NDArray[np.uint16]:
        words = words_in_order(caption[:_LONGEST])[:WORDS]
        if not words:
            return np.zeros((0, 2), np.uint16)
        buckets_of_words = [_buckets(word[:_CHARACTERS], self.form.buckets) for word in words]
        places = np.repeat(
            np.arange(len(words), dtype=np.uint16),
            [len(word_buckets) for word_buckets in buckets_of_words],
        )
        return np.stack([places, np.concatenate(buckets_of_words)], axis=1)

    def network(self, items: Arrays, outputs: int, dropout: float) -> WordsNetwork:
        """The network in torch, for training."""
        from segue.models.larp.encoders.words_network import WordsNetwork

        return WordsNetwork(self.form, outputs, dropout)

    def restore(self, tensors: Mapping[str, Any], prefix: str, outputs: int) -> dict[str, Float32]:
        """Arrays of a network, from the tensors of a bundle.

        Raises:
            BundleError: one is missing or does not fit.
        """
        shapes = self.form.shapes(outputs)
        return {
            name: expect(tensors, prefix + name, np.float32, *shape)
            for name, shape in shapes.items()
        }

    def embed(self, arrays: Mapping[str, Float32], items: Arrays, outputs: int) -> Float32:
        """Vectors of captions, not normalised.

        Args:
            arrays: arrays of a network.
            items: items from `items`.
            outputs: length of a vector.

        Returns:
            (captions, outputs) float32; zeros for a caption without words.
        """
        given = [items[i] for i in range(len(items))]
        lengths = laid(given).lengths
        vectors = np.zeros((len(given), outputs), np.float32)
        for rows in of_one_length(lengths, _AT_ONCE):
            if lengths[rows[0]]:
                batch = laid([given[row] for row in rows])
                vectors[rows] = embedded(self.form, arrays, batch)
        return vectors


@lru_cache(maxsize=1 << 17)
def _buckets(word: str, buckets: int) -> npt.NDArray[np.uint16]:
    """Buckets of a word and of its runs of characters."""
    edged = f"<{word}>"
    runs = {edged[i : i + n] for n in _GRAMS for i in range(len(edged) - n + 1)}
    return np.array([hashed(feature) % buckets for feature in sorted(runs | {edged})], np.uint16)
