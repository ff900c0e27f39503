"""Small datasets of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from support.evaluation_worlds import plain_tracks, write_dataset

from segue.data.dataset import Dataset
from segue.data.schema import Outcome

FINISHED, SKIPPED = int(Outcome.FINISHED), int(Outcome.SKIPPED)
MINUTE = 60_000

Listen = tuple[int, int]
"""Track and outcome."""
Session = tuple[int, int | None, Sequence[Listen]]
"""Listener, start in minutes, listens a minute apart."""


def write_sessions(
    path: Path, sessions: Sequence[Session], tracks: int = 40, simulated: bool = False
) -> Dataset:
    """A dataset of sessions, which are in the order of their listeners."""
    rows: dict[str, list[int | None]] = {
        name: [] for name in ("listener", "session", "position", "track", "time", "outcome")
    }
    for number, (listener, start, listens) in enumerate(sessions):
        for position, (track, outcome) in enumerate(listens):
            time = None if start is None else (start + position) * MINUTE
            values = (listener, number, position, track, time, outcome)
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
    listens_table = {**rows, "plays": [1] * len(rows["track"])}
    return write_dataset(path, [], [], plain_tracks(tracks), listens_table, simulated)


def plain(*tracks: int) -> list[Listen]:
    """Listens that finished; a negative number is a skip of that track."""
    return [(abs(t), FINISHED if t >= 0 else SKIPPED) for t in tracks]


def random_sessions(
    count: int = 300, listeners: int = 12, tracks: int = 40, seed: int = 0, timed: bool = True
) -> list[Session]:
    """Sessions of 3 to 12 listens in which each listener comes back to a few tracks."""
    rng = np.random.default_rng(seed)
    found: list[Session] = []
    for listener in np.sort(rng.integers(0, listeners, count)).tolist():
        own = np.random.default_rng(listener).permutation(tracks)
        weights = np.exp(-np.arange(tracks) / 4)
        drawn = rng.choice(own, int(rng.integers(3, 13)), p=weights / weights.sum())
        skips = rng.random(len(drawn)) < 0.3
        start = int(rng.integers(0, 100_000)) if timed else None
        found.append(
            (
                listener,
                start,
                [(int(t), SKIPPED if s else FINISHED) for t, s in zip(drawn, skips, strict=True)],
            )
        )
    return sorted(found, key=lambda session: (session[0], session[1] or 0))
