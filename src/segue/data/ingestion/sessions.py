"""Plays in any order become sessions with outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.data.dataset import Int32
from segue.data.ingestion.contract import Reading
from segue.data.ingestion.external_sort import Columns, Spill
from segue.data.ingestion.table_rows import Names, write_listens
from segue.data.outcomes import Evidence, possible_lengths
from segue.data.schema import TABLES
from segue.data.sessions import cut_at_gaps
from segue.numeric.arrays import begins, positions

_KINDS: dict[str, Any] = {
    "listener": np.int32,
    "track": np.int32,
    "time": np.int64,
    "ms_played": np.int32,
    "reason_start": np.int32,
    "reason_end": np.int32,
    "flags": np.int32,
}


class Listens:
    """Takes plays, and writes them at the end: listener after listener, in sessions.

    Plays of a listener go by when they ended (``time`` and ``ms_played``, where that is known);
    those that ended at once stay as they came, and those that are also of the same track and
    length are one: the others are dropped as duplicates. Times never fall within a listener: a
    start before that of the play before it (clocks that read minutes) is moved to it.

    Sessions are cut at the gap of the reading's rule, which must have one. The receipt of the
    reading counts plays that are kept or dropped here.

    Args:
        reading: the ingest.
        stack: removes the spilled rows.
        columns: that `add` will be given: listener, track and time, and of ms_played,
            reason_start, reason_end and flags those that the source has.
        newest_first: whether the source has plays in falling order: of those at the same time, the
            last to come is then the oldest.
    """

    def __init__(
        self,
        reading: Reading,
        stack: ExitStack,
        columns: Sequence[str],
        *,
        newest_first: bool = False,
    ) -> None:
        self._reading = reading
        self._newest_first = newest_first
        kinds = {name: kind for name, kind in _KINDS.items() if name in columns}
        self._spill = stack.enter_context(Spill(reading.writer.folder, kinds))
        self._reasons = Names()
        self._longest = np.full(1024, -1, np.int32)
        self._lengths: Int32 | None = None
        self._sessions = 0

    def reasons(self, values: pa.Array) -> Int32:
        """What stands for texts in `add`, -1 for null. (rows,)"""
        codes = self._reasons.of(values.fill_null(""))
        return np.where(values.is_valid().to_numpy(zero_copy_only=False), codes, -1)

    def add(self, columns: Columns) -> None:
        """Add plays: an array for every column.

        Args:
            columns: ``listener``: numbers from 0; ``track``: rows of the catalog; ``time``: the
                start in milliseconds since 1970; ``ms_played``: -1 for null; reasons: as
                `reasons` gives them; ``flags``: bits of `Flag`.
        """
        track = columns["track"]
        top = int(track.max(initial=-1)) + 1
        if top > len(self._longest):
            more = np.full(max(top, len(self._longest)), -1, np.int32)
            self._longest = np.concatenate([self._longest, more])
        if "ms_played" in columns:
            played = possible_lengths(columns["ms_played"].astype(np.int32))
            np.maximum.at(self._longest, track, played)
        self._spill.append(columns)

    def write(self, listeners: Sequence[str], lengths: Int32 | None = None) -> None:
        """Write everything. Call at the end.

        Args:
            listeners: uri of each listener, by number. Those without a play are left out.
            lengths: of the catalog's tracks in milliseconds, -1 where that is not known. (tracks,)
        """
        self._lengths = lengths
        kept: list[str] = []
        for _, _, rows in self._spill.by_owner():
            rows = self._in_order(rows)
            numbers, rows["listener"] = np.unique(rows["listener"], return_inverse=True)
            rows["listener"] = (rows["listener"] + len(kept)).astype(np.int32)
            kept += [listeners[number] for number in numbers.tolist()]
            self._write(rows)
        self._reading.writer.add("listeners", {"uri": kept})

    def _in_order(self, rows: Columns) -> Columns:
        """The rows in order of listener and time, each once."""
        if self._newest_first:
            rows = {name: column[::-1] for name, column in rows.items()}
        when = rows["time"] + np.maximum(rows.get("ms_played", 0), 0)
        keys = [rows["track"], rows.get("ms_played", when), when, rows["listener"]]
        same = np.lexsort(keys)  # stable: of equal rows the first to come leads
        again = np.all([np.diff(key[same]) == 0 for key in keys], axis=0)
        once = np.ones(len(same), np.bool_)
        once[same[1:][again]] = False
        if n := int(again.sum()):
            self._reading.receipt.drop("duplicate", n)
        self._reading.receipt.keep(len(same) - n)
        order = np.lexsort([when, rows["listener"]])
        order = order[once[order]]
        return {name: column[order] for name, column in rows.items()}

    def _write(self, rows: Columns) -> None:
        count = len(rows["listener"])
        listener = rows["listener"]
        time = _never_falling(rows["time"], np.flatnonzero(np.diff(listener, prepend=-1)))
        columns: dict[str, Any] = {
            "listener": listener,
            "track": rows["track"],
            "time": pa.array(time, pa.timestamp("ms", "UTC")),
        }
        ms_played = rows.get("ms_played", np.full(count, -1, np.int32))
        columns["ms_played"] = pa.array(ms_played, mask=ms_played < 0)
        for name in ("reason_start", "reason_end"):
            if name in rows:
                codes = pa.array(rows[name], mask=rows[name] < 0)
                columns[name] = self._words.take(codes)
        if "flags" in rows:
            columns["flags"] = rows["flags"]
        gap = self._reading.rule.gap
        assert gap is not None
        session = cut_at_gaps(listener, time, ms_played, gap)
        starts = begins(session)
        columns["session"] = session + self._sessions
        columns["position"] = positions(starts).astype(np.int32)
        columns["plays"] = np.ones(count, np.int32)
        self._sessions += int(starts.sum())
        columns["outcome"] = self._reading.rule.derive(self._evidence(columns))
        write_listens(self._reading.writer, columns)

    @property
    def _words(self) -> pa.Array:
        return pa.array(list(self._reasons.numbers), pa.string())

    def _evidence(self, columns: dict[str, Any]) -> Evidence:
        wanted = [f for f in TABLES["listens"] if f.name not in ("outcome", "plays", "position")]
        count = len(columns["listener"])
        arrays = [
            pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(count, f.type)
            for f in wanted
        ]
        return Evidence.of(pa.table(arrays, schema=pa.schema(wanted)), self._longest, self._lengths)


def _never_falling(
    time: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The running maximum of times within each listener. (rows,)"""
    parts = [np.maximum.accumulate(part) for part in np.split(time, starts[1:])]
    return np.concatenate(parts)
