"""What `playlist-cnn` consists of: its settings, its layers as arrays, and their forward pass.

`playlist_cnn.training` computes the same with torch; here nothing but numba is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from segue.models.playlist_cnn.config import PlaylistCNNConfig
from segue.numeric.arrays import Float32
from segue.numeric.kernels import multiply
from segue.numeric.parallel import parallel


class PlaylistCNNLayers(NamedTuple):
    """The trained network after the embeddings.

    Block b maps h (tracks, inputs) to relu(a · σ(g) + shift [+ h]), where (a, g) are the two
    halves of a convolution of h with the `width` tracks up to each; batch normalisation is folded
    into a and `shift`, h is added where its width fits.
    """

    first: Float32
    """Convolution of the first block. (width, factors, 2 kernels)"""
    rest: Float32
    """Convolutions of the others. (blocks − 1, width, kernels, 2 kernels)"""
    bias: Float32
    """Added to each convolution. (blocks, 2 kernels)"""
    shift: Float32
    """Added after the gate. (blocks, kernels)"""
    pooled: Float32
    """From the largest outputs to the playlist's vector. (kernels, pooled, factors)"""
    offset: Float32
    """Added to the playlist's vector. (factors,)"""
    mean: Float32
    """From the sum of the embeddings over √n to the playlist's vector. (factors, factors)"""

    @staticmethod
    def shapes(config: PlaylistCNNConfig) -> tuple[tuple[int, ...], ...]:
        """Shape of each array."""
        f, k = config.factors, config.kernels
        return (
            (config.width, f, 2 * k),
            (config.blocks - 1, config.width, k, 2 * k),
            (config.blocks, 2 * k),
            (config.blocks, k),
            (k, config.pooled, f),
            (f,),
            (f, f),
        )


@njit(cache=True)
def _block(h, weight, bias, shift):  # type: ignore[no-untyped-def]
    """One block. h (tracks, inputs) -> (tracks, kernels)"""
    width, kernels = len(weight), len(shift)
    both = np.empty((len(h), 2 * kernels), np.float32)
    both[:] = bias
    for w in range(max(0, width - len(h)), width):
        back = width - 1 - w  # this tap sees the track so many places before
        multiply(h[: len(h) - back], weight[w], both[back:])
    out = np.empty((len(h), kernels), np.float32)
    for t in range(len(h)):
        for k in range(kernels):
            gate = np.float32(1) / (np.float32(1) + np.exp(-both[t, kernels + k]))
            y = both[t, k] * gate + shift[k]
            if h.shape[1] == kernels:
                y += h[t, k]
            out[t, k] = max(y, np.float32(0))
    return out


@njit(cache=True)
def _pool(h, weights, parts):  # type: ignore[no-untyped-def]
    """Add what each kernel's largest outputs give to the vector, at the track they stand at."""
    size = weights.shape[1]
    at = np.empty(size, np.int64)
    for k in range(h.shape[1]):
        found = 0
        for t in range(len(h)):  # the largest in falling order; among equals the first
            place = found
            while place > 0 and h[t, k] > h[at[place - 1], k]:
                place -= 1
            if place < size:
                found = min(found + 1, size)
                for other in range(found - 1, place, -1):
                    at[other] = at[other - 1]
                at[place] = t
        for rank in range(found):
            value = h[at[rank], k]
            if value > 0:
                part = parts[at[rank]]
                for f in range(len(part)):
                    part[f] += value * weights[k, rank, f]


@njit(cache=True)
def parts_of(x, layers):  # type: ignore[no-untyped-def]
    """What each track of a history adds to its vector; with `offset` they sum up to it.

    A pooled output counts for the track it stands at, the last that it sees.

    Args:
        x: embeddings of the history. (tracks, factors) float32
        layers: `PlaylistCNNLayers`.

    Returns:
        (tracks, factors) float32
    """
    h = _block(x, layers.first, layers.bias[0], layers.shift[0])
    for b in range(len(layers.rest)):
        h = _block(h, layers.rest[b], layers.bias[b + 1], layers.shift[b + 1])
    parts = np.zeros((len(x), x.shape[1]), np.float32)
    multiply(x, layers.mean, parts)
    parts /= np.float32(np.sqrt(len(x)))
    _pool(h, layers.pooled, parts)
    return parts


@parallel(cache=True)
def encode(offsets, tracks, inputs, layers, out):  # type: ignore[no-untyped-def]
    """Vector of every history, each on its own. out: (histories, factors); empty: left as is."""
    for q in prange(len(offsets) - 1):
        history = tracks[offsets[q] : offsets[q + 1]]
        if len(history) > 0:
            x = np.empty((len(history), inputs.shape[1]), np.float32)
            for t in range(len(history)):
                x[t] = inputs[history[t]]
            parts = parts_of(x, layers)
            out[q] = layers.offset
            for t in range(len(parts)):
                out[q] += parts[t]
