"""Frames of pandas, polars or Arrow become datasets, and tables of a dataset become frames.

Nothing of pandas or polars is imported: frames come by the Arrow PyCapsule interface.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from segue.data.dataset import Dataset
from segue.data.ingestion.columns import LISTEN_ROLES, PLAYLIST_ROLES, map_columns
from segue.data.ingestion.contract import Reading
from segue.data.ingestion.ingest import refuse_nothing
from segue.data.ingestion.limits import Input
from segue.data.ingestion.table_rows import read_tables
from segue.data.outcomes import TableRule
from segue.data.receipt import Receipt
from segue.data.schema import TABLES, Outcome
from segue.data.writer import writing_dataset
from segue.errors import DataError, UsageError
from segue.system.files import TemporaryFolder

_BATCH_ROWS = 1 << 16
"""As the reader of Parquet takes them: the same rows give the same dataset, to the byte."""
_FRAME = Input(Path("frame"), Path("frame"), "frame", 0)
_GAP = re.compile(r"(\d+(?:\.\d+)?) ?(s|sec|min|m|h|d)")
_WRONG = "wrong value in outcome"
_OUTCOMES = f"outcomes are: {', '.join(outcome.name.lower() for outcome in Outcome)}"
_MINUTES = {"s": 1 / 60, "sec": 1 / 60, "m": 1.0, "min": 1.0, "h": 60.0, "d": 1440.0}


def arrow_table(frame: Any, what: str = "frame") -> pa.Table:
    """A frame as an Arrow table.

    Args:
        frame: a pandas or polars DataFrame, an Arrow table, whatever else exports an Arrow stream
            (``__arrow_c_stream__``), or a dict of columns.
        what: its name in messages.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(frame, pa.Table):
        return frame
    pandas = type(frame).__module__.partition(".")[0] == "pandas"
    if not (isinstance(frame, Mapping) or pandas or hasattr(frame, "__arrow_c_stream__")):
        lazy = hasattr(frame, "collect")
        raise UsageError(
            f"{what} is {_kind(frame)}",
            do="collect it first"
            if lazy
            else "give a DataFrame of pandas or polars, an Arrow table, or a dict of columns",
        )
    try:
        return pa.table(dict(frame) if isinstance(frame, Mapping) else frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(f"{what} is not a table of columns ({error})") from error


def _kind(value: Any) -> str:
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    return kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"


def gap_minutes(gap: str | float | timedelta) -> float:
    """Minutes of ``"30min"``, ``"90s"``, ``"2h"``, a number of minutes, or a timedelta.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(gap, timedelta):
        return gap.total_seconds() / 60
    if isinstance(gap, int | float) and not isinstance(gap, bool):
        return float(gap)
    if isinstance(gap, str) and (found := _GAP.fullmatch(gap.strip())):
        return float(found[1]) * _MINUTES[found[2]]
    raise UsageError(
        f"session_gap is {gap!r}", do="give minutes, or text such as '30min', '90s' or '2h'"
    )


def dataset_from_frame(
    frame: Any,
    columns: Mapping[str, str],
    *,
    session_gap: str | float | timedelta | None,
    path: Path | str | None,
) -> Dataset:
    """`Dataset.from_frame`."""
    table = arrow_table(frame)
    for role, column in columns.items():
        if role not in {**LISTEN_ROLES, **PLAYLIST_ROLES}:
            known = ", ".join(dict.fromkeys([*LISTEN_ROLES, *PLAYLIST_ROLES]))
            raise UsageError(f"from_frame has no parameter {role!r}", do=f"roles are: {known}")
        if not isinstance(column, str):
            raise UsageError(f"{role} is {_kind(column)}", do="give the name of a column")
    roles = map_columns(_FRAME, table.column_names, columns)
    timed = roles.owner == "listener" and "time" in roles.columns
    cut = timed and "session" not in roles.columns
    gap = gap_minutes(session_gap) if session_gap is not None else 0.0
    rule = TableRule.make({"gap_minutes": gap} if cut else {})
    table = table.select(list(dict.fromkeys(roles.columns.values()))).combine_chunks()
    receipt = Receipt(format="frame", unit="rows", files=["frame"])
    folder = None
    if path is None:
        folder = TemporaryFolder()
        path = folder.path / "frame"
    with ExitStack() as stack:
        writer = stack.enter_context(writing_dataset(path))
        reading = Reading(writer, receipt, columns, lambda _: None, False, rule)
        read_tables([(_FRAME, roles, table.to_batches(_BATCH_ROWS))], reading)
        _refuse_nothing(receipt)
        writer.finish([receipt], simulated=False)
    if receipt.dropped:
        reasons = ", ".join(f"{reason}: {n:,}" for reason, n in receipt.dropped.items())
        left_out = sum(receipt.dropped.values())
        advice = f"; {_OUTCOMES}" if _WRONG in receipt.dropped else ""
        warnings.warn(
            f"{left_out:,} of {receipt.read:,} rows are left out ({reasons}){advice}", stacklevel=3
        )
    return replace(Dataset.open(path), folder=folder)


def _refuse_nothing(receipt: Receipt) -> None:
    try:
        refuse_nothing(receipt)
    except DataError as error:
        do = _OUTCOMES if _WRONG in receipt.dropped else "check which column has which role"
        raise DataError(error.what, where=error.where, do=do) from error


def table_of(dataset: Dataset, name: str) -> pa.Table:
    """`Dataset.to_arrow`."""
    if name not in TABLES:
        raise UsageError(f"no table {name!r}", do=f"tables are: {', '.join(TABLES)}")
    if name == "playlists":
        titles = pa.array(dataset.titles, pa.string())
        table = dataset.playlists
        return table.set_column(table.column_names.index("title"), "title", titles)
    if name in ("tracks", "listeners"):
        return getattr(dataset, name)
    uris = dataset.tracks["uri"].combine_chunks()
    if name == "playlist_tracks":
        lengths = np.diff(dataset.offsets)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        position = np.arange(len(owner)) - np.repeat(dataset.offsets[:-1], lengths)
        columns = {
            "playlist": dataset.playlists["uri"].combine_chunks().take(pa.array(owner)),
            "playlist_title": pa.array(dataset.titles, pa.string()).take(pa.array(owner)),
            "position": pa.array(position, pa.int32()),
            "track": uris.take(pa.array(dataset.entries)),
        }
        return pa.table(columns)
    table = dataset.audio if name == "audio" else dataset.listens
    columns = {column: table[column].combine_chunks() for column in table.column_names}
    columns["track"] = uris.take(columns["track"])
    if name == "listens":
        names = pa.array([outcome.name.lower() for outcome in Outcome])
        columns["listener"] = dataset.listeners["uri"].combine_chunks().take(columns["listener"])
        columns["outcome"] = names.take(columns["outcome"])
    return pa.table(columns)
