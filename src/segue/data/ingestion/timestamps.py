"""Times that are written as text."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

_ZONED = pa.timestamp("ms", "UTC")


def iso_time(text: str | None) -> int | None:
    """Milliseconds since 1970 of an ISO 8601 time; UTC where it has no zone."""
    try:
        when = datetime.fromisoformat(text or "")
        return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def iso_times(texts: pa.Array) -> pa.Array:
    """Milliseconds since 1970 of ISO 8601 times, null where there is none. (rows,) int64"""
    for kind in (pa.timestamp("ms"), _ZONED):
        try:
            return texts.cast(kind).cast(pa.int64())
        except pa.ArrowInvalid:  # a zone or none, or a text that is no time
            continue
    return pa.array([iso_time(text) for text in texts.to_pylist()], pa.int64())
