"""What training with torch has in common; answering loads none of it."""

from __future__ import annotations

import copy
import errno
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from segue.errors import ConfigError
from segue.queries import Float32
from segue.system.files import write_file

_LONGEST_GRADIENT = 5.0
_CHECKPOINT = "segue-training-2"

Report = Callable[[str], None]


def device() -> torch.device:
    """Where to compute: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def reproducible(*, warn_only: bool = False) -> Iterator[None]:
    """Deterministic algorithms; and torch's own random state is afterwards what it was.

    Args:
        warn_only: where an operation has no deterministic algorithm, say so and go on.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.use_deterministic_algorithms(before)


class Table:
    """Rows that Adam (Kingma and Ba 2015) changes only when they occur."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.first, self.second = torch.zeros_like(rows), torch.zeros_like(rows)
        self.steps = 0

    def take(self, at: Tensor) -> Tensor:
        """Some rows, to compute with and to get a gradient for."""
        return self.rows[at].requires_grad_()

    def step(self, at: Tensor, taken: Tensor, rate: float) -> None:
        """Change rows by the gradient that `take` got."""
        gradient = taken.grad
        assert gradient is not None
        self.steps += 1
        _adam(self.rows, self.first, self.second, at, gradient, rate, (0.9, 0.999), self.steps)


class RowAdamW(torch.optim.AdamW):
    """AdamW; parameters whose gradients are sparse change in the rows that these have alone.

    The momentum of other rows rests with them, and their weights do not decay.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step by the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p.grad.is_sparse:
                    self._step_rows(p, p.grad.coalesce(), group)
                    p.grad = None
        super().step(closure)

    def _step_rows(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        _adam(
            p, state["exp_avg"], state["exp_avg_sq"], gradient.indices()[0], gradient.values(),
            group["lr"], group["betas"], int(state["step"]),
        )  # fmt: skip


def _adam(
    rows: Tensor, first: Tensor, second: Tensor, at: Tensor, gradient: Tensor, rate: float,
    betas: tuple[float, float], steps: int,
) -> None:  # fmt: skip
    """Adam's step number `steps` on the distinct rows `at`, whose gradient it is; in place."""
    one, two = betas
    mean = first[at].mul_(one).add_(gradient, alpha=1 - one)
    square = second[at].mul_(two).addcmul_(gradient, gradient, value=1 - two)
    first[at], second[at] = mean, square
    size = (square / (1 - two**steps)).sqrt_().add_(1e-8)
    rows[at] = rows[at] - rate / (1 - one**steps) * mean / size


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
        self, advance: Callable[[float], None], report: Report, checkpoint: Path | None
    ) -> dict[str, Float32]:
        """Train until `epochs` or `patience` ends it.

        Args:
            advance: called with the share of an epoch after every step.
            report: called with a line after every epoch.
            checkpoint: file to go on from, and to write after every epoch.

        Returns:
            `arrays` of the best epoch, or of the last where there is no validation.

        Raises:
            ConfigError: it diverged.
        """
        if checkpoint is not None and self._resume(checkpoint):
            report(f"goes on after epoch {self.epoch} ({checkpoint.name})")
            advance(self.epoch)
        while self.epoch < self.epochs and not self._done():
            told = f"epoch {self.epoch + 1}: loss {self._epoch(advance):.4f}"
            self.epoch += 1
            found = self.validate()
            if found is not None:
                worth, words = found
                self.history.append(worth)
                told += f", {words} on validation"
                if worth >= max(self.history):
                    self.best = copy.deepcopy(self.state())
            report(told)
            if checkpoint is not None:
                self._save(checkpoint)
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

    def descend(self, loss: Tensor) -> None:
        """Take a step of the optimiser."""
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        dense = [p for p in self._parameters if p.grad is not None and not p.grad.is_sparse]
        if dense:
            nn.utils.clip_grad_norm_(dense, _LONGEST_GRADIENT)
        self.optimiser.step()

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

    def beside(self) -> dict[str, Tensor]:
        """What else a checkpoint needs."""
        return {}

    def restore_beside(self, tensors: dict[str, Tensor]) -> None:
        """Take `beside` back."""
        assert not tensors

    # Checkpoints

    def _save(self, file: Path) -> None:
        parts = {"now": self.state(), "best": self.best, "beside": self.beside()}
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
        self.restore_beside(parts["beside"])
        adam: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["adam"].items():
            p, _, moment = name.partition(".")
            adam.setdefault(int(p), {})[moment] = value
        whole = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**whole, "state": adam})
        return True
