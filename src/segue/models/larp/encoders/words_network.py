"""The transformer of `larp.encoders.words_inference` in torch, for training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segue.models.larp.encoders.words_inference import EPSILON, WordsForm, laid
from segue.nn.items import Array
from segue.numeric.arrays import Float32

_PLACES = 0.1
"""Initial length of a position vector; a word's is 1."""


class WordsNetwork(nn.Module):
    """Parameters by the names of `WordsForm.shapes`.

    Args:
        form: sizes.
        outputs: length of a caption's vector.
        dropout: dropout rate of layer outputs and of word vectors.
    """

    def __init__(self, form: WordsForm, outputs: int, dropout: float) -> None:
        super().__init__()
        self.form, self.outputs, self.dropout = form, outputs, dropout
        for name, shape in form.shapes(outputs).items():
            self.register_parameter(name, nn.Parameter(self._start(name, shape)))

    def _start(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("bias"):
            return torch.zeros(shape)
        if name in ("first", "norms", "last"):
            start = torch.zeros(shape)
            start[..., 0, :] = 1
            return start
        if name in ("features", "places"):
            return torch.randn(shape) * _PLACES
        layers = 2 * self.form.layers if name in ("out", "down") else 1  # their outputs add up
        return torch.randn(shape) / math.sqrt(shape[-2] * layers)

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)

    def collate(
        self, items: Sequence[Array], rng: np.random.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs of `forward` from items; nothing is random."""
        buckets, starts, lengths = (torch.from_numpy(part) for part in laid(items))
        return buckets, starts, lengths

    def forward(self, buckets: Tensor, starts: Tensor, lengths: Tensor) -> Tensor:
        """Vectors of captions, not normalised; zeros for one without words.

        Args:
            buckets: buckets of the features of all words. (features,)
            starts: start of each word's features. (words,)
            lengths: number of words of each caption. (captions,)

        Returns:
            (captions, outputs) float32
        """
        device, d = buckets.device, self.form.d
        captions, most = len(lengths), max(1, int(lengths.max()))
        # Linear layers take packed words; attention takes a padded row per caption.
        owners = torch.repeat_interleave(torch.arange(captions, device=device), lengths)
        places = torch.arange(len(starts), device=device) - (lengths.cumsum(0) - lengths)[owners]
        cells = owners * most + places
        valid = torch.arange(most, device=device) < lengths.clamp(min=1)[:, None]

        x = functional.embedding_bag(buckets, self.features, starts, mode="mean")
        x = _normed(x, self.first)
        x = self._dropped(x + self.places[places])
        for i in range(self.form.layers):
            n = _normed(x, self.norms[i, 0])
            qkv = _linear(n, self.qkv[i], self.qkv_bias[i])
            rows = qkv.new_zeros(captions * most, 3 * d).index_copy(0, cells, qkv)
            q, k, v = rows.view(captions, most, 3, self.form.heads, -1).permute(2, 0, 3, 1, 4)
            attention = functional.scaled_dot_product_attention(q, k, v, valid[:, None, None, :])
            attention = attention.transpose(1, 2).reshape(captions * most, d)[cells]
            x = x + self._dropped(_linear(attention, self.out[i], self.out_bias[i]))
            n = _normed(x, self.norms[i, 1])
            inner = functional.relu(_linear(n, self.up[i], self.up_bias[i]))
            x = x + self._dropped(_linear(inner, self.down[i], self.down_bias[i]))
        x = _normed(x, self.last).float()
        mean = x.new_zeros(captions, d).index_add(0, owners, x) / lengths.clamp(min=1)[:, None]
        vectors = _linear(mean, self.projection, self.projection_bias).float()
        return vectors * (lengths > 0)[:, None]

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)

    def arrays(self) -> dict[str, Float32]:
        """For `WordsEncoder.embed`."""
        return {name: np.array(value.cpu().numpy()) for name, value in self.state_dict().items()}


def _normed(x: Tensor, norm: Tensor) -> Tensor:
    """Layer normalisation by scale and shift (2, d)."""
    return functional.layer_norm(x, norm.shape[1:], norm[0], norm[1], EPSILON)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W + b."""
    return functional.linear(x, weight.T, bias)
