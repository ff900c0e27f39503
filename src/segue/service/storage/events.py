"""The feedback events of a log: appended once, never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from segue.data.feedback import tables
from segue.data.feedback.database import StoreError
from segue.data.feedback.sessions import STANDING, TrackFeedback, heard
from segue.data.outcomes import FeedbackRule
from segue.queries import MAX_HISTORY, MAX_PAST
from segue.service.storage.checks import checked_event, checked_name
from segue.service.storage.database import Database, Rows
from segue.service.storage.types import Event, PersonalData


class KeyReused(StoreError):
    """An idempotency key came again with other content."""


class EventTable:
    """Events of all listeners, in the order of their arrival."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rule = FeedbackRule()

    def append(
        self, key: str, listener: str, session: str, events: Sequence[Event], tracks: Rows
    ) -> bool:
        """Store events, all or none, in their order. They are durable when this returns.

        Args:
            key: idempotency key of the request; unique for a listener.
            tracks: rows of the table tracks for those that the events name.

        Returns:
            False if the log has the same request.

        Raises:
            KeyReused: the key came before with another session or other events.
            UsageError: the log cannot hold a value.
        """
        for name, value in (("key", key), ("listener", listener), ("session", session)):
            checked_name(value, name)
        now = self._database.now
        rows = [checked_event(event, f"events[{i}]", now) for i, event in enumerate(events)]
        content = msgspec.json.encode([session, events])
        digest = hashlib.sha256(content).hexdigest()
        request = {"listener": listener, "key": key, "digest": digest, "came": now}
        with self._database.transaction() as connection:
            made = self._database.insert(tables.requests).returning(tables.requests.c.id)
            number = connection.execute(made, request).scalar()
            if number is None:
                return self._same(connection, request)
            self._database.keep_tracks(connection, tracks)
            about = {"request": number, "listener": listener, "session": session}
            if rows:
                connection.execute(tables.events.insert(), [about | row for row in rows])
        return True

    def _same(self, connection: Connection, request: Mapping[str, Any]) -> bool:
        """Returns False; raises KeyReused if the stored request differs."""
        columns = tables.requests.c
        statement = select(columns.digest).where(
            columns.listener == request["listener"], columns.key == request["key"]
        )
        if connection.execute(statement).scalar() != request["digest"]:
            raise KeyReused("was used before with other events", where="key", do="use a new key")
        return False

    def personal(self, listener: str, session: str | None) -> PersonalData:
        """Data of a listener, who may be new.

        Bans and likes are the current ones, in order of arrival.
        """
        for name, value in (("listener", listener), ("session", session)):
            if value is not None:
                checked_name(value, name)
        with self._database.transaction(reads=True) as connection:
            standing, disliked = self._standing(connection, listener)
            session_events = (
                [] if session is None else self._session_events(connection, listener, session)
            )
            past = self._long_term_history(connection, listener, session, disliked)
        listens, _ = heard(session_events, self._rule)
        return PersonalData(
            tracks=[str(session_events[place].track) for place, _ in listens],
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
        """Current likes and bans; and the (session, track) pairs of current bans of tracks."""
        columns = tables.events.c
        statement = (
            select(columns.session, columns.kind, columns.track, columns.artist)
            .where(columns.listener == listener, columns.kind.in_(STANDING))
            .order_by(columns.id)
        )
        standing: dict[str, dict[str, None]] = {"like track": {}, "ban track": {}, "ban artist": {}}
        disliked: set[tuple[str, str]] = set()
        for session, kind, track, artist in connection.execute(statement):
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
    def _session_events(connection: Connection, listener: str, session: str) -> list[TrackFeedback]:
        """Events of a session, in order."""
        columns, track_columns = tables.events.c, tables.tracks.c
        statement = (
            select(
                columns.kind,
                columns.track,
                columns.outcome,
                columns.ms_played,
                track_columns.duration_ms,
            )
            .select_from(tables.events.outerjoin(tables.tracks, columns.track == track_columns.uri))
            .where(columns.listener == listener, columns.session == session)
            .order_by(columns.id.desc())
            .limit(MAX_HISTORY)
        )
        return [TrackFeedback(*row) for row in connection.execute(statement)][::-1]

    @staticmethod
    def _long_term_history(
        connection: Connection, listener: str, session: str | None, disliked: set[tuple[str, str]]
    ) -> list[str]:
        columns = tables.events.c
        statement = (
            select(columns.id, columns.session, columns.track)
            .where(columns.listener == listener, columns.kind == "play")
            .order_by(columns.id.desc())
            .limit(MAX_PAST)
        )
        if session is not None:
            statement = statement.where(columns.session != session)
        uris: list[str] = []
        page = None
        while page is None or (len(page) == MAX_PAST and len(uris) < MAX_PAST):
            page_statement = (
                statement if page is None else statement.where(columns.id < page[-1].id)
            )
            page = connection.execute(page_statement).all()
            uris += [row.track for row in page if (row.session, row.track) not in disliked]
        return uris[:MAX_PAST][::-1]
