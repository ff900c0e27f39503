"""Rows of different lengths keep their owners, and pairs become sorted rows without repeats."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segue.numeric.ragged import Ragged, pair_keys

TRACKS = st.integers(0, 2**31 - 1)
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.one_of(st.integers(0, 4), TRACKS)))


def arrays(pairs):
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1].astype(np.int32)


def test_owners_of_rows_with_an_empty_one():
    rows = Ragged(np.array([0, 2, 2, 3]), np.array([7, 5, 7], np.int32))
    assert len(rows) == 3
    assert rows.owners().tolist() == [0, 0, 2]
    assert rows.keys().tolist() == [7, 5, 2 * 2**32 + 7]


@given(PAIRS)
def test_pairs_become_sorted_rows_without_repeats(pairs):
    rows = Ragged.of_pairs(*arrays(pairs), 7)
    got = np.split(rows.values, rows.offsets[1:-1])
    assert [row.tolist() for row in got] == [
        sorted({value for owner, value in pairs if owner == row}) for row in range(7)
    ]
    assert rows.offsets.dtype == np.int64
    assert rows.values.dtype == np.int32


@given(PAIRS)
def test_keys_sort_as_pairs_do(pairs):
    order = np.argsort(pair_keys(*arrays(pairs)), kind="stable")
    assert [pairs[i] for i in order.tolist()] == sorted(pairs)
