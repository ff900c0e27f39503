"""Rate limit of a client."""

from __future__ import annotations

import time
from collections.abc import Callable


class Buckets:
    """A bucket for each token: `burst` requests at once, `rate` a second on average."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, name: str) -> float:
        """Take a request from the bucket; returns 0, or the seconds to wait if it is empty."""
        now = self.clock()
        left, before = self._left.get(name, (float(self.burst), now))
        left = min(self.burst, left + (now - before) * self.rate)
        if left < 1:
            self._left[name] = (left, now)
            return (1 - left) / self.rate
        self._left[name] = (left - 1, now)
        return 0.0
