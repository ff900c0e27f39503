"""Training of the sequence models with torch."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from segue.answers import Float32
from segue.errors import ConfigError
from segue.files import write_file
from segue.models.deep import Table
from segue.models.sequence_batches import Batch, Batches, Windows
from segue.models.sequence_layers import SequenceConfig
from segue.models.sequence_losses import feedback_loss, skip_loss, softmax_loss, twin_loss
from segue.models.sequence_trunks import Head, Trunk

_LONGEST_GRADIENT = 5.0
_BLOCK_BYTES = 64 << 20
"""Scores of predictions and drawn tracks that are computed at a time."""

_LEAST_STEPS = 500
"""Before so many, validation says too little to stop."""
_START = 0.4
"""Expected length of a track's vector at the start."""

Report = Callable[[str], None]


def device() -> torch.device:
    """Where to compute: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Network(nn.Module):
    """A trunk with its head, and what some losses need besides."""

    def __init__(self, config: SequenceConfig, make_trunk: Callable[[], Trunk]) -> None:
        super().__init__()
        self.config = config
        self.trunk, self.head = make_trunk(), Head(config)
        self.feedback = Head(config) if config.feedback_weight else None
        self.twin = make_trunk() if config.twin_weight else None
        self.twin_head = Head(config) if config.twin_weight else None

    def states(self, batch: Batch, e: Tensor) -> Tensor:
        """State of every place. (windows, width, d)"""
        x = nn.functional.embedding(_on(batch.inputs, e), e) * e.shape[1] ** 0.5
        there = _on(batch.there, e)
        if self.config.read_skips:
            x = self.head.read(x, _on(batch.negative, e))
        if batch.masked is None:
            out: Tensor = self.trunk(x, there)
        else:
            out = self.trunk(x, there, _on(batch.masked, e))
        return out

    def losses(self, batch: Batch, e: Tensor, log_q: Tensor | None) -> Tensor:
        """The whole loss of a batch.

        Args:
            batch: of sessions.
            e: vectors of `batch.rows`. (rows, d)
            log_q: logarithm of how many times each of them is expected among `drawn`, where that
                is corrected for. (rows,)
        """
        config = self.config
        h = self.states(batch, e)
        y = self.head(h)
        at = _on(batch.at, e)
        right, drawn = _on(batch.target, e), _on(batch.drawn, e)
        flat = y.flatten(0, 1)[at]
        total = self._next(flat, right, drawn, e, log_q)
        if config.skip_weight:
            total = total + config.skip_weight * skip_loss(
                y if config.skip_context == "hidden" else e[_on(batch.current, e)],
                e[_on(batch.positive, e)],
                e[_on(batch.skipped, e)],
                _on(batch.contexts, e),
                _on(batch.skipped_there, e),
                config.temperature,
            )
        if self.feedback is not None:
            total = total + config.feedback_weight * self._feedback(batch, h, e)
        if self.twin is not None:
            total = total + config.twin_weight * self._twin(batch, flat, right, drawn, e, log_q)
        return total

    def _next(
        self, y: Tensor, right: Tensor, drawn: Tensor, e: Tensor, log_q: Tensor | None
    ) -> Tensor:
        """Mean L_next; blocks of predictions, so that memory does not grow with the catalog."""
        if self.config.in_batch:
            drawn = torch.cat([drawn, right])
        others, targets = e[drawn], e[right]
        shift = e.new_zeros(()) if log_q is None else -log_q[drawn]
        step = max(1, _BLOCK_BYTES // (4 * len(drawn)))
        total = e.new_zeros(())
        for start in range(0, len(y), step):
            rows = slice(start, start + step)
            same = right[rows, None] == drawn
            total = total + softmax_loss(y[rows], targets[rows], others, same, shift)
        return total / max(1, len(y))

    def _feedback(self, batch: Batch, h: Tensor, e: Tensor) -> Tensor:
        """What comes before a track tells whether it will be negative: σ(z · e)."""
        assert self.feedback is not None
        inputs, negative = _on(batch.inputs, e), _on(batch.negative, e)
        if batch.masked is not None:  # a hidden track's own place knows what is around it
            scores = (self.feedback(h) * e[inputs]).sum(2)
            return feedback_loss(scores, negative, _on(batch.masked & batch.there, e))
        if h.shape[1] < 2:
            return h.sum() * 0
        scores = (self.feedback(h[:, :-1]) * e[inputs[:, 1:]]).sum(2)
        return feedback_loss(scores, negative[:, 1:], _on(batch.there, e)[:, 1:])

    def _twin(
        self, batch: Batch, y: Tensor, right: Tensor, drawn: Tensor, e: Tensor, log_q: Tensor | None
    ) -> Tensor:
        """L_next of the skipped tracks alone by a second encoder, and `twin_loss`."""
        assert self.twin is not None
        assert self.twin_head is not None
        if not batch.skipped.shape[1]:
            return y.sum() * 0
        skipped, there = _on(batch.skipped, e), _on(batch.skipped_there, e)
        vectors = nn.functional.embedding(skipped, e)
        other = self.twin_head(self.twin(vectors, there))
        follows = there[:, 1:]
        own = self._next(other[:, :-1][follows], skipped[:, 1:][follows], drawn, e, log_q)
        window = _on(batch.at, e) // batch.inputs.shape[1]
        far = (y[:, None] * vectors[window]).sum(2)
        return own + twin_loss((y * e[right]).sum(1), far, there[window])


def _on(array: npt.NDArray[Any], like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like.device, non_blocking=True)


def _arrays(state: dict[str, Tensor]) -> dict[str, Float32]:
    return {name: np.array(value.detach().cpu().numpy()) for name, value in state.items()}


class Trainer:
    """One training; `run` does all of it.

    Args:
        windows: to learn from.
        plays: of each track. (tracks,)
        config: of the model.
        make_trunk: gives a new trunk.
        seed: of everything random.
        masks: whether tracks are hidden to be told from both sides.
        quality: of what has been learned so far, on sessions that are not in `windows`; None
            leaves no early end.
    """

    def __init__(
        self,
        windows: Windows,
        plays: npt.NDArray[np.int32],
        config: SequenceConfig,
        make_trunk: Callable[[], Trunk],
        seed: int,
        *,
        masks: bool,
        quality: Callable[[dict[str, Float32]], float] | None,
    ) -> None:
        self.config, self.seed, self.device = config, seed, device()
        self.quality = quality
        self.batches = Batches(windows, len(plays), config, masks)
        torch.manual_seed(seed)
        start = torch.randn(len(plays), config.factors) * (_START * config.factors**-0.5)
        self.table = Table(start.to(self.device))
        self.network = Network(config, make_trunk).to(self.device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=config.learning_rate, fused=True
        )
        self.log_q = self._log_q(windows, plays) if config.log_q else None
        self.epoch = 0
        self.history: list[float] = []
        self.best: dict[str, Tensor] = {}
        self.identity = self._identity(windows)

    def _log_q(self, windows: Windows, plays: npt.NDArray[np.int32]) -> Tensor:
        """Logarithm of how many times a step draws each track. (tracks,)"""
        config = self.config
        shares = np.full(len(plays), config.negatives / max(1, len(plays)))
        if config.in_batch:
            per_step = config.batch * float(windows.lengths.mean() if len(windows) else 0)
            shares += per_step * plays / max(1, plays.sum())
        return torch.from_numpy(np.log(np.maximum(shares, 1e-12)).astype(np.float32))

    def _identity(self, windows: Windows) -> str:
        """What a checkpoint must have been made of to go on from it."""
        digest = hashlib.sha256(repr(self.config).encode())
        digest.update(f"{self.seed} {len(self.batches.column)}".encode())
        digest.update(windows.tracks.tobytes() + windows.negative.tobytes())
        return digest.hexdigest()

    def run(
        self, advance: Callable[[float], None], report: Report, checkpoint: Path | None
    ) -> dict[str, Float32]:
        """Train until `epochs` or `patience` ends it.

        Args:
            advance: called with the share of an epoch after every step.
            report: called with a line after every epoch.
            checkpoint: file to go on from, and to write after every epoch.

        Raises:
            ConfigError: it diverged.
        """
        if checkpoint is not None and self._resume(checkpoint):
            report(f"goes on after epoch {self.epoch} ({checkpoint.name})")
            advance(self.epoch)
        while self.epoch < self.config.epochs and not self._done():
            loss = self._epoch(advance)
            self.epoch += 1
            told = f"epoch {self.epoch}: loss {loss:.4f}"
            if self.quality is not None:
                self.history.append(self.quality(_arrays(self._state())))
                told += f", ndcg@10 {self.history[-1]:.4f} on validation"
                if self.history[-1] >= max(self.history):
                    self.best = copy.deepcopy(self._state())
            report(told)
            if checkpoint is not None:
                self._save(checkpoint)
        return _arrays(self.best or self._state())

    def _done(self) -> bool:
        """Whether the best epoch lies `patience` epochs back."""
        if not self.history or self.table.steps < _LEAST_STEPS:
            return False
        best = len(self.history) - 1 - int(np.argmax(self.history[::-1]))
        return len(self.history) - 1 - best >= self.config.patience > 0

    def _state(self) -> dict[str, Tensor]:
        return {"vectors": self.table.rows, **self.network.state_dict()}

    def _epoch(self, advance: Callable[[float], None]) -> float:
        config = self.config
        rng = np.random.default_rng([self.seed, 2, self.epoch])
        torch.manual_seed(int(rng.integers(2**62)))
        self.network.train()
        precise = config.precision == "float32"
        losses = []
        parameters = list(self.network.parameters())
        for batch in self.batches.epoch(rng):
            at = _on(batch.rows, self.table.rows)
            e = self.table.take(at)
            log_q = None if self.log_q is None else self.log_q[batch.rows].to(e.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=not precise):
                loss = self.network.losses(batch, e, log_q)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, _LONGEST_GRADIENT)
            self.optimiser.step()
            self.table.step(at, e, config.learning_rate)
            losses.append(loss.detach())
            advance(1 / self.batches.steps)
        mean = float(torch.stack(losses).mean())
        if not np.isfinite(mean):
            raise ConfigError(
                f"diverged in epoch {self.epoch + 1}",
                where=type(config).__name__,
                do="lower learning_rate",
            )
        return mean

    # Checkpoints

    def _save(self, file: Path) -> None:
        tensors = {f"now.{name}": value for name, value in self._state().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {"table.first": self.table.first, "table.second": self.table.second}
        for p, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{p}.{name}": value for name, value in state.items()}
        facts = {
            "identity": self.identity,
            "epoch": str(self.epoch),
            "steps": str(self.table.steps),
            "history": json.dumps(self.history),
        }
        cpu = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        write_file(file, safetensors.torch.save(cpu, facts))

    def _resume(self, file: Path) -> bool:
        """Go on where a checkpoint ended; False where there is none for this training."""
        try:
            with safetensors.safe_open(file, "pt") as saved:
                facts = saved.metadata() or {}
                if facts.get("identity") != self.identity:
                    return False
                tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        except (OSError, safetensors.SafetensorError):
            return False
        self.epoch, self.table.steps = int(facts["epoch"]), int(facts["steps"])
        self.history = json.loads(facts["history"])

        def part(prefix: str) -> dict[str, Tensor]:
            size = len(prefix)
            return {n[size:]: v for n, v in tensors.items() if n.startswith(prefix)}

        now, self.best = part("now."), {n: v.to(self.device) for n, v in part("best.").items()}
        self.table.rows = now.pop("vectors").to(self.device)
        self.table.first = tensors["table.first"].to(self.device)
        self.table.second = tensors["table.second"].to(self.device)
        self.network.load_state_dict(now)
        adam: dict[int, dict[str, Tensor]] = {}
        for name, value in part("adam.").items():
            p, _, field = name.partition(".")
            adam.setdefault(int(p), {})[field] = value
        whole = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**whole, "state": adam})
        return True
