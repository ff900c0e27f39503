"""LARP's networks in torch: an encoder for audio and text, slow copies, queues, aggregators.

Salganik et al., KDD 2024, section 4; the slow copies and queues are those of He et al. 2020 (MoCo)
and Li et al. 2021 (ALBEF).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segue.models.larp.config import LARPConfig
from segue.models.larp.pooling import HEADS, Pooling
from segue.nn.items import Array
from segue.nn.tower import Form, cropped, filled
from segue.nn.tower_network import TowerLayers
from segue.numeric.arrays import Float32

_COLDEST, _WARMEST = 0.001, 0.5
"""Bounds of a trained temperature."""


class Mean(nn.Module):
    """a_p: the mean of the seeds."""

    def forward(self, seeds: Tensor, valid: Tensor) -> Tensor:
        """Seeds (rows, most, d) and their mask (rows, most) to (rows, d)."""
        masked = seeds * valid[:, :, None]
        return masked.sum(1) / valid.sum(1, keepdim=True).clamp(min=1)


class Fusion(Mean):
    """One layer of self-attention, then the mean (equation of section 4.3; no bias, no norm).

    F = softmax( A W_Qᵀ (A W_Kᵀ)ᵀ / √d ) A W_Vᵀ
    """

    def __init__(self, d: int, most: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(d, d, bias=False) for _ in range(3))
        for layer in (self.query, self.key):
            nn.init.xavier_normal_(layer.weight)
        nn.init.eye_(self.value.weight)

    def forward(self, seeds: Tensor, valid: Tensor) -> Tensor:
        """As `Mean`."""
        logits = self.query(seeds) @ self.key(seeds).transpose(1, 2) / math.sqrt(seeds.shape[2])
        attention = logits.masked_fill(~valid[:, None, :], -1e9).softmax(2)
        return super().forward(attention @ self.value(seeds), valid)


class Transformer(Mean):
    """A whole layer of a transformer (Vaswani et al. 2017), then the mean; ours."""

    def __init__(self, d: int, most: int) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            d, HEADS, 2 * d, dropout=0.0, batch_first=True, norm_first=True
        )

    def forward(self, seeds: Tensor, valid: Tensor) -> Tensor:
        """As `Mean`."""
        return super().forward(self.layer(seeds, src_key_padding_mask=~valid), valid)


class Ordered(Transformer):
    """The same with positions, counted back from the last seed; ours."""

    def __init__(self, d: int, most: int) -> None:
        super().__init__(d, most)
        self.positions = nn.Parameter(torch.randn(most, d) * 0.02)

    def forward(self, seeds: Tensor, valid: Tensor) -> Tensor:
        """As `Mean`."""
        back = valid.sum(1, keepdim=True) - 1 - torch.arange(seeds.shape[1], device=seeds.device)
        return super().forward(seeds + self.positions[back.clamp(min=0)], valid)


AGGREGATORS: dict[str, Callable[[int, int], Mean]] = {
    "mean": lambda d, most: Mean(),
    "fusion": Fusion,
    "transformer": Transformer,
    "ordered": Ordered,
}


class TowerNetwork(TowerLayers):
    """A tower as a network of LARP (see `larp.encoders.contract.Encoder`).

    Args:
        form, levels, dropout: as for `TowerLayers`.
        frames: frames of the random crop of each clip in a step; 0: items are vectors.
        half: whether convolutions in training use bfloat16.
    """

    def __init__(
        self, form: Form, levels: dict[str, Float32], dropout: float, frames: int, *, half: bool
    ) -> None:
        super().__init__(form, levels, dropout)
        self.frames, self.halved = frames, half and bool(frames)

    def collate(
        self, items: Sequence[Array], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        """A batch of items: random crops; or, without `rng`, whole clips and their lengths."""
        if not self.frames:
            return (torch.from_numpy(np.stack(items).astype(np.float32)),)
        if rng is not None:
            return (torch.from_numpy(cropped(items, self.frames, rng)),)
        clips = [filled(item, self.form.least) for item in items]
        lengths = np.array([len(clip) for clip in clips])
        whole = np.zeros((len(clips), lengths.max(), self.form.inputs), np.float32)
        for row, clip in zip(whole, clips, strict=True):
            row[: len(clip)] = clip
        return torch.from_numpy(whole), torch.from_numpy(lengths)

    def forward(self, sounds: Tensor, lengths: Tensor | None = None) -> Tensor:
        """To (tracks, outputs).

        Args:
            sounds: vectors (tracks, inputs), or clips (tracks, frames, inputs).
            lengths: frames of each padded clip; None: no padding. (tracks,)
        """
        if lengths is None:
            return self._outputs(sounds)
        outputs = sounds.new_empty(len(sounds), self.form.outputs)
        for length in sorted(set(lengths.tolist())):
            at = lengths == length
            outputs[at] = self._outputs(sounds[at, :length])
        return outputs

    def _outputs(self, sounds: Tensor) -> Tensor:
        half = self.halved and self.training
        with torch.autocast(sounds.device.type, torch.bfloat16, enabled=half):
            return super().forward(sounds, sounds.new_zeros(len(sounds), 0)).float()


class LarpNetwork(nn.Module):
    """All trainable state of a stage.

    Args:
        networks: network of each encoder (see `larp.encoders.contract.Encoder`).
        tracks: number of training tracks.
        config: settings.
    """

    tau: Tensor
    """τ."""
    queues: Tensor
    """Slow features by encoder. (encoders, queue, d)"""
    queued: Tensor
    """Track of each entry; -1 for an empty one. (queue,)"""
    at: Tensor
    """Index of the oldest entry. ()"""
    tables: Tensor
    """A and T. (encoders, tracks, d)"""

    def __init__(self, networks: Sequence[nn.Module], tracks: int, config: LARPConfig) -> None:
        super().__init__()
        self.config = config
        d, count = config.dimensions, len(networks)
        self.fast = nn.ModuleList(networks)
        # Without momentum the fast networks serve as slow ones, without copies.
        self.slow = nn.ModuleList(copy.deepcopy(side) for side in networks if config.momentum)
        self.slow.requires_grad_(False)
        self.aggregators = nn.ModuleList()  # empty until the stage with playlists
        start = torch.tensor(float(config.temperature))
        if config.learned_temperature:
            self.register_parameter("tau", nn.Parameter(start))
        else:
            self.register_buffer("tau", start)
        queues = functional.normalize(torch.randn(count, config.queue, d), dim=2)
        self.register_buffer("queues", queues)
        self.register_buffer("queued", torch.full((config.queue,), -1))  # empty
        self.register_buffer("at", torch.tensor(0))
        self.register_buffer("tables", torch.zeros(count, tracks, d))

    def aggregate(self) -> None:
        """Add the aggregators."""
        kind, config = AGGREGATORS[self.config.aggregator], self.config
        device = self.tau.device
        self.aggregators.extend(kind(config.dimensions, config.seeds).to(device) for _ in self.fast)

    @torch.no_grad()
    def bound(self) -> None:
        """Clamp a trained τ to its bounds."""
        self.tau.clamp_(_COLDEST, _WARMEST)

    def trainable(self) -> Iterator[nn.Parameter]:
        """Parameters with gradients."""
        return (p for p in self.parameters() if p.requires_grad)

    def features(self, batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Features by encoder, of length 1. (rows, d) each"""
        return [
            functional.normalize(side(*batch), dim=1)
            for side, batch in zip(self.fast, batches, strict=True)
        ]

    @torch.no_grad()
    def slow_features(self, batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Features by the slow networks."""
        return [
            functional.normalize(side(*batch), dim=1)
            for side, batch in zip(self.slow or self.fast, batches, strict=True)
        ]

    @torch.no_grad()
    def follow(self) -> None:
        """Update the slow networks: θ' = m θ' + (1 − m) θ; running statistics are copied."""
        if not self.slow:
            return
        for slow, fast in zip(self.slow.parameters(), self.fast.parameters(), strict=True):
            slow.lerp_(fast.to(slow.dtype), 1 - self.config.momentum)
        for level, latest in zip(self.slow.buffers(), self.fast.buffers(), strict=True):
            level.copy_(latest)

    @torch.no_grad()
    def enqueue(self, slow: Sequence[Tensor], tracks: Tensor) -> None:
        """Replace the oldest slow features by the newest.

        Args:
            slow: slow features by encoder. (rows, d) each
            tracks: track of each row. (rows,)
        """
        size = len(self.queued)
        if not size:
            return
        tracks = tracks[-size:]
        places = (int(self.at) + torch.arange(len(tracks), device=tracks.device)) % size
        for queue, features in zip(self.queues, slow, strict=True):
            queue[places] = features[-size:].to(queue.dtype)
        self.queued[places] = tracks
        self.at.copy_((self.at + len(tracks)) % size)

    @torch.no_grad()
    def remember(self, fast: Sequence[Tensor], tracks: Tensor) -> None:
        """Store the latest features of tracks in the tables A and T."""
        for table, features in zip(self.tables, fast, strict=True):
            table[tracks] = features.detach().to(table.dtype)

    def pooled(self, tracks: Tensor, valid: Tensor) -> list[Tensor]:
        """a_p and t_p, of length 1, from the tables. (rows, d) each

        Args:
            tracks: seeds. (rows, most)
            valid: mask of the seeds. (rows, most)
        """
        return [
            functional.normalize(pool(table[tracks], valid), dim=1)
            for pool, table in zip(self.aggregators, self.tables, strict=True)
        ]


def pooling_of(network: LarpNetwork) -> Pooling | None:
    """The aggregators of a network; None if queries are means."""
    config = network.config
    if config.pooling == "mean" or config.aggregator == "mean" or not len(network.aggregators):
        return None
    arrays = [
        {name: value.detach().cpu().numpy() for name, value in pool.state_dict().items()}
        for pool in network.aggregators
    ]
    return Pooling(config.aggregator, arrays, config.seeds)
