"""Columns that hold run after run: where runs start, what is in them, which come last."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_Number = TypeVar("_Number", np.int32, np.int64, np.float32)


Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


Bools = npt.NDArray[np.bool_]


def offsets_of(lengths: npt.ArrayLike) -> Int64:
    """Where runs of these lengths start, plus the end. (runs + 1,)

    Of a mask over a column, it is how many chosen rows come before each row: with it, the offsets
    of runs in the column become those of the chosen rows.
    """
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def indices(starts: Int64, lengths: Int64) -> Int64:
    """The rows of runs, end to end."""
    before = offsets_of(lengths)
    return np.repeat(starts - before[:-1], lengths) + np.arange(before[-1])


def begins(*columns: npt.NDArray[Any]) -> Bools:
    """Which rows start a run: those that differ from the row before in any column. (rows,)"""
    first = np.ones(len(columns[0]), np.bool_)
    first[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return first


def positions(starts: Bools) -> Int64:
    """Place of each row in its run, from 0. starts: as `begins` gives it. (rows,)"""
    at = np.flatnonzero(starts)
    places: Int64 = np.arange(len(starts)) - at[np.cumsum(starts) - 1]
    return places


def latest(offsets: Int64, most: int) -> tuple[Int64, Bools]:
    """The last rows of each run, `most` at most: their offsets, and which rows they are."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    late = np.arange(offsets[-1]) >= offsets[owner + 1] - most
    return offsets_of(late)[offsets], late


def fixed(array: npt.NDArray[Any], dtype: type[_Number]) -> npt.NDArray[_Number]:
    """The array as kernels take it, never to be written to; so each is compiled only once."""
    view: npt.NDArray[_Number] = np.require(array, dtype, ["C", "A"]).view()
    view.flags.writeable = False
    return view
