"""Actions of the web page: events for the log, and changes of a playlist."""

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
"""Makes an event from its subject and the form."""
Change = Callable[[wire.PlaylistResponse, str], dict[str, Any]]
"""Makes the changed fields of a playlist."""


def made(kind: type[Kind], **fields: Any) -> Kind:
    """A request struct, checked like a JSON body."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise refused_by_schema(fields, kind) from error


def text_of(form: FormData, name: str) -> str:
    """A field of a form, "" if it is missing."""
    given = form.get(name)
    return given.strip() if isinstance(given, str) else ""


def _track_event(kind: str, **more: Any) -> Action:
    return lambda uri, form: {"kind": kind, "track": uri} | more


def _artist_event(kind: str) -> Action:
    return lambda name, form: {"kind": kind, "artist": name}


def _skip(uri: str, form: FormData) -> dict[str, Any]:
    text = text_of(form, "ms_played")
    valid = text.isdecimal() and len(text) < 10
    return {"kind": "skip", "track": uri, "ms_played": int(text) if valid else None}


EVENTS: dict[str, Action] = {
    "skip": _skip,
    "played": _track_event("play", outcome="finished"),
    "ban": _track_event("ban"),
    "unban": _track_event("unban"),
    "ban-artist": _artist_event("ban_artist"),
    "unban-artist": _artist_event("unban_artist"),
}
"""Events about a track or an artist, by action."""


def _add(playlist: wire.PlaylistResponse, uri: str) -> dict[str, Any]:
    return {"tracks": playlist.tracks if uri in playlist.tracks else [*playlist.tracks, uri]}


def _without(playlist: wire.PlaylistResponse, uri: str) -> dict[str, Any]:
    return {"tracks": [one for one in playlist.tracks if one != uri]}


def _moved(by: int) -> Change:
    def change(playlist: wire.PlaylistResponse, uri: str) -> dict[str, Any]:
        tracks = list(playlist.tracks)
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
    "rename": lambda playlist, title: {"title": title},
}
"""Changes of a playlist, by action."""


async def change_playlist(service: Service, id: str, change: Change, what: str) -> None:
    """Change a saved playlist; on a version conflict, try once more."""
    for last in (False, True):
        playlist = await service.playlists.get(id)
        same = {"title": playlist.title, "tracks": playlist.tracks, "version": playlist.version}
        asked = made(wire.PlaylistChange, **same | change(playlist, what))
        try:
            await service.playlists.change(id, asked)
            return
        except StaleVersion:
            if last:
                raise
