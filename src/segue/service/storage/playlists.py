"""Playlists of the service's listeners."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update

from segue.data.feedback.database import StoreError
from segue.data.feedback.tables import playlists as table
from segue.service.storage.checks import checked_name, checked_text
from segue.service.storage.database import Database, Rows


class StaleVersion(StoreError):
    """The playlist has a newer version."""


class NoPlaylist(StoreError):
    """No playlist has this id."""


class Playlist(msgspec.Struct, frozen=True, kw_only=True):
    """A playlist and its version."""

    id: str
    owner: str | None
    title: str
    tracks: Sequence[str]
    """Uris; they may repeat."""
    version: int
    """1 for a new playlist, plus 1 for each change."""
    created: datetime
    changed: datetime


class PlaylistTable:
    """The table of playlists, the only rows of a log that change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        owner: str | None,
        title: str,
        tracks: Sequence[str],
        rows: Rows = (),
    ) -> Playlist:
        """Make a playlist with an unguessable id; ids rise with time.

        Args:
            rows: rows of the table tracks for `tracks`.
        """
        now = self._database.now
        values = {
            "id": f"{now:012x}{secrets.token_hex(10)}",
            "owner": None if owner is None else checked_name(owner, "owner"),
            **_content(title, tracks),
            "version": 1,
            "created": now,
            "changed": now,
        }
        with self._database.transaction() as connection:
            self._database.keep_tracks(connection, rows)
            row = connection.execute(insert(table).returning(*table.c), values).one()
        return _playlist(row)

    def get(self, id: str) -> Playlist:
        """One playlist. Raises NoPlaylist."""
        checked_text(id, "id")
        with self._database.transaction(reads=True) as connection:
            row = connection.execute(select(table).where(table.c.id == id)).one_or_none()
        if row is None:
            raise _none(id)
        return _playlist(row)

    def page(self, owner: str | None, after: str | None, n: int) -> list[Playlist]:
        """Playlists of an owner (None: of all owners), newest first.

        Args:
            after: id of the last playlist on the previous page; it may be gone.
            n: maximum number.
        """
        statement = select(table).order_by(table.c.id.desc()).limit(n)
        if owner is not None:
            statement = statement.where(table.c.owner == checked_name(owner, "owner"))
        if after is not None:
            statement = statement.where(table.c.id < checked_text(after, "after"))
        with self._database.transaction(reads=True) as connection:
            return [_playlist(row) for row in connection.execute(statement)]

    def change(
        self,
        id: str,
        *,
        title: str,
        tracks: Sequence[str],
        version: int,
        rows: Rows = (),
    ) -> Playlist:
        """Replace title and tracks of a version.

        Raises:
            NoPlaylist: no playlist has this id.
            StaleVersion: the playlist has another version.
        """
        checked_text(id, "id")
        values = {**_content(title, tracks), "version": version + 1, "changed": self._database.now}
        same = (table.c.id == id, table.c.version == version)
        with self._database.transaction() as connection:
            self._database.keep_tracks(connection, rows)
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

    def remove(self, id: str) -> None:
        """Remove a playlist. Raises NoPlaylist."""
        checked_text(id, "id")
        with self._database.transaction() as connection:
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
