"""How often a client may ask."""

from __future__ import annotations

import time
from collections.abc import Callable


class Buckets:
    """How many requests each token has left: `burst` at once, `rate` a second on the long run."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, name: str) -> float:
        """Take one; seconds until there is one, 0 where it was taken."""
        now = self.clock()
        left, before = self._left.get(name, (float(self.burst), now))
        left = min(self.burst, left + (now - before) * self.rate)
        if left < 1:
            self._left[name] = (left, now)
            return (1 - left) / self.rate
        self._left[name] = (left - 1, now)
        return 0.0
