"""Layers and losses of the tops of `larp`, in torch; see `larp.heads.training`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segue.models.larp.heads.config import HeadConfig
from segue.numeric.arrays import Float32

_NEVER = -1e9
_SMALL = 1e-6
"""Spread of content that is all the same."""


class DenseLayers(nn.Module):
    """Dense layers f over content, and over preferences beside it.

    Args:
        known: content that it is to read, for its mean and spread. (n, c)
        beside: length of a preference, 0 = none.
        config: of the top.
        activation: between layers.
        normalised: whether what an activation takes is normalised over a step.
    """

    def __init__(
        self,
        known: Float32,
        beside: int,
        config: HeadConfig,
        activation: Callable[[Tensor], Tensor],
        normalised: bool = False,
    ) -> None:
        super().__init__()
        self.activation, self.extra = activation, beside
        spread = float(np.sqrt(known.var(axis=0, dtype=np.float64).mean()))
        self.register_buffer("shift", torch.from_numpy(known.mean(axis=0)))
        scale = 1 / spread if spread > _SMALL else 1.0
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        sizes = (known.shape[1] + beside, *config.hidden, config.outputs)
        self.dense = nn.ModuleList(map(nn.Linear, sizes[:-1], sizes[1:]))
        self.norms = nn.ModuleList(map(nn.BatchNorm1d, config.hidden if normalised else ()))

    def forward(self, content: Tensor, beside: Tensor | None = None) -> Tensor:
        """(n, c), (n, beside) -> (n, outputs); without `beside` it is the mean preference."""
        h = (content - self.get_buffer("shift")) * self.get_buffer("scale")
        if self.extra:
            h = torch.cat([h, h.new_zeros(len(h), self.extra) if beside is None else beside], 1)
        for i, layer in enumerate(cast(Iterable[nn.Linear], self.dense)):
            if i:
                h = self.activation(h)
            h = layer(h)
            if i < len(self.norms) and (len(h) > 1 or not self.training):  # one row has no spread
                h = self.norms[i](h)
        return h

    @torch.no_grad()
    def arrays(self) -> dict[str, Float32]:
        """For `larp.heads.base.Dense`: of content alone, all that shifts and scales folded in."""
        shift, scale = self.get_buffer("shift"), self.get_buffer("scale")
        arrays: dict[str, Float32] = {}
        for i, layer in enumerate(cast(Iterable[nn.Linear], self.dense)):
            weights, bias = layer.weight.T, layer.bias.detach()
            if i == 0:
                weights = weights[: len(shift)] * scale
                bias = bias - shift @ weights
            if i < len(self.norms):
                norm = cast(nn.BatchNorm1d, self.norms[i])
                assert norm.running_mean is not None
                assert norm.running_var is not None
                gain = norm.weight / (norm.running_var + norm.eps).sqrt()
                weights, bias = weights * gain, (bias - norm.running_mean) * gain + norm.bias
            for name, array in (("", weights), ("_bias", bias)):
                arrays[f"dense{i}{name}"] = np.array(array.cpu().numpy(), np.float32, order="C")
        return arrays


def squared(scores: Tensor, target: Tensor, zero: Tensor, wanted: Tensor, others: Tensor) -> Tensor:
    """DropoutNet's loss, mean over playlists. All (p, t).

    Args:
        target, zero: what wanted tracks' and others' scores should be.
        wanted, others: of `Step`.
    """
    near = ((scores - target).square() * wanted).sum(1)
    far = ((scores - zero).square() * others).sum(1) / others.sum(1).clamp(min=1)
    return (near + far).mean()


def contrast(x: Tensor, wanted: Tensor, others: Tensor) -> Tensor:
    """CLCRec's loss of playlists with tracks, mean over playlists. All (p, t)."""
    rest = x.masked_fill(~others, _NEVER).logsumexp(1, keepdim=True)
    return (functional.softplus(rest - x) * wanted).sum(1).mean()


def aligned(z: Tensor, content: Tensor, temperature: float) -> Tensor:
    """CLCRec's loss of tracks with their content, mean over tracks. Both (t, outputs)."""
    cosines = functional.normalize(z, dim=1) @ functional.normalize(content, dim=1).T
    return functional.cross_entropy(cosines / temperature, torch.arange(len(z), device=z.device))
