"""Rows of different lengths, held end to end; and pairs of (owner, value) as single keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from segue.numeric.arrays import Int32, Int64


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

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def owners(self) -> Int64:
        """The row of each value. (values,)"""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def keys(self) -> Int64:
        """`pair_keys` of each value with its row. (values,)"""
        return pair_keys(self.owners(), self.values)
