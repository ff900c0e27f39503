"""Trained aggregators that make a query vector of its tracks, in numpy.

The aggregators of `larp.network`, with A the content of the tracks, of length 1 (n, d):

    fusion        F = softmax( A W_Qᵀ (A W_Kᵀ)ᵀ / √d ) A W_Vᵀ
    transformer   F = a layer of a transformer over A
    ordered       the same over the last tracks, with positions counted from the last

    e_p = mean over the encoders of  F̄ / |F̄|,   F̄ the mean of the rows of F
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from segue.nn.layers import attended, normed
from segue.numeric.arrays import Float32
from segue.numeric.tensors import expect

HEADS = 4
"""Attention heads of the transformer."""
_EPSILON = 1e-5


def shapes_of(kind: str, d: int, most: int) -> dict[str, tuple[int, ...]]:
    """Shape of every array of an aggregator, by name; `most` is |J|."""
    if kind == "fusion":
        return {f"{name}.weight": (d, d) for name in ("query", "key", "value")}
    shapes: dict[str, tuple[int, ...]] = {
        "layer.self_attn.in_proj_weight": (3 * d, d),
        "layer.self_attn.in_proj_bias": (3 * d,),
        "layer.self_attn.out_proj.weight": (d, d),
        "layer.self_attn.out_proj.bias": (d,),
        "layer.linear1.weight": (2 * d, d),
        "layer.linear1.bias": (2 * d,),
        "layer.linear2.weight": (d, 2 * d),
        "layer.linear2.bias": (d,),
    }
    shapes |= {f"layer.norm{i}.{part}": (d,) for i in (1, 2) for part in ("weight", "bias")}
    return shapes | ({"positions": (most, d)} if kind == "ordered" else {})


class Pooling:
    """Aggregators of all encoders.

    Args:
        kind: "fusion", "transformer" or "ordered".
        encoders: arrays of each encoder's aggregator, float32.
        most: |J|.
    """

    def __init__(self, kind: str, encoders: Sequence[Mapping[str, Float32]], most: int) -> None:
        self.kind, self.encoders, self.most = kind, encoders, most

    @classmethod
    def restore(
        cls,
        tensors: Mapping[str, npt.NDArray[Any]],
        prefix: str,
        kind: str,
        encoders: int,
        d: int,
        most: int,
    ) -> Self:
        """Restore from tensors named by prefix, encoder and array.

        Raises:
            BundleError: one is missing or does not fit.
        """
        shapes = shapes_of(kind, d, most)
        arrays = [
            {n: expect(tensors, f"{prefix}{i}.{n}", np.float32, *s) for n, s in shapes.items()}
            for i in range(encoders)
        ]
        return cls(kind, arrays, most)

    def tensors(self, prefix: str) -> dict[str, Float32]:
        """Tensors for `restore`."""
        return {
            f"{prefix}{i}.{n}": a
            for i, arrays in enumerate(self.encoders)
            for n, a in arrays.items()
        }

    def parts(self, content: Float32) -> Float32:
        """Addend of each track of a query to e_p; their sum is e_p.

        Args:
            content: content of the tracks in order, none of them zeros. (n, d), n > 0

        Returns:
            (n, d); zeros for tracks that are too far back for "ordered"
        """
        lengths = np.linalg.norm(content, axis=1, keepdims=True)
        units: Float32 = (content / lengths).astype(np.float32)
        parts: Float32 = np.zeros_like(units)
        first = max(0, len(units) - self.most) if self.kind == "ordered" else 0
        for arrays in self.encoders:
            rows = self._rows(units[first:], arrays)
            length = max(float(np.linalg.norm(rows.sum(axis=0))), 1e-12)
            parts[first:] += rows / np.float32(length * len(self.encoders))
        return parts

    def _rows(self, x: Float32, a: Mapping[str, Float32]) -> Float32:
        """Rows that add up to n F̄, one for each track."""
        if self.kind == "fusion":
            logits = (x @ a["query.weight"].T) @ (x @ a["key.weight"].T).T
            logits /= np.float32(np.sqrt(x.shape[1]))
            logits = np.exp(logits - logits.max(axis=1, keepdims=True))
            attention = logits / logits.sum(axis=1, keepdims=True)
            rows: Float32 = attention.sum(axis=0)[:, None] * (x @ a["value.weight"].T)
            return rows
        if self.kind == "ordered":
            x = x + a["positions"][len(x) - 1 :: -1][: len(x)]
        norms = [np.stack([a[f"layer.norm{i}.weight"], a[f"layer.norm{i}.bias"]]) for i in (1, 2)]
        h = normed(x, norms[0], _EPSILON) @ a["layer.self_attn.in_proj_weight"].T
        h = attended(h + a["layer.self_attn.in_proj_bias"], 1, HEADS)
        x = x + h @ a["layer.self_attn.out_proj.weight"].T + a["layer.self_attn.out_proj.bias"]
        h = normed(x, norms[1], _EPSILON) @ a["layer.linear1.weight"].T + a["layer.linear1.bias"]
        h = np.maximum(h, 0) @ a["layer.linear2.weight"].T + a["layer.linear2.bias"]
        out: Float32 = x + h
        return out
