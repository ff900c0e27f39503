"""The trunks of the sequence models in torch: from the vectors of a history to a state each place.

A trunk maps x (windows, width, d), with `there` false after a window's end, to states of the same
shape. The state at place i may depend on x at places up to i alone; `bert4rec` sees all places,
and has hidden tracks instead. Every trunk has the same head: the query's vector is

    ŷ = GELU(W h + b)

and the score of track t is ŷ · e_t, with the vectors of the input tracks, as inputs times √d
(Seshadri and Knees 2023; the factor is of Vaswani et al. 2017).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from segue.models.sequential import parameters as layers

_INITIAL = 0.02


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W + b."""
    return functional.linear(x, weight.T, bias)


class Trunk(nn.Module):
    """Parameters as in the named tuple of `sequential.parameters`, under the same names.

    Args:
        config: settings of the model.
        parts: named tuple of the parameters.
    """

    def __init__(self, config: Any, parts: type[Any]) -> None:
        super().__init__()
        self.config = config
        for name, shape in zip(parts._fields, parts.shapes(config), strict=True):
            self.register_parameter(name, nn.Parameter(self._start(name, shape)))

    def _start(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if "bias" in name:
            return torch.zeros(shape)
        inputs = shape[-2] if len(shape) > 1 else shape[-1]
        return torch.empty(shape).uniform_(-1, 1) * math.sqrt(3 / inputs)

    def drop(self, x: Tensor) -> Tensor:
        """Dropout, to 1/256: a byte a number decides, which is five times as fast to draw."""
        cut = round(256 * self.config.dropout)
        if not self.training or not cut:
            return x
        bits = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        bits.random_(torch.iinfo(torch.int64).min, None)
        mask = bits.view(torch.uint8)[: x.numel()].view(x.shape) >= cut
        dropped: Tensor = x * mask * (256 / (256 - cut))
        return dropped

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)


class OutputHead(Trunk):
    """ŷ = GELU(W h + b), and the transformation of skipped input tracks."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, layers.HeadParameters)

    def _start(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name == "turn":
            return torch.ones(shape)
        return torch.zeros(shape) if name == "skip" else super()._start(name, shape)

    def read(self, x: Tensor, negative: Tensor) -> Tensor:
        """Input vectors, those of skipped tracks transformed."""
        return torch.where(negative[..., None], x * self.turn + self.skip, x)

    def forward(self, h: Tensor) -> Tensor:
        return functional.gelu(_linear(h, self.weight, self.bias))


class TransformerTrunk(Trunk):
    """Self-attention (Vaswani et al. 2017), normalised before each part.

    `sasrec`: causal (Kang and McAuley 2018). `bert4rec`: both ways (Sun et al. 2019).
    """

    def __init__(self, config: Any, causal: bool) -> None:
        super().__init__(config, layers.TransformerParameters)
        self.causal = causal

    def _start(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name in ("norms", "last"):
            start = torch.zeros(shape)
            start[..., 0, :] = 1
            return start
        if name in ("places", "mask"):
            return torch.randn(shape) * _INITIAL
        return super()._start(name, shape)

    def forward(self, x: Tensor, valid: Tensor, masked: Tensor | None = None) -> Tensor:
        size, width, d = x.shape
        if masked is not None:
            x = torch.where(masked[..., None], self.mask, x)
        if self.causal:
            x, allowed = x + self.places[:width], None
        else:  # counted from the end, where a question has its hidden track
            left = valid.sum(1)[:, None] - 1 - torch.arange(width, device=x.device)
            x, allowed = x + self.places[left.clamp(min=0)], valid[:, None, None, :]
        x = self.drop(x)
        for b in range(self.config.blocks):
            n = functional.layer_norm(x, (d,), self.norms[b, 0, 0], self.norms[b, 0, 1])
            qkv = _linear(n, self.qkv[b], self.qkv_bias[b])
            q, k, v = qkv.view(size, width, 3, self.config.heads, -1).permute(2, 0, 3, 1, 4)
            a = functional.scaled_dot_product_attention(q, k, v, allowed, is_causal=self.causal)
            a = a.transpose(1, 2).reshape(size, width, d)
            x = x + self.drop(_linear(a, self.out[b], self.out_bias[b]))
            n = functional.layer_norm(x, (d,), self.norms[b, 1, 0], self.norms[b, 1, 1])
            inner = functional.relu(_linear(n, self.up[b], self.up_bias[b]))
            x = x + self.drop(_linear(inner, self.down[b], self.down_bias[b]))
        return functional.layer_norm(x, (d,), self.last[0], self.last[1])


class GRUTrunk(Trunk):
    """Gated recurrent units (Cho et al. 2014; Hidasi et al. 2016, "GRU4Rec"):

    r = σ(W_r x + b_r + U_r h + c_r),  z = σ(W_z x + b_z + U_z h + c_z),
    n = tanh(W_n x + b_n + r (U_n h + c_n)),  h = (1 - z) n + z h
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config, layers.GRUParameters)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = self.drop(x)
        for b in range(self.config.blocks):
            weights = [self.input[b].T, self.hidden[b].T, self.input_bias[b], self.hidden_bias[b]]
            start = x.new_zeros(1, len(x), x.shape[2])
            x = torch.gru(x, start, weights, True, 1, 0.0, self.training, False, True)[0]
            x = self.drop(x)
        return x


class CaserTrunk(Trunk):
    """Convolutions over the last `window` tracks (Tang and Wang 2018), without a listener's vector.

    Horizontal filters of every height see whole vectors, and their largest output counts; vertical
    ones weigh places, factor by factor.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config, layers.CaserParameters)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        width, w = x.shape[1], self.config.window
        padded = functional.pad(x, (0, 0, w - 1, 0))
        seen = padded.unfold(1, w, 1).transpose(2, 3)  # (windows, width, window, d)
        outs = []
        for height in range(1, w + 1):
            strips = padded.unfold(1, height, 1).transpose(2, 3).flatten(2)
            kernel = self.horizontal[height - 1, :height].flatten(0, 1)
            sums = functional.relu(_linear(strips, kernel, self.horizontal_bias[height - 1]))
            # A window of w tracks holds w - height + 1 places of a filter.
            outs.append(sums.unfold(1, w - height + 1, 1).amax(-1)[:, :width])
        outs.append((seen.transpose(2, 3) @ self.vertical).flatten(2))
        state = torch.cat(outs, dim=2)
        return self.drop(functional.relu(_linear(state, self.joined, self.joined_bias)))
