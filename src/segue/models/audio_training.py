"""Training of towers with torch: steps, early stopping, checkpoints."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from segue.answers import Float32, Int64
from segue.errors import ConfigError
from segue.files import write_file
from segue.models.audio_network import Network
from segue.models.audio_objectives import Rows, contrastive, mse, wpe
from segue.models.audio_sounds import Examples
from segue.models.audio_towers import Form, filled

_LONGEST_GRADIENT = 5.0
_UNKNOWN_ARTISTS = 0.1
"""Share of the tracks whose artist is not told in a step, so that the sound is listened to."""
_CROP = 0.8
"""Share of a clip that a step hears, from anywhere in it (the article: slightly cropped)."""

_RISE = 0.3
"""Share of the training in which steps grow to their full size; after it they fall to zero."""

Report = Callable[[str], None]


def device() -> torch.device:
    """Where to compute: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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


class Trainer:
    """One training; `run` does all of it.

    Args:
        form: of the tower.
        levels: arrays "shift" and "scale".
        examples: tracks to learn from.
        held: tracks that tell when to stop; none leaves no early end.
        rows: for the objective "wpe".
        plan: how to train.
    """

    def __init__(
        self,
        form: Form,
        levels: dict[str, Float32],
        examples: Examples,
        held: Examples,
        rows: Rows | None,
        plan: Plan,
    ) -> None:
        self.examples, self.held, self.rows, self.plan = examples, held, rows, plan
        self.device = device()
        torch.manual_seed(plan.seed)
        self.network = Network(form, levels, plan.dropout).to(self.device)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        self.frames = self._frames()
        self.epoch = 0
        self.history: list[float] = []
        self.best: dict[str, Tensor] = {}

    def _frames(self) -> int:
        """Frames that a step hears of each clip."""
        form, sounds = self.network.form, self.examples.sounds
        if not form.convolutions or form.window:
            return form.window
        lengths = [len(sounds[i]) for i in range(0, len(sounds), max(1, len(sounds) // 100))]
        return max(form.least, int(_CROP * float(np.median(lengths))))

    def run(
        self, advance: Callable[[float], None], report: Report, checkpoint: Path | None
    ) -> dict[str, Float32]:
        """Train until `epochs` or `patience` ends it.

        Args:
            advance: called with the share of an epoch after every step.
            report: called with a line after every epoch.
            checkpoint: file to go on from, and to write after every epoch.

        Returns:
            arrays of a tower.

        Raises:
            ConfigError: it diverged.
        """
        if checkpoint is not None and self._resume(checkpoint):
            report(f"goes on after epoch {self.epoch} ({checkpoint.name})")
            advance(self.epoch)
        while self.epoch < self.plan.epochs and not self._done():
            loss = self._epoch(advance)
            self.epoch += 1
            told = f"epoch {self.epoch}: loss {loss:.4f}"
            if len(self.held):
                self.history.append(self._validate())
                told += f", {self.history[-1]:.4f} on validation"
                if self.history[-1] <= min(self.history):
                    self.best = copy.deepcopy(self.network.state_dict())
            report(told)
            if checkpoint is not None:
                self._save(checkpoint)
        if self.best:
            self.network.load_state_dict(self.best)
        return self.network.arrays()

    def _done(self) -> bool:
        """Whether the best epoch lies `patience` epochs back."""
        if not self.history or not self.plan.patience:
            return False
        return len(self.history) - 1 - int(np.argmin(self.history)) >= self.plan.patience

    def _epoch(self, advance: Callable[[float], None]) -> float:
        rng = np.random.default_rng([self.plan.seed, 2, self.epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        self.network.train()
        order = rng.permutation(len(self.examples))
        steps = max(1, round(len(order) / self.plan.batch))
        losses = []
        for step, at in enumerate(np.array_split(order, steps)):
            size = _step_size((self.epoch + step / steps) / self.plan.epochs)
            for group in self.optimiser.param_groups:
                group["lr"] = size * self.plan.learning_rate
            loss = self._loss(self.examples, at, rng)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.network.parameters(), _LONGEST_GRADIENT)
            self.optimiser.step()
            losses.append(loss.detach())
            advance(1 / steps)
        mean = float(torch.stack(losses).mean())
        if not np.isfinite(mean):
            raise ConfigError(
                f"diverged in epoch {self.epoch + 1}", where="audio", do="lower learning_rate"
            )
        return mean

    @torch.no_grad()
    def _validate(self) -> float:
        """The loss on the held tracks, in steps of training's size."""
        self.network.train(False)
        steps = max(1, round(len(self.held) / self.plan.batch))
        parts = np.array_split(np.arange(len(self.held)), steps)
        losses = [float(self._loss(self.held, at, None)) * len(at) for at in parts]
        return sum(losses) / len(self.held)

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
        crops = []
        for i in at:
            clip = filled(of.sounds[int(i)], self.frames)
            room = len(clip) - self.frames
            first = room // 2 if rng is None else int(rng.integers(room + 1))
            crops.append(clip[first : first + self.frames])
        return np.stack(crops).astype(np.float32)

    # Checkpoints

    def _identity(self) -> str:
        """What a checkpoint must have been made of to go on from it."""
        digest = hashlib.sha256(repr((self.plan, self.network.form)).encode())
        for part in (self.examples, self.held):
            digest.update(part.tracks.tobytes() + part.wanted.tobytes())
        return digest.hexdigest()

    def _save(self, file: Path) -> None:
        tensors = {f"now.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for p, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{p}.{name}": value for name, value in state.items()}
        facts = {
            "identity": self._identity(),
            "epoch": str(self.epoch),
            "history": json.dumps(self.history),
        }
        cpu = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        write_file(file, safetensors.torch.save(cpu, facts))

    def _resume(self, file: Path) -> bool:
        """Go on where a checkpoint ended; False where there is none for this training."""
        try:
            with safetensors.safe_open(file, "pt") as saved:
                facts = saved.metadata() or {}
                if facts.get("identity") != self._identity():
                    return False
                tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        except (OSError, safetensors.SafetensorError):
            return False
        self.epoch, self.history = int(facts["epoch"]), json.loads(facts["history"])
        parts: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "adam": {}}
        for name, value in tensors.items():
            part, _, inner = name.partition(".")
            parts[part][inner] = value
        self.best = parts["best"]
        self.network.load_state_dict(parts["now"])
        adam: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["adam"].items():
            p, _, inner = name.partition(".")
            adam.setdefault(int(p), {})[inner] = value
        whole = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**whole, "state": adam})
        return True


def _step_size(done: float) -> float:
    """How large a step is, after a share of the training: it rises and falls as a cosine does."""
    part = done / _RISE if done < _RISE else (1 - done) / (1 - _RISE)
    return 0.02 + 0.98 * (1 - math.cos(math.pi * part)) / 2


def _on(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device, non_blocking=True)
