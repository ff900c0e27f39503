"""The feedback log, playlists and uploads of a service, in SQLite or PostgreSQL.

`docs/guides/feedback.md` says what is durable when. Every call is synchronous, from any thread.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Self

import msgspec
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.dialects import postgresql, sqlite

from segue.data.feedback import tables
from segue.data.feedback.database import (
    Address,
    StoreError,
    StoreFull,
    StoreGone,
    address_of,
    check_tables,
    create_tables,
    engine_of,
    refuse_unwritable,
    telling,
)
from segue.data.feedback.sessions import STANDING, TrackFeedback, heard
from segue.data.outcomes import FeedbackRule
from segue.errors import UsageError
from segue.queries import MAX_HISTORY, MAX_PAST
from segue.service.storage.checks import checked_event, checked_name, checked_row, checked_text
from segue.service.storage.playlists import NoPlaylist, Playlist, PlaylistStore, StaleVersion
from segue.service.storage.types import Event, PersonalData, Upload

__all__ = [
    "Event",
    "KeyReused",
    "NoPlaylist",
    "PersonalData",
    "Playlist",
    "StaleVersion",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreGone",
    "Upload",
]

BREAK_SECONDS = 2.0
"""After a failure, the database is left alone for this long."""

Rows = Sequence[Mapping[str, Any]]
"""Rows of the table tracks."""


class KeyReused(StoreError):
    """An idempotency key came again with other content."""


class Store(PlaylistStore):
    """A feedback log that is open. Made by `open`.

    Every call raises StoreFull or StoreGone where the database fails; after StoreGone the next
    calls do so at once for `BREAK_SECONDS`, then one of them tries again.
    """

    def __init__(self, address: Address, engine: Engine, clock: Callable[[], float]) -> None:
        self._address, self._engine, self._clock = address, engine, clock
        self._gone: StoreGone | None = None
        self._since = 0.0
        self._lock = Lock()
        self._rule = FeedbackRule()

    @classmethod
    def open(cls, address: str, *, clock: Callable[[], float] = time.time) -> Self:
        """Open a log, or make one where there is none.

        Args:
            address: path of an SQLite file, ``sqlite:///PATH`` or ``postgresql://...``.
            clock: seconds since 1970.

        Raises:
            UsageError: no such kind of database.
            StoreError: it holds something else, is of a newer segue, read-only or out of reach.
        """
        place = address_of(address)
        refuse_unwritable(place)
        store = cls(place, engine_of(place, writes=True), clock)
        with store._transaction() as connection:
            check_tables(connection, place, create_tables)
        return store

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def ping(self) -> None:
        """Raises StoreGone where the database does not answer."""
        with self._transaction(reads=True) as connection:
            connection.execute(text("SELECT 1 FROM meta"))

    @contextmanager
    def _transaction(self, *, reads: bool = False) -> Iterator[Connection]:
        """One transaction, through the breaker; rolled back where the block raises."""
        self._refuse_if_gone()
        try:
            with telling(self._address), self._engine.connect() as connection:
                connection = connection.execution_options(reads=reads)
                with connection.begin():
                    yield connection
        except StoreGone as error:
            self._gone, self._since = error, self._clock()
            raise
        except Exception:
            self._gone = None  # refused, by a database that answers
            raise
        self._gone = None

    def _refuse_if_gone(self) -> None:
        with self._lock:
            if self._gone is None:
                return
            now = self._clock()
            if abs(now - self._since) < BREAK_SECONDS:
                raise StoreGone(self._gone.what, where=self._gone.where, do=self._gone.do)
            self._since = now  # this call tries; those beside it do not wait for it

    @property
    def _now(self) -> int:
        """Milliseconds since 1970."""
        return round(self._clock() * 1000)

    def _insert(self, table: Any) -> Any:
        """An insert that passes over rows that are there."""
        dialect = postgresql if self._address.url is not None else sqlite
        return dialect.insert(table).on_conflict_do_nothing()

    def _keep_tracks(self, connection: Connection, rows: Rows) -> None:
        """Keep what is known of tracks; what came first stays."""
        checked = {row["uri"]: row for row in map(checked_row, rows)}
        if checked:  # in one order everywhere, so that writers never wait for each other in a ring
            ordered = [checked[uri] for uri in sorted(checked)]
            connection.execute(self._insert(tables.tracks), ordered)

    # The log

    def append(
        self, key: str, listener: str, session: str, events: Sequence[Event], tracks: Rows
    ) -> bool:
        """Store events, all or none, in their order. They are durable when this returns.

        Args:
            key: of the request; unique for a listener.
            tracks: rows of the table tracks for those that the events name.

        Returns:
            False where the same request was stored before.

        Raises:
            KeyReused: the key came before with another session or other events.
            UsageError: a value that the log cannot hold.
        """
        for name, value in (("key", key), ("listener", listener), ("session", session)):
            checked_name(value, name)
        now = self._now
        rows = [checked_event(event, f"events[{i}]", now) for i, event in enumerate(events)]
        content = msgspec.json.encode([session, events])
        digest = hashlib.sha256(content).hexdigest()
        request = {"listener": listener, "key": key, "digest": digest, "came": now}
        with self._transaction() as connection:
            made = self._insert(tables.requests).returning(tables.requests.c.id)
            number = connection.execute(made, request).scalar()
            if number is None:
                return self._same(connection, request)
            self._keep_tracks(connection, tracks)
            about = {"request": number, "listener": listener, "session": session}
            if rows:
                connection.execute(tables.events.insert(), [about | row for row in rows])
        return True

    def _same(self, connection: Connection, request: Mapping[str, Any]) -> bool:
        """False; raises KeyReused where the stored request is another."""
        at = tables.requests.c
        wanted = select(at.digest).where(
            at.listener == request["listener"], at.key == request["key"]
        )
        if connection.execute(wanted).scalar() != request["digest"]:
            raise KeyReused("was used before with other events", where="key", do="use a new key")
        return False

    def personal(self, listener: str, session: str | None) -> PersonalData:
        """What the log knows of a listener, who may be new.

        Bans and likes are those that stand, in the order they were said.
        """
        for name, value in (("listener", listener), ("session", session)):
            if value is not None:
                checked_name(value, name)
        with self._transaction(reads=True) as connection:
            standing, disliked = self._standing(connection, listener)
            said = [] if session is None else self._said(connection, listener, session)
            past = self._past(connection, listener, session, disliked)
        listens, _ = heard(said, self._rule)
        return PersonalData(
            tracks=[str(said[place].track) for place, _ in listens],
            outcomes=[outcome for _, outcome in listens],
            past=past,
            banned_tracks=list(standing["ban track"]),
            banned_artists=list(standing["ban artist"]),
            liked=list(standing["like track"]),
        )

    @staticmethod
    def _standing(
        connection: Connection, listener: str
    ) -> tuple[dict[str, dict[str, None]], set[tuple[str, str]]]:
        """Likes and bans that stand; and the tracks that are banned in their (session, track)."""
        at = tables.events.c
        wanted = (
            select(at.session, at.kind, at.track, at.artist)
            .where(at.listener == listener, at.kind.in_(STANDING))
            .order_by(at.id)
        )
        standing: dict[str, dict[str, None]] = {"like track": {}, "ban track": {}, "ban artist": {}}
        disliked: set[tuple[str, str]] = set()
        for session, kind, track, artist in connection.execute(wanted):
            holds = standing[f"{kind.removeprefix('un')} {'artist' if track is None else 'track'}"]
            if kind in ("like", "ban"):
                holds.setdefault(artist if track is None else track)
            else:
                holds.pop(artist if track is None else track, None)
            if kind == "ban":
                disliked.add((session, track))
            elif kind == "unban":
                disliked.discard((session, track))
        return standing, disliked

    @staticmethod
    def _said(connection: Connection, listener: str, session: str) -> list[TrackFeedback]:
        """Events of a session, in order."""
        at, known = tables.events.c, tables.tracks.c
        wanted = (
            select(at.kind, at.track, at.outcome, at.ms_played, known.duration_ms)
            .select_from(tables.events.outerjoin(tables.tracks, at.track == known.uri))
            .where(at.listener == listener, at.session == session)
            .order_by(at.id.desc())
            .limit(MAX_HISTORY)
        )
        return [TrackFeedback(*row) for row in connection.execute(wanted)][::-1]

    @staticmethod
    def _past(
        connection: Connection, listener: str, session: str | None, disliked: set[tuple[str, str]]
    ) -> list[str]:
        at = tables.events.c
        wanted = (
            select(at.id, at.session, at.track)
            .where(at.listener == listener, at.kind == "play")
            .order_by(at.id.desc())
            .limit(MAX_PAST)
        )
        if session is not None:
            wanted = wanted.where(at.session != session)
        past: list[str] = []
        page = None
        while page is None or (len(page) == MAX_PAST and len(past) < MAX_PAST):
            before = wanted if page is None else wanted.where(at.id < page[-1].id)
            page = connection.execute(before).all()
            past += [row.track for row in page if (row.session, row.track) not in disliked]
        return past[:MAX_PAST][::-1]

    # Uploads

    def add_upload(self, upload: Upload) -> bool:
        """Keep an upload; False where its uri is there already."""
        about = checked_row(upload.row)
        row = {
            "uri": checked_text(upload.uri, "uri"),
            "file": checked_text(upload.file, "file"),
            "about": msgspec.json.encode(about).decode(),
        }
        if about["uri"] != upload.uri:
            raise UsageError(f"is not {upload.uri!r}", where="row.uri")
        with self._transaction() as connection:
            made = self._insert(tables.uploads).returning(tables.uploads.c.id)
            return connection.execute(made, row).scalar() is not None

    def uploads(self) -> list[Upload]:
        """All, in order of arrival."""
        at = tables.uploads.c
        with self._transaction(reads=True) as connection:
            rows = connection.execute(select(at.uri, at.file, at.about).order_by(at.id)).all()
        return [
            Upload(uri=uri, file=file, row=msgspec.json.decode(about)) for uri, file, about in rows
        ]
