"""The Music Streaming Sessions Dataset: session logs, and features of their tracks.

Brost, Mehrotra, Jehan: The Music Streaming Sessions Dataset, WWW 2019, arXiv 1901.09851.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from segue.data.dataset import Int64
from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.drop_reasons import aside, sift
from segue.data.ingestion.external_sort import Columns, Spill
from segue.data.ingestion.header_tables import by_kind
from segue.data.ingestion.limits import Input
from segue.data.ingestion.table_rows import Names, write_listens
from segue.data.ingestion.track_details import DescribedTracks
from segue.data.outcomes import Evidence, MssdRule
from segue.data.readers.csv import batches
from segue.data.schema import Flag

_FILE = re.compile(r"(?:^|/)(?:log|tf)_[^/]*\.csv(?:\.gz|\.bz2|\.zst)?$")

_SKIPS = {
    "skip_1": Flag.SKIP_1,
    "skip_2": Flag.SKIP_2,
    "skip_3": Flag.SKIP_3,
    "not_skipped": Flag.NOT_SKIPPED,
}
_SHUFFLE = "hist_user_behavior_is_shuffle"
_REASONS = {
    "reason_start": "hist_user_behavior_reason_start",
    "reason_end": "hist_user_behavior_reason_end",
}
_CODED = [
    *("session_position", "session_length", "date", "hour_of_day"),
    *(*_SKIPS, _SHUFFLE, *_REASONS.values()),
]
_LOG = ["session_id", "track_id_clean", *_CODED]
_FEATURES = ["track_id", "duration"]

_HOUR_MS, _SECOND_MS = 3_600_000, 1_000
_EPOCH = date(1970, 1, 1).toordinal()

Ints = npt.NDArray[np.int32]

_BOOLEANS = {"true": 1, "false": 0, "True": 1, "False": 0}


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _hour(text: str) -> int | None:
    hour = _whole(text)
    return hour if hour is not None and hour < 24 else None


def _day(text: str) -> int | None:
    """Days since 1970 of a date; None before."""
    try:
        day = date.fromisoformat(text).toordinal() - _EPOCH
    except ValueError:
        return None
    return day if day >= 0 else None


def _numbers(column: pa.DictionaryArray, read: Callable[[str], int | None]) -> Ints:
    """What the texts of a column stand for, -1 for nothing or for none that fits. (rows,)"""
    values = [read(text) for text in column.dictionary.to_pylist()]
    numbers = np.array([-1 if value is None else value for value in [*values, None]], np.int32)
    codes = column.indices.fill_null(len(values)).to_numpy()
    taken: Ints = numbers[codes]
    return taken


def _missing(column: pa.Array) -> npt.NDArray[np.bool_]:
    missing: npt.NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return missing


class _Log:
    """Takes rows of session logs in any order; writes sessions and their listens at the end."""

    def __init__(self, reading: Reading, stack: ExitStack) -> None:
        self._reading = reading
        self.tracks = DescribedTracks(["duration_ms"])
        self._reasons = Names()
        columns = ("run", "position", "length", "hour", "track", "flags", *_REASONS)
        self._spill = stack.enter_context(
            Spill(reading.writer.folder, dict.fromkeys(columns, np.int32))
        )
        # Rows of a session stand together in the published files: a run. Only the id of each run
        # is kept in memory; should a session come in several runs, they are joined at the end.
        self._runs = 0
        self._ids: list[pa.Array] = []
        self._last: str | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in rows; those that cannot be kept are counted."""
        position = _numbers(batch["session_position"], _whole)
        length = _numbers(batch["session_length"], _whole)
        day, hour = _numbers(batch["date"], _day), _numbers(batch["hour_of_day"], _hour)
        skips = {name: _numbers(batch[name], _BOOLEANS.get) for name in _SKIPS}
        reasons = {
            "no session_id": _missing(batch["session_id"]),
            "no track_id_clean": _missing(batch["track_id_clean"]),
            "session_position is not a number from 1": position < 1,
            "session_length is not a number from 1": length < 1,
            "session_position is beyond session_length": position > length,
            "wrong date": day < 0,
            "wrong hour_of_day": hour < 0,
            **{f"{name} is not true or false": value < 0 for name, value in skips.items()},
        }
        good = sift(self._reading, reasons)
        shuffle = _numbers(batch[_SHUFFLE], _BOOLEANS.get)
        if n := int((shuffle < 0).sum()):
            self._reading.note(f"{_SHUFFLE} is not true or false", n)
        flags = (shuffle > 0) * np.int32(Flag.SHUFFLE)
        for name, flag in _SKIPS.items():
            flags |= skips[name] * np.int32(flag)
        columns = {
            "position": position,
            "length": length,
            "hour": day * 24 + hour,
            "flags": flags,
            **{name: self._codes(batch[column]) for name, column in _REASONS.items()},
        }
        if good.any():
            kept = batch.select(["session_id", "track_id_clean"]).filter(pa.array(good))
            columns = {name: column[good] for name, column in columns.items()}
            columns["run"] = self._number(kept["session_id"])
            columns["track"] = self.tracks.rows(kept["track_id_clean"])
            self._spill.append(columns)

    def _codes(self, column: pa.DictionaryArray) -> Ints:
        """Numbers of reasons, -1 for none. (rows,)"""
        numbers = self._reasons.numbers
        return _numbers(column, lambda text: numbers.setdefault(text, len(numbers)))

    def _number(self, ids: pa.Array) -> Ints:
        """Run of each row. (rows,)"""
        new = np.ones(len(ids), np.bool_)
        new[0] = ids[0].as_py() != self._last
        new[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
        self._ids.append(ids.filter(pa.array(new)).cast(pa.large_string()))
        run = self._runs - 1 + np.cumsum(new)
        self._runs, self._last = int(run[-1]) + 1, ids[-1].as_py()
        return run.astype(np.int32)

    def write(self) -> None:
        """Write everything. Call at the end."""
        if not self._runs:
            return
        sessions = pa.chunked_array(self._ids).combine_chunks().dictionary_encode()
        if len(sessions.dictionary) < self._runs:
            self._spill.renumber(sessions.indices.to_numpy())
        for first, last, rows in self._spill.by_owner():
            rows["session"] = rows.pop("run")
            self._write(self._in_order(rows))
            uris = sessions.dictionary[first:last]
            self._reading.writer.add("listeners", {"uri": uris})

    def _in_order(self, rows: Columns) -> Columns:
        """Rows of some sessions by position, one for each."""
        place = rows["session"].astype(np.int64) << 32 | rows["position"]
        step = np.diff(place, prepend=-1)
        if int(step.min()) <= 0:
            if n := int((step < 0).sum()):
                self._reading.note("rows out of order of session_position", n)
            order = np.argsort(place, kind="stable")
            again = np.diff(place[order], prepend=-1) == 0
            if n := int(again.sum()):
                self._reading.receipt.drop("session_position seen before", n)
            rows = {name: column[order[~again]] for name, column in rows.items()}
        self._reading.receipt.keep(len(rows["session"]))
        return rows

    def _write(self, rows: Columns) -> None:
        session, count = rows["session"], len(rows["session"])
        starts = np.flatnonzero(np.diff(session, prepend=-1))
        lengths = np.diff(starts, append=count)
        position = np.arange(count) - np.repeat(starts, lengths)
        if n := int((lengths != np.maximum.reduceat(rows["length"], starts)).sum()):
            self._reading.note("sessions of fewer rows than session_length", n)
        time = self._times(session, rows["hour"], position)
        evidence = Evidence(
            listener=session,
            session=session,
            time=time,
            ms_played=np.full(count, -1, np.int32),
            longest_ms=np.full(count, -1, np.int32),
            flags=rows["flags"],
            **{name: self._words(rows[name]) for name in _REASONS},
        )
        columns: dict[str, Any] = {
            "listener": session,
            "session": session,
            "position": position.astype(np.int32),
            "track": rows["track"],
            "time": pa.array(time, pa.timestamp("ms", "UTC")),
            "outcome": self._reading.rule.derive(evidence),
            "plays": np.ones(count, np.int32),
            "reason_start": evidence.reason_start,
            "reason_end": evidence.reason_end,
            "flags": rows["flags"],
        }
        write_listens(self._reading.writer, columns)

    def _times(self, session: Ints, hour: Ints, position: Int64) -> Int64:
        """When each listen began, in milliseconds since 1970: nobody knows within the hour.

        Times have to rise in a session. So a listen is put at the start of its hour (or of the
        latest hour before it in its session, if that is later), and a second after the start for
        every place in the session.
        """
        base = session.astype(np.int64) << 32
        latest = np.maximum.accumulate(base + hour) - base
        if n := int((hour < latest).sum()):
            self._reading.note("rows of an hour before that of the row before", n)
        time: Int64 = latest * _HOUR_MS + position * _SECOND_MS
        return time

    def _words(self, codes: Ints) -> pa.Array:
        words = pa.array(list(self._reasons.numbers), pa.string())
        return words.take(pa.array(codes, mask=codes < 0))


def _describe(source: Input, reading: Reading, tracks: DescribedTracks) -> None:
    """Durations from a file of features."""
    with aside(reading, "track features") as beside:
        for batch in batches(source, beside, None, _FEATURES, pacsv.ParseOptions()):
            batch = batch.filter(batch["track_id"].is_valid())
            ms = _milliseconds(batch["duration"])
            if n := ms.null_count:
                reading.note("durations that are not seconds", n)
            known = batch["track_id"].filter(ms.is_valid())
            n = tracks.describe(known, {"duration_ms": ms.drop_null()})
            reading.note("tracks with a duration", n)


def _milliseconds(texts: pa.Array) -> pa.Array:
    """From seconds; null where the text is no length of a track. (rows,)"""
    number = pc.match_substring_regex(texts, r"^[0-9]{1,6}(\.[0-9]*)?$")
    seconds = pc.if_else(number, texts, None).cast(pa.float64())
    return pc.round(pc.multiply(seconds, 1000.0)).cast(pa.int64())


def _read(sources: list[Input], reading: Reading) -> None:
    files = by_kind(sources, ",", {"a session log": _LOG, "track features": _FEATURES})
    with ExitStack() as stack:
        log = _Log(reading, stack)
        for source in files["a session log"]:
            for batch in batches(source, reading, None, _LOG, pacsv.ParseOptions(), _CODED):
                log.add(batch)
        for source in files["track features"]:
            _describe(source, reading, log.tracks)
        log.tracks.write(reading.writer)
        log.write()


READER = Reader(
    description="Music Streaming Sessions Dataset: log_*.csv, with tf_*.csv for durations",
    files="MSSD files (log_*.csv and tf_*.csv, plain, .gz, .bz2 or .zst)",
    unit="rows",
    wanted=lambda path: _FILE.search(path) is not None,
    read=_read,
    Settings=MssdRule,
)
