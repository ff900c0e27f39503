"""Columns that hold run after run."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from segue.numeric.arrays import begins, indices, latest, offsets_of, positions


def test_runs_by_hand():
    assert offsets_of([2, 0, 3]).tolist() == [0, 2, 2, 5]
    assert offsets_of(np.array([True, False, True])).tolist() == [0, 1, 1, 2]
    assert indices(np.array([7, 2]), np.array([2, 3])).tolist() == [7, 8, 2, 3, 4]
    starts = begins(np.array([1, 1, 1, 2, 2]), np.array([5, 5, 6, 6, 6]))
    assert starts.tolist() == [True, False, True, True, False]
    assert positions(starts).tolist() == [0, 1, 0, 0, 1]
    assert not len(begins(np.zeros(0, np.int32)))
    assert not len(positions(np.zeros(0, np.bool_)))


@given(st.lists(st.integers(0, 6), max_size=8), st.integers(1, 4))
def test_the_latest_of_each_run_are_its_end(lengths, most):
    column = [(run, place) for run, length in enumerate(lengths) for place in range(length)]
    offsets, late = latest(offsets_of(lengths), most)
    kept = [row for row, chosen in zip(column, late, strict=True) if chosen]
    for run, length in enumerate(lengths):
        own = kept[offsets[run] : offsets[run + 1]]
        assert own == [(run, place) for place in range(max(0, length - most), length)]
