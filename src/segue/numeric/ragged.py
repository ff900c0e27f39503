"""Rows of different lengths, held end to end; and pairs of (owner, value) as single keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from segue.numeric.arrays import Bools, Int32, Int64, fixed, indices, offsets_of


def pair_keys(owners: Int32 | Int64, values: Int32) -> Int64:
    """One number for each pair, which sorts by owner, then by value.

    Args:
        owners: from 0. (pairs,)
        values: from 0. (pairs,)
    """
    keys: Int64 = owners.astype(np.int64, copy=False) << 32 | values
    return keys


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Rows of different lengths. Holds the arrays that it is given, without a copy.

    Attributes:
        offsets: start of each row in `values`, plus the end. (rows + 1,)
        values: all rows, end to end.
    """

    offsets: Int64
    values: Int32

    @classmethod
    def of_pairs(cls, owners: Int32 | Int64, values: Int32, rows: int) -> Self:
        """The values of each owner, rising, without repeats.

        Args:
            owners: row of each value, from 0 to below `rows`, in any order. (pairs,)
            values: from 0. (pairs,)
            rows: number of rows, with the empty ones.
        """
        keys = np.unique(pair_keys(owners, values))
        offsets = np.searchsorted(keys, np.arange(rows + 1, dtype=np.int64) << 32)
        return cls(offsets.astype(np.int64), (keys & 0xFFFFFFFF).astype(np.int32))

    @classmethod
    def of_lists(cls, lists: Sequence[npt.ArrayLike]) -> Self:
        """One row for each list."""
        rows = [np.asarray(some, np.int32) for some in lists]
        values = np.concatenate([np.zeros(0, np.int32), *rows])
        return cls(offsets_of([len(row) for row in rows]), values)

    @classmethod
    def repeat(cls, values: Int32, rows: int) -> Self:
        """The same values in each of `rows` rows."""
        return cls(len(values) * np.arange(rows + 1), np.tile(values, rows))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice) -> Ragged:
        """Consecutive rows. Shares the values."""
        first, last, _ = rows.indices(len(self))
        ends = self.offsets[first : last + 1]
        return Ragged(ends - ends[0], self.values[ends[0] : ends[-1]])

    def take(self, rows: Int64) -> Ragged:
        """The rows of these numbers, in this order."""
        lengths = self.lengths()[rows]
        return Ragged(offsets_of(lengths), self.values[indices(self.offsets[rows], lengths)])

    def row(self, row: int) -> Int32:
        """The values of one row. A view."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def span(self, rows: slice) -> slice:
        """Where the values of consecutive rows lie in `values`."""
        return slice(int(self.offsets[rows.start]), int(self.offsets[rows.stop]))

    def where(self, mask: Bools) -> Ragged:
        """The same rows with the values of a mask alone. mask: (values,)"""
        return Ragged(offsets_of(mask)[self.offsets], self.values[mask])

    def lengths(self) -> Int64:
        """How many values each row has. (rows,)"""
        return np.diff(self.offsets)

    def fixed(self) -> Ragged:
        """The same rows as kernels take them (`segue.numeric.arrays.fixed`)."""
        return Ragged(fixed(self.offsets, np.int64), fixed(self.values, np.int32))

    def owners(self) -> Int64:
        """The row of each value. (values,)"""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths())

    def keys(self) -> Int64:
        """`pair_keys` of each value with its row. (values,)"""
        return pair_keys(self.owners(), self.values)
