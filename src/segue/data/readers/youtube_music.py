"""YouTube Music in Google Takeout: the plays in ``watch-history.json``, or in My Activity.

Sources: youtubemusic.py of listenbrainz-server's importers, and forms that other importers test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from segue.data.ingestion.contract import JSON_ERRORS, Reader, Reading, json_error, reason
from segue.data.ingestion.json_arrays import entries
from segue.data.ingestion.limits import Input
from segue.data.ingestion.plays import Dropped, TimedPlay, checked_time, named_track, read_plays
from segue.data.ingestion.timestamps import iso_time
from segue.data.outcomes import NextPlayRule

_FILE = re.compile(
    r"(?:watch-history|MyActivity|Wiedergabeverlauf)[^/]*\.json(?:\.(?:gz|bz2|zst))?$",
    re.IGNORECASE,
)
_HEADER = "YouTube Music"
_BEFORE = ("Watched ", "Has visto ", "Vous avez regardé ", "Hai guardato ")
_AFTER = (" angesehen",)
_TOPIC = " - Topic"
_VIDEO = re.compile(r"[?&]v=([A-Za-z0-9_-]{6,20})(?:&|$)")
_REMOVED = ("a video that has been removed", "a private video")


class _Name(Struct):
    name: str | None = None


class _Activity(Struct):
    header: str | None = None
    title: str | None = None
    url: str | None = msgspec.field(default=None, name="titleUrl")
    subtitles: list[_Name] | None = None
    time: str | None = None
    details: list[_Name] | None = None


_activity = msgspec.json.Decoder(_Activity)


def _title(text: str, reading: Reading) -> str:
    """The title without "Watched", in the languages whose word is known."""
    text = text.strip().replace("\N{NO-BREAK SPACE}", " ")
    for word in _BEFORE:
        if text.startswith(word):
            return text.removeprefix(word)
    for word in _AFTER:
        if text.endswith(word):
            return text.removesuffix(word)
    reading.note("titles kept whole, in a language whose word for watched is not known")
    return text


def _play(entry: bytes, reading: Reading) -> TimedPlay:
    row = _activity.decode(entry)
    if row.header != _HEADER:
        raise Dropped(f"not {_HEADER}")
    if any((detail.name or "").startswith("From Google Ads") for detail in row.details or []):
        raise Dropped("advertisement")
    artist = next((one.name for one in row.subtitles or [] if one.name), None)
    if not artist:
        raise Dropped("no artist")
    time = iso_time(row.time)
    if time is None:
        raise Dropped("no time")
    title = _title(row.title or "", reading) if row.title else ""
    if title in _REMOVED or title.startswith(("https://", "http://")):
        raise Dropped("no title")
    track = named_track(artist.removesuffix(_TOPIC), title)
    if video := _VIDEO.search(row.url or ""):
        track = track._replace(uri=f"https://music.youtube.com/watch?v={video[1]}")
    return TimedPlay(track, checked_time(time))


def _plays(source: Input, reading: Reading) -> Iterator[TimedPlay]:
    for entry in entries(source, reading.tick):
        try:
            yield _play(entry, reading)
        except Dropped as dropped:
            reading.receipt.drop(str(dropped))
        except msgspec.ValidationError:
            reading.receipt.drop(reason(entry, _Activity))
        except JSON_ERRORS as error:
            raise json_error(error, source, entry, _Activity) from error


def _read(sources: list[Input], reading: Reading) -> None:
    read_plays(sources, reading, lambda source: _plays(source, reading), newest_first=True)


READER = Reader(
    description="YouTube Music of Google Takeout: the zip, its folder, or watch-history.json",
    files="YouTube histories as JSON (watch-history.json, MyActivity.json)",
    unit="plays",
    wanted=lambda path: _FILE.match(path.rpartition("/")[2]) is not None,
    read=_read,
    Settings=NextPlayRule,
)
