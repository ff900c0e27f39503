"""The transformer over captions: its sizes, and its forward pass in numpy.

With F(w) the features of a word (see `larp.encoders.words`), each a row of E,

    x_i = norm( mean_{f in F(w_i)} E_f ) + p_i            for word i of a caption

Then come layers of self-attention, normalised before each part (Vaswani et al. 2017; Xiong et al.
2020), and the caption's vector is W mean_i norm(x_i) + b. `words_network` trains it in torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from segue.nn.items import Array
from segue.nn.layers import attended, normed
from segue.numeric.arrays import Float32, Int64

WORDS = 32
"""Maximum number of words of a caption."""
EPSILON = 1e-5
"""Epsilon of layer normalisation."""


class WordsForm(NamedTuple):
    """Sizes of the transformer.

    Attributes:
        buckets: rows of E; at most 65536.
        d: length of a word's vector.
        layers: number of blocks of attention and two linear layers.
        heads: number of attention heads; divides d.
        width: numbers between the two linear layers.
    """

    buckets: int = 1 << 15
    d: int = 128
    layers: int = 2
    heads: int = 4
    width: int = 256

    def shapes(self, outputs: int) -> dict[str, tuple[int, ...]]:
        """Shape of every array, by name."""
        n, d = self.layers, self.d
        return {
            "features": (self.buckets, d),
            "first": (2, d),  # scale and shift of a word's features
            "places": (WORDS, d),
            "norms": (n, 2, 2, d),  # scale and shift before attention and before linear layers
            "qkv": (n, d, 3 * d),
            "qkv_bias": (n, 3 * d),
            "out": (n, d, d),
            "out_bias": (n, d),
            "up": (n, d, self.width),
            "up_bias": (n, self.width),
            "down": (n, self.width, d),
            "down_bias": (n, d),
            "last": (2, d),
            "projection": (d, outputs),
            "projection_bias": (outputs,),
        }


class PackedText(NamedTuple):
    """Captions side by side.

    Attributes:
        buckets: buckets of the features of all words. (features,)
        starts: start of each word's features. (words,)
        lengths: number of words of each caption. (captions,)
    """

    buckets: Int64
    starts: Int64
    lengths: Int64


def laid(items: Sequence[Array]) -> PackedText:
    """Items of captions, as `WordsEncoder.items` gives them, side by side."""
    lengths = np.array([int(item[-1, 0]) + 1 if len(item) else 0 for item in items], np.int64)
    flat = np.concatenate([*items, np.zeros((0, 2), np.uint16)]).astype(np.int64)
    before = np.repeat(np.cumsum(lengths) - lengths, [len(item) for item in items])
    starts = np.flatnonzero(np.diff(before + flat[:, 0], prepend=-1))
    return PackedText(flat[:, 1], starts, lengths)


def embedded(form: WordsForm, a: Mapping[str, Float32], captions: PackedText) -> Float32:
    """Vectors of captions with equally many words."""
    buckets, starts, lengths = captions
    size, length = len(lengths), int(lengths[0])
    counts: Float32 = np.diff(starts, append=len(buckets)).astype(np.float32)[:, None]
    sums: Float32 = np.add.reduceat(a["features"][buckets], starts, axis=0)
    x = normed(sums / counts, a["first"], EPSILON) + np.tile(a["places"][:length], (size, 1))
    for i in range(form.layers):
        n = normed(x, a["norms"][i, 0], EPSILON)
        attention = attended(n @ a["qkv"][i] + a["qkv_bias"][i], size, form.heads)
        x = x + (attention @ a["out"][i] + a["out_bias"][i])
        n = normed(x, a["norms"][i, 1], EPSILON)
        inner = np.maximum(n @ a["up"][i] + a["up_bias"][i], 0)
        x = x + (inner @ a["down"][i] + a["down_bias"][i])
    mean = normed(x, a["last"], EPSILON).reshape(size, length, form.d).mean(axis=1)
    vectors: Float32 = mean @ a["projection"] + a["projection_bias"]
    return vectors
