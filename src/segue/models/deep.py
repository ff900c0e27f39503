"""What training with torch has in common; answering loads none of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


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
        first = self.first[at].mul_(0.9).add_(gradient, alpha=0.1)
        second = self.second[at].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        self.first[at], self.second[at] = first, second
        size = (second / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
        self.rows[at] = taken.detach() - rate / (1 - 0.9**self.steps) * first / size
