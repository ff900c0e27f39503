"""M3U and M3U8: one track a line, with comments that describe it."""

from __future__ import annotations

import codecs
import os
import re
from dataclasses import dataclass
from urllib.parse import unquote

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.limits import Input
from segue.data.ingestion.paths import UnusablePath, track_uri
from segue.data.ingestion.playlists import IngestedPlaylists, TrackRow, ending, stem
from segue.data.ingestion.streams import read
from segue.errors import DataError

_LINE = re.compile(r"\r\n|\r|\n")
_SECONDS = re.compile(r"\d{1,10}(?:\.\d{1,10})?")
_EXTINF = re.compile(r'([^\s,]*(?:\s+[\w-]+=(?:"[^"]*"|[^\s,"]*))*)\s*,(.*)')
"""Length with attributes, whose quoted values may hold commas; and names."""
_SEGMENTS = "#EXT-X-"
"""Begins lines of HTTP Live Streaming: the entries are pieces of one sound."""
_LIST = re.compile(r"\.(?:m3u8?|pls|xspf|asx|wpl)(?:\?.*)?$", re.IGNORECASE)
_LONGEST_SECONDS = 2**31 / 1000


@dataclass
class _Described:
    """What the comments above a track say about it."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    duration_ms: int | None = None

    def comment(self, line: str) -> None:
        """Take in a comment line."""
        word, _, value = line.partition(":")
        value = value.strip()
        if word.upper() == "#EXTALB":
            self.album = value or None
        elif word.upper() == "#EXTART":
            self.artist = value or None
        elif word.upper() == "#EXTINF" and "," in value:
            parts = _EXTINF.fullmatch(value)
            length, names = parts.groups() if parts else value.split(",", 1)
            artist, dash, title = names.strip().partition(" - ")
            if dash:
                self.artist, self.title = artist.strip() or self.artist, title.strip() or None
            else:
                self.title = artist or None
            found = _SECONDS.match(length)  # beyond it stand attributes; below 0 is unknown
            if found and 0 < float(found[0]) < _LONGEST_SECONDS:
                self.duration_ms = round(float(found[0]) * 1000)


def _text(source: Input, reading: Reading) -> str:
    """The text of a file in whatever it is encoded."""
    content = read(source, reading.tick)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        reading.note("files read as Windows-1252")
        try:
            return content.decode("cp1252")
        except UnicodeDecodeError:  # five bytes of it mean nothing
            return content.decode("latin-1")


def _decoded(source: Input, line: str) -> str:
    """A path as the file is called: percent-encoded only where no file is called so."""
    path = unquote(line)
    if path == line or source.member is not None or "://" in line:
        return line
    folder = source.path.parent
    encoded, decoded = (folder / name.replace("\\", "/") for name in (line, path))
    return path if os.path.exists(decoded) and not os.path.exists(encoded) else line


def _playlist(source: Input, reading: Reading) -> tuple[str, list[TrackRow]]:
    """Title and tracks of one file."""
    text = _text(source, reading)
    if "\0" in text:
        raise DataError("is not text", where=source, do="check that it is of this format")
    if text.lstrip()[:1] in ("<", "{", "["):
        raise DataError(
            "is not M3U: it looks like XML or JSON", where=source, do="try xspf or jspf"
        )
    title = stem(source)
    lines = [line.strip() for line in _LINE.split(text)]
    segments = any(line.upper().startswith(_SEGMENTS) for line in lines)
    tracks = []
    described = _Described()
    for line in lines:
        if line.startswith("#"):
            if line.upper().startswith("#PLAYLIST:"):
                title = line.partition(":")[2].strip() or title
            described.comment(line)
        elif line:
            try:
                if segments:
                    raise UnusablePath("segment of a stream")
                if _LIST.search(line):
                    raise UnusablePath("another playlist")
                uri = track_uri(source, _decoded(source, line), quoted=False)
            except UnusablePath as refused:
                reading.receipt.drop(str(refused))
            else:
                d = described
                tracks.append(
                    TrackRow(uri, d.title, d.artist, album=d.album, duration_ms=d.duration_ms)
                )
            described = _Described()
    return title, tracks


def _read(sources: list[Input], reading: Reading) -> None:
    playlists = IngestedPlaylists(reading)
    for source in sources:
        title, tracks = _playlist(source, reading)
        playlists.add(source.name, title, None, tracks)
    playlists.flush()


READER = Reader(
    description="M3U and M3U8 playlists: a folder with all below it, files or a zip",
    files="M3U files (*.m3u, *.m3u8)",
    unit="tracks",
    wanted=ending("m3u", "m3u8"),
    read=_read,
)
