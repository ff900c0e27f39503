"""Times in all the ways that files write them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.data.ingestion.timestamps import EARLIEST, LATEST, iso_time, iso_times, times

NEW_YEAR = 1_577_836_800
"""2020-01-01T00:00:00Z in seconds since 1970."""


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.float64(), pa.string()])
def test_the_size_of_a_number_tells_its_unit(scale: int, kind: pa.DataType) -> None:
    found, outside = times(pa.array([NEW_YEAR * scale, None], pa.int64()).cast(kind, safe=False))
    assert found.to_pylist() == [NEW_YEAR * 1000, None]
    assert outside.to_pylist() == [False, False]


@given(st.integers(150_000_000, 7_000_000_000), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_a_time_is_the_same_in_every_unit(seconds: int, scale: int) -> None:
    found, _ = times(pa.array([seconds * scale], pa.int64()))
    dates_alone = scale == 1 and 19_700_101 <= seconds <= 21_991_231
    assert dates_alone or found.to_pylist() == [seconds * 1000]


def test_fractions_of_a_second_are_kept() -> None:
    for values in (pa.array([NEW_YEAR + 0.5]), pa.array([f" {NEW_YEAR}.500 "])):
        assert times(values)[0].to_pylist() == [NEW_YEAR * 1000 + 500]


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
def test_a_number_that_reads_as_a_date_is_one(kind: pa.DataType) -> None:
    found, outside = times(pa.array([20200101, 20200230, 20201301], pa.int64()).cast(kind))
    assert found.to_pylist() == [NEW_YEAR * 1000, None, None]
    assert outside.to_pylist() == [False, False, False]


def test_times_out_of_1970_to_2200_are_told_apart_from_what_is_no_time() -> None:
    texts = ["1969-12-31T23:59:59Z", "2200-01-01", "-1", "8000000000", "0001-01-01", "no"]
    found, outside = times(pa.array([*texts, "1970-01-01"]))
    assert found.to_pylist() == [None] * 6 + [0]
    assert outside.to_pylist() == [True] * 5 + [False] * 2
    assert [iso_time(text) for text in (*texts[:2], "0001-01-01")] == [None] * 3
    assert iso_times(pa.array(["1969-12-31 00:00:00", "2020-01-01 00:00:00"])).to_pylist() == [
        None,
        NEW_YEAR * 1000,
    ]


@pytest.mark.parametrize("kind", ["date32", "date64", "s", "ms", "us", "ns", "zone"])
def test_arrow_dates_and_times(kind: str) -> None:
    when = datetime(2020, 1, 1, tzinfo=UTC)
    columns = {
        "date32": pa.array([date(2020, 1, 1), None], pa.date32()),
        "date64": pa.array([date(2020, 1, 1), None], pa.date64()),
        "zone": pa.array([when, None], pa.timestamp("us", "Europe/Berlin")),
    }
    values = columns.get(kind)
    if values is None:
        values = pa.array([when.replace(tzinfo=None), None], pa.timestamp(kind))
    assert times(values)[0].to_pylist() == [NEW_YEAR * 1000, None]


@pytest.mark.parametrize(
    "text",
    [
        "2020-01-01",
        "2020-01-01T00:00:00Z",
        "2020-01-01 00:00:00 UTC",
        "2020-01-01T00:00:00.000000000Z",
        "2020-01-01 00:00:00.0",
        "2020-01-01 01:00:00 Europe/Berlin",
        "2020-01-01T01:00:00+01:00[Europe/Berlin]",
        "2020-01-01 00:00:00 GMT",
        "2020-01-01 00:00:00+00",
        " 2020-01-01 00:00 ",
    ],
)
def test_iso_times_with_names_of_zones_and_fractions(text: str) -> None:
    assert iso_time(text) == NEW_YEAR * 1000
    # beside a text that stops Arrow's own parser
    assert times(pa.array([text, "?"]))[0].to_pylist() == [NEW_YEAR * 1000, None]


@pytest.mark.parametrize("text", ["", "?", "2020-13-01", "2020-01-01 00:00:00 Nowhere/Land", None])
def test_what_is_no_time(text: str | None) -> None:
    assert iso_time(text) is None


def test_columns_that_hold_no_times() -> None:
    assert times(pa.array([[1]])) is None
    assert times(pa.array([True])) is None
    assert times(pa.nulls(1))[0].to_pylist() == [None]
    assert times(pa.array([np.nan, np.inf, 1e300]))[0].to_pylist() == [None] * 3
    assert (EARLIEST, LATEST) == (0, 7_258_118_400_000)
