"""Layers and losses of the heads of `larp`, in torch; see `larp.heads.training`."""

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
"""Minimum spread of content."""


class DenseLayers(nn.Module):
    """Dense layers f over content and preferences.

    Args:
        known: training content, for its mean and spread. (n, c)
        preference_size: length of a preference, 0 = none.
        config: settings of the head.
        activation: activation between layers.
        normalised: whether batch normalisation precedes an activation.
    """

    def __init__(
        self,
        known: Float32,
        preference_size: int,
        config: HeadConfig,
        activation: Callable[[Tensor], Tensor],
        normalised: bool = False,
    ) -> None:
        super().__init__()
        self.activation, self.extra = activation, preference_size
        spread = float(np.sqrt(known.var(axis=0, dtype=np.float64).mean()))
        self.register_buffer("shift", torch.from_numpy(known.mean(axis=0)))
        scale = 1 / spread if spread > _SMALL else 1.0
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        sizes = (known.shape[1] + preference_size, *config.hidden, config.outputs)
        self.dense = nn.ModuleList(map(nn.Linear, sizes[:-1], sizes[1:]))
        self.norms = nn.ModuleList(map(nn.BatchNorm1d, config.hidden if normalised else ()))

    def forward(self, content: Tensor, preferences: Tensor | None = None) -> Tensor:
        """(n, c), (n, preference_size) -> (n, outputs); None stands for the mean preference."""
        h = (content - self.get_buffer("shift")) * self.get_buffer("scale")
        if self.extra:
            h = torch.cat(
                [h, h.new_zeros(len(h), self.extra) if preferences is None else preferences], 1
            )
        for i, layer in enumerate(cast(Iterable[nn.Linear], self.dense)):
            if i:
                h = self.activation(h)
            h = layer(h)
            if i < len(self.norms) and (
                len(h) > 1 or not self.training
            ):  # a single row has no spread
                h = self.norms[i](h)
        return h

    @torch.no_grad()
    def arrays(self) -> dict[str, Float32]:
        """Arrays for `nn.dense.Dense`: layers over content, with shifts and scales folded in."""
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


def squared(
    scores: Tensor, target: Tensor, zero: Tensor, targets: Tensor, others: Tensor
) -> Tensor:
    """DropoutNet's loss, mean over playlists. All (p, t).

    Args:
        target, zero: desired scores of targets and of others.
        targets, others: see `SampledStep`.
    """
    near = ((scores - target).square() * targets).sum(1)
    far = ((scores - zero).square() * others).sum(1) / others.sum(1).clamp(min=1)
    return (near + far).mean()


def contrast(x: Tensor, targets: Tensor, others: Tensor) -> Tensor:
    """CLCRec's loss of playlists with tracks, mean over playlists. All (p, t)."""
    rest = x.masked_fill(~others, _NEVER).logsumexp(1, keepdim=True)
    return (functional.softplus(rest - x) * targets).sum(1).mean()


def aligned(z: Tensor, content: Tensor, temperature: float) -> Tensor:
    """CLCRec's loss of tracks with their content, mean over tracks. Both (t, outputs)."""
    cosines = functional.normalize(z, dim=1) @ functional.normalize(content, dim=1).T
    return functional.cross_entropy(cosines / temperature, torch.arange(len(z), device=z.device))
