"""Scrobbles as the common tools save them: CSV with or without a header, JSON, and JSON lines.

Sources: importers of listenbrainz-server (librefm.py, maloja.py, panoscrobbler.py), the tables of
lastfm-to-csv (no header), of lastfm.ghan.nl and of lastfmstats.com.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from segue.data.ingestion.contract import JSON_ERRORS, Reader, Reading, json_error, reason
from segue.data.ingestion.json_arrays import entries
from segue.data.ingestion.limits import Input
from segue.data.ingestion.playlists import ending
from segue.data.ingestion.plays import Dropped, TimedPlay, checked_time, named_track, read_plays
from segue.data.ingestion.streams import opened, read
from segue.data.ingestion.text_lines import BrokenLine, cells, lines
from segue.data.ingestion.timestamps import iso_time
from segue.data.outcomes import ScrobbleRule
from segue.errors import DataError

_COLUMNS = {
    "time": ("uts", "timems", "time", "timestamp", "date", "utc_time"),
    "artist": ("artist", "artist_name", "artist name"),
    "title": ("track", "title", "track_name", "track name", "song"),
    "album": ("album", "album_name", "album name"),
    "recording": ("track_mbid", "recording_mbid"),
    "artist_id": ("artist_mbid",),
    "duration_ms": ("durationms", "duration_ms"),
    "event": ("event",),
}
"""Names of the columns by role, those that are more exact first."""
_NO_HEADER = {"artist": 0, "album": 1, "title": 2, "time": 3}
_SNIFFED = 1 << 20
_FIRST_MS = 10**11
"""Numbers from here on are milliseconds since 1970, smaller ones seconds."""
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_DATE = re.compile(r"(\d{1,2}) ([A-Za-z]{3})[a-z]* (\d{4}),? (\d{1,2}):(\d{2})(?::(\d{2}))?")
_MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"
_SCROBBLES = ("", "scrobble")


def _time(value: float | str | None) -> int:
    """Milliseconds since 1970 of seconds or milliseconds, ISO 8601, or ``05 Apr 2010 11:59``."""
    if value is None or value == "":
        raise Dropped("no time")
    if isinstance(value, str):
        value = value.strip()
        if parts := _DATE.fullmatch(value):
            value = _dated(parts)
        elif _NUMBER.fullmatch(value):
            value = float(value)
        elif (ms := iso_time(value)) is not None:
            return checked_time(ms)
        else:
            raise Dropped("no time")
    return checked_time(value if value >= _FIRST_MS else value * 1000)


def _dated(parts: re.Match[str]) -> float:
    day, name, year, hour, minute, second = parts.groups()
    place = _MONTHS.find(name.lower())
    if place % 3:
        raise Dropped("no time")
    try:
        when = datetime(
            int(year), place // 3 + 1, int(day), int(hour), int(minute), int(second or 0)
        )
    except ValueError:
        raise Dropped("no time") from None
    return when.replace(tzinfo=UTC).timestamp()


# Tables


class _Table(NamedTuple):
    """How to read the rows of a table."""

    delimiter: str
    places: dict[str, int]
    """Place of the column of each role."""
    columns: int


def _places(names: list[str]) -> dict[str, int]:
    """Place of the column of each role, by its name; ``Date#somebody`` is a date."""
    plain = [name.partition("#")[0].strip().lower() for name in names]
    places = {}
    for role, known in _COLUMNS.items():
        for name in known:
            if name in plain and role not in places:
                places[role] = plain.index(name)
    return places


def _table(first: str, source: Input) -> tuple[_Table, bool]:
    """How to read a table by its first line, and whether that is a header."""
    for delimiter in (",", ";", "\t"):
        try:
            names = cells(first, delimiter)
        except BrokenLine:
            continue
        places = _places(names)
        if {"time", "artist", "title"} <= set(places):
            return _Table(delimiter, places, len(names)), True
        if len(names) == len(_NO_HEADER):
            try:
                _time(names[_NO_HEADER["time"]])
            except Dropped:
                continue
            return _Table(delimiter, _NO_HEADER, len(names)), False
    raise DataError(
        "has no columns of time, artist and track",
        where=source,
        do="check that it is of this format, or use csv and map its columns",
    )


def _row(line: str, table: _Table) -> TimedPlay:
    row = cells(line, table.delimiter)
    if len(row) != table.columns:
        raise Dropped("wrong number of columns")

    def value(role: str) -> str | None:
        return row[table.places[role]].strip() or None if role in table.places else None

    if (value("event") or "").lower() not in _SCROBBLES:
        raise Dropped("not a scrobble")
    length = value("duration_ms")
    track = named_track(
        value("artist"),
        value("title"),
        album=value("album"),
        duration_ms=float(length) if length and _NUMBER.fullmatch(length) else None,
        recording=value("recording"),
        artist_id=value("artist_id"),
    )
    return TimedPlay(track, _time(value("time")))


def _rows(source: Input, reading: Reading) -> Iterator[TimedPlay]:
    table: _Table | None = None
    for line in lines(source, reading.tick):
        if not line.strip():
            continue
        if table is None:
            table, header = _table(line, source)
            if header:
                continue
        try:
            yield _row(line, table)
        except (Dropped, BrokenLine) as dropped:
            reading.receipt.drop(str(dropped))


# JSON


class _Album(Struct):
    albumtitle: str | None = None


class _Track(Struct):
    """A track of Maloja."""

    title: str | None = None
    artists: list[str] | None = None
    album: _Album | str | None = None
    length: float | None = None


class _Scrobble(Struct):
    """A scrobble of Maloja (time, track as a table), Pano Scrobbler (timeMs) or lastfmstats."""

    track: _Track | str | None = None
    time: float | str | None = None
    time_ms: float | None = msgspec.field(default=None, name="timeMs")
    date: float | str | None = None
    artist: str | None = None
    album: str | None = None
    length_ms: float | None = msgspec.field(default=None, name="durationMs")
    event: str | None = None


class _Document(Struct):
    scrobbles: list[Raw]


_scrobble = msgspec.json.Decoder(_Scrobble)


def _entry(entry: bytes | Raw) -> TimedPlay:
    row = _scrobble.decode(entry)
    if (row.event or "").lower() not in _SCROBBLES:
        raise Dropped("not a scrobble")
    times = (row.time_ms, row.time, row.date)
    time = next((time for time in times if time is not None), None)
    if isinstance(row.track, _Track):
        album = row.track.album
        track = named_track(
            ", ".join(row.track.artists or []),
            row.track.title,
            album=album.albumtitle if isinstance(album, _Album) else album,
            duration_ms=(row.track.length or 0) * 1000,
        )
    else:
        track = named_track(row.artist, row.track, album=row.album, duration_ms=row.length_ms)
    return TimedPlay(track, _time(time))


def _document(source: Input, reading: Reading) -> Iterator[Raw]:
    content = read(source, reading.tick)
    try:
        yield from msgspec.json.decode(
            content.removeprefix(b"\xef\xbb\xbf"), type=_Document
        ).scrobbles
    except JSON_ERRORS as error:
        raise json_error(error, source, content, _Document) from error


def _json_lines(source: Input, reading: Reading) -> Iterator[bytes]:
    for line in lines(source, reading.tick):
        if line.strip():
            yield line.encode()


def _entries(
    source: Input, reading: Reading, rows: Callable[[Input, Reading], Iterator[bytes | Raw]]
) -> Iterator[TimedPlay]:
    for entry in rows(source, reading):
        try:
            yield _entry(entry)
        except Dropped as dropped:
            reading.receipt.drop(str(dropped))
        except msgspec.ValidationError:
            reading.receipt.drop(reason(entry, _Scrobble))
        except JSON_ERRORS:
            reading.receipt.drop("not JSON")


def _list(source: Input, reading: Reading) -> Iterator[bytes]:
    return entries(source, reading.tick)


def _plays(source: Input, reading: Reading) -> Iterator[TimedPlay]:
    """Plays of a file in whichever form its beginning is."""
    with opened(source) as stream:
        start = (stream.read(_SNIFFED) or b"").removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return _entries(source, reading, _list)
    if not start.startswith(b"{"):
        return _rows(source, reading)
    try:
        first = msgspec.json.decode(start.partition(b"\n")[0])
    except JSON_ERRORS:  # goes on in the next line
        return _entries(source, reading, _document)
    return _entries(source, reading, _document if "scrobbles" in first else _json_lines)


def _read(sources: list[Input], reading: Reading) -> None:
    # Of the tools, those that know minutes only write the newest first.
    read_plays(sources, reading, lambda source: _plays(source, reading), newest_first=True)


READER = Reader(
    description="Scrobbles of Last.fm, Libre.fm, Maloja or Pano Scrobbler: CSV or JSON",
    files="scrobbles (*.csv, *.json, *.jsonl)",
    unit="scrobbles",
    wanted=ending("csv", "tsv", "json", "jsonl"),
    read=_read,
    Settings=ScrobbleRule,
)
