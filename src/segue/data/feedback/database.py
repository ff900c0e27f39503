"""Where a feedback log is: an SQLite file or a PostgreSQL database, and what can go wrong there."""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from segue.data.feedback import tables
from segue.errors import DataError, UsageError
from segue.system.extras import needs
from segue.system.files import shown

CONNECT_SECONDS = 2
BUSY_SECONDS = 5
"""How long to wait for another process that writes to the same SQLite file."""
STATEMENT_SECONDS = 5
"""How long PostgreSQL may take over one statement of the service."""
PASSWORD_FILE = "PGPASSWORD_FILE"
"""Environment variable that names a file with PostgreSQL's password: a mounted secret. The password
file of libpq cannot be one, since it must have an owner and a mode that mounts do not give."""
_CONNECTIONS = 40
_LOCK = 7_306_418
"""PostgreSQL's name for the creation of the tables."""
_PROBE_BYTES = 1 << 16


class StoreError(DataError):
    """The feedback log cannot do what it is asked."""


class StoreFull(StoreError):
    """The disk is full. What was stored is safe."""


class StoreGone(StoreError):
    """The database cannot be reached, or is broken."""


@dataclass(frozen=True)
class Address:
    """Where a log is. ``str(address)`` names it without its password."""

    path: Path | None
    """SQLite file."""
    url: URL | None
    """PostgreSQL."""

    def __str__(self) -> str:
        if self.url is None:
            return shown(self.path)
        plain = self.url.difference_update_query(["password", "passfile", "sslpassword"])
        return plain.set(drivername="postgresql").render_as_string(hide_password=True)


def address_of(text: str) -> Address:
    """What a file's path, ``sqlite:///PATH`` or ``postgresql://...`` stands for.

    Raises:
        UsageError: it is neither.
    """
    scheme, sign, rest = text.partition("://")
    if not sign:
        return Address(Path(text), None)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return Address(Path(rest[1:]), None)
    if scheme in ("postgresql", "postgres"):
        try:
            url = make_url(f"postgresql+psycopg://{rest}")
        except (ArgumentError, ValueError) as error:
            raise UsageError(
                "is no connection string of PostgreSQL",
                where=f"{scheme}://...",
                do="write postgresql://USER@HOST/DATABASE",
            ) from error
        return Address(None, url)
    raise UsageError(
        "is no database that is known",
        where=shown(f"{scheme}://..."),
        do="give a file, sqlite:///PATH or postgresql://USER@HOST/DATABASE",
    )


def engine_of(address: Address, *, writes: bool) -> Engine:
    """Connections to a log. Nothing is opened yet.

    Args:
        writes: for the service, with the durability that it promises; else to read all of it.

    Raises:
        ConfigError: the log is in PostgreSQL, whose driver is not there.
        StoreError: the file that PGPASSWORD_FILE names cannot be read.
    """
    if address.path is not None:
        return _sqlite(address.path, writes)
    assert address.url is not None
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise needs("a log in PostgreSQL", "postgres", where=address, cause=error) from error
    connect_args: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS}
    if address.url.password is None and (file := os.environ.get(PASSWORD_FILE)):
        connect_args["password"] = _password_in(Path(file))
    engine = create_engine(
        address.url,
        connect_args=connect_args,
        pool_size=_CONNECTIONS,
        pool_timeout=CONNECT_SECONDS,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, record: object) -> None:
        if not writes:
            return
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
            # A server may ask for more than "on", never for less.
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
            )
        connection.autocommit = False

    return engine


def _password_in(file: Path) -> str:
    """What a file holds, without the line's end. Raises StoreError."""
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is not text"
        raise StoreError(
            f"cannot be read ({what})",
            where=file,
            do=f"name the password's file in {PASSWORD_FILE}",
        ) from error


def _sqlite(path: Path, writes: bool) -> Engine:
    # Also to read: who closes last tidies up, and SQLite itself falls back where it may not write.
    place = f"file:{quote(os.fsencode(path.absolute()))}?mode=rw"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            place, BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=_CONNECTIONS,
        pool_timeout=CONNECT_SECONDS,
    )

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, record: Any) -> None:
        record.info["file"] = _file(path)
        if writes:
            # FULL: the log's last page is on the disk before a commit returns.
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "checkout")
    def _still_there(connection: object, record: Any, proxy: object) -> None:
        # An open file can still be written when its name is gone, and goes with the process.
        if record.info["file"] != _file(path):
            raise DisconnectionError("the file was removed or replaced")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = writes and not connection.get_execution_options().get("reads")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _file(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def telling(address: Address) -> Iterator[None]:
    """What a database says of a failure becomes one line.

    Raises:
        StoreFull, StoreGone: in place of the driver's errors.
    """
    try:
        yield
    except (PoolTimeout, DisconnectionError) as error:
        raise StoreGone(f"cannot be reached ({_line(error)})", where=address) from error
    except DBAPIError as error:
        raise _failure(error.orig, address) from error
    except sqlite3.Error as error:  # while connecting
        raise _failure(error, address) from error


def _failure(error: BaseException | None, address: Address) -> StoreError:
    name = getattr(error, "sqlite_errorname", None) or ""
    state = getattr(error, "sqlstate", None)
    broken = name.startswith("SQLITE_IOERR") and _full(address)
    if name == "SQLITE_FULL" or state == "53100" or broken:
        return StoreFull("the disk is full", where=address, do="make room; nothing stored is lost")
    if name.startswith("SQLITE_READONLY") or state == "25006":
        return StoreGone("is read-only", where=address, do="give one that can be written")
    if name == "SQLITE_NOTADB":
        return StoreGone("is not an SQLite file", where=address, do="name another file")
    return StoreGone(f"cannot be reached ({_line(error)})", where=address)


def _line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _full(address: Address) -> bool:
    """Whether nothing more can be written beside an SQLite file: a quota, or memory that is
    mapped, fails as a broken disk does."""
    assert address.path is not None
    try:
        with tempfile.TemporaryFile(dir=address.path.absolute().parent) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
    except OSError:
        return address.path.exists()
    return False


def refuse_unwritable(address: Address) -> None:
    """Raises StoreGone where an SQLite file cannot be made or written."""
    path = address.path
    if path is None:
        return
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))  # it is personal
    except OSError as error:
        raise StoreGone(f"cannot be made ({error.strerror})", where=address) from error
    if not path.is_file():
        raise StoreGone("is not a file", where=address, do="name a file")
    if not (os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)):
        raise StoreGone("is read-only", where=address, do="give one that can be written")


def check_tables(
    connection: Connection, address: Address, create: Callable[[Connection], None] | None = None
) -> str:
    """Find out whether a database holds a log.

    Args:
        create: makes the tables where there are none.

    Returns:
        What the log is called, to tell it from others.

    Raises:
        StoreError: it holds something else, nothing, or a log of a newer segue.
    """
    if create and connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    found = inspect(connection).get_table_names()
    if not found and create:
        create(connection)
    elif not set(tables.metadata.tables) <= set(found):
        what = "holds other tables" if found else "is empty"
        raise StoreError(f"is no feedback log: it {what}", where=address, do="name another")
    known = {row.name: row.value for row in connection.execute(select(tables.meta))}
    number = known.get("schema", "")
    if known.get("format") != tables.LOG_FORMAT or not number.isdecimal():
        raise StoreError("is no feedback log", where=address, do="name another")
    if int(number) > tables.LOG_SCHEMA:
        raise StoreError(
            f"has version {number}, this segue reads up to {tables.LOG_SCHEMA}",
            where=address,
            do="use a newer segue",
        )
    return str(known["log"])


def create_tables(connection: Connection) -> None:
    """Make the tables of a log."""
    tables.metadata.create_all(connection, checkfirst=False)
    about = {
        "format": tables.LOG_FORMAT,
        "schema": str(tables.LOG_SCHEMA),
        "log": secrets.token_hex(8),
    }
    rows = [{"name": name, "value": value} for name, value in about.items()]
    connection.execute(tables.meta.insert(), rows)
