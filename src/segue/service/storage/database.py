"""Transactions on the log's database, with a breaker for a database that is out of reach."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Self

from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects import postgresql, sqlite

from segue.data.feedback import tables
from segue.data.feedback.database import (
    Address,
    StoreGone,
    address_of,
    check_tables,
    create_tables,
    engine_of,
    refuse_unwritable,
    telling,
)
from segue.service.storage.checks import checked_row

BREAK_SECONDS = 2.0
"""Pause after a failure before the next attempt."""

Rows = Sequence[Mapping[str, Any]]
"""Rows of the table tracks."""


class Database:
    """An open database. Made by `open`.

    Every transaction raises StoreFull or StoreGone if the database fails. After StoreGone,
    transactions fail at once for `BREAK_SECONDS`; then one of them tries again.
    """

    def __init__(self, address: Address, engine: Engine, clock: Callable[[], float]) -> None:
        self._address, self.engine, self._clock = address, engine, clock
        self._gone: StoreGone | None = None
        self._since = 0.0
        self._lock = Lock()

    @classmethod
    def open(cls, address: str, clock: Callable[[], float] = time.time) -> Self:
        """Open a log's database and create missing tables; see `Store.open`."""
        place = address_of(address)
        refuse_unwritable(place)
        database = cls(place, engine_of(place, writes=True), clock)
        with database.transaction() as connection:
            check_tables(connection, place, create_tables)
        return database

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def ping(self) -> None:
        """Raises StoreGone if the database does not answer."""
        with self.transaction(reads=True) as connection:
            connection.execute(text("SELECT 1 FROM meta"))

    @contextmanager
    def transaction(self, *, reads: bool = False) -> Iterator[Connection]:
        """One transaction, behind the breaker; an exception rolls it back."""
        self._refuse_if_gone()
        try:
            with telling(self._address), self.engine.connect() as connection:
                connection = connection.execution_options(reads=reads)
                with connection.begin():
                    yield connection
        except StoreGone as error:
            self._gone, self._since = error, self._clock()
            raise
        except Exception:
            self._gone = None  # the database works and refused
            raise
        self._gone = None

    def _refuse_if_gone(self) -> None:
        with self._lock:
            if self._gone is None:
                return
            now = self._clock()
            if abs(now - self._since) < BREAK_SECONDS:
                raise StoreGone(self._gone.what, where=self._gone.where, do=self._gone.do)
            self._since = now  # this call tries; concurrent calls fail at once

    @property
    def now(self) -> int:
        """Milliseconds since 1970."""
        return round(self._clock() * 1000)

    def insert(self, table: Any) -> Any:
        """An insert that leaves existing rows as they are."""
        dialect = postgresql if self._address.url is not None else sqlite
        return dialect.insert(table).on_conflict_do_nothing()

    def keep_tracks(self, connection: Connection, rows: Rows) -> None:
        """Store the rows of tracks; the first row of a uri stays."""
        checked = {row["uri"]: row for row in map(checked_row, rows)}
        if checked:  # a fixed order prevents deadlocks between writers
            ordered = [checked[uri] for uri in sorted(checked)]
            connection.execute(self.insert(tables.tracks), ordered)
