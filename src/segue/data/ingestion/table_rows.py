"""Playlists or listens from a table, whatever order its rows have."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.data.ingestion.columns import Roles, convert
from segue.data.ingestion.contract import Reading
from segue.data.ingestion.external_sort import Columns, Spill, lengths
from segue.data.ingestion.limits import Input
from segue.data.outcomes import GAP_MINUTES, Evidence, OutcomeRule, possible_lengths
from segue.data.schema import TABLES
from segue.data.sessions import UNTIMED, cut_at_gaps
from segue.data.writer import DatasetWriter
from segue.errors import UsageError
from segue.numeric.arrays import begins, positions

_LAST = np.iinfo(np.int64).max
_WRITE_ROWS = 1 << 18

_SPILLED: dict[str, dict[str, Any]] = {
    "playlist": {"playlist": np.int32, "position": np.int64, "track": np.int32},
    "listener": {
        "listener": np.int32,
        "session": np.int64,
        "position": np.int64,
        "time": np.int64,
        "track": np.int32,
        "outcome": np.int8,
        "plays": np.int32,
        "ms_played": np.int32,
    },
}
_ABSENT = {"position": _LAST, "time": _LAST, "session": -1, "outcome": 0, "plays": 1}
"""What stands for null in a spilled column; -1 for those not named."""


class Names:
    """Numbers of names, in the order they are first seen."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, names: pa.Array) -> npt.NDArray[np.int32]:
        """Number of each name; nulls are not allowed. (rows,)"""
        coded = names.dictionary_encode()
        known = self.numbers
        numbers = [known.setdefault(name, len(known)) for name in coded.dictionary.to_pylist()]
        taken: npt.NDArray[np.int32] = np.array(numbers, np.int32)[coded.indices.to_numpy()]
        return taken


def track_rows(
    writer: DatasetWriter, uris: pa.Array, about: dict[str, pa.Array] | None = None
) -> npt.NDArray[np.int32]:
    """Catalog row of each track; those not seen before are added with what is known of them."""
    coded = uris.dictionary_encode()
    codes = coded.indices.to_numpy()
    seen, first = np.unique(codes, return_index=True)
    where = np.empty(len(coded.dictionary), np.int64)
    where[seen] = first
    columns = [(about or {}).get(name) for name in TABLES["tracks"].names[1:]]

    def describe(i: int) -> list[Any]:
        return [None if c is None else c[int(where[i])].as_py() for c in columns]

    rows = np.array(writer.track_ids(coded.dictionary.to_pylist(), describe), np.int32)
    taken: npt.NDArray[np.int32] = rows[codes]
    return taken


class TableRows:
    """Takes batches of rows of playlists or listens, and writes them in order at the end.

    Args:
        reading: the ingest; its receipt counts rows.
        owner: ``playlist`` or ``listener``.
        stack: removes the spilled rows.
    """

    def __init__(self, reading: Reading, owner: str, stack: ExitStack) -> None:
        self._reading = reading
        self.owner = owner
        self._owners = Names()
        self._sessions = Names()
        self._titles: list[str | None] = []
        self.rule: OutcomeRule = reading.rule
        """With the gap at which sessions are cut."""
        self._derives = False
        self._longest, self._lengths = Growing(), Growing()
        self._spill = stack.enter_context(Spill(reading.writer.folder, _SPILLED[owner]))

    def add(self, batch: pa.RecordBatch, roles: Roles, source: Input) -> None:
        """Take in the rows of one batch; those that cannot be kept are counted."""
        receipt = self._reading.receipt
        values: dict[str, pa.Array] = {}
        dropped = np.zeros(len(batch), bool)
        for role, column in roles.columns.items():
            values[role], reasons = convert(batch[column], roles.kinds[role], role, source)
            if role in ("track", self.owner):
                reasons[f"no {role}"] = values[role].is_null().to_numpy(zero_copy_only=False)
            for reason, rows in reasons.items():
                if n := int((rows & ~dropped).sum()):
                    receipt.drop(reason, n)
                dropped |= rows
        kept = pa.array(~dropped)
        values = {role: column.filter(kept) for role, column in values.items()}
        receipt.keep(len(batch) - int(dropped.sum()))
        if len(values["track"]):
            self._take(values)

    def _take(self, values: dict[str, pa.Array]) -> None:
        owners = self._owners.of(values[self.owner])
        rows: Columns = {
            self.owner: owners,
            "track": track_rows(self._reading.writer, values["track"], values),
        }
        if "session" in values:
            session = values["session"]
            numbers = self._sessions.of(session.fill_null(""))
            rows["session"] = np.where(session.is_valid().to_numpy(False), numbers, -1)
        if self.owner == "listener" and "outcome" not in values and "ms_played" in values:
            self._derives = True
            played = values["ms_played"].fill_null(-1).to_numpy()
            self._longest.raise_to(rows["track"], possible_lengths(played.astype(np.int32)))
            if "duration_ms" in values:
                lengths_ms = values["duration_ms"].fill_null(-1).to_numpy()
                self._lengths.raise_to(rows["track"], lengths_ms)
        for name, kind in _SPILLED[self.owner].items():
            if name in rows:
                continue
            absent = _ABSENT.get(name, -1)
            if name in values:
                rows[name] = values[name].fill_null(absent).to_numpy()
            else:
                rows[name] = np.full(len(owners), absent, kind)
        self._spill.append(rows)
        if self.owner == "playlist":
            self._take_titles(owners, values.get("playlist_title"))

    def _take_titles(self, owners: npt.NDArray[np.int32], titles: pa.Array | None) -> None:
        self._titles += [None] * (len(self._owners.numbers) - len(self._titles))
        if titles is None:
            return
        there = np.flatnonzero(titles.is_valid().to_numpy(False))
        playlists, first = np.unique(owners[there], return_index=True)
        for playlist, row in zip(playlists.tolist(), there[first].tolist(), strict=True):
            if self._titles[playlist] is None:
                self._titles[playlist] = titles[row].as_py()

    def settings(self) -> dict[str, Any]:
        """Settings that made a difference, for the receipt."""
        settings: dict[str, Any] = {}
        if self.owner == "listener" and getattr(self.rule, "gap_minutes", None) is not None:
            settings["gap_minutes"] = self.rule.gap or 0.0
        if self._derives:
            rule = msgspec.structs.asdict(self.rule)
            settings |= {name: rule[name] for name in ("skip_seconds", "finished_share")}
        return settings

    def write(self) -> None:
        """Write everything. Call at the end."""
        if self.owner == "playlist":
            self._write_playlists()
        else:
            self._write_listens()

    def _write_playlists(self) -> None:
        uris = list(self._owners.numbers)
        for first, last, rows in self._spill.by_owner(["position"]):
            self._reading.writer.add_playlists(
                {"uri": uris[first:last], "title": self._titles[first:last]},
                lengths(rows["playlist"], first, last),
                rows["track"],
            )

    def _write_listens(self) -> None:
        sessions = 0
        gap = self.rule.gap
        for _, _, rows in self._spill.by_owner():
            if gap is None:
                columns, new = _sessions_in_order(rows, sessions)
            else:
                columns, new = _sessions_by_gap(rows, sessions, gap)
            sessions += new
            if self._derives:
                columns["outcome"] = self.rule.derive(self._evidence(columns))
            write_listens(self._reading.writer, columns)
        self._reading.writer.add("listeners", {"uri": list(self._owners.numbers)})

    def _evidence(self, columns: dict[str, Any]) -> Evidence:
        track = columns["track"]
        nothing = pa.nulls(len(track), pa.string())
        return Evidence(
            listener=columns["listener"],
            session=columns["session"].fill_null(-1).to_numpy(),
            time=columns["time"].cast("int64").fill_null(UNTIMED).to_numpy(),
            ms_played=columns["ms_played"].fill_null(-1).to_numpy(),
            longest_ms=self._longest.of(track),
            flags=np.zeros(len(track), np.int32),
            reason_start=nothing,
            reason_end=nothing,
            length_ms=self._lengths.of(track),
        )


class Growing:
    """The largest number that each track had, -1 where it had none."""

    def __init__(self) -> None:
        self._values = np.zeros(0, np.int32)

    def raise_to(self, tracks: npt.NDArray[np.int32], values: npt.NDArray[Any]) -> None:
        """Raise the numbers of tracks to these. (rows,)"""
        if len(tracks) and tracks.max() >= len(self._values):
            more = max(int(tracks.max()) + 1, 2 * len(self._values)) - len(self._values)
            self._values = np.append(self._values, np.full(more, -1, np.int32))
        np.maximum.at(self._values, tracks, values.astype(np.int32))

    def of(self, tracks: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The numbers of tracks. (rows,)"""
        known = np.minimum(tracks, len(self._values))
        values: npt.NDArray[np.int32] = np.append(self._values, np.int32(-1))[known]
        return values


def write_listens(writer: DatasetWriter, columns: dict[str, Any]) -> None:
    """Append listens a part at a time."""
    for start in range(0, len(columns["listener"]), _WRITE_ROWS):
        part = slice(start, start + _WRITE_ROWS)
        writer.add("listens", {name: column[part] for name, column in columns.items()})


def _sessions_in_order(rows: Columns, before: int) -> tuple[dict[str, Any], int]:
    """Listens of some listeners: sessions by when they begin, tracks by position or time.

    Args:
        rows: spilled columns, listener after listener, else in file order.
        before: sessions numbered so far.

    Returns:
        Columns of the table listens, and how many sessions there are.
    """
    listener, session, time = rows["listener"], rows["session"], rows["time"]
    place = np.arange(len(listener))
    # A session is a run of one listener: the same name under two listeners is two sessions.
    _, group = np.unique(listener.astype(np.int64) << 32 | session + 1, return_inverse=True)
    began = np.full(int(group.max()) + 1, _LAST)
    np.minimum.at(began, group, time)
    came = np.full(len(began), _LAST)
    np.minimum.at(came, group, place)
    order = np.lexsort((place, time, rows["position"], came[group], began[group], listener))
    rows = {name: column[order] for name, column in rows.items()}
    group = group[order]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    real = rows["session"] >= 0
    run = np.cumsum(np.diff(group, prepend=-1) != 0) - 1
    number = before + np.cumsum(real[starts]) - 1
    columns = _listens(rows, real, number[run], place - starts[run])
    return columns, int(real[starts].sum())


def _sessions_by_gap(rows: Columns, before: int, gap_minutes: float) -> tuple[dict[str, Any], int]:
    """`_sessions_in_order` for listens whose sessions end at a silence (`cut_at_gaps`).

    Tracks are in the order of time, then of position; listens without a time come last, and are
    of no session.
    """
    place = np.arange(len(rows["listener"]))
    order = np.lexsort((place, rows["position"], rows["time"], rows["listener"]))
    rows = {name: column[order] for name, column in rows.items()}
    timed = rows["time"] != _LAST
    session = cut_at_gaps(
        rows["listener"][timed], rows["time"][timed], rows["ms_played"][timed], gap_minutes
    )
    number, position = np.zeros(len(timed), np.int64), np.zeros(len(timed), np.int64)
    starts = begins(session)
    number[timed] = before + session
    position[timed] = positions(starts)
    return _listens(rows, timed, number, position), int(starts.sum())


def _listens(
    rows: Columns,
    in_session: npt.NDArray[np.bool_],
    session: npt.NDArray[np.int64],
    position: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """Columns of the table listens from spilled rows in their order."""
    return {
        "listener": rows["listener"],
        "session": pa.array(session.astype(np.int32), mask=~in_session),
        "position": pa.array(position.astype(np.int32), mask=~in_session),
        "track": rows["track"],
        "time": pa.array(rows["time"], pa.timestamp("ms", "UTC"), mask=rows["time"] == _LAST),
        "outcome": rows["outcome"],
        "plays": rows["plays"],
        "ms_played": pa.array(rows["ms_played"], mask=rows["ms_played"] < 0),
    }


def read_tables(
    sources: Iterable[tuple[Input, Roles, Iterable[pa.RecordBatch]]], reading: Reading
) -> None:
    """Ingest files of rows that are mapped.

    Args:
        sources: every file with its roles and its batches.
        reading: the ingest.

    Raises:
        UsageError: files of playlists and files of listens are mixed, or sessions are to be cut
            where there are no times, or sessions already.
    """
    gap = getattr(reading.rule, "gap_minutes", None)
    with ExitStack() as stack:
        table: TableRows | None = None
        for source, roles, batches in sources:
            table = table or TableRows(reading, roles.owner, stack)
            if roles.owner != table.owner:
                raise UsageError(
                    f"has {roles.owner}s where the files before have {table.owner}s",
                    where=source,
                    do="ingest them apart",
                )
            if gap:
                _refuse_gap(roles, source)
            elif gap is None and "time" in roles.columns and "session" not in roles.columns:
                table.rule = msgspec.structs.replace(reading.rule, gap_minutes=GAP_MINUTES)
            for batch in batches:
                table.add(batch, roles, source)
        if table:
            table.write()
            reading.receipt.settings = table.settings()


def _refuse_gap(roles: Roles, source: Input) -> None:
    """Raises UsageError where sessions cannot be cut at a gap."""
    where = f"{source}: gap_minutes"
    if roles.owner == "playlist":
        raise UsageError("playlists have no sessions", where=where, do="leave it out")
    if "session" in roles.columns:
        raise UsageError(
            f"the column {roles.columns['session']!r} has the sessions",
            where=where,
            do="leave it out",
        )
    if "time" not in roles.columns:
        raise UsageError("no column is mapped to the role time", where=where, do="map time=COLUMN")
