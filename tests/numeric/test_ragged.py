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


LISTS = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6)


@given(LISTS, st.data())
def test_rows_are_those_of_the_lists(lists, data):
    rows = Ragged.of_lists(lists)
    assert [rows.row(q).tolist() for q in range(len(rows))] == lists
    assert rows.lengths().tolist() == [len(some) for some in lists]
    first = data.draw(st.integers(0, len(lists)))
    last = data.draw(st.integers(first, len(lists)))
    part = rows[first:last]
    assert [part.row(q).tolist() for q in range(len(part))] == lists[first:last]
    assert part.values.tolist() == rows.values[rows.span(slice(first, last))].tolist()
    chosen = data.draw(st.lists(st.integers(0, len(lists) - 1))) if lists else []
    taken = rows.take(np.array(chosen, np.int64))
    assert [taken.row(q).tolist() for q in range(len(taken))] == [lists[q] for q in chosen]
    even = rows.where(rows.values % 2 == 0)
    assert [even.row(q).tolist() for q in range(len(even))] == [
        [value for value in some if value % 2 == 0] for some in lists
    ]


def test_the_same_values_in_each_row():
    rows = Ragged.repeat(np.array([4, 2], np.int32), 3)
    assert [rows.row(q).tolist() for q in range(3)] == [[4, 2]] * 3
    assert len(Ragged.repeat(np.zeros(0, np.int32), 3)) == 3
