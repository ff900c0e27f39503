"""Playlists from files that hold one each: gathered, then written together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from segue.data.ingestion.contract import Reading
from segue.data.ingestion.limits import Input

_FLUSH_TRACKS = 100_000


class TrackRow(NamedTuple):
    """Columns of the table tracks, in order."""

    uri: str
    title: str | None = None
    artist: str | None = None
    artist_uri: str | None = None
    album: str | None = None
    album_uri: str | None = None
    duration_ms: int | None = None
    recording: str | None = None


def name_uri(artist: str, title: str) -> str:
    """The uri of a track that is known by its names alone: ``name:artist/title``, lower case."""

    def plain(text: str) -> str:
        return " ".join(unicodedata.normalize("NFC", text).casefold().split())

    return f"name:{plain(artist)}/{plain(title)}"


def ending(*suffixes: str) -> Callable[[str], bool]:
    """Whether a path ends in one of these suffixes, packed or not."""
    pattern = re.compile(rf"\.(?:{'|'.join(suffixes)})(?:\.gz|\.bz2|\.zst)?$", re.IGNORECASE)
    return lambda path: pattern.search(path) is not None


def stem(source: Input) -> str:
    """Name of a playlist file without folder and suffixes."""
    name = re.sub(r"\.(?:gz|bz2|zst)$", "", source.name.rpartition("/")[2], flags=re.IGNORECASE)
    return name.rpartition(".")[0] or name


class IngestedPlaylists:
    """Gathers the playlists of many files, and writes them a hundred thousand tracks at a time.

    Args:
        reading: the ingest; its receipt counts tracks.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._uris: list[str] = []
        self._titles: list[str | None] = []
        self._descriptions: list[str | None] = []
        self._lengths: list[int] = []
        self._tracks: list[TrackRow] = []

    def add(
        self, uri: str, title: str | None, description: str | None, tracks: list[TrackRow]
    ) -> None:
        """Take one playlist; one without tracks is only noted."""
        self._reading.receipt.keep(len(tracks))
        note = "playlists" if tracks else "playlists without tracks"
        self._reading.note(note)
        if not tracks:
            return
        self._uris.append(uri)
        self._titles.append(title)
        self._descriptions.append(description)
        self._lengths.append(len(tracks))
        self._tracks += tracks
        if len(self._tracks) >= _FLUSH_TRACKS:
            self.flush()

    def flush(self) -> None:
        """Write what is gathered. Call at the end."""
        if not self._uris:
            return
        tracks = self._tracks
        ids = self._reading.writer.track_ids([t.uri for t in tracks], lambda i: tracks[i][1:])
        self._reading.writer.add_playlists(
            {"uri": self._uris, "title": self._titles, "description": self._descriptions},
            self._lengths,
            ids,
        )
        self._uris, self._titles, self._descriptions = [], [], []
        self._lengths, self._tracks = [], []
