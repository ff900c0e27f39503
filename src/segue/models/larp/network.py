"""What LARP trains, in torch: a network for each side, their slow copies, queues, aggregators.

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
"""Bounds of a temperature that is learned."""


class Mean(nn.Module):
    """a_p: the mean of the seeds."""

    def forward(self, seeds: Tensor, there: Tensor) -> Tensor:
        """Seeds (rows, most, d), which of them are there (rows, most), to (rows, d)."""
        some = seeds * there[:, :, None]
        return some.sum(1) / there.sum(1, keepdim=True).clamp(min=1)


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

    def forward(self, seeds: Tensor, there: Tensor) -> Tensor:
        """As `Mean`."""
        logits = self.query(seeds) @ self.key(seeds).transpose(1, 2) / math.sqrt(seeds.shape[2])
        attention = logits.masked_fill(~there[:, None, :], -1e9).softmax(2)
        return super().forward(attention @ self.value(seeds), there)


class Transformer(Mean):
    """A whole layer of a transformer (Vaswani et al. 2017), then the mean; ours."""

    def __init__(self, d: int, most: int) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            d, HEADS, 2 * d, dropout=0.0, batch_first=True, norm_first=True
        )

    def forward(self, seeds: Tensor, there: Tensor) -> Tensor:
        """As `Mean`."""
        return super().forward(self.layer(seeds, src_key_padding_mask=~there), there)


class Ordered(Transformer):
    """The same, told where in the playlist each seed stands, counted back from the last; ours."""

    def __init__(self, d: int, most: int) -> None:
        super().__init__(d, most)
        self.positions = nn.Parameter(torch.randn(most, d) * 0.02)

    def forward(self, seeds: Tensor, there: Tensor) -> Tensor:
        """As `Mean`."""
        back = there.sum(1, keepdim=True) - 1 - torch.arange(seeds.shape[1], device=seeds.device)
        return super().forward(seeds + self.positions[back.clamp(min=0)], there)


AGGREGATORS: dict[str, Callable[[int, int], Mean]] = {
    "mean": lambda d, most: Mean(),
    "fusion": Fusion,
    "transformer": Transformer,
    "ordered": Ordered,
}


class TowerNetwork(TowerLayers):
    """A tower as a side of LARP (see `larp.encoders.contract.Side`).

    Args:
        form, levels, dropout: as for `TowerLayers`.
        frames: that a step hears of each clip, from anywhere in it; 0: items are vectors.
        half: whether training convolves in bfloat16.
    """

    def __init__(
        self, form: Form, levels: dict[str, Float32], dropout: float, frames: int, *, half: bool
    ) -> None:
        super().__init__(form, levels, dropout)
        self.frames, self.halved = frames, half and bool(frames)

    def collate(
        self, items: Sequence[Array], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        """Items side by side: crops; or, where nothing is drawn, whole clips and their lengths."""
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
            lengths: frames of each clip, where they are not all. (tracks,)
        """
        if lengths is None:
            return self._told(sounds)
        told = sounds.new_empty(len(sounds), self.form.outputs)
        for length in sorted(set(lengths.tolist())):
            at = lengths == length
            told[at] = self._told(sounds[at, :length])
        return told

    def _told(self, sounds: Tensor) -> Tensor:
        half = self.halved and self.training
        with torch.autocast(sounds.device.type, torch.bfloat16, enabled=half):
            return super().forward(sounds, sounds.new_zeros(len(sounds), 0)).float()


class LarpNetwork(nn.Module):
    """Everything that a stage changes.

    Args:
        sides: a network for each side (see `larp.encoders.contract.Side`).
        tracks: that are learned from.
        config: settings.
    """

    tau: Tensor
    """τ."""
    queues: Tensor
    """Slow features of each side. (sides, queue, d)"""
    queued: Tensor
    """Whose they are; -1 is nobody. (queue,)"""
    at: Tensor
    """Where the oldest of them stand. ()"""
    tables: Tensor
    """A and T. (sides, tracks, d)"""

    def __init__(self, sides: Sequence[nn.Module], tracks: int, config: LARPConfig) -> None:
        super().__init__()
        self.config = config
        d, count = config.dimensions, len(sides)
        self.fast = nn.ModuleList(sides)
        # Without momentum they are the fast ones; copies would only cost time and memory.
        self.slow = nn.ModuleList(copy.deepcopy(side) for side in sides if config.momentum)
        self.slow.requires_grad_(False)
        self.aggregators = nn.ModuleList()  # until the stage that has playlists
        told = torch.tensor(float(config.temperature))
        if config.learned_temperature:
            self.register_parameter("tau", nn.Parameter(told))
        else:
            self.register_buffer("tau", told)
        queues = functional.normalize(torch.randn(count, config.queue, d), dim=2)
        self.register_buffer("queues", queues)
        self.register_buffer("queued", torch.full((config.queue,), -1))  # nobody's
        self.register_buffer("at", torch.tensor(0))
        self.register_buffer("tables", torch.zeros(count, tracks, d))

    def aggregate(self) -> None:
        """Begin to make playlists of tracks."""
        kind, config = AGGREGATORS[self.config.aggregator], self.config
        device = self.tau.device
        self.aggregators.extend(kind(config.dimensions, config.seeds).to(device) for _ in self.fast)

    @torch.no_grad()
    def bound(self) -> None:
        """Take a learned τ back into its bounds, where gradients reach it still."""
        self.tau.clamp_(_COLDEST, _WARMEST)

    def learned(self) -> Iterator[nn.Parameter]:
        """What gradients reach."""
        return (p for p in self.parameters() if p.requires_grad)

    def features(self, batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """By each side, of length 1. (rows, d) each"""
        return [
            functional.normalize(side(*batch), dim=1)
            for side, batch in zip(self.fast, batches, strict=True)
        ]

    @torch.no_grad()
    def slow_features(self, batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """The same by the slow networks."""
        return [
            functional.normalize(side(*batch), dim=1)
            for side, batch in zip(self.slow or self.fast, batches, strict=True)
        ]

    @torch.no_grad()
    def follow(self) -> None:
        """Slow networks come nearer: θ' = m θ' + (1 − m) θ; running levels are taken over."""
        if not self.slow:
            return
        for slow, fast in zip(self.slow.parameters(), self.fast.parameters(), strict=True):
            slow.lerp_(fast.to(slow.dtype), 1 - self.config.momentum)
        for level, latest in zip(self.slow.buffers(), self.fast.buffers(), strict=True):
            level.copy_(latest)

    @torch.no_grad()
    def enqueue(self, slow: Sequence[Tensor], tracks: Tensor) -> None:
        """The newest slow features take the places of the oldest.

        Args:
            slow: by each side. (rows, d) each
            tracks: whose they are. (rows,)
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
        """The tables A and T hold the latest features of every track."""
        for table, features in zip(self.tables, fast, strict=True):
            table[tracks] = features.detach().to(table.dtype)

    def pooled(self, tracks: Tensor, there: Tensor) -> list[Tensor]:
        """a_p and t_p, of length 1, from the tables. (rows, d) each

        Args:
            tracks: seeds. (rows, most)
            there: which of them are. (rows, most)
        """
        return [
            functional.normalize(pool(table[tracks], there), dim=1)
            for pool, table in zip(self.aggregators, self.tables, strict=True)
        ]


def pooling_of(network: LarpNetwork) -> Pooling | None:
    """The aggregators of a network, where queries are made by them."""
    config = network.config
    if config.pooling == "mean" or config.aggregator == "mean" or not len(network.aggregators):
        return None
    sides = [
        {name: value.detach().cpu().numpy() for name, value in pool.state_dict().items()}
        for pool in network.aggregators
    ]
    return Pooling(config.aggregator, sides, config.seeds)
