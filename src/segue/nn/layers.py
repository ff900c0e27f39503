"""What text encoders have in common: their arithmetic in numpy, and texts in groups of one length.

Texts of one length need neither padding nor masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segue.numeric.arrays import Float32, Int64


def of_one_length(lengths: Int64, tokens: int) -> Iterator[Int64]:
    """Rows in groups of equal length, the shortest first.

    Args:
        lengths: of each text, in tokens. (texts,)
        tokens: that a group has at most, if it is not one text.
    """
    order = np.argsort(lengths, kind="stable")
    ends = np.flatnonzero(np.diff(lengths[order], append=-1)) + 1
    for rows in np.split(order, ends[:-1]) if len(ends) else []:
        step = max(1, tokens // max(1, int(lengths[rows[0]])))
        for start in range(0, len(rows), step):
            yield rows[start : start + step]


def normed(x: Float32, norm: Float32, epsilon: float) -> Float32:
    """Layer normalisation over the last axis (Ba et al. 2016), by scale and shift (2, d)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    out: Float32 = centred / np.sqrt(variance + np.float32(epsilon)) * norm[0] + norm[1]
    return out


def attended(qkv: Float32, texts: int, heads: int) -> Float32:
    """softmax(Q Kᵀ / √(d / heads)) V of each head, side by side (Vaswani et al. 2017).

    Args:
        qkv: queries, keys and values side by side, of the tokens of all texts: products with
            matrices are fastest like this. (texts · tokens, 3 d)
        texts: of equal length.
        heads: of attention.

    Returns:
        (texts · tokens, d)
    """
    d = qkv.shape[1] // 3
    parts = qkv.reshape(texts, -1, 3, heads, d // heads)
    q, k, v = np.ascontiguousarray(parts.transpose(2, 0, 3, 1, 4))
    weights = (q / np.float32(np.sqrt(d // heads))) @ k.swapaxes(2, 3)
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=-1, keepdims=True)
    out: Float32 = (weights @ v).swapaxes(1, 2).reshape(-1, d)
    return out


def end_to_end(items: Sequence[npt.NDArray[Any]]) -> tuple[Int64, Int64]:
    """Features of texts end to end, and where those of each text start."""
    lengths = [len(item) for item in items]
    features = np.concatenate([*items, np.zeros(0, np.uint32)]).astype(np.int64)
    return features, np.cumsum([0, *lengths[:-1]], dtype=np.int64)[: len(items)]
