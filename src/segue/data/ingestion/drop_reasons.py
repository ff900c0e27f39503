"""Rows that cannot be kept: counted, each for one reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.data.ingestion.contract import Reading
from segue.data.receipt import Receipt


def sift(reading: Reading, reasons: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Count the rows that cannot be kept, each for its first reason.

    Args:
        reading: the ingest; the receipt counts those that are dropped, not those that are kept.
        reasons: mask over the rows for every reason; Arrow's or NumPy's.

    Returns:
        The rows that no reason drops. (rows,)
    """
    good: npt.NDArray[np.bool_] | None = None
    for reason, rows in reasons.items():
        wrong = rows.to_numpy(zero_copy_only=False) if isinstance(rows, pa.Array) else rows
        good = np.ones(len(wrong), np.bool_) if good is None else good
        if n := int((wrong & good).sum()):
            reading.receipt.drop(reason, n)
        good &= ~wrong
    assert good is not None
    return good


@contextmanager
def aside(reading: Reading, what: str) -> Iterator[Reading]:
    """For files that are not of listens: rows that are dropped there become notes.

    Args:
        reading: the ingest.
        what: the files hold.

    Yields:
        A reading with a receipt of its own.
    """
    beside = replace(reading, receipt=Receipt(format=reading.receipt.format, unit=what))
    yield beside
    for reason, n in beside.receipt.dropped.items():
        reading.note(f"{reason} in {what}", n)
