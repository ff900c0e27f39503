"""Checks of values that a feedback log stores, in SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from segue.data.feedback.sessions import PLAYED, STANDING
from segue.data.schema import TABLES
from segue.errors import UsageError
from segue.service.storage.types import Event

MAX_URI_BYTES = 2000
"""Limit in UTF-8: an index entry of PostgreSQL has 2,700 bytes for listener, session and uri."""
MAX_NAME_BYTES = 250
"""Limit of a listener, a session or a key."""
_MAX_INT = 2**31 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = TABLES["tracks"].names


def checked_text(value: Any, where: str, *, longest: int | None = MAX_URI_BYTES) -> str:
    """Check a text that both databases must hold unchanged.

    Args:
        longest: limit in bytes of UTF-8.

    Raises:
        UsageError: it has a NUL or half of a surrogate pair, or is too long.
    """
    if not isinstance(value, str):
        raise UsageError(f"is {type(value).__name__}, not text", where=where)
    if "\0" in value:
        raise UsageError("has a NUL character", where=where, do="leave it out")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise UsageError(
            "has half of a surrogate pair, which is no character", where=where, do="leave it out"
        ) from error
    if longest is not None and size > longest:
        raise UsageError(f"has {size} bytes, the limit is {longest}", where=where, do="shorten it")
    return value


def checked_name(value: Any, where: str) -> str:
    """Check the name of a listener, session or key. Raises UsageError."""
    return checked_text(value, where, longest=MAX_NAME_BYTES)


def _checked_number(value: Any, where: str) -> int | None:
    if value is None or (isinstance(value, int) and 0 <= value <= _MAX_INT):
        return value
    raise UsageError(f"is {value!r}, not a number from 0 to {_MAX_INT}", where=where)


def checked_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table tracks with every column.

    Raises:
        UsageError: no uri, another column, or a wrong value.
    """
    if other := sorted(set(row) - set(_NAMES)):
        raise UsageError(f"tracks have no column {other[0]!r}", where="tracks")
    checked: dict[str, Any] = {"uri": checked_text(row.get("uri"), "tracks.uri")}
    for name in _NAMES[1:]:
        value, where = row.get(name), f"tracks.{name}"
        if name == "duration_ms":
            value = _checked_number(value, where)
        elif value is not None:
            value = checked_text(value, where, longest=None)
        checked[name] = value
    return checked


def checked_event(event: Event, where: str, now: int) -> dict[str, Any]:
    """The columns of an event, without those of its request.

    Args:
        where: path of the event in the request.
        now: time of arrival in milliseconds since 1970.

    Raises:
        UsageError: unknown kind, no track or artist, or a field that the kind lacks.
    """
    about_artist = event.artist is not None
    if event.kind not in (*PLAYED, *STANDING):
        raise UsageError(f"is {event.kind!r}", where=f"{where}.kind")
    if (event.track is None) != about_artist:
        raise UsageError("needs a track or an artist, and not both", where=where)
    if about_artist and event.kind not in ("ban", "unban"):
        raise UsageError(f"is of no {event.kind}", where=f"{where}.artist", do="name a track")
    if event.outcome is not None and event.kind != "play":
        raise UsageError(f"is of no {event.kind}", where=f"{where}.outcome", do="leave it out")
    if event.outcome not in (None, "finished", "partial"):
        raise UsageError(f"is {event.outcome!r}", where=f"{where}.outcome")
    for name in ("track", "artist"):
        if (value := getattr(event, name)) is not None:
            checked_text(value, f"{where}.{name}")
    if event.at is not None and event.at.tzinfo is None:
        raise UsageError("has no time zone", where=f"{where}.at", do="give UTC")
    return {
        "kind": event.kind,
        "track": event.track,
        "artist": event.artist,
        "outcome": event.outcome,
        "ms_played": _checked_number(event.ms_played, f"{where}.ms_played"),
        "at": now if event.at is None else (event.at - _EPOCH) // timedelta(milliseconds=1),
    }
