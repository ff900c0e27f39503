"""Tables for people."""

from __future__ import annotations

import sys

import pyarrow as pa
import pytest

from segue.errors import ConfigError
from segue.system.tables import text_table, to_pandas


def test_columns_are_aligned_and_numbers_end_together() -> None:
    rows = [["hr@10", "0.5"], ["coverage", "12.25"]]
    assert text_table(["metric", "a"], rows, numeric=["a"]) == (
        "metric        a\nhr@10       0.5\ncoverage  12.25"
    )
    assert text_table(["only"], []) == "only"


def test_without_pandas_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"a": [1]})
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"to_frame\(\) needs pandas; pip install pandas, or"):
        to_pandas(table)
