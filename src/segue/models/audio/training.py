"""Training of towers with torch: steps, early stopping, checkpoints."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segue.models.audio.examples import Examples
from segue.models.audio.losses import FactorRows, contrastive, mse, wpe
from segue.nn.tower import Form, cropped
from segue.nn.tower_network import TowerLayers
from segue.nn.training import Training
from segue.numeric.arrays import Float32, Int64

_UNKNOWN_ARTISTS = 0.1
"""Share of the tracks whose artist is not told in a step, so that the sound is listened to."""
_CROP = 0.8
"""Share of a clip that a step hears, from anywhere in it (the article: slightly cropped)."""

_RISE = 0.3
"""Share of the training in which steps grow to their full size; after it they fall to zero."""


class Plan(NamedTuple):
    """How to train."""

    objective: str
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    dropout: float
    patience: int
    temperature: float
    decoupled: bool
    precision: str
    seed: int


class TowerTrainer(Training):
    """One training of a tower.

    Args:
        form: of the tower.
        levels: arrays "shift" and "scale".
        examples: tracks to learn from.
        held: tracks that tell when to stop; none leaves no early end.
        rows: for the objective "wpe".
        plan: how to train.
    """

    network: TowerLayers

    def __init__(
        self,
        form: Form,
        levels: dict[str, Float32],
        examples: Examples,
        held: Examples,
        rows: FactorRows | None,
        plan: Plan,
    ) -> None:
        super().__init__("audio", plan.seed, plan.epochs, plan.patience)
        self.examples, self.held, self.rows, self.plan = examples, held, rows, plan
        torch.manual_seed(plan.seed)
        self.network = TowerLayers(form, levels, plan.dropout).to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        self.frames = self._frames()
        self.identity = self._identity()

    def _frames(self) -> int:
        """Frames that a step hears of each clip."""
        form, sounds = self.network.form, self.examples.sounds
        if not form.convolutions or form.window:
            return form.window
        lengths = [len(sounds[i]) for i in range(0, len(sounds), max(1, len(sounds) // 100))]
        return max(form.least, int(_CROP * float(np.median(lengths))))

    def steps(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, float]]:
        order = rng.permutation(len(self.examples))
        steps = max(1, round(len(order) / self.plan.batch))
        for step, at in enumerate(np.array_split(order, steps)):
            size = _step_size((self.epoch + step / steps) / self.plan.epochs)
            for group in self.optimiser.param_groups:
                group["lr"] = size * self.plan.learning_rate
            loss = self._loss(self.examples, at, rng)
            self.descend(loss)
            yield loss, 1 / steps

    @torch.no_grad()
    def validate(self) -> tuple[float, str] | None:
        """The loss on the held tracks, in steps of training's size."""
        if not len(self.held):
            return None
        self.network.train(False)
        steps = max(1, round(len(self.held) / self.plan.batch))
        parts = np.array_split(np.arange(len(self.held)), steps)
        losses = [float(self._loss(self.held, at, None)) * len(at) for at in parts]
        loss = sum(losses) / len(self.held)
        return -loss, f"{loss:.4f}"

    def arrays(self, state: dict[str, Tensor]) -> dict[str, Float32]:
        self.network.load_state_dict(state)
        return self.network.arrays()

    def _loss(self, of: Examples, at: Int64, rng: np.random.Generator | None) -> Tensor:
        """Of a step; rng: None takes the middles of the clips, and tells every artist."""
        plan = self.plan
        beside = of.beside[at]
        if rng is not None and beside.shape[1] and self.network.form.inputs:
            beside = beside * (rng.random((len(at), 1)) >= _UNKNOWN_ARTISTS).astype(np.float32)
        sounds = _on(self._sounds(of, at, rng), self.device)
        precise = plan.precision == "float32" or not self.network.form.convolutions
        with torch.autocast(self.device.type, torch.bfloat16, enabled=not precise):
            y = self.network(sounds, _on(beside, self.device))
        if plan.objective == "wpe":
            assert self.rows is not None
            return wpe(y, self.rows, of.tracks[at].astype(np.int64))
        wanted = _on(of.wanted[at], self.device)
        if plan.objective == "mse":
            return mse(y, wanted)
        return contrastive(y, wanted, plan.temperature, decoupled=plan.decoupled)

    def _sounds(self, of: Examples, at: Int64, rng: np.random.Generator | None) -> Float32:
        """Sounds of a step, frames cropped to equal length."""
        if not self.frames:
            return np.stack([of.sounds[int(i)] for i in at]).astype(np.float32)
        return cropped((of.sounds[int(i)] for i in at), self.frames, rng)

    def _identity(self) -> str:
        digest = hashlib.sha256(repr((self.plan, self.network.form)).encode())
        for part in (self.examples, self.held):
            digest.update(part.tracks.tobytes() + part.wanted.tobytes())
        return digest.hexdigest()


def _step_size(done: float) -> float:
    """How large a step is, after a share of the training: it rises and falls as a cosine does."""
    part = done / _RISE if done < _RISE else (1 - done) / (1 - _RISE)
    return 0.02 + 0.98 * (1 - math.cos(math.pi * part)) / 2


def _on(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device, non_blocking=True)
