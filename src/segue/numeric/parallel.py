"""Numba's kernels on many cores, also where only one thread at a time may start them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from numba import njit, threading_layer  # type: ignore[attr-defined]

Kernel = Callable[..., Any]

_turn = threading.Lock()


def parallel(**options: Any) -> Callable[[Kernel], Kernel]:
    """Compile a function with ``njit(parallel=True)``, safe to call from every thread.

    Where numba finds neither OpenMP nor TBB (macOS by default, small Linux images), it shares the
    work by its own "workqueue", and ends the process when two threads start kernels at a time.
    There threads take turns; elsewhere nothing is locked.

    Args:
        options: of `numba.njit`.
    """

    def compiled(function: Kernel) -> Kernel:
        kernel = njit(parallel=True, **options)(function)

        @wraps(function)
        def launch(*arguments: Any) -> Any:
            if _takes_many():
                return kernel(*arguments)
            with _turn:
                return kernel(*arguments)

        return launch

    return compiled


def _takes_many() -> bool:
    """Whether kernels may start at a time; not before the first of them told numba's choice."""
    try:
        return bool(threading_layer() != "workqueue")
    except ValueError:
        return False
