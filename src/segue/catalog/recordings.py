"""Recordings: tracks under several uris."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from segue.catalog.catalog import Catalog
from segue.numeric.arrays import Int32

SAME_DURATION_MS = 3000
"""Maximum difference in length between two tracks of one recording."""


class Recordings:
    """Finds tracks of a catalog that are one recording under several uris.

    Two tracks are one recording if both have the same `recording` id, or if title and artist are
    the same (`comparable`, without notes on guests or a remaster) and their lengths differ by at
    most `SAME_DURATION_MS`. "Live", "remix" or "acoustic" tell two recordings apart. With a missing
    artist or length they count as two.

    Args:
        catalog: catalog of the tracks.
        history: tracks whose recordings count as seen.
    """

    def __init__(self, catalog: Catalog, history: Iterable[int] = ()) -> None:
        self._catalog = catalog
        self._ids: set[str] = set()
        self._lengths: dict[int, list[int]] = {}
        self.first_of_each(np.fromiter(history, np.int32))

    def first_of_each(self, tracks: Int32) -> npt.NDArray[np.int64]:
        """Positions in `tracks` of recordings not seen before; they count as seen from now on."""
        table = self._catalog.table.select(["duration_ms", "recording"]).take(tracks)
        songs = self._catalog.song_keys(tracks).tolist()
        rows = zip(songs, *(column.to_pylist() for column in table.columns), strict=True)
        return np.array([i for i, row in enumerate(rows) if self._add(*row)], np.int64)

    def _add(self, song: int, duration_ms: int | None, recording: str | None) -> bool:
        """Whether the recording is new; it counts as seen from now on."""
        if recording and recording in self._ids:
            return False
        if song and duration_ms is not None:
            lengths = self._lengths.setdefault(song, [])
            if any(abs(duration_ms - length) <= SAME_DURATION_MS for length in lengths):
                return False
            lengths.append(duration_ms)
        if recording:
            self._ids.add(recording)
        return True
