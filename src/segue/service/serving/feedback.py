"""What the service remembers: the log as it comes and goes, feedback, playlists."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Set
from typing import Any, Literal, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool

from segue.errors import SegueError
from segue.service.api import wire
from segue.service.serving.metrics import Metrics
from segue.service.storage.store import Event, Playlist, Store, StoreError, StoreFull, StoreGone

Given = TypeVar("Given")
_AGAIN = 2.0
"""Seconds after which a database that could not be opened is tried again."""
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


class FeedbackKeeping(ABC):
    """The part of a service that its log keeps.

    Args:
        address: of the log, as `Store.open` takes it.
        metrics: of the service.
    """

    def __init__(self, address: str, metrics: Metrics) -> None:
        self.metrics = metrics
        self._address = address
        self._store: Store | None = None
        self._tried = -_AGAIN
        self._why: StoreError = StoreGone("has not been opened yet", where="the log")

    @abstractmethod
    def about(self, uris: Iterable[str]) -> list[dict[str, Any]]:
        """What is known of tracks, as rows of the table `tracks`; of others their uri alone."""

    @abstractmethod
    def known(self, uris: Iterable[str]) -> Set[str]:
        """Those that the catalog has."""

    @abstractmethod
    def log_answers(self) -> None:
        """Called whenever the log was of use."""

    def close_log(self) -> None:
        """Close every connection."""
        if self._store is not None:
            self._store.close()

    def open_log(self) -> None:
        """Open the log, if it can be reached just now.

        Raises:
            UsageError: its address is none.
            StoreError: it is no log, or of a newer segue.
        """
        with contextlib.suppress(StoreGone, StoreFull):
            self._opened()

    def _opened(self) -> Store:
        if self._store is None:
            if time.monotonic() - self._tried < _AGAIN:
                why = self._why
                raise type(why)(why.what, where=why.where, do=why.do)
            self._tried = time.monotonic()
            try:
                self._store = Store.open(self._address)
            except StoreError as error:
                self._why = error
                raise
        return self._store

    async def log(self, work: Callable[[Store], Given]) -> Given:
        """Do something with the log, off the loop.

        Raises:
            StoreError: it is full, or out of reach.
        """
        try:
            done = await run_in_threadpool(lambda: work(self._opened()))
        except StoreGone:
            self.metrics.log_up.set(0)
            raise
        except StoreFull:
            self.metrics.log_full.inc()
            raise
        self.metrics.log_up.set(1)
        self.log_answers()
        return done

    async def log_state(self) -> str:
        """ "ok", or why the log cannot be used."""
        try:
            await self.log(Store.ping)
        except SegueError as error:
            return str(error)
        return "ok"

    async def feedback(self, request: wire.FeedbackRequest) -> wire.StoredResponse:
        """Put what a listener did into the log; it is on disk when this returns."""
        events = [_event(event) for event in request.events]
        named = {event.track for event in events if event.track is not None}
        known = self.about(self.known(named))
        new = await self.log(
            lambda store: store.append(
                request.key, request.listener, request.session, events, known
            )
        )
        if new:
            self.metrics.fed(event.kind for event in events)
        return wire.StoredResponse(stored=len(events) if new else 0, duplicate=not new)

    # Playlists

    async def new_playlist(self, request: wire.PlaylistRequest) -> wire.PlaylistResponse:
        """Keep a playlist."""
        about = self.about(request.tracks)
        return _kept(
            await self.log(
                lambda store: store.new_playlist(
                    request.listener, request.title, request.tracks, about
                )
            )
        )

    async def playlist(self, id: str) -> wire.PlaylistResponse:
        """One playlist."""
        return _kept(await self.log(lambda store: store.playlist(id)))

    async def playlists(self, listener: str | None, after: str | None, n: int) -> wire.Playlists:
        """Some playlists, newest first."""
        some = await self.log(lambda store: store.playlists(listener, after, n + 1))
        last = some[n - 1].id if len(some) > n else None
        return wire.Playlists(playlists=[_kept(one) for one in some[:n]], after=last)

    async def change_playlist(self, id: str, request: wire.PlaylistChange) -> wire.PlaylistResponse:
        """Put another title and other tracks in place of what a playlist has."""
        about = self.about(request.tracks)
        return _kept(
            await self.log(
                lambda store: store.change_playlist(
                    id,
                    title=request.title,
                    tracks=request.tracks,
                    version=request.version,
                    rows=about,
                )
            )
        )

    async def remove_playlist(self, id: str) -> None:
        """Remove a playlist."""
        await self.log(lambda store: store.remove_playlist(id))


def _event(event: wire.Event) -> Event:
    """What the log keeps of it."""
    return Event(kind=_KINDS[type(event)], **msgspec.structs.asdict(event))


def _kept(playlist: Playlist) -> wire.PlaylistResponse:
    fields = msgspec.structs.asdict(playlist)
    return wire.PlaylistResponse(listener=fields.pop("owner"), **fields)
