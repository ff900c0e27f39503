"""What training with torch has in common; answering loads none of it."""

from __future__ import annotations

import copy
import errno
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from segue.errors import ConfigError
from segue.nn.devices import device
from segue.numeric.arrays import Float32
from segue.system.files import write_file

_LONGEST_GRADIENT = 5.0
_CHECKPOINT = "segue-training-2"

Report = Callable[[str], None]


class Training(ABC):
    """Epochs with early stopping and checkpoints; `run` does all of it.

    A subclass sets the attributes that are only declared here, and gives what is abstract. All that
    is random in an epoch comes of the seed and its number, so that a training that goes on from a
    checkpoint is to the bit what it would have been.

    Args:
        where: what errors name.
        seed: of everything random.
        epochs: at most.
        patience: epochs without gain before training ends; 0 = never.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    identity: str
    """What a checkpoint must have been made of to go on from it."""

    def __init__(self, where: str, seed: int, epochs: int, patience: int) -> None:
        self.where, self.seed, self.epochs, self.patience = where, seed, epochs, patience
        self.device = device()
        self.epoch = 0
        self.history: list[float] = []
        self.best: dict[str, Tensor] = {}

    def run(
        self,
        advance: Callable[[float], None],
        report: Report,
        checkpoint: Path | None,
        monitor: Callable[[int, float], None] | None = None,
        detail: Report | None = None,
    ) -> dict[str, Float32]:
        """Train until `epochs` or `patience` ends it.

        Args:
            advance: called with the share of an epoch after every step.
            report: called with a line at the end, and where it goes on from a checkpoint.
            checkpoint: file to go on from, and to write after every epoch.
            monitor: called with the number and the validation score of every epoch.
            detail: called with a line after every epoch.

        Returns:
            `arrays` of the best epoch, or of the last where there is no validation.

        Raises:
            ConfigError: it diverged.
        """
        if checkpoint is not None and self._resume(checkpoint):
            report(f"goes on after epoch {self.epoch} ({checkpoint.name})")
            advance(self.epoch)
        best_line = f"{max(self.history, default=0.0):.4f} on validation"
        while self.epoch < self.epochs and not self._done():
            line = f"epoch {self.epoch + 1}: loss {self._epoch(advance):.4f}"
            self.epoch += 1
            found = self.validate()
            if found is not None:
                worth, words = found
                self.history.append(worth)
                line += f", {words} on validation"
                if worth >= max(self.history):
                    self.best = copy.deepcopy(self.state())
                    best_line = f"{words} on validation"
            if detail is not None:
                detail(line)
            if checkpoint is not None:
                self._save(checkpoint)
            if found is not None and monitor is not None:
                monitor(self.epoch, found[0])
        if self.history:
            best = int(np.argmax(self.history)) + 1
            report(f"{self.epoch} epochs, best epoch {best}: {best_line}")
        return self.arrays(self.best or self.state())

    def _done(self) -> bool:
        """Whether the best epoch lies `patience` epochs back."""
        if not self.history or not self.patience or not self.ripe:
            return False
        return int(np.argmax(self.history[::-1])) >= self.patience

    def _epoch(self, advance: Callable[[float], None]) -> float:
        """Mean loss of an epoch's steps."""
        rng = np.random.default_rng([self.seed, 2, self.epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        self.network.train()
        losses = []
        for loss, share in self.steps(rng):
            losses.append(loss.detach())
            advance(share)
        mean = float(torch.stack(losses).mean())
        if not np.isfinite(mean):
            raise ConfigError(
                f"diverged in epoch {self.epoch + 1}", where=self.where, do="lower learning_rate"
            )
        return mean

    @cached_property
    def _parameters(self) -> list[nn.Parameter]:
        return list(self.network.parameters())

    def descend(self, loss: Tensor) -> bool:
        """Take a step of the optimiser; False where the batch held nothing to learn from."""
        if not loss.requires_grad:
            return False
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        dense = [p for p in self._parameters if p.grad is not None and not p.grad.is_sparse]
        if dense:
            nn.utils.clip_grad_norm_(dense, _LONGEST_GRADIENT)
        self.optimiser.step()
        return True

    # What a training is

    @abstractmethod
    def steps(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, float]]:
        """Take the steps of an epoch; the loss of each and its share of the epoch."""

    @abstractmethod
    def validate(self) -> tuple[float, str] | None:
        """How good it is now, larger is better, and in words; None where nothing tells."""

    @abstractmethod
    def arrays(self, state: dict[str, Tensor]) -> dict[str, Float32]:
        """What has been learned, from a `state`."""

    def state(self) -> dict[str, Tensor]:
        """Everything learned."""
        return self.network.state_dict()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take a `state` back."""
        self.network.load_state_dict(state)

    @property
    def ripe(self) -> bool:
        """Whether validation says enough to stop."""
        return True

    def extra_state(self) -> dict[str, Tensor]:
        """What else a checkpoint needs."""
        return {}

    def restore_extra_state(self, tensors: dict[str, Tensor]) -> None:
        """Take `beside` back."""
        assert not tensors

    # Checkpoints

    def _save(self, file: Path) -> None:
        parts = {"now": self.state(), "best": self.best, "beside": self.extra_state()}
        for p, moments in self.optimiser.state_dict()["state"].items():
            parts[f"adam.{p}"] = moments
        cpu: dict[str, Tensor] = {}
        places = set()
        for part, tensors in parts.items():
            for name, value in tensors.items():
                told = value.detach().cpu().contiguous()
                place = told.untyped_storage().data_ptr()
                # A file has each of two tensors that share their memory.
                cpu[f"{part}.{name}"] = told.clone() if place in places else told
                places.add(place)
        facts = {
            "identity": f"{_CHECKPOINT} {self.identity}",
            "epoch": str(self.epoch),
            "history": json.dumps(self.history),
        }

        def write(path: Path) -> None:
            try:
                safetensors.torch.save_file(cpu, path, facts)
            except safetensors.SafetensorError as error:
                raise OSError(errno.EIO, str(error)) from error

        write_file(file, write)

    def _resume(self, file: Path) -> bool:
        """Go on where a checkpoint ended; False where there is none for this training."""
        try:
            with safetensors.safe_open(file, "pt") as saved:
                facts = saved.metadata() or {}
                if facts.get("identity") != f"{_CHECKPOINT} {self.identity}":
                    return False
                tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        except (OSError, safetensors.SafetensorError):
            return False
        self.epoch, self.history = int(facts["epoch"]), json.loads(facts["history"])
        parts: dict[str, dict[str, Tensor]] = {"now": {}, "best": {}, "beside": {}, "adam": {}}
        for name, value in tensors.items():
            part, _, inner = name.partition(".")
            parts[part][inner] = value.to(self.device) if part != "adam" else value
        self.best = parts["best"]
        self.restore(parts["now"])
        self.restore_extra_state(parts["beside"])
        adam: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["adam"].items():
            p, _, moment = name.partition(".")
            adam.setdefault(int(p), {})[moment] = value
        whole = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**whole, "state": adam})
        return True
