"""Training of the sequence models with torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from segue.models.sequential.batches import Batches, SequenceBatch, Windows
from segue.models.sequential.config import SequenceConfig
from segue.models.sequential.losses import feedback_loss, skip_loss, softmax_loss, twin_loss
from segue.models.sequential.network import OutputHead, Trunk
from segue.nn.optim import Table
from segue.nn.training import Training
from segue.numeric.arrays import Float32

_BLOCK_BYTES = 64 << 20
"""Maximum size of a block of scores."""

_LEAST_STEPS = 500
"""Minimum number of steps before early stopping."""
_START = 0.4
"""Expected length of a track's vector at the start."""


class SequenceNetwork(nn.Module):
    """A trunk with its head, and the extra heads of some losses."""

    def __init__(self, config: SequenceConfig, make_trunk: Callable[[], Trunk]) -> None:
        super().__init__()
        self.config = config
        self.trunk, self.head = make_trunk(), OutputHead(config)
        self.feedback = OutputHead(config) if config.feedback_weight else None
        self.twin = make_trunk() if config.twin_weight else None
        self.twin_head = OutputHead(config) if config.twin_weight else None

    def states(self, batch: SequenceBatch, e: Tensor) -> Tensor:
        """State of every place. (windows, width, d)"""
        x = nn.functional.embedding(_on(batch.inputs, e), e) * e.shape[1] ** 0.5
        valid = _on(batch.valid, e)
        if self.config.read_skips:
            x = self.head.read(x, _on(batch.negative, e))
        if batch.masked is None:
            out: Tensor = self.trunk(x, valid)
        else:
            out = self.trunk(x, valid, _on(batch.masked, e))
        return out

    def losses(self, batch: SequenceBatch, e: Tensor, log_q: Tensor | None) -> Tensor:
        """The whole loss of a batch.

        Args:
            batch: training examples.
            e: vectors of `batch.rows`. (rows, d)
            log_q: logarithm of each row's expected count among the negatives, for the correction;
                or None. (rows,)
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
                _on(batch.skipped_valid, e),
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

    def _feedback(self, batch: SequenceBatch, h: Tensor, e: Tensor) -> Tensor:
        """Loss of the head that predicts skips from the tracks before: σ(z · e)."""
        assert self.feedback is not None
        inputs, negative = _on(batch.inputs, e), _on(batch.negative, e)
        if batch.masked is not None:  # the place of a hidden track sees its surroundings
            scores = (self.feedback(h) * e[inputs]).sum(2)
            return feedback_loss(scores, negative, _on(batch.masked & batch.valid, e))
        if h.shape[1] < 2:
            return h.sum() * 0
        scores = (self.feedback(h[:, :-1]) * e[inputs[:, 1:]]).sum(2)
        return feedback_loss(scores, negative[:, 1:], _on(batch.valid, e)[:, 1:])

    def _twin(
        self,
        batch: SequenceBatch,
        y: Tensor,
        right: Tensor,
        drawn: Tensor,
        e: Tensor,
        log_q: Tensor | None,
    ) -> Tensor:
        """L_next of the skipped tracks alone by a second encoder, and `twin_loss`."""
        assert self.twin is not None
        assert self.twin_head is not None
        if not batch.skipped.shape[1]:
            return y.sum() * 0
        skipped, valid = _on(batch.skipped, e), _on(batch.skipped_valid, e)
        vectors = nn.functional.embedding(skipped, e)
        other = self.twin_head(self.twin(vectors, valid))
        follows = valid[:, 1:]
        skip_chain = self._next(other[:, :-1][follows], skipped[:, 1:][follows], drawn, e, log_q)
        window = _on(batch.at, e) // batch.inputs.shape[1]
        far = (y[:, None] * vectors[window]).sum(2)
        return skip_chain + twin_loss((y * e[right]).sum(1), far, valid[window])


def _on(array: npt.NDArray[Any], like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like.device, non_blocking=True)


class SequenceTrainer(Training):
    """One training of a sequence model.

    Args:
        windows: training windows.
        plays: play count of each track. (tracks,)
        config: settings of the model.
        make_trunk: makes a new trunk.
        seed: random seed.
        masks: whether training masks tracks and predicts them from both directions.
        quality: validation score of parameters; None for no early stopping.
    """

    network: SequenceNetwork

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
        super().__init__(type(config).__name__, seed, config.epochs, config.patience)
        self.config, self.quality = config, quality
        self.batches = Batches(windows, len(plays), config, masks)
        torch.manual_seed(seed)
        start = torch.randn(len(plays), config.factors) * (_START * config.factors**-0.5)
        self.table = Table(start.to(self.device))
        self.network = SequenceNetwork(config, make_trunk).to(self.device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=config.learning_rate, fused=True
        )
        self.log_q = self._log_q(windows, plays) if config.log_q else None
        self.identity = self._identity(windows)

    def _log_q(self, windows: Windows, plays: npt.NDArray[np.int32]) -> Tensor:
        """Logarithm of each track's expected count among the negatives of a step. (tracks,)"""
        config = self.config
        shares = np.full(len(plays), config.negatives / max(1, len(plays)))
        if config.in_batch:
            per_step = config.batch * float(windows.lengths.mean() if len(windows) else 0)
            shares += per_step * plays / max(1, plays.sum())
        return torch.from_numpy(np.log(np.maximum(shares, 1e-12)).astype(np.float32))

    def _identity(self, windows: Windows) -> str:
        digest = hashlib.sha256(repr(self.config).encode())
        digest.update(f"{self.seed} {len(self.batches.column)}".encode())
        digest.update(windows.tracks.tobytes() + windows.negative.tobytes())
        return digest.hexdigest()

    def steps(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, float]]:
        config = self.config
        precise = config.precision == "float32"
        for batch in self.batches.epoch(rng):
            at = _on(batch.rows, self.table.rows)
            e = self.table.take(at)
            log_q = None if self.log_q is None else self.log_q[batch.rows].to(e.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=not precise):
                loss = self.network.losses(batch, e, log_q)
            if self.descend(loss):
                self.table.step(at, e, config.learning_rate)
            yield loss, 1 / self.batches.steps

    def validate(self) -> tuple[float, str] | None:
        if self.quality is None:
            return None
        quality = self.quality(self.arrays(self.state()))
        return quality, f"ndcg@10 {quality:.4f}"

    @property
    def ripe(self) -> bool:
        return self.table.steps >= _LEAST_STEPS

    def state(self) -> dict[str, Tensor]:
        return {"vectors": self.table.rows, **super().state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.table.rows = state.pop("vectors")
        super().restore(state)

    def extra_state(self) -> dict[str, Tensor]:
        table = self.table
        return {"first": table.first, "second": table.second, "steps": torch.tensor(table.steps)}

    def restore_extra_state(self, tensors: dict[str, Tensor]) -> None:
        self.table.first, self.table.second = tensors["first"], tensors["second"]
        self.table.steps = int(tensors["steps"])

    def arrays(self, state: dict[str, Tensor]) -> dict[str, Float32]:
        return {name: np.array(value.detach().cpu().numpy()) for name, value in state.items()}
