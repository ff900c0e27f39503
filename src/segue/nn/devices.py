"""The device that torch trains on, and reproducible results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
