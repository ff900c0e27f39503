"""The layers of towers in torch, for training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segue.nn.tower import Form
from segue.numeric.arrays import Float32

_LEAST_VARIANCE = 1e-5


class TowerLayers(nn.Module):
    """The layers of `nn.tower`, with its names.

    Args:
        form: sizes.
        levels: arrays "shift" and "scale".
        dropout: share of the inputs of dense layers that is left out, but for those that are no
            layer's outputs.

    What convolutions give is normalised over a step's frames before it is rectified (Ioffe and
    Szegedy 2015), with the bias as its shift; `arrays` has weights and biases that do the same.
    """

    def __init__(self, form: Form, levels: dict[str, Float32], dropout: float) -> None:
        super().__init__()
        self.form, self.dropout = form, dropout
        for name, shape in form.shapes.items():
            if name in levels:
                self.register_buffer(name, torch.from_numpy(levels[name]))
            elif name == "gate":
                self.gate = nn.Parameter(torch.ones(shape))
            elif name.endswith("_bias"):
                self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
                if name.startswith("convolution"):
                    layer = name.removesuffix("_bias")
                    self.register_parameter(f"{layer}_gain", nn.Parameter(torch.ones(shape)))
                    self.register_buffer(f"{layer}_mean", torch.zeros(shape))
                    self.register_buffer(f"{layer}_variance", torch.ones(shape))
            else:
                inputs = int(np.prod(shape[:-1]))
                start = torch.randn(shape) * (2 / max(1, inputs)) ** 0.5  # He et al. 2015
                self.register_parameter(name, nn.Parameter(start))
        with torch.no_grad():  # the first predictions are those of the artist alone
            self._layer("dense", len(form.hidden))[0].mul_(0.1)

    def _layer(self, kind: str, i: int) -> tuple[Tensor, Tensor]:
        return self.get_parameter(f"{kind}{i}"), self.get_parameter(f"{kind}{i}_bias")

    def forward(self, sounds: Tensor, beside: Tensor) -> Tensor:
        """y'.

        Args:
            sounds: (tracks, inputs), or frames of equal length (tracks, frames, inputs).
            beside: (tracks, beside)

        Returns:
            (tracks, outputs) float32
        """
        form = self.form
        h = (sounds - self.get_buffer("shift")) * self.get_buffer("scale")
        for i, (_, pool) in enumerate(form.convolutions):
            h = self._convolved(h, f"convolution{i}", pool)
        if form.convolutions and not form.window:
            l2 = (h.float().square().mean(1) + 1e-12).sqrt()
            h = torch.cat([h.mean(1), h.amax(1), l2.to(h.dtype)], 1)
        h = torch.cat([h.flatten(1).to(beside.dtype), beside], 1)
        for i in range(len(form.hidden) + 1):
            weights, bias = self._layer("dense", i)
            if i:
                h = torch.relu(h)
            if i or form.convolutions:
                h = functional.dropout(h, self.dropout, self.training)
            h = functional.linear(h, weights.t(), bias)
        h = h.float()
        if form.artist:
            known = self.gate * beside[:, : form.artist]
            h = h + functional.pad(known, (0, form.outputs - form.artist))
        return h

    def _convolved(self, h: Tensor, layer: str, pool: int) -> Tensor:
        """relu(normalised(W * x)), max-pooled, as a convolution of pictures of height 1.

        Frames stay in front of channels: this is oneDNN's fastest layout, twice that of conv1d.
        """
        weights = self.get_parameter(layer)
        picture = h.unsqueeze(1).permute(0, 3, 1, 2)
        kernel = weights.permute(2, 1, 0).unsqueeze(2).contiguous(memory_format=torch.channels_last)
        out = functional.batch_norm(
            functional.conv2d(picture, kernel),
            self.get_buffer(f"{layer}_mean"),
            self.get_buffer(f"{layer}_variance"),
            self.get_parameter(f"{layer}_gain"),
            self.get_parameter(f"{layer}_bias"),
            self.training,
            eps=_LEAST_VARIANCE,
        )
        out = functional.relu(out)
        if pool > 1:
            out = functional.max_pool2d(out, (1, pool))
        return out.permute(0, 2, 3, 1).squeeze(1)

    def arrays(self) -> dict[str, Float32]:
        """For `nn.tower.Tower`: as in training, what is normalised by its running levels."""
        arrays = {n: np.array(value.cpu().numpy()) for n, value in self.state_dict().items()}
        for i in range(len(self.form.convolutions)):
            gain, mean, variance = (
                arrays.pop(f"convolution{i}_{part}") for part in ("gain", "mean", "variance")
            )
            gain = gain / np.sqrt(variance + np.float32(_LEAST_VARIANCE))
            arrays[f"convolution{i}"] *= gain
            arrays[f"convolution{i}_bias"] -= mean * gain
        return arrays
