"""Libraries of players: tracks with how often they were played, and playlists of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segue.data.ingestion.contract import Reading
from segue.data.ingestion.limits import Input
from segue.data.ingestion.paths import UnusablePath, track_uri
from segue.data.ingestion.playlists import TrackRow, name_uri
from segue.data.ingestion.plays import Dropped, length_ms, owner
from segue.data.ingestion.table_rows import write_listens
from segue.data.schema import Outcome

_BATCH = 1 << 14
_COUNT = re.compile("[0-9]{1,9}")


def count(text: str | None) -> int:
    """A count that a library holds; 0 where it is none."""
    return int(text) if text and _COUNT.fullmatch(text.strip()) else 0


def library_track(
    source: Input,
    location: str | None,
    artist: str | None,
    title: str | None,
    *,
    album: str | None = None,
    duration_ms: float | None = None,
) -> TrackRow:
    """A track by its file, where that lies in the source folder, else by its names.

    Args:
        source: the library.
        location: file URL, or path that is not percent-encoded.
        artist, title, album: names; blanks around them do not count.
        duration_ms: left out where no track has such a length.

    Raises:
        Dropped: neither tells which track it is.
    """
    artist, title, album = ((text or "").strip() or None for text in (artist, title, album))
    try:
        uri = track_uri(source, location or "", quoted=False)
    except UnusablePath:
        if not artist or not title:
            raise Dropped("no file in the source folder, and not both artist and title") from None
        uri = name_uri(artist, title)
    return TrackRow(uri, title, artist, album=album, duration_ms=length_ms(duration_ms))


class _Counted(NamedTuple):
    """A track with how often a listener played and skipped it."""

    listener: Path
    track: TrackRow
    plays: int
    skips: int


class PlayerLibrary:
    """Takes the tracks and playlists of libraries, and writes them at the end.

    The receipt of the reading counts tracks; what is left out of playlists is noted.

    Args:
        reading: the ingest.
        played: outcome of the plays that a track was counted.
    """

    def __init__(self, reading: Reading, played: Outcome) -> None:
        self._reading = reading
        self._played = played
        self._keys: dict[str, int] = {}
        self._pending: dict[str, _Counted] = {}
        self._counts: dict[Path, dict[int, tuple[int, int]]] = {}

    def start(self) -> None:
        """Begin the next file: its tracks have keys of their own."""
        self._settle()
        self._keys = {}

    def add(self, source: Input, key: str, track: TrackRow, plays: int, skips: int = 0) -> None:
        """Take a track.

        Args:
            source: the library.
            key: what its playlists call the track.
            track: the track.
            plays, skips: how often it was played and skipped.

        Raises:
            Dropped: the file has had this key.
        """
        if key in self._keys or key in self._pending:
            raise Dropped("track seen before")
        self._pending[key] = _Counted(owner(source), track, plays, skips)
        self._reading.receipt.keep()
        if len(self._pending) >= _BATCH:
            self._settle()

    def _settle(self) -> None:
        """Put the tracks that wait into the catalog."""
        rows = list(self._pending.values())
        uris = [row.track.uri for row in rows]
        numbers = self._reading.writer.track_ids(uris, lambda place: rows[place].track[1:])
        self._keys.update(zip(self._pending, numbers, strict=True))
        for row, number in zip(rows, numbers, strict=True):
            if row.plays or row.skips:
                counts = self._counts.setdefault(row.listener, {})
                plays, skips = counts.get(number, (0, 0))
                counts[number] = (plays + row.plays, skips + row.skips)
        self._pending = {}

    def add_playlist(self, source: Input, path: Sequence[str], keys: Sequence[str]) -> None:
        """Take a playlist: the names of the folders around it and its own, and its tracks."""
        self._settle()
        numbers = [self._keys[key] for key in keys if key in self._keys]
        if len(numbers) < len(keys):
            self._reading.note("entries of playlists, of no track kept", len(keys) - len(numbers))
        self._reading.note("playlists" if numbers else "playlists without tracks")
        if numbers:
            uri = "/".join([source.name, *path])
            columns = {"uri": [uri], "title": [path[-1] or None]}
            self._reading.writer.add_playlists(columns, [len(numbers)], np.array(numbers, np.int32))

    def write(self) -> None:
        """Write who played what. Call at the end."""
        self._settle()
        if not self._counts:
            return
        listener, track, plays, outcome = [], [], [], []
        for number, counts in enumerate(self._counts.values()):
            for row, both in counts.items():
                for times, kind in zip(both, (self._played, Outcome.SKIPPED), strict=True):
                    if times:
                        listener.append(number)
                        track.append(row)
                        plays.append(min(times, 2**31 - 1))
                        outcome.append(int(kind))
        columns = {
            "listener": np.array(listener, np.int32),
            "track": np.array(track, np.int32),
            "plays": np.array(plays, np.int32),
            "outcome": np.array(outcome, np.int8),
        }
        write_listens(self._reading.writer, columns)
        uris = [f"listener:{number + 1}" for number in range(len(self._counts))]
        self._reading.writer.add("listeners", {"uri": uris})
