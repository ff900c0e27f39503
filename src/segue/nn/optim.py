"""Adam on the rows that a step touched."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
            p,
            state["exp_avg"],
            state["exp_avg_sq"],
            gradient.indices()[0],
            gradient.values(),
            group["lr"],
            group["betas"],
            int(state["step"]),
        )


def _adam(
    rows: Tensor,
    first: Tensor,
    second: Tensor,
    at: Tensor,
    gradient: Tensor,
    rate: float,
    betas: tuple[float, float],
    steps: int,
) -> None:
    """Adam's step number `steps` on the distinct rows `at`, whose gradient it is; in place."""
    one, two = betas
    mean = first[at].mul_(one).add_(gradient, alpha=1 - one)
    square = second[at].mul_(two).addcmul_(gradient, gradient, value=1 - two)
    first[at], second[at] = mean, square
    size = (square / (1 - two**steps)).sqrt_().add_(1e-8)
    rows[at] = rows[at] - rate / (1 - one**steps) * mean / size
