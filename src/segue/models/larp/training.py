"""Training of LARP with torch: a stage after the other, each with its epochs and checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from segue.metrics.recall import HITS, recall, recalls_by
from segue.models.larp.config import LARPConfig, Stage
from segue.models.larp.examples import Bools, TrainingExamples
from segue.models.larp.heads.nearest import CHOICES
from segue.models.larp.losses import across, track_playlist
from segue.models.larp.network import LarpNetwork, pooling_of
from segue.nn.items import Arrays
from segue.nn.optim import RowAdamW
from segue.nn.training import Training
from segue.numeric.arrays import Float32, Int64
from segue.numeric.vectors import units

_SOFTENED = 2
"""Epochs in which α rises to its value."""
_LAST = 0.02
"""Share of the largest step that is left at the end of a stage."""
_AT_ONCE = 64


class HeldOutPlaylists(NamedTuple):
    """Playlists of tracks that training never sees; they tell when a stage ends.

    Attributes:
        material: the tracks.
        shown, wanted: places of its tracks for each playlist: seeds, and what they should find.
    """

    material: TrainingExamples
    shown: list[Int64]
    wanted: list[Int64]


@torch.no_grad()
def embedded(side: Any, items: Arrays) -> Float32:
    """What a trained side tells of some tracks, of length 1. (n, d)"""
    side.train(False)
    device = next(side.parameters()).device
    parts = []
    for start in range(0, len(items), _AT_ONCE):
        some = [items[i] for i in range(start, min(start + _AT_ONCE, len(items)))]
        batch = [tensor.to(device) for tensor in side.collate(some, None)]
        parts.append(nn.functional.normalize(side(*batch).float(), dim=1).cpu())
    return torch.cat(parts).numpy()


class StageTraining(Training):
    """One stage.

    Args:
        network: that earlier stages have changed.
        learned, held: what is learned from and stopped by.
        config: settings.
        stages: whose losses are added up, this one's last.
        seed: of everything random.
        identity: of the stage and all before it.
    """

    network: LarpNetwork

    def __init__(
        self,
        network: LarpNetwork,
        learned: TrainingExamples,
        held: HeldOutPlaylists,
        config: LARPConfig,
        stages: Sequence[Stage],
        seed: int,
        identity: str,
    ) -> None:
        super().__init__("larp", seed + len(stages), config.epochs, config.patience)
        self.network = network.to(self.device)
        if stages[-1] == "tpc":
            torch.manual_seed(self.seed)
            network.aggregate()
        self.learned, self.held, self.config, self.stages = learned, held, config, stages
        self.identity = identity
        self.optimiser = RowAdamW(
            network.learned(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.99),
        )

    # Steps

    def steps(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, float]]:
        if not self.epoch and self.stages[-1] == "tpc":
            self._fill_tables()
        # Without "wtc" a track that shares no playlist has no loss.
        some = np.arange(len(self.learned))
        order = rng.permutation(
            some if "wtc" in self.stages else self.learned.playlists.partnered()
        )
        steps = max(1, round(len(order) / self.config.batch))
        for step, at in enumerate(np.array_split(order, steps)):
            size = _step_size((self.epoch + step / steps) / self.config.epochs, self.config.warm_up)
            for group in self.optimiser.param_groups:
                group["lr"] = size * self.config.learning_rate
            soft = self.config.soft * min(1.0, (self.epoch + step / steps) / _SOFTENED)
            yield self._step(at, soft, rng), 1 / steps

    def descend(self, loss: Tensor) -> bool:
        stepped = super().descend(loss)
        self.network.bound()
        return stepped

    def _step(self, at: Int64, soft: float, rng: np.random.Generator) -> Tensor:
        """A step of the optimiser on some tracks and, from "ttc" on, a partner of each."""
        network, playlists = self.network, self.learned.playlists
        entries = np.zeros((2, 0), np.int64)
        if self.stages[-1] != "wtc":
            shared = np.diff(playlists.starts)[at] > 0
            at = np.concatenate([at[shared], at[~shared]])
            entries = np.stack(playlists.partners(at[: int(shared.sum())], rng))
        tracks = np.concatenate([at, playlists.tracks[entries[1]]])
        batches = [self._batch(side, tracks, rng) for side in range(len(network.fast))]
        network.follow()
        slow = network.slow_features(batches)
        fast = network.features(batches)
        batch = _Batch(
            tracks,
            np.concatenate([tracks, network.queued.cpu().numpy()]),
            fast,
            slow,
            [torch.cat(both) for both in zip(slow, network.queues, strict=True)],
            soft,
        )
        losses = [self._within(batch)] if "wtc" in self.stages else []
        if entries.size:
            rows = np.stack([np.arange(entries.shape[1]), np.arange(len(at), len(tracks))])
            if "ttc" in self.stages:
                losses.append(self._tracks(batch, rows, entries))
            if "tpc" in self.stages:
                losses.append(self._playlists(batch, rows, entries, rng))
        loss = torch.stack(losses).mean()
        self.descend(loss)
        on = torch.from_numpy(tracks).to(self.device)
        network.enqueue(slow, on)
        network.remember(fast, on)
        return loss

    def _within(self, batch: _Batch) -> Tensor:
        """WTC of all rows. A track that is twice among the candidates is no negative of itself."""
        own = np.arange(len(batch.tracks))
        same = batch.candidates == batch.tracks[:, None] if self.config.spare else None
        return self._across(batch, own, own, same)

    def _tracks(self, batch: _Batch, rows: Int64, entries: Int64) -> Tensor:
        """TTC of the rows that have a partner: those of `rows[0]` with those of `rows[1]`."""
        playlists = self.learned.playlists
        at = rows.ravel()
        spared = None
        if self.config.spare:
            spared = self._inside(playlists.owners[entries.ravel()], batch.candidates)
        elif len(batch.fast) == 1:  # its own features would be the hardest negative of all
            spared = batch.candidates == batch.tracks[at][:, None]
        return self._across(batch, at, rows[::-1].ravel(), spared)

    def _playlists(
        self, batch: _Batch, rows: Int64, entries: Int64, rng: np.random.Generator
    ) -> Tensor:
        """TPC of both tracks of each pair, each with playlists of their own."""
        ordered = self.config.aggregator == "ordered"
        losses = []
        for at, own in zip(rows, entries, strict=True):
            seeds = self.learned.playlists.seeds(own, self.config.seeds, rng, ordered=ordered)
            pooled = self.network.pooled(self._on(seeds.tracks), self._on(seeds.there))
            spared = None
            if self.config.spare:
                spared = self._inside(self.learned.playlists.owners[own], batch.tracks[at])
            fast = [features[self._on(at)] for features in batch.fast]
            losses.append(track_playlist(pooled, fast, self.network.tau, self._maybe(spared)))
        return torch.stack(losses).mean()

    def _across(self, batch: _Batch, rows: Int64, positive: Int64, spared: Bools | None) -> Tensor:
        at = self._on(rows)
        return across(
            [features[at] for features in batch.fast],
            batch.slow_candidates,
            self._on(positive),
            self.network.tau,
            self._maybe(spared),
            batch.soft,
            [features[at] for features in batch.slow],
        )

    def _inside(self, playlists: Int64, tracks: Int64) -> Bools:
        """Which of some tracks, -1 is none, each playlist has."""
        known = np.maximum(tracks, 0)
        found = self.learned.playlists.inside(playlists, known, len(self.learned))
        return found & (tracks >= 0)

    def _batch(
        self, side: int, tracks: Int64, rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        items = self.learned.items[side]
        some = [items[int(i)] for i in tracks]
        network: Any = self.network.fast[side]
        return tuple(tensor.to(self.device) for tensor in network.collate(some, rng))

    def _on(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _maybe(self, array: npt.NDArray[Any] | None) -> Tensor | None:
        return None if array is None else self._on(array)

    def _fill_tables(self) -> None:
        """The latest features of every track, before the first playlist is made of them."""
        for side, (network, items) in enumerate(
            zip(self.network.fast, self.learned.items, strict=True)
        ):
            self.network.tables[side] = self._on(embedded(network, items))
        self.network.train()

    # Validation

    def validate(self) -> tuple[float, str] | None:
        """Recall@10 of the held playlists' other tracks, among all held tracks.

        By what answers where that is "nearest"; else by products, since other tops learn later.
        """
        if not self.held.shown:
            return None
        content = np.mean(
            [
                embedded(side, items)
                for side, items in zip(self.network.fast, self.held.material.items, strict=True)
            ],
            axis=0,
        )
        if self.config.top == "nearest":
            told = self.config.nearest.temperature
            choices = CHOICES if told is None else (told,)
            recalls = recalls_by(choices, units(content), self.held.shown, self.held.wanted)
            found = float(recalls.max())
        else:
            found = self._recall(content)
        return found, f"recall@{HITS} {found:.4f}"

    def _recall(self, content: Float32) -> float:
        """By products of queries and tracks."""
        recalls = []
        pooling = pooling_of(self.network)
        for shown, wanted in zip(self.held.shown, self.held.wanted, strict=True):
            seeds = content[shown]
            query = seeds.mean(axis=0) if pooling is None else pooling.parts(seeds).sum(axis=0)
            recalls.append(recall(content @ query, shown, wanted))
        return float(np.mean(recalls))

    def arrays(self, state: dict[str, Tensor]) -> dict[str, Float32]:
        """Leaves the state in the network, for the next stage."""
        self.network.load_state_dict(state)
        return {}


class _Batch(NamedTuple):
    """A step: what is in it, and its features by each side."""

    tracks: Int64
    candidates: Int64
    """Tracks of the batch and of the queue, -1 where it holds nobody's features yet."""
    fast: list[Tensor]
    slow: list[Tensor]
    slow_candidates: list[Tensor]
    soft: float


def _step_size(done: float, warm_up: float) -> float:
    """How large a step is, after a share of the stage: it grows, and falls as a cosine does."""
    if done < warm_up:
        return max(done / warm_up, _LAST)
    part = (done - warm_up) / (1 - warm_up)
    return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * part)) / 2
