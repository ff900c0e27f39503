"""Training of LARP with torch, one stage at a time, each with epochs and a checkpoint."""

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
"""Epochs of the linear rise of α."""
_LAST = 0.02
"""Share of the largest step size at the end of a stage."""
_AT_ONCE = 64


class HeldOutPlaylists(NamedTuple):
    """Held-out playlists and tracks, for early stopping.

    Attributes:
        examples: the tracks.
        shown, targets: indexes of each playlist's seeds, and of the tracks to find.
    """

    examples: TrainingExamples
    shown: list[Int64]
    targets: list[Int64]


@torch.no_grad()
def embedded(side: Any, items: Arrays) -> Float32:
    """Vectors of tracks by a trained network, of length 1. (n, d)"""
    side.train(False)
    device = next(side.parameters()).device
    parts = []
    for start in range(0, len(items), _AT_ONCE):
        batch_items = [items[i] for i in range(start, min(start + _AT_ONCE, len(items)))]
        batch = [tensor.to(device) for tensor in side.collate(batch_items, None)]
        parts.append(nn.functional.normalize(side(*batch).float(), dim=1).cpu())
    return torch.cat(parts).numpy()


class StageTraining(Training):
    """One stage.

    Args:
        network: network after the earlier stages.
        examples, held: training examples, and held-out playlists for early stopping.
        config: settings.
        stages: stages whose losses add up, this one last.
        seed: random seed.
        identity: hash of this stage and all before it.
    """

    network: LarpNetwork

    def __init__(
        self,
        network: LarpNetwork,
        examples: TrainingExamples,
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
        self.examples, self.held, self.config, self.stages = examples, held, config, stages
        self.identity = identity
        self.optimiser = RowAdamW(
            network.trainable(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.99),
        )

    # Steps

    def steps(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, float]]:
        if not self.epoch and self.stages[-1] == "tpc":
            self._fill_tables()
        # Without "wtc" only tracks that share a playlist have a loss.
        indexes = np.arange(len(self.examples))
        order = rng.permutation(
            indexes if "wtc" in self.stages else self.examples.playlists.partnered()
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
        """An optimiser step on tracks and, from "ttc" on, on a partner of each."""
        network, playlists = self.network, self.examples.playlists
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
        """WTC of all rows. Other copies of a track among the candidates are no negatives."""
        diagonal = np.arange(len(batch.tracks))
        same = batch.candidates == batch.tracks[:, None] if self.config.spare else None
        return self._across(batch, diagonal, diagonal, same)

    def _tracks(self, batch: _Batch, rows: Int64, entries: Int64) -> Tensor:
        """TTC of the rows with a partner: `rows[0]` with `rows[1]`."""
        playlists = self.examples.playlists
        at = rows.ravel()
        spared = None
        if self.config.spare:
            spared = self._inside(playlists.owners[entries.ravel()], batch.candidates)
        elif len(batch.fast) == 1:  # the track itself would be the hardest negative
            spared = batch.candidates == batch.tracks[at][:, None]
        return self._across(batch, at, rows[::-1].ravel(), spared)

    def _playlists(
        self, batch: _Batch, rows: Int64, entries: Int64, rng: np.random.Generator
    ) -> Tensor:
        """TPC of both tracks of each pair, each with a playlist."""
        ordered = self.config.aggregator == "ordered"
        losses = []
        for at, anchors in zip(rows, entries, strict=True):
            seeds = self.examples.playlists.seeds(anchors, self.config.seeds, rng, ordered=ordered)
            pooled = self.network.pooled(self._on(seeds.tracks), self._on(seeds.valid))
            spared = None
            if self.config.spare:
                spared = self._inside(self.examples.playlists.owners[anchors], batch.tracks[at])
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
        """Mask of the tracks in each playlist; a track of -1 is in none."""
        known = np.maximum(tracks, 0)
        mask = self.examples.playlists.inside(playlists, known, len(self.examples))
        return mask & (tracks >= 0)

    def _batch(
        self, side: int, tracks: Int64, rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        items = self.examples.items[side]
        batch_items = [items[int(i)] for i in tracks]
        network: Any = self.network.fast[side]
        return tuple(tensor.to(self.device) for tensor in network.collate(batch_items, rng))

    def _on(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _maybe(self, array: npt.NDArray[Any] | None) -> Tensor | None:
        return None if array is None else self._on(array)

    def _fill_tables(self) -> None:
        """Fill the tables with the features of every track, before the first aggregation."""
        for side, (network, items) in enumerate(
            zip(self.network.fast, self.examples.items, strict=True)
        ):
            self.network.tables[side] = self._on(embedded(network, items))
        self.network.train()

    # Validation

    def validate(self) -> tuple[float, str] | None:
        """Recall@10 of the held-out playlists' targets among all held-out tracks.

        The head "nearest" ranks by its own scores; else products rank, because other heads train
        later.
        """
        if not self.held.shown:
            return None
        content = np.mean(
            [
                embedded(side, items)
                for side, items in zip(self.network.fast, self.held.examples.items, strict=True)
            ],
            axis=0,
        )
        if self.config.top == "nearest":
            temperature = self.config.nearest.temperature
            choices = CHOICES if temperature is None else (temperature,)
            recalls = recalls_by(choices, units(content), self.held.shown, self.held.targets)
            quality = float(recalls.max())
        else:
            quality = self._recall(content)
        return quality, f"recall@{HITS} {quality:.4f}"

    def _recall(self, content: Float32) -> float:
        """Mean recall by products of queries and tracks."""
        recalls = []
        pooling = pooling_of(self.network)
        for shown, targets in zip(self.held.shown, self.held.targets, strict=True):
            seeds = content[shown]
            query = seeds.mean(axis=0) if pooling is None else pooling.parts(seeds).sum(axis=0)
            recalls.append(recall(content @ query, shown, targets))
        return float(np.mean(recalls))

    def arrays(self, state: dict[str, Tensor]) -> dict[str, Float32]:
        """Load the state into the network, for the next stage."""
        self.network.load_state_dict(state)
        return {}


class _Batch(NamedTuple):
    """Tracks of a step, and their features by encoder."""

    tracks: Int64
    candidates: Int64
    """Tracks of the batch and of the queue; -1 for an empty entry of the queue."""
    fast: list[Tensor]
    slow: list[Tensor]
    slow_candidates: list[Tensor]
    soft: float


def _step_size(done: float, warm_up: float) -> float:
    """Step size after a share of the stage: linear warm-up, then cosine decay."""
    if done < warm_up:
        return max(done / warm_up, _LAST)
    part = (done - warm_up) / (1 - warm_up)
    return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * part)) / 2
