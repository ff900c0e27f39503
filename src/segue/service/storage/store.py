"""The feedback log, playlists and uploads of a service, in SQLite or PostgreSQL.

`docs/guides/feedback.md` describes durability. Every call is synchronous, from any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from segue.data.feedback.database import StoreError, StoreFull, StoreGone
from segue.service.storage.database import BREAK_SECONDS, Database
from segue.service.storage.events import EventTable, KeyReused
from segue.service.storage.playlists import NoPlaylist, Playlist, PlaylistTable, StaleVersion
from segue.service.storage.types import Event, PersonalData, Upload
from segue.service.storage.uploads import UploadTable

__all__ = [
    "BREAK_SECONDS",
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


class Store:
    """The tables of an open log. Made by `open`.

    Every call to a table is one transaction of the database; see `Database` for its errors.

    Attributes:
        database: transactions.
        events: feedback of listeners.
        playlists: playlists of listeners.
        uploads: uploaded files.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.events = EventTable(database)
        self.playlists = PlaylistTable(database)
        self.uploads = UploadTable(database)

    @classmethod
    def open(cls, address: str, *, clock: Callable[[], float] = time.time) -> Self:
        """Open a log, or create one.

        Args:
            address: path of an SQLite file, ``sqlite:///PATH`` or ``postgresql://...``.
            clock: seconds since 1970.

        Raises:
            UsageError: unknown kind of database.
            StoreError: it is no log, a newer segue wrote it, or it is read-only or out of reach.
        """
        return cls(Database.open(address, clock))

    def close(self) -> None:
        """Close every connection."""
        self.database.close()
