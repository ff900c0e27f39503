"""Times as files write them: numbers in four units, dates, ISO 8601 with or without a zone.

All readers go by these rules; a time out of 1970 to 2200 is none.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

EARLIEST = 0
"""1970-01-01, in milliseconds since 1970."""
LATEST = 7_258_118_400_000
"""2200-01-01, which is too late, in milliseconds since 1970."""
OUTSIDE = "time out of 1970 to 2200"
"""Why a row is dropped whose time is no time of a play."""

_ZONED = pa.timestamp("ms", "UTC")
_NUMBER = r"^\s*[+-]?(?:[0-9]{1,18}|[1-8][0-9]{18})(?:\.[0-9]*)?\s*$"
_FIRST_MS, _FIRST_US, _FIRST_NS = 10**11, 10**14, 10**17
"""Numbers from here on are milliseconds, microseconds, nanoseconds; smaller ones seconds."""
_FIRST_DATE, _LAST_DATE = 19_700_101, 21_991_231
_ZONE = re.compile(r"\s*\[?([A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*)\]?$")


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo | None:
    if name.upper() in ("UTC", "GMT", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def _when(text: str) -> datetime | None:
    """A time of ISO 8601, which may name its zone after it."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    text = text.strip()
    zone = None
    # "2020-01-01T00:00:00Z" and "2020-W01" end in letters, too: what reads as it is goes first.
    if text[-1:].isalpha() or text.endswith("]"):
        zone_text = _ZONE.search(text)
        if zone_text is None or (zone := _zone(zone_text[1])) is None:
            return None
        text = text[: zone_text.start()]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=zone)


def _ms(text: str | None) -> int | None:
    """Milliseconds since 1970 of an ISO 8601 time of any year."""
    when = _when(text or "")
    if when is None:
        return None
    try:
        return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def iso_time(text: str | None) -> int | None:
    """Milliseconds since 1970 of an ISO 8601 time from 1970 to 2200; UTC where it has no zone."""
    ms = _ms(text)
    return ms if ms is not None and EARLIEST <= ms < LATEST else None


def _all_ms(texts: pa.Array) -> pa.Array:
    for kind in (pa.timestamp("ms"), _ZONED):
        try:
            return texts.cast(kind).cast(pa.int64())
        except pa.ArrowInvalid:  # a zone or none, or a text that is no time
            continue
    return pa.array([_ms(text) for text in texts.to_pylist()], pa.int64())


def _outside(ms: pa.Array) -> pa.Array:
    return pc.or_(pc.less(ms, EARLIEST), pc.greater_equal(ms, LATEST)).fill_null(False)


def iso_times(texts: pa.Array) -> pa.Array:
    """Milliseconds since 1970 of ISO 8601 times, null where there is none. (rows,) int64"""
    ms = _all_ms(texts)
    return pc.if_else(_outside(ms), None, ms)


def _dates(numbers: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Milliseconds of numbers that read as YYYYMMDD, and which are such a day. (numbers,)"""
    year, month, day = numbers // 10_000, numbers // 100 % 100, numbers % 100
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    real = (month >= 1) & (month <= 12) & (day >= 1) & (days.astype("datetime64[M]") == months)
    return days.astype("datetime64[ms]").astype(np.int64), real


def _of_numbers(values: pa.Array) -> pa.Array:
    """Milliseconds since 1970 of numbers, by their size; null where one reads as no day."""
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    if numbers.dtype.kind == "f":
        valid &= np.abs(numbers) < 2.0**63
        numbers = np.where(valid, numbers, 0)
    size = np.abs(numbers)
    if numbers.dtype.kind == "f":
        ms = np.select(
            [size < _FIRST_MS, size < _FIRST_US, size < _FIRST_NS],
            [numbers * 1000, numbers, numbers / 1000],
            numbers / 10**6,
        )
        ms = np.rint(ms).astype(np.int64)
    else:
        ms = np.where(size < _FIRST_MS, numbers * 1000, numbers)
        ms = np.where(size >= _FIRST_US, numbers // 1000, ms)
        ms = np.where(size >= _FIRST_NS, numbers // 10**6, ms)
    dated = (numbers >= _FIRST_DATE) & (numbers <= _LAST_DATE)
    if dated.any():
        ms[dated], real = _dates(numbers[dated].astype(np.int64))
        valid[dated] &= real
    return pa.array(ms, mask=~valid)


def _of_text(texts: pa.Array) -> pa.Array:
    number = pc.if_else(pc.match_substring_regex(texts, _NUMBER), texts, None)
    if number.null_count == len(number):
        return _all_ms(texts)
    number = pc.utf8_ltrim(pc.utf8_trim_whitespace(number), "+")
    whole = pc.replace_substring_regex(number, r"\.0*$", "")
    try:
        ms = _of_numbers(whole.cast(pa.int64()))
    except pa.ArrowInvalid:  # with a fraction
        ms = _of_numbers(number.cast(pa.float64()))
    rest = pc.if_else(number.is_valid(), None, texts)
    return ms if rest.null_count == len(rest) else pc.coalesce(ms, _all_ms(rest))


def times(values: pa.Array) -> tuple[pa.Array, pa.Array] | None:
    """Times of a column of any type.

    Seconds, milliseconds, microseconds and nanoseconds since 1970 are told apart by their size; a
    number such as 20200101 is a date. Text is a number or ISO 8601.

    Returns:
        Milliseconds since 1970, null where there is no time, (rows,) int64; and which rows have a
        time out of 1970 to 2200 (null in the first), (rows,). None where the type holds no times.
    """
    kind = values.type
    if pa.types.is_date(kind):
        ms = values.cast(pa.timestamp("s"), safe=False).cast(pa.timestamp("ms")).cast(pa.int64())
    elif pa.types.is_timestamp(kind):
        ms = values.cast(pa.timestamp("ms", kind.tz), safe=False).cast(pa.int64())
    elif pa.types.is_floating(kind):
        ms = _of_numbers(values.cast(pa.float64()))
    elif pa.types.is_uint64(kind):
        small = pc.less(values, pa.scalar(2**63, kind))
        ms = _of_numbers(pc.if_else(small, values, None).cast(pa.int64()))
    elif pa.types.is_integer(kind) or pa.types.is_null(kind):
        ms = _of_numbers(values.cast(pa.int64()))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        ms = _of_text(values.cast(pa.string()))
    else:
        return None
    outside = _outside(ms)
    return pc.if_else(outside, None, ms), outside
