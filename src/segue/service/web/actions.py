"""What is done on a page: said into the log, or changed of a playlist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.datastructures import FormData

from segue.service.api import wire
from segue.service.api.problems import refused_by_schema
from segue.service.serving.service import Service
from segue.service.storage.store import StaleVersion

Kind = TypeVar("Kind")
Action = Callable[[str, FormData], dict[str, Any]]
"""Makes an event of what it is about, and of the form."""
Change = Callable[[wire.PlaylistResponse, str], dict[str, Any]]
"""Makes fields of a playlist from those it has, and from what is to change."""


def made(kind: type[Kind], **fields: Any) -> Kind:
    """A request, checked as if it had come over the wire."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise refused_by_schema(fields, kind) from error


def text_of(form: FormData, name: str) -> str:
    """A field of a form; empty where it was not sent."""
    given = form.get(name)
    return given.strip() if isinstance(given, str) else ""


def _track_event(kind: str, **more: Any) -> Action:
    return lambda uri, form: {"kind": kind, "track": uri} | more


def _artist_event(kind: str) -> Action:
    return lambda name, form: {"kind": kind, "artist": name}


def _skip(uri: str, form: FormData) -> dict[str, Any]:
    heard = text_of(form, "ms_played")
    known = heard.isdecimal() and len(heard) < 10
    return {"kind": "skip", "track": uri, "ms_played": int(heard) if known else None}


EVENTS: dict[str, Action] = {
    "skip": _skip,
    "played": _track_event("play", outcome="finished"),
    "ban": _track_event("ban"),
    "unban": _track_event("unban"),
    "ban-artist": _artist_event("ban_artist"),
    "unban-artist": _artist_event("unban_artist"),
}
"""What is said of a track or an artist: into the log."""


def _add(kept: wire.PlaylistResponse, uri: str) -> dict[str, Any]:
    return {"tracks": kept.tracks if uri in kept.tracks else [*kept.tracks, uri]}


def _without(kept: wire.PlaylistResponse, uri: str) -> dict[str, Any]:
    return {"tracks": [one for one in kept.tracks if one != uri]}


def _moved(by: int) -> Change:
    def change(kept: wire.PlaylistResponse, uri: str) -> dict[str, Any]:
        tracks = list(kept.tracks)
        if uri in tracks:
            at = tracks.index(uri)
            tracks.insert(max(0, at + by), tracks.pop(at))
        return {"tracks": tracks}

    return change


CHANGES: dict[str, Change] = {
    "add": _add,
    "remove": _without,
    "up": _moved(-1),
    "down": _moved(1),
    "rename": lambda kept, title: {"title": title},
}
"""What is changed of a playlist."""


async def change_playlist(service: Service, id: str, change: Change, what: str) -> None:
    """Change what is kept; once more where somebody else changed it meanwhile."""
    for last in (False, True):
        kept = await service.playlists.get(id)
        same = {"title": kept.title, "tracks": kept.tracks, "version": kept.version}
        asked = made(wire.PlaylistChange, **same | change(kept, what))
        try:
            await service.playlists.change(id, asked)
            return
        except StaleVersion:
            if last:
                raise
