"""An ear that hears how high a tone is; its own module, so that worker processes load little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segue.audio.decode import Excerpt

PITCHES = (400.0, 700.0, 1200.0, 2000.0)
"""Hz of what the tracks of each genre sound like."""
TWO_SECONDS = Excerpt(2.0)


@dataclass(frozen=True)
class ToneEar:
    """Share of the power near each pitch. (pitches,)"""

    name: str = "tone-ear-1"
    rate: int = 8000
    excerpt: Excerpt = TWO_SECONDS

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of mono samples."""
        power = np.abs(np.fft.rfft(samples)) ** 2
        hertz = np.fft.rfftfreq(len(samples), 1 / self.rate)
        near = [power[np.abs(hertz - pitch) < 60].sum() for pitch in PITCHES]
        return (np.array(near) / max(power.sum(), 1e-9)).astype(np.float32)


def tone(genre: int, seconds: float = 1.0, rate: int = 8000) -> NDArray[np.float32]:
    """What a track of a genre sounds like. (1, samples)"""
    t = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * PITCHES[genre] * t)).astype(np.float32)[None]
