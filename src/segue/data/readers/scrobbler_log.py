"""``.scrobbler.log`` of Rockbox and other players: the one log of scrobbles that has skips.

Source: Portable Player Logging, 1.0 and 1.1 (``#AUDIOSCROBBLER/1.1``), of Audioscrobbler.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.limits import Input
from segue.data.ingestion.plays import Dropped, TimedPlay, checked_time, named_track, read_plays
from segue.data.ingestion.text_lines import lines
from segue.data.outcomes import ScrobblerLogRule
from segue.data.schema import Flag

_COLUMNS = (7, 8)
"""Artist, album, title, number on the album, seconds, rating, time; from 1.1 on the recording."""
_FILE = re.compile(r"\.?scrobbler[^/]*\.log(?:\.(?:gz|bz2|zst))?$", re.IGNORECASE)
_RATINGS = {"L": Flag.SAID_NOT_SKIPPED, "S": Flag.SAID_SKIPPED}
_UNTAGGED = "<Untagged>"


def _play(line: str) -> TimedPlay:
    row = line.split("\t")
    if len(row) not in _COLUMNS:
        raise Dropped("wrong number of columns")
    artist, album, title, _, seconds, rating, time = row[:7]
    if _UNTAGGED in (artist, title):
        raise Dropped("untagged")
    flag = _RATINGS.get(rating.strip().upper())
    if flag is None:
        raise Dropped("rating is not L or S")
    if not re.fullmatch(r"\s*[0-9]{1,18}\s*", time):
        raise Dropped("no time")
    if int(time) == 0:
        raise Dropped("no time (a player without a clock)")
    track = named_track(
        artist,
        title,
        album=None if album == _UNTAGGED else album,
        duration_ms=int(seconds) * 1000 if re.fullmatch("[0-9]{1,7}", seconds.strip()) else None,
        recording=row[7] if len(row) > 7 else None,
    )
    return TimedPlay(track, checked_time(int(time) * 1000), flags=int(flag))


def _is_comment(line: str) -> bool:
    """Whether a line is none of a play; the names of artists may begin with # as comments do."""
    row = line.split("\t")
    return line.startswith("#") and (len(row) not in _COLUMNS or row[1].startswith("#"))


def _plays(source: Input, reading: Reading) -> Iterator[TimedPlay]:
    zone = None
    for line in lines(source, reading.tick):
        if _is_comment(line):
            if line.upper().startswith("#TZ/"):
                zone = line[4:].strip().upper()
        elif line.strip():
            try:
                yield _play(line)
            except Dropped as dropped:
                reading.receipt.drop(str(dropped))
    if zone != "UTC":
        reading.note("files of an unknown time zone, read as UTC")


def _read(sources: list[Input], reading: Reading) -> None:
    read_plays(sources, reading, lambda source: _plays(source, reading), ["flags"])


READER = Reader(
    description="Scrobbler log of Rockbox and other players (.scrobbler.log), with its skips",
    files="scrobbler logs (.scrobbler.log)",
    unit="plays",
    wanted=lambda path: _FILE.match(path.rpartition("/")[2]) is not None,
    read=_read,
    Settings=ScrobblerLogRule,
)
