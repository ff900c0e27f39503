"""What the benchmark of sessions gives every system, peers included: data, settings, marks.

Needs numpy alone, since peers import it in environments of their own.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from benchmarks.common.run import peak_mb

FACTORS, BLOCKS, HEADS = 64, 2, 2
LENGTH = 19
"""Longest history: sessions have at most 20 tracks."""
BATCH, NEGATIVES, RATE, DROPOUT = 128, 512, 1e-3, 0.2
BEST = 10
WARM = 5
"""First steps, which are not measured where only some are run."""

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """Sessions without their last tracks, which some of them are asked for.

    Attributes:
        size: tracks of the catalog.
        offsets: session s is ``tracks[offsets[s]:offsets[s + 1]]``. (sessions + 1,)
        tracks: what is learned from.
        asked: sessions whose next track is asked for. (queries,)
        truth: which it was. (queries,)
    """

    size: int
    offsets: Int64
    tracks: Int32
    asked: Int64
    truth: Int32

    def save(self, file: Path) -> None:
        """Write it for another process."""
        np.savez(file, **vars(self))

    @classmethod
    def load(cls, file: Path | str) -> Self:
        """Read what `save` wrote."""
        with np.load(file) as held:
            return cls(
                int(held["size"]), *(held[n] for n in ("offsets", "tracks", "asked", "truth"))
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def owners(self) -> Int64:
        """Session of each of `tracks`."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def positions(self) -> Int64:
        """Place of each of `tracks` in its session."""
        return np.arange(len(self.tracks)) - self.offsets[self.owners]

    def grid(self, width: int) -> Int64:
        """Sessions as rows that begin at the left; tracks count from 1, 0 after the end."""
        grid = np.zeros((len(self), width), np.int64)
        grid[self.owners, self.positions] = self.tracks + 1
        return grid


def places(best: npt.NDArray[Any], truth: Int32) -> list[int]:
    """Where each truth stands among the best of its query, from 0; -1 where it does not."""
    hit = best == truth[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1), -1).tolist()


def gains(found: list[int]) -> npt.NDArray[np.float64]:
    """NDCG@10 of each query, from `places`: one track is right."""
    place = np.array(found, np.float64)
    return np.where(place >= 0, 1 / np.log2(np.maximum(place, 0) + 2), 0)


class Clock:
    """When preparing ended and when each step did."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.ends: list[float] = []

    def mark(self) -> None:
        """A step ended; or the first one begins."""
        self.ends.append(time.perf_counter())

    def report(self, sessions_a_step: float, found: list[int], **versions: str) -> dict[str, Any]:
        """What a system hands back.

        Args:
            sessions_a_step: mean.
            found: `places`; empty where quality was not asked for.
            versions: of the system's libraries.
        """
        ends = self.ends[WARM:] if len(self.ends) > 2 * WARM else self.ends
        return {
            "rate": sessions_a_step * (len(ends) - 1) / (ends[-1] - ends[0]),
            "steps": len(ends) - 1,
            "prepared": self.ends[0] - self.start,
            "places": found,
            "peak_mb": peak_mb(),
            "versions": versions,
        }


def words() -> tuple[Data, int, int]:
    """Data, epochs and most steps (0: all) that a system was started with."""
    file, epochs, steps = sys.argv[1:]
    del sys.argv[1:]  # RecBole would read them
    return Data.load(file), int(epochs), int(steps)


def answer(result: dict[str, Any]) -> None:
    """Hand a report back: the last line of stdout."""
    print(json.dumps(result), flush=True)
