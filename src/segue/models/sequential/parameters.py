"""Parameters of the sequential models, by name and shape.

`sequential.network` uses them in torch for training, `sequential.inference` in numba for inference.
"""

from __future__ import annotations

from typing import NamedTuple

from segue.models.sequential.config import CaserConfig, SequenceConfig, TransformerConfig
from segue.numeric.arrays import Float32


class TransformerParameters(NamedTuple):
    """Parameters of `sasrec` and `bert4rec`: blocks b of attention and of two linear layers."""

    places: Float32
    """Added to the track at each place, counted from the start; `bert4rec`: from the end.
    (length + 1, d)"""
    mask: Float32
    """Stands for a hidden track. (d,)"""
    norms: Float32
    """Scale and shift before attention and before the linear layers. (blocks, 2, 2, d)"""
    qkv: Float32
    """Queries, keys, values. (blocks, d, 3 d)"""
    qkv_bias: Float32
    """(blocks, 3 d)"""
    out: Float32
    """After attention. (blocks, d, d)"""
    out_bias: Float32
    """(blocks, d)"""
    up: Float32
    """(blocks, d, w d)"""
    up_bias: Float32
    """(blocks, w d)"""
    down: Float32
    """(blocks, w d, d)"""
    down_bias: Float32
    """(blocks, d)"""
    last: Float32
    """Scale and shift after the last block. (2, d)"""

    @staticmethod
    def shapes(c: TransformerConfig) -> tuple[tuple[int, ...], ...]:
        """Shape of each parameter."""
        b, d, w = c.blocks, c.factors, c.width * c.factors
        return (
            (c.length + 1, d),
            (d,),
            (b, 2, 2, d),
            (b, d, 3 * d),
            (b, 3 * d),
            (b, d, d),
            (b, d),
            (b, d, w),
            (b, w),
            (b, w, d),
            (b, d),
            (2, d),
        )


class GRUParameters(NamedTuple):
    """Parameters of `gru4rec`: gates r, z, n side by side."""

    input: Float32
    """(blocks, d, 3 d)"""
    hidden: Float32
    """(blocks, d, 3 d)"""
    input_bias: Float32
    """(blocks, 3 d)"""
    hidden_bias: Float32
    """(blocks, 3 d)"""

    @staticmethod
    def shapes(c: SequenceConfig) -> tuple[tuple[int, ...], ...]:
        """Shape of each parameter."""
        b, d = c.blocks, c.factors
        return ((b, d, 3 * d), (b, d, 3 * d), (b, 3 * d), (b, 3 * d))


class CaserParameters(NamedTuple):
    """Parameters of `caser`. Filters of height h have zeros above."""

    horizontal: Float32
    """By height, place in the window, factor, filter. (window, window, d, filters)"""
    horizontal_bias: Float32
    """(window, filters)"""
    vertical: Float32
    """(window, filters)"""
    joined: Float32
    """From the filters to the state. (window · horizontal + vertical · d, d)"""
    joined_bias: Float32
    """(d,)"""

    @staticmethod
    def shapes(c: CaserConfig) -> tuple[tuple[int, ...], ...]:
        """Shape of each parameter."""
        w, d = c.window, c.factors
        return (
            (w, w, d, c.horizontal),
            (w, c.horizontal),
            (w, c.vertical),
            (w * c.horizontal + c.vertical * d, d),
            (d,),
        )


class HeadParameters(NamedTuple):
    """Parameters of every model around its trunk."""

    turn: Float32
    """Factors of a skipped input track ... (d,)"""
    skip: Float32
    """... and the vector added to it. (d,)"""
    weight: Float32
    """From the state to the query's vector. (d, d)"""
    bias: Float32
    """(d,)"""

    @staticmethod
    def shapes(c: SequenceConfig) -> tuple[tuple[int, ...], ...]:
        """Shape of each parameter."""
        d = c.factors
        return ((d,), (d,), (d, d), (d,))
