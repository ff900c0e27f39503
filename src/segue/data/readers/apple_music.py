"""Apple Music in a copy of one's data: Play Activity, with the files that know artists.

Play Activity has had no artists for years: they are looked up by title and album in ``Apple Music
Library Tracks.json``, else by title in ``Apple Music - Play History Daily Tracks.csv``. The reasons
why plays end are those of MusicKit's ``PlayActivityEndReasonType``. Who listens where (Apple ID,
address, place, device) is never kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from msgspec import Struct

from segue.data.ingestion.contract import JSON_ERRORS, Reader, Reading, json_error
from segue.data.ingestion.json_arrays import entries
from segue.data.ingestion.limits import Input
from segue.data.ingestion.playlists import TrackRow, name_uri
from segue.data.ingestion.plays import (
    Dropped,
    TimedPlay,
    checked_time,
    length_ms,
    named_track,
    read_plays,
)
from segue.data.ingestion.streams import ignore, opened
from segue.data.ingestion.text_lines import BrokenLine, cells, lines
from segue.data.ingestion.timestamps import iso_time
from segue.data.outcomes import AppleMusicRule
from segue.data.schema import Flag
from segue.errors import DataError

_FILE = re.compile(
    r"(?:apple music[ -]*)?(?:play activity|library tracks|play history daily tracks)"
    r"[^/]*\.(?:csv|json)(?:\.(?:gz|bz2|zst))?$",
    re.IGNORECASE,
)
_TITLES = ("Song Name", "Content Name")
_STARTS, _ENDS = "Event Start Timestamp", "Event End Timestamp"
_PLAYED, _LENGTH = "Play Duration Milliseconds", "Media Duration In Milliseconds"
_DESCRIPTION = "Track Description"
_OFFLINE = ("Offline", "Is Offline")
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_LONGEST_MS = 86_400_000
"""Longer plays are mistakes of the player: it is not known how long they were."""


class _Track(Struct):
    """A track of the library."""

    title: str | None = msgspec.field(default=None, name="Title")
    artist: str | None = msgspec.field(default=None, name="Artist")
    album: str | None = msgspec.field(default=None, name="Album")


_track = msgspec.json.Decoder(_Track)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


@dataclass
class _Artists:
    """Artists of tracks, by title and album and by title alone; None where there are several."""

    by_album: dict[tuple[str, str], str | None] = field(default_factory=dict)
    by_title: dict[str, str | None] = field(default_factory=dict)

    def know(self, artist: str | None, title: str | None, album: str | None = None) -> None:
        """Take in a track."""
        artist, title = (artist or "").strip(), _plain(title or "")
        if not artist or not title:
            return
        if self.by_title.setdefault(title, artist) != artist:
            self.by_title[title] = None
        if album:
            key = (title, _plain(album))
            if self.by_album.setdefault(key, artist) != artist:
                self.by_album[key] = None

    def of(self, title: str, album: str | None) -> str | None:
        """The only artist that a track can be of."""
        title = _plain(title)
        return self.by_album.get((title, _plain(album or ""))) or self.by_title.get(title)


def _is_library(source: Input) -> bool:
    with opened(source) as stream:
        return (stream.read(4096) or b"").removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


class _Header(NamedTuple):
    """Of a table."""

    places: dict[str, int]
    """Place of each column, by name."""
    columns: int

    @property
    def is_daily(self) -> bool:
        """Whether the table is of daily tracks, not of plays."""
        return _DESCRIPTION in self.places and not any(name in self.places for name in _TITLES)


def _header(source: Input) -> _Header:
    """The header of a table of plays or of daily tracks.

    Raises:
        DataError: it is neither of plays nor of daily tracks.
    """
    rows = lines(source, ignore)
    try:
        names = [name.strip() for name in cells(next(rows, ""))]
    except BrokenLine:
        names = []
    finally:
        rows.close()
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        places.setdefault(name, place)
    timed = _STARTS in places or _ENDS in places
    if _DESCRIPTION not in places and not (timed and any(name in places for name in _TITLES)):
        raise DataError(
            f"has no columns {_TITLES[0]} and {_STARTS}, nor {_DESCRIPTION}",
            where=source,
            do="check that it is of this format",
        )
    return _Header(places, len(names))


def _read_library(source: Input, reading: Reading, artists: _Artists) -> None:
    for entry in entries(source, reading.tick):
        try:
            row = _track.decode(entry)
        except msgspec.ValidationError:
            reading.note("tracks of the library that cannot be read")
            continue
        except JSON_ERRORS as error:
            raise json_error(error, source, entry, _Track) from error
        artists.know(row.artist, row.title, row.album)


def _rows(source: Input, reading: Reading, columns: int) -> Iterator[list[str] | Dropped]:
    """Rows below the header; what is none is given as the reason."""
    for number, line in enumerate(lines(source, reading.tick)):
        if number == 0 or not line.strip():
            continue
        try:
            row = cells(line)
            yield row if len(row) == columns else Dropped("wrong number of columns")
        except BrokenLine as broken:
            yield Dropped(str(broken))


def _read_daily(source: Input, reading: Reading, header: _Header, artists: _Artists) -> None:
    for row in _rows(source, reading, header.columns):
        if isinstance(row, Dropped):
            reading.note(f"{row} in daily tracks")
            continue
        artist, dash, title = row[header.places[_DESCRIPTION]].partition(" - ")
        if dash:
            artists.know(artist, title)


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


@dataclass
class _Activity:
    """Reads the rows of a file of plays."""

    header: _Header
    artists: _Artists
    reading: Reading

    def _text(self, row: Sequence[str], *names: str) -> str:
        places = self.header.places
        values = (row[places[name]].strip() for name in names if name in places)
        return next((value for value in values if value), "")

    def play(self, row: Sequence[str]) -> TimedPlay:
        """The play of a row.

        Raises:
            Dropped: there is none.
        """
        if self._text(row, "Event Type") not in ("", "PLAY_END"):
            raise Dropped("not the end of a play")
        if "VIDEO" in self._text(row, "Media Type").upper():
            raise Dropped("video")
        played = _number(self._text(row, _PLAYED))
        ms = round(played) if played is not None and played <= _LONGEST_MS else -1
        flag = Flag.OFFLINE if self._text(row, *_OFFLINE).upper() == "TRUE" else Flag(0)
        track = self._track(row)
        time = iso_time(self._text(row, _STARTS))
        if time is None:
            end = iso_time(self._text(row, _ENDS))
            if end is None:
                raise Dropped("no time")
            time = end - max(ms, 0)
        reason = self._text(row, "End Reason Type") or None
        return TimedPlay(track, checked_time(time), ms, reason, int(flag))

    def _track(self, row: Sequence[str]) -> TrackRow:
        title, album = self._text(row, *_TITLES), self._text(row, "Album Name") or None
        if not title:
            raise Dropped("no title")
        artist = self._text(row, "Artist Name") or self.artists.of(title, album)
        length = _number(self._text(row, _LENGTH))
        if artist:
            return named_track(artist, title, album=album, duration_ms=length)
        if not album:
            raise Dropped("no artist, and no album")
        self.reading.note("plays whose artist no file tells")
        uri = "apple-music:" + name_uri(album, title).removeprefix("name:")
        return TrackRow(uri, title, album=album, duration_ms=length_ms(length))


def _plays(source: Input, activity: _Activity) -> Iterator[TimedPlay]:
    for row in _rows(source, activity.reading, activity.header.columns):
        try:
            if isinstance(row, Dropped):
                raise row
            yield activity.play(row)
        except Dropped as dropped:
            activity.reading.receipt.drop(str(dropped))


def _read(sources: list[Input], reading: Reading) -> None:
    artists = _Artists()
    tables = [source for source in sources if not _is_library(source)]
    headers = {source: _header(source) for source in tables}
    for source in sources:
        if source not in headers:
            _read_library(source, reading, artists)
        elif headers[source].is_daily:
            _read_daily(source, reading, headers[source], artists)
    plays = [source for source in tables if not headers[source].is_daily]
    read_plays(
        plays,
        reading,
        lambda source: _plays(source, _Activity(headers[source], artists, reading)),
        ["ms_played", "reason_end", "flags"],
    )


READER = Reader(
    description="Apple Music Play Activity.csv, with the files beside it that know artists",
    files="Apple Music activity (Apple Music Play Activity.csv)",
    unit="plays",
    wanted=lambda path: _FILE.search(path.rpartition("/")[2]) is not None,
    read=_read,
    Settings=AppleMusicRule,
)
