"""Playlists that people made in the service: the part of the store that may change."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from segue.data.feedback.database import StoreError
from segue.data.feedback.tables import playlists as table
from segue.service.storage.checks import checked_name, checked_text


class StaleVersion(StoreError):
    """A playlist was changed by somebody else meanwhile."""


class NoPlaylist(StoreError):
    """There is no playlist of this id."""


class Playlist(msgspec.Struct, frozen=True, kw_only=True):
    """A playlist as it stands."""

    id: str
    owner: str | None
    title: str
    tracks: Sequence[str]
    """uris; may repeat."""
    version: int
    """1, and one more with every change."""
    created: datetime
    changed: datetime


class PlaylistStore(ABC):
    """Calls of the store that are about playlists. Each is one transaction."""

    @abstractmethod
    def _transaction(self, *, reads: bool = False) -> AbstractContextManager[Connection]: ...

    @abstractmethod
    def _keep_tracks(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None: ...

    @property
    @abstractmethod
    def _now(self) -> int: ...

    def new_playlist(
        self,
        owner: str | None,
        title: str,
        tracks: Sequence[str],
        rows: Sequence[Mapping[str, Any]] = (),
    ) -> Playlist:
        """Make a playlist. Its id cannot be guessed; ids rise with time.

        Args:
            rows: of the table tracks, for `tracks`.
        """
        now = self._now
        values = {
            "id": f"{now:012x}{secrets.token_hex(10)}",
            "owner": None if owner is None else checked_name(owner, "owner"),
            **_content(title, tracks),
            "version": 1,
            "created": now,
            "changed": now,
        }
        with self._transaction() as connection:
            self._keep_tracks(connection, rows)
            row = connection.execute(insert(table).returning(*table.c), values).one()
        return _playlist(row)

    def playlist(self, id: str) -> Playlist:
        """One playlist. Raises NoPlaylist."""
        checked_text(id, "id")
        with self._transaction(reads=True) as connection:
            row = connection.execute(select(table).where(table.c.id == id)).one_or_none()
        if row is None:
            raise _none(id)
        return _playlist(row)

    def playlists(self, owner: str | None, after: str | None, n: int) -> list[Playlist]:
        """Playlists of an owner (None: of all), newest first.

        Args:
            after: id of the last one that was given before; it may be gone.
            n: how many at most.
        """
        wanted = select(table).order_by(table.c.id.desc()).limit(n)
        if owner is not None:
            wanted = wanted.where(table.c.owner == checked_name(owner, "owner"))
        if after is not None:
            wanted = wanted.where(table.c.id < checked_text(after, "after"))
        with self._transaction(reads=True) as connection:
            return [_playlist(row) for row in connection.execute(wanted)]

    def change_playlist(
        self,
        id: str,
        *,
        title: str,
        tracks: Sequence[str],
        version: int,
        rows: Sequence[Mapping[str, Any]] = (),
    ) -> Playlist:
        """Put another title and other tracks in place of what a version has.

        Raises:
            NoPlaylist: it is not there.
            StaleVersion: it has another version by now.
        """
        checked_text(id, "id")
        values = {**_content(title, tracks), "version": version + 1, "changed": self._now}
        same = (table.c.id == id, table.c.version == version)
        with self._transaction() as connection:
            self._keep_tracks(connection, rows)
            changed = update(table).where(*same).values(values).returning(*table.c)
            row = connection.execute(changed).one_or_none()
            if row is None:
                now = connection.execute(select(table.c.version).where(table.c.id == id)).scalar()
                if now is None:
                    raise _none(id)
                raise StaleVersion(
                    f"has version {now}, not {version}", where="playlist", do="read it again"
                )
        return _playlist(row)

    def remove_playlist(self, id: str) -> None:
        """Remove a playlist. Raises NoPlaylist."""
        checked_text(id, "id")
        with self._transaction() as connection:
            if not connection.execute(delete(table).where(table.c.id == id)).rowcount:
                raise _none(id)


def _content(title: str, tracks: Sequence[str]) -> dict[str, str]:
    for i, uri in enumerate(tracks):
        checked_text(uri, f"tracks[{i}]")
    return {
        "title": checked_text(title, "title", longest=None),
        "tracks": msgspec.json.encode(list(tracks)).decode(),
    }


def _playlist(row: Row[Any]) -> Playlist:
    when = {
        name: datetime.fromtimestamp(getattr(row, name) / 1000, UTC)
        for name in ("created", "changed")
    }
    tracks = msgspec.json.decode(row.tracks, type=list[str])
    return Playlist(
        id=row.id, owner=row.owner, title=row.title, tracks=tracks, version=row.version, **when
    )


def _none(id: str) -> NoPlaylist:
    return NoPlaylist(f"there is no playlist {id!r}")
