"""Rows on disk until they can be written in the order of their owners."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

_RANGE_ROWS = 1 << 22
_SCAN_ROWS = 1 << 22

Columns = dict[str, npt.NDArray[Any]]


class Spill:
    """Fixed-width rows in files, one a column, given back owner after owner.

    Memory holds one range of owners (about four million rows) at a time, whatever the number of
    rows. Use as a context; the files are gone when it ends.

    Args:
        folder: where the files go while they live.
        columns: type of each column; the first is the owner, an int32 counted from 0.
    """

    def __init__(self, folder: Path, columns: dict[str, Any]) -> None:
        self._types = {name: np.dtype(kind) for name, kind in columns.items()}
        self._paths = {name: folder / f"{name}.spill" for name in columns}
        self._owner = next(iter(columns))
        self._files = {name: path.open("w+b") for name, path in self._paths.items()}
        self._counts = np.zeros(1024, np.int64)
        self._last = 0
        self._rising = True
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, file in self._files.items():
            file.close()
            try:
                self._paths[name].unlink(missing_ok=True)
            except PermissionError:  # Windows, while it is mapped: it goes with its folder
                if error is None:
                    raise

    def append(self, columns: Columns) -> None:
        """Add rows: an array for every column, all of one length."""
        owner = columns[self._owner]
        if not len(owner):
            return
        top = int(owner.max()) + 1
        if top > len(self._counts):
            self._counts = np.concatenate(
                [self._counts, np.zeros(max(top, len(self._counts)), np.int64)]
            )
        np.add.at(self._counts, owner, 1)
        self._rising &= int(owner[0]) >= self._last and bool((np.diff(owner) >= 0).all())
        self._last = int(owner[-1])
        self.rows += len(owner)
        for name, kind in self._types.items():
            self._files[name].write(np.ascontiguousarray(columns[name], kind).data)

    def renumber(self, numbers: npt.NDArray[Any]) -> None:
        """Give all rows other owners.

        Args:
            numbers: of each present owner; several may become one. (owners,)
        """
        if not self.rows:
            return
        file = self._files[self._owner]
        file.flush()
        owner = np.memmap(file.name, self._types[self._owner], "r+", shape=(self.rows,))
        for start in range(0, self.rows, _SCAN_ROWS):
            part = slice(start, start + _SCAN_ROWS)
            owner[part] = numbers[owner[part]]
        owner.flush()
        counts = np.bincount(numbers, weights=self._counts[: len(numbers)])
        self._counts = counts.astype(np.int64)
        self._rising = False

    def _map(self) -> Columns:
        mapped: Columns = {}
        for name, kind in self._types.items():
            self._files[name].flush()
            mapped[name] = np.memmap(self._paths[name], kind, "r", shape=(self.rows,))
        return mapped

    def _ranges(self) -> Iterator[tuple[int, int, int, int]]:
        """Owners `first` to `last` (excluded) with the number of rows before and up to them."""
        ends = np.cumsum(self._counts)
        owners = int(np.flatnonzero(self._counts)[-1]) + 1
        first = 0
        while first < owners:
            before = int(ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + _RANGE_ROWS, "right")))
            last = min(last, owners)
            yield first, last, before, int(ends[last - 1])
            first = last

    def by_owner(self, order: Sequence[str] = ()) -> Iterator[tuple[int, int, Columns]]:
        """The rows in rising order of owner.

        Args:
            order: columns to sort by within an owner; rows that are equal there stay as they came.

        Yields:
            First owner, last owner (excluded), and all their rows.
        """
        if not self.rows:
            return
        mapped = self._map()
        for first, last, before, end in self._ranges():
            if self._rising:
                rows = {name: np.array(column[before:end]) for name, column in mapped.items()}
            else:
                rows = self._gather(mapped, first, last)
            if order or not self._rising:
                keys = [rows[name] for name in reversed((self._owner, *order))]
                sort = np.lexsort(keys)
                rows = {name: column[sort] for name, column in rows.items()}
            yield first, last, rows

    def _gather(self, mapped: Columns, first: int, last: int) -> Columns:
        picked: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in mapped}
        owner = mapped[self._owner]
        for start in range(0, self.rows, _SCAN_ROWS):
            part = slice(start, start + _SCAN_ROWS)
            mask = (owner[part] >= first) & (owner[part] < last)
            for name, column in mapped.items():
                picked[name].append(column[part][mask])
        return {name: np.concatenate(parts) for name, parts in picked.items()}


def lengths(owner: npt.NDArray[Any], first: int, last: int) -> npt.NDArray[np.int64]:
    """Rows of each owner from `first` to `last` (excluded) in a sorted column."""
    counts: npt.NDArray[np.int64] = np.bincount(owner - first, minlength=last - first)
    return counts
