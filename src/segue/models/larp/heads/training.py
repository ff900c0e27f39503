"""Training of the heads of `larp` with torch.

A step draws playlists and takes a half of each as seeds: e_p is their mean content. Targets s are
tracks of the other half. N are uniform samples of the training tracks outside the playlist. A step
scores all of them for all playlists at once.

DropoutNet, s = f_p(e_p ‖ z_p) · f_s(e_s ‖ z_s) with preferences z, the vectors of WRMF:

    mean_s (score − 1)²  +  mean_{n in N} score²                      Salganik et al. 2024, App. B
    mean_s (score − z_p · z_s)²  +  mean_{n in N} (...)²              Volkovs, Yu and Poutanen 2017

In a share of playlists and tracks z is the mean over all of training, as always in inference.

CLCRec, with free vectors z_p and z_s, in a share of playlists and tracks replaced by f(e):

    (1 − λ) contrast(z_p · z_s / τ)  +  λ contrast(cos(z_s, f(e_s)) / τ)        Wei et al. 2021

    contrast(x) = mean_s −log( e^{x_s} / (e^{x_s} + Σ_n e^{x_n}) )

Ours: the halves, and the shared N (the published steps are pairs with separate negatives, the same
in expectation); contents in units of their spread; AdamW with warm-up and decay, rather than SGD,
and one smaller hidden layer (both published ones are settings); the replacement of CLCRec's
playlist vectors, too, because a new playlist has only content; and the choice of the best epoch by
held-out playlists and tracks instead of the test.
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from segue.models.base.recommender import TrainingOptions
from segue.models.larp.heads.config import ClcRecConfig, DropoutNetConfig, HeadConfig
from segue.models.larp.heads.network import DenseLayers, aligned, contrast, squared
from segue.models.larp.heads.sampling import RowSampler, SampledStep
from segue.models.wrmf.solver import Weighted, factorise
from segue.nn.devices import reproducible
from segue.nn.optim import Table
from segue.nn.training import Training
from segue.numeric.arrays import Float32, Int64
from segue.system.progress import task

_RISE = 0.05
"""Share of the training with growing steps."""
_LAST = 0.02
"""Share of the full step size at the end."""
_MOMENTUM = 0.9
_ALPHA, _REGULARISATION, _SWEEPS, _SOLVER_STEPS = 10.0, 0.02, 8, 3
"""Settings of WRMF."""
_PARTS = ("rows", "first", "second", "steps")
"""Parts of a `Table` in a checkpoint."""


class HeadTraining(Training):
    """Base class of the training of heads."""

    def __init__(self, sampler: RowSampler, config: HeadConfig, seed: int) -> None:
        super().__init__("larp.top", seed, config.epochs, config.patience)
        self.sampler, self.config = sampler, config
        self.content = torch.from_numpy(sampler.content)
        digest = hashlib.sha256(repr((config, seed)).encode() + sampler.content.tobytes())
        for tracks in sampler.lists:
            digest.update(tracks.tobytes() + b"|")
        self.identity = digest.hexdigest()
        self.rate = config.learning_rate

    def steps(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, float]]:
        parts = self.sampler.epoch(rng)
        for number, playlists in enumerate(parts):
            size = _size((self.epoch + number / len(parts)) / self.epochs)
            self.rate = size * self.config.learning_rate
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate
            yield self.step(self.sampler.step(playlists, rng)), 1 / len(parts)

    @abstractmethod
    def step(self, step: SampledStep) -> Tensor:
        """Take a step; returns its loss."""

    @abstractmethod
    def vectors(self, seeds: Tensor, tracks: Tensor) -> tuple[Tensor, Tensor]:
        """q and v of content, without preferences."""

    @torch.no_grad()
    def validate(self) -> tuple[float, str] | None:
        """NDCG on held-out playlists."""
        held = self.sampler.held
        if held is None:
            return None
        self.network.train(False)
        q, v = self.vectors(self._on(held.seeds), self._of(held.tracks))
        worth = held.ndcg((q @ v.T).cpu().numpy())
        return worth, f"ndcg {worth:.4f}"

    def _on(self, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _of(self, tracks: Int64) -> Tensor:
        """Content of tracks."""
        return self.content[torch.from_numpy(tracks)].to(self.device)

    def _mask(self, count: int, share: float) -> Tensor:
        """1 in a random share of the rows. (count, 1)"""
        return (torch.rand(count, 1) < share).float().to(self.device)


class DropoutNetTraining(HeadTraining):
    """Training of f_p and f_s."""

    config: DropoutNetConfig

    def __init__(self, sampler: RowSampler, config: DropoutNetConfig, seed: int) -> None:
        super().__init__(sampler, config, seed)
        self.z_p, self.z_s = map(torch.from_numpy, preferences(sampler.matrix(), config, seed))
        training_tracks = torch.from_numpy(sampler.tracks)
        self.known_p = standard(self.z_p, self.z_p)
        self.known_s = standard(self.z_s, self.z_s[training_tracks])
        networks = (sampler.means(), sampler.content[sampler.tracks])
        self.networks = [
            DenseLayers(side, config.factors, config, torch.tanh, config.normalised)
            for side in networks
        ]
        self.network = nn.ModuleList(self.networks).to(self.device)
        weights, rate, decay = self.network.parameters(), config.learning_rate, config.weight_decay
        self.optimiser = (
            torch.optim.SGD(weights, lr=rate, momentum=_MOMENTUM, weight_decay=decay)
            if config.optimiser == "sgd"
            else torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
        )

    def step(self, step: SampledStep) -> Tensor:
        p, s = torch.from_numpy(step.playlists), torch.from_numpy(step.tracks)
        keep_share = 1 - self.config.dropout
        z_p = self.known_p[p].to(self.device) * self._mask(len(p), keep_share)
        z_s = self.known_s[s].to(self.device) * self._mask(len(s), keep_share)
        f_p, f_s = self.networks
        scores = f_p(self._on(step.seeds), z_p) @ f_s(self._of(step.tracks), z_s).T
        zero = torch.zeros_like(scores)
        target = zero + 1
        if self.config.target == "scores":
            target = zero = (self.z_p[p] @ self.z_s[s].T).to(self.device)
        loss = squared(scores, target, zero, self._on(step.targets), self._on(step.others))
        self.descend(loss)
        return loss

    def vectors(self, seeds: Tensor, tracks: Tensor) -> tuple[Tensor, Tensor]:
        f_p, f_s = self.networks
        return f_p(seeds), f_s(tracks)

    def arrays(self, state: dict[str, Tensor]) -> dict[str, Float32]:
        self.restore(state)
        named = zip(("playlist", "track"), self.networks, strict=True)
        return {f"{side}.{n}": a for side, f in named for n, a in f.arrays().items()}


class ClcRecTraining(HeadTraining):
    """Training of f and of z."""

    config: ClcRecConfig
    network: DenseLayers

    def __init__(self, sampler: RowSampler, config: ClcRecConfig, seed: int) -> None:
        super().__init__(sampler, config, seed)
        known = sampler.content[sampler.tracks]
        self.network = DenseLayers(known, 0, config, functional.leaky_relu).to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        length = config.outputs**-0.5
        self.tables = {
            name: Table((torch.randn(count, config.outputs) * length).to(self.device))
            for name, count in (("p", len(sampler.lists)), ("s", len(sampler.content)))
        }

    def step(self, step: SampledStep) -> Tensor:
        config = self.config
        at = {"p": self._on(step.playlists), "s": self._on(step.tracks)}
        z = {name: table.take(at[name]) for name, table in self.tables.items()}
        f_p, f_s = self.network(self._on(step.seeds)), self.network(self._of(step.tracks))
        q, v = (
            torch.lerp(free, f, self._mask(len(f), config.replaced))
            for free, f in ((z["p"], f_p), (z["s"], f_s))
        )
        targets, others = self._on(step.targets), self._on(step.others)
        loss = (1 - config.mix) * contrast(q @ v.T / config.temperature, targets, others)
        loss = loss + config.mix * aligned(z["s"], f_s, config.temperature)
        for free in z.values():
            loss = loss + config.regularisation * free.norm(dim=1).mean() / 2
        self.descend(loss)
        for name, table in self.tables.items():
            table.step(at[name], z[name], self.rate)
        return loss

    def vectors(self, seeds: Tensor, tracks: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(seeds), self.network(tracks)

    def arrays(self, state: dict[str, Tensor]) -> dict[str, Float32]:
        self.restore(state)
        return self.network.arrays()

    def extra_state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{part}": torch.as_tensor(getattr(table, part))
            for name, table in self.tables.items()
            for part in _PARTS
        }

    def restore_extra_state(self, tensors: dict[str, Tensor]) -> None:
        for name, table in self.tables.items():
            table.rows, table.first, table.second = (tensors[f"{name}.{p}"] for p in _PARTS[:3])
            table.steps = int(tensors[f"{name}.steps"])


def preferences(
    plays: sp.csr_matrix, config: DropoutNetConfig, seed: int
) -> tuple[Float32, Float32]:
    """Vectors of WRMF: z_p (playlists, factors) and z_s (tracks, factors)."""
    return factorise(
        Weighted.of(plays, lambda counts: (_ALPHA * counts).astype(np.float32)),
        config.factors,
        _REGULARISATION,
        1.0,
        _SWEEPS,
        _SOLVER_STEPS,
        np.random.default_rng(seed),
    )


def standard(z: Tensor, training_z: Tensor) -> Tensor:
    """Preferences, standardised by mean and spread of those of the training tracks."""
    centred = training_z - training_z.mean(0)
    return (z - training_z.mean(0)) / centred.square().mean().sqrt().clamp(min=1e-6)


def learn_dropoutnet(
    content: Float32,
    plays: sp.csr_matrix,
    config: DropoutNetConfig,
    run: TrainingOptions,
    held: Int64 | None = None,
) -> dict[str, Float32]:
    """Arrays of `heads.base.DropoutNet`; arguments and errors of `heads.base.Head.learn`."""
    return _learn(
        DropoutNetTraining, RowSampler(content, plays, config, run.seed, held), config, run
    )


def learn_clcrec(
    content: Float32,
    plays: sp.csr_matrix,
    config: ClcRecConfig,
    run: TrainingOptions,
    held: Int64 | None = None,
) -> dict[str, Float32]:
    """Arrays of `heads.base.ClcRec`; arguments and errors of `heads.base.Head.learn`."""
    return _learn(ClcRecTraining, RowSampler(content, plays, config, run.seed, held), config, run)


def _learn(
    training: Callable[[RowSampler, Any, int], HeadTraining],
    sampler: RowSampler,
    config: HeadConfig,
    run: TrainingOptions,
) -> dict[str, Float32]:
    task_name = "fitting larp, top", config.epochs, "epochs"
    with task(*task_name, show=run.progress) as advance, reproducible(warn_only=True):
        torch.manual_seed(run.seed)
        return training(sampler, config, run.seed).run(
            advance,
            lambda line: run.note(f"larp top: {line}"),
            run.checkpoint,
            detail=lambda line: run.detail(f"larp top: {line}"),
        )


def _size(done: float) -> float:
    """Step size after a share of the training: linear warm-up, then cosine decay."""
    if done < _RISE:
        return (done + _LAST) / (_RISE + _LAST)
    fallen = (done - _RISE) / (1 - _RISE)
    return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * fallen)) / 2
