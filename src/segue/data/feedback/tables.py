"""Tables of the feedback log, the same in SQLite and PostgreSQL.

`docs/reference/feedback-log.md` describes them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
)

LOG_FORMAT = "segue-feedback"
LOG_SCHEMA = 1
"""Number of what is below; a log of a higher one is refused."""

_Number = BigInteger().with_variant(Integer, "sqlite")


def _numbered() -> Column[int]:
    """A key that rises in the order of arrival."""
    return Column("id", _Number, Identity(always=True), primary_key=True)


def _text(name: str, **what: Any) -> Column[Any]:
    return Column(name, Text, nullable=False, **what)


def _time(name: str) -> Column[int]:
    """Milliseconds since 1970."""
    return Column(name, BigInteger, nullable=False)


metadata = MetaData()

meta = Table("meta", metadata, Column("name", Text, primary_key=True), _text("value"))

requests = Table(
    "requests",
    metadata,
    _numbered(),
    _text("listener"),
    _text("key"),
    _text("digest"),
    _time("came"),
    UniqueConstraint("listener", "key"),
)

events = Table(
    "events",
    metadata,
    _numbered(),
    Column("request", _Number, ForeignKey("requests.id"), nullable=False),
    _text("listener"),
    _text("session"),
    _text("kind"),
    Column("track", Text),
    Column("artist", Text),
    Column("outcome", Text),
    Column("ms_played", Integer),
    _time("at"),
    Index("events_of_session", "listener", "session", "id"),
    # With all that is asked by it, so that a listener's rows are read in one place.
    Index("events_of_kind", "listener", "kind", "id", "session", "track", "artist"),
)

tracks = Table(
    "tracks",
    metadata,
    _numbered(),
    _text("uri", unique=True),
    *(Column(n, Text) for n in ("title", "artist", "artist_uri", "album", "album_uri")),
    Column("duration_ms", Integer),
    Column("recording", Text),
)

playlists = Table(
    "playlists",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text),
    _text("title"),
    _text("tracks"),
    Column("version", Integer, nullable=False),
    _time("created"),
    _time("changed"),
    Index("playlists_of_owner", "owner", "id"),
)
"""``tracks``: uris as a JSON list."""

uploads = Table(
    "uploads",
    metadata,
    _numbered(),
    _text("uri", unique=True),
    _text("file"),
    _text("about"),
)
"""``about``: the other columns of the table tracks, as a JSON object."""

_KEPT = ("requests", "events", "tracks")
"""Tables that only grow; the database itself refuses anything else."""


def _refuse_changes() -> None:
    def after_creation(statement: str, dialect: str) -> None:
        ddl = DDL(statement)  # type: ignore[no-untyped-call]
        event.listen(metadata, "after_create", ddl.execute_if(dialect=dialect))

    after_creation(
        "CREATE FUNCTION segue_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '%% only grows', TG_TABLE_NAME; END $$",
        "postgresql",
    )
    for table in _KEPT:
        after_creation(
            f"CREATE TRIGGER {table}_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION segue_only_grows()",
            "postgresql",
        )
        for change in ("UPDATE", "DELETE"):
            after_creation(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} only grows'); END",
                "sqlite",
            )


_refuse_changes()
