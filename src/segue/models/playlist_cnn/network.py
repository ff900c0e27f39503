"""The network of playlist-cnn and its loss, in torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segue.models.playlist_cnn.batches import PlaylistBatch
from segue.models.playlist_cnn.config import PlaylistCNNConfig
from segue.models.playlist_cnn.inference import PlaylistCNNLayers

_NEVER = -1e9


class _Block(nn.Module):
    """See `PlaylistCNNLayers`. (playlists, tracks, inputs) -> (playlists, tracks, kernels)"""

    def __init__(self, inputs: int, kernels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, 2 * kernels, width)
        self.norm = nn.BatchNorm1d(kernels)

    def forward(self, h: Tensor, there: Tensor) -> Tensor:
        back = self.conv.kernel_size[0] - 1
        both = self.conv(functional.pad(h.transpose(1, 2), (back, 0))).transpose(1, 2)
        gated = functional.glu(both, 2)
        # Places after a playlist's end say nothing about means and variances.
        normed = torch.zeros_like(gated).masked_scatter(there[..., None], self.norm(gated[there]))
        if h.shape[2] == normed.shape[2]:
            normed = normed + h
        return functional.relu(normed) * there[..., None]


class PlaylistCNNNetwork(nn.Module):
    """Everything between the embeddings and the vectors of playlists."""

    def __init__(self, config: PlaylistCNNConfig) -> None:
        super().__init__()
        factors, kernels = config.factors, config.kernels
        self.config = config
        self.blocks = nn.ModuleList(
            _Block(kernels if b else factors, kernels, config.width) for b in range(config.blocks)
        )
        self.pooled = nn.Linear(kernels * config.pooled, factors)
        self.mean = nn.Linear(factors, factors, bias=False)
        with torch.no_grad():
            self.mean.weight.copy_(torch.eye(factors) * config.mean)
        self.mean.weight.requires_grad_(config.mean)

    def forward(self, x: Tensor, there: Tensor, cuts: Tensor) -> Tensor:
        """Vectors of the playlists at their prediction points.

        Args:
            x: embeddings, zero after a playlist's end. (playlists, tracks, factors)
            there: false after a playlist's end. (playlists, tracks)
            cuts: how many tracks are seen, at least 1. (playlists, points)

        Returns:
            (playlists, points, factors)
        """
        share = self.config.dropout
        x = functional.dropout(x, share, self.training)
        h = x
        for block in self.blocks:
            h = block(h, there)
        h = functional.pad(h, (0, 0, 0, max(0, self.config.pooled - h.shape[1])))
        seen = torch.arange(h.shape[1]) < cuts[..., None]
        # Outputs are at least 0, so 0 stands for what is not seen.
        largest = (h[:, None] * seen[..., None]).topk(self.config.pooled, dim=2).values
        kept = functional.dropout(largest.transpose(2, 3).flatten(2), share, self.training)
        sums = seen[..., : x.shape[1]].float() @ x / cuts[..., None].sqrt()
        vectors: Tensor = self.pooled(kept) + self.mean(sums)
        return vectors

    @torch.no_grad()
    def layers(self) -> PlaylistCNNLayers:
        """The arrays for answering: batch normalisation folded into what stands before it."""
        convolutions, biases, shifts = [], [], []
        for block in cast(Iterable[_Block], self.blocks):
            norm, conv = block.norm, block.conv
            assert norm.running_var is not None
            assert norm.running_mean is not None
            assert conv.bias is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            both = torch.cat([scale, torch.ones_like(scale)])
            convolutions.append((conv.weight * both[:, None, None]).permute(2, 1, 0))
            biases.append(conv.bias * both)
            shifts.append(norm.bias - norm.running_mean * scale)
        shapes = PlaylistCNNLayers.shapes(self.config)
        pooled = self.pooled.weight.T.reshape(shapes[4])
        rest = torch.stack(convolutions[1:]) if len(convolutions) > 1 else torch.zeros(shapes[1])
        parts = (
            convolutions[0],
            rest,
            torch.stack(biases),
            torch.stack(shifts),
            pooled,
            self.pooled.bias,
            self.mean.weight.T,
        )
        return PlaylistCNNLayers(*(np.array(part.numpy(), np.float32, order="C") for part in parts))


def loss(u: Tensor, v: Tensor, batch: PlaylistBatch, kind: str, likely: Tensor) -> Tensor:
    """Mean loss of the prediction points.

    Args:
        u: their vectors. (points, factors)
        v: vectors of `batch.wanted`. (columns, factors)
        kind: "softmax" or "logistic".
        likely: probability that each column is drawn. (columns,)
    """
    scores = u @ v.T
    points, columns = torch.from_numpy(batch.points), torch.from_numpy(batch.columns)
    cuts = batch.cuts.shape[1]
    negative = torch.from_numpy(batch.negative).repeat_interleave(cuts, 0)
    positive = scores[points, columns]
    share = 1 / torch.bincount(points, minlength=len(u))[points]
    if kind == "softmax":
        others = (scores - likely.log()).masked_fill(~negative, _NEVER).logsumexp(1)
        total = (functional.softplus(others[points] - positive) * share).sum()
    else:
        against = functional.softplus(scores) * negative
        total = (functional.softplus(-positive) * share).sum()
        total = total + (against.sum(1) / negative.sum(1).clamp(min=1)).sum()
    return total / len(u)
