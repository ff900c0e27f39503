"""Tidal in a copy of one's data: ``streaming.csv``.

Source: tidal.py of listenbrainz-server's importers. Any preamble may stand before the header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.limits import Input
from segue.data.ingestion.plays import Dropped, TimedPlay, checked_time, named_track, read_plays
from segue.data.ingestion.text_lines import BrokenLine, cells, lines
from segue.data.outcomes import ScrobbleRule
from segue.errors import DataError

_FILE = re.compile(r"streaming[^/]*\.csv(?:\.(?:gz|bz2|zst))?$", re.IGNORECASE)
_ARTIST, _TITLE, _DATE, _ZONE = "artist_name", "track_title", "entry_date", "time_zone"
_TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2})(?::(\d{2}))?")


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo | None:
    if name.lower() in ("", "null", "utc"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def _time(date: str, zone: str, reading: Reading) -> int:
    parts = _TIME.fullmatch(date.strip())
    if parts is None:
        raise Dropped("no time")
    day, month, year, hour, minute, second = (int(part or 0) for part in parts.groups())
    place = _zone(zone.strip())
    if place is None:
        reading.note("plays in an unknown time zone, read as UTC")
    try:
        when = datetime(year, month, day, hour, minute, second, tzinfo=place or UTC)
        return checked_time(when.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Dropped("no time") from None


def _play(line: str, header: list[str], reading: Reading) -> TimedPlay:
    row = cells(line)
    if len(row) != len(header):
        raise Dropped("wrong number of columns")
    values = dict(zip(header, row, strict=True))
    track = named_track(values[_ARTIST], values[_TITLE])
    return TimedPlay(track, _time(values[_DATE], values.get(_ZONE, ""), reading))


def _header(line: str) -> list[str] | None:
    """Names of the columns, if a line has them."""
    try:
        names = [name.strip() for name in cells(line)]
    except BrokenLine:
        return None
    return names if {_ARTIST, _TITLE, _DATE} <= set(names) else None


def _plays(source: Input, reading: Reading) -> Iterator[TimedPlay]:
    header = None
    for line in lines(source, reading.tick):
        if header is None:
            header = _header(line)
        elif line.strip():
            try:
                yield _play(line, header, reading)
            except (Dropped, BrokenLine) as dropped:
                reading.receipt.drop(str(dropped))
    if header is None:
        raise DataError(
            f"has no header with {_ARTIST}, {_TITLE} and {_DATE}",
            where=source,
            do="check that it is of this format",
        )


def _read(sources: list[Input], reading: Reading) -> None:
    read_plays(sources, reading, lambda source: _plays(source, reading))


READER = Reader(
    description="Tidal streaming.csv, of a copy of one's data",
    files="Tidal histories (streaming.csv)",
    unit="plays",
    wanted=lambda path: _FILE.match(path.rpartition("/")[2]) is not None,
    read=_read,
    Settings=ScrobbleRule,
)
