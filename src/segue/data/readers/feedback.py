"""The feedback log of a service, which closes the loop: what was played becomes listens.

It is read alone, or into what another dataset holds. `docs/guides/feedback.md` says how.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segue.data.dataset import Dataset
from segue.data.feedback.sessions import TrackFeedback, heard
from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.limits import Input
from segue.data.ingestion.playlists import ending
from segue.data.outcomes import FeedbackRule
from segue.data.schema import TABLES
from segue.errors import DataError
from segue.system.extras import needs

if TYPE_CHECKING:
    from sqlalchemy import Connection

_BATCH = 1 << 16
_LISTENS = (
    "listener",
    "session",
    "position",
    "track",
    "time",
    "outcome",
    "ms_played",
    "reason_end",
)


def _database(address: str) -> Input:
    """The input that an address stands for."""
    place = _log().address_of(address)
    path = place.path
    if path is not None:  # sqlite:///
        return Input(path, path.absolute().parent, path.name, 0)
    return Input(Path(), Path(), str(place), 0, address=address)


def _log() -> Any:
    """The module that knows databases; it is slow to load, and an extra."""
    try:
        from segue.data.feedback import database
    except ImportError as error:
        raise needs("reading a feedback log", "service", "SQLAlchemy", cause=error) from error
    return database


def _read(sources: list[Input], reading: Reading) -> None:
    if len(sources) > 1:
        raise DataError(
            "is a second log: one is read at a time",
            where=sources[1],
            do="read it into the dataset that the first one gives, by --with",
        )
    (source,) = sources
    if source.member is not None:
        raise DataError("is a database in a zip", where=source, do="unpack it")
    log = _log()
    address = log.address_of(source.address or str(source.path))
    engine = log.engine_of(address, writes=False)
    try:
        with log.telling(address), engine.connect() as connection, connection.begin():
            name = log.check_tables(connection, address)
            _Log(connection, reading, name).read()
    finally:
        engine.dispose()
    reading.tick(source.size)


class _Log:
    """One log, read in one transaction: as it was at one moment."""

    def __init__(self, connection: Connection, reading: Reading, name: str) -> None:
        from segue.data.feedback import tables

        self._connection = connection.execution_options(yield_per=_BATCH)
        self._tables = tables
        self._reading = reading
        self._writer = reading.writer
        self._listeners: dict[str, int] = {}
        self._sessions = 0
        reading.receipt.settings["log"] = name
        if reading.base is not None:
            self._begin_with(reading.base, name)

    def read(self) -> None:
        """Write everything."""
        self._read_tracks()
        first = len(self._listeners)
        order = self._order()
        self._write_listens(self._in_order(self._read_events(order)))
        if len(self._listeners):
            self._writer.add("listeners", {"uri": list(self._listeners)[first:]})
        self._read_playlists()

    def _begin_with(self, base: Dataset, name: str) -> None:
        for source in base.info.sources:
            if source.settings.get("log") == name:
                raise DataError(
                    "has this log already, which would count twice",
                    where=base.path,
                    do="name the dataset that was there before",
                )
        self._writer.copy(base, without=["listens"])
        self._writer.know(base.tracks["uri"].to_pylist())
        uris = base.listeners["uri"].to_pylist()
        self._listeners = {uri: row for row, uri in enumerate(uris)}
        numbers = base.listens["session"].drop_null().to_numpy()
        self._sessions = int(numbers.max(initial=-1)) + 1

    def _read_tracks(self) -> None:
        at = self._tables.tracks.c
        query = self._tables.tracks.select().order_by(at.id)
        for rows in self._connection.execute(query).partitions():
            self._writer.track_ids([row.uri for row in rows], [row[2:] for row in rows].__getitem__)

    def _order(self) -> dict[tuple[str, str], int]:
        """Place of each session of a listener in the order in which they began."""
        from sqlalchemy import func, select

        at = self._tables.events.c
        first = func.min(at.id)
        query = select(at.listener, at.session).group_by(at.listener, at.session).order_by(first)
        found = {(row.listener, row.session): k for k, row in enumerate(self._execute(query))}
        for listener, _ in found:
            self._listeners.setdefault(listener, len(self._listeners))
        self._reading.note("sessions", len(found))
        return found

    def _execute(self, query: Any) -> Iterator[Any]:
        yield from self._connection.execute(query)

    def _read_events(self, order: dict[tuple[str, str], int]) -> pa.Table:
        """The log's listens, session after session; numbers of sessions are those of `order`."""
        from sqlalchemy import select

        at, known = self._tables.events.c, self._tables.tracks.c
        query = (
            select(
                *(at.listener, at.session, at.at, at.kind, at.track, at.outcome, at.ms_played),
                known.duration_ms,
            )
            .select_from(self._tables.events.outerjoin(self._tables.tracks, at.track == known.uri))
            .order_by(at.listener, at.session, at.id)
        )
        settings, receipt = cast(FeedbackRule, self._reading.settings), self._reading.receipt
        parts = [_table([], self._writer)]
        rows: list[tuple[Any, ...]] = []
        for (listener, session), group in groupby(self._execute(query), lambda row: row[:2]):
            events = list(group)
            said = [TrackFeedback(*event[3:]) for event in events]
            listens, dropped = heard(said, settings)
            for reason, n in dropped.items():
                receipt.drop(reason, n)
            receipt.keep(len(events) - dropped.total())
            owner = self._listeners[listener], order[listener, session]
            for position, (place, outcome) in enumerate(listens):
                event = said[place]
                about = (event.track, events[place][2], int(outcome), event.ms_played, event.kind)
                rows.append((*owner, position, *about))
            if len(rows) >= _BATCH:
                parts.append(_table(rows, self._writer))
                rows = []
        return pa.concat_tables([*parts, _table(rows, self._writer)])

    def _in_order(self, listens: pa.Table) -> pa.Table:
        """Listener after listener, each one's sessions as they began, numbered after the base's."""
        listener, session = (listens[name].to_numpy() for name in ("listener", "session"))
        listens = listens.take(pa.array(np.lexsort([session, listener])))
        changes = np.diff(listens["session"].to_numpy(), prepend=-1) != 0
        number = (self._sessions + np.cumsum(changes) - 1).astype(np.int32)
        return listens.set_column(1, TABLES["listens"].field("session"), pa.array(number))

    def _write_listens(self, added: pa.Table) -> None:
        """The base's listens, each listener's followed by those of the log."""
        done = 0
        owners = added["listener"].to_numpy()
        for before in _listens_of(self._reading.base):
            # A listener's rows may go on in the next batch: only of those before are all there.
            until = int(np.searchsorted(owners, before["listener"][-1].as_py()))
            both = pa.concat_tables([before, added.slice(done, until - done)])
            order = np.argsort(both["listener"].to_numpy(), kind="stable")
            self._add_listens(both.take(pa.array(order)))
            done = until
        if len(added):
            self._add_listens(added.slice(done))

    def _add_listens(self, listens: pa.Table) -> None:
        for batch in listens.to_batches(_BATCH):
            self._writer.add("listens", dict(zip(batch.schema.names, batch.columns, strict=True)))

    def _read_playlists(self) -> None:
        query = self._tables.playlists.select().order_by(self._tables.playlists.c.id)
        for rows in self._connection.execute(query).partitions():
            lists = [msgspec.json.decode(row.tracks, type=list[str]) for row in rows]
            full = [(row, uris) for row, uris in zip(rows, lists, strict=True) if uris]
            uris = [uri for _, some in full for uri in some]
            self._reading.receipt.keep(len(uris))
            self._reading.note("playlists", len(full))
            if len(full) < len(rows):
                self._reading.note("playlists without tracks", len(rows) - len(full))
            columns = {
                "uri": [f"segue:playlist:{row.id}" for row, _ in full],
                "title": [row.title or None for row, _ in full],
                "modified_at": [row.changed for row, _ in full],
            }
            tracks = self._writer.track_ids(uris, _nothing)
            self._writer.add_playlists(columns, [len(some) for _, some in full], tracks)


def _nothing(place: int) -> Sequence[None]:
    """What is known of a track that only its uri names."""
    return (None,) * (len(TABLES["tracks"]) - 1)


def _table(rows: list[tuple[Any, ...]], writer: Any) -> pa.Table:
    """Rows of `_LISTENS`, with the track as its uri, as a part of the table listens."""
    values = zip(*rows, strict=True) if rows else [()] * len(_LISTENS)
    columns: dict[str, Sequence[Any]] = dict(zip(_LISTENS, values, strict=True))
    columns["track"] = writer.track_ids(columns["track"], _nothing)
    columns["plays"] = [1] * len(rows)
    return pa.table(
        [
            pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(len(rows), f.type)
            for f in TABLES["listens"]
        ],
        schema=TABLES["listens"],
    )


def _listens_of(base: Dataset | None) -> Iterator[pa.Table]:
    """The table listens of a dataset, a part at a time; columns that it lacks are null."""
    if base is None or not base.info.rows.get("listens"):
        return
    file = pq.ParquetFile(base.path / "listens.parquet")
    there = [f.name for f in TABLES["listens"] if f.name in file.schema_arrow.names]
    for batch in file.iter_batches(_BATCH, columns=there):
        yield pa.table(
            [
                batch[f.name] if f.name in there else pa.nulls(len(batch), f.type)
                for f in TABLES["listens"]
            ],
            schema=TABLES["listens"],
        )


READER = Reader(
    description="feedback log of a service: its SQLite file, or a PostgreSQL connection string",
    files="feedback log (*.sqlite, *.sqlite3, *.db, or postgresql://USER@HOST/DATABASE)",
    unit="rows",
    wanted=ending("sqlite", "sqlite3", "db"),
    read=_read,
    Settings=FeedbackRule,
    database=_database,
    extends=True,
)
