"""Feedback of listeners, and their saved playlists."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from segue.service.api import wire
from segue.service.serving.log import FeedbackLog
from segue.service.storage.store import Event, Playlist

_KINDS: dict[type, Literal["play", "skip", "like", "unlike", "ban", "unban"]] = {
    wire.Play: "play",
    wire.Skip: "skip",
    wire.Like: "like",
    wire.Unlike: "unlike",
    wire.Ban: "ban",
    wire.Unban: "unban",
    wire.BanArtist: "ban",
    wire.UnbanArtist: "unban",
}

RowLookup = Callable[[Iterable[str]], list[dict[str, Any]]]
"""Rows of the table `tracks` for uris; of unknown tracks the uri alone."""


class FeedbackRecorder:
    """Appends events to the log.

    Args:
        known_rows: look-up of rows of known tracks.
    """

    def __init__(self, log: FeedbackLog, known_rows: RowLookup) -> None:
        self._log, self._known_rows = log, known_rows

    async def record(self, request: wire.FeedbackRequest) -> wire.StoredResponse:
        """Append events to the log; they are on disk when this returns."""
        events = [_event(event) for event in request.events]
        named = {event.track for event in events if event.track is not None}
        known = self._known_rows(named)
        new = await self._log.run(
            lambda store: store.events.append(
                request.key, request.listener, request.session, events, known
            )
        )
        if new:
            self._log.metrics.fed(event.kind for event in events)
        return wire.StoredResponse(stored=len(events) if new else 0, duplicate=not new)


class SavedPlaylists:
    """Playlists in the log.

    Args:
        rows: look-up of the rows of a playlist's tracks.
    """

    def __init__(self, log: FeedbackLog, rows: RowLookup) -> None:
        self._log, self._rows = log, rows

    async def create(self, request: wire.PlaylistRequest) -> wire.PlaylistResponse:
        """Save a playlist."""
        about = self._rows(request.tracks)
        return _response(
            await self._log.run(
                lambda store: store.playlists.create(
                    request.listener, request.title, request.tracks, about
                )
            )
        )

    async def get(self, id: str) -> wire.PlaylistResponse:
        """One playlist."""
        return _response(await self._log.run(lambda store: store.playlists.get(id)))

    async def page(self, listener: str | None, after: str | None, n: int) -> wire.Playlists:
        """A page of playlists, newest first."""
        playlists = await self._log.run(lambda store: store.playlists.page(listener, after, n + 1))
        last = playlists[n - 1].id if len(playlists) > n else None
        return wire.Playlists(
            playlists=[_response(playlist) for playlist in playlists[:n]], after=last
        )

    async def change(self, id: str, request: wire.PlaylistChange) -> wire.PlaylistResponse:
        """Replace title and tracks of a playlist."""
        about = self._rows(request.tracks)
        return _response(
            await self._log.run(
                lambda store: store.playlists.change(
                    id,
                    title=request.title,
                    tracks=request.tracks,
                    version=request.version,
                    rows=about,
                )
            )
        )

    async def remove(self, id: str) -> None:
        """Remove a playlist."""
        await self._log.run(lambda store: store.playlists.remove(id))


def _event(event: wire.Event) -> Event:
    """An event of a request as the log stores it."""
    return Event(kind=_KINDS[type(event)], **msgspec.structs.asdict(event))


def _response(playlist: Playlist) -> wire.PlaylistResponse:
    fields = msgspec.structs.asdict(playlist)
    return wire.PlaylistResponse(listener=fields.pop("owner"), **fields)
