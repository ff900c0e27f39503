"""Tracks that listens name and other files describe."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.data.ingestion.table_rows import Names
from segue.data.writer import DatasetWriter

_WRITE_TRACKS = 100_000


class DescribedTracks:
    """Numbers tracks as they are named, takes what is said of them, and writes all at the end.

    Files of features tell of more tracks than the listens at hand, and come in any order beside
    them: name all tracks first, then describe, then write. Memory is the index of names, and what
    is said of the tracks in it.

    Args:
        columns: of the table tracks, that descriptions fill.
    """

    def __init__(self, columns: list[str]) -> None:
        self._names = Names()
        self._known: dict[str, list[Any]] = {column: [] for column in columns}
        self._described = np.zeros(0, np.bool_)

    def rows(self, names: pa.Array) -> npt.NDArray[np.int32]:
        """Catalog row of each track; nulls are not allowed. (rows,)"""
        return self._names.of(names)

    def describe(self, names: pa.Array, about: dict[str, pa.Array]) -> int:
        """Take what is known of some tracks; the first to describe a track is believed.

        Args:
            names: of the tracks, without nulls; those that no listen names are passed over.
            about: a value for each, by column.

        Returns:
            How many tracks are described by this.
        """
        self._make_room()
        numbers = self._names.numbers
        row = np.array([numbers.get(name, -1) for name in names.to_pylist()], np.int64)
        rows, first = np.unique(row, return_index=True)
        rows, first = rows[rows >= 0], first[rows >= 0]
        new = ~self._described[rows]
        rows, first = rows[new], first[new]
        self._described[rows] = True
        for column, values in about.items():
            known = self._known[column]
            taken = values.take(pa.array(first)).to_pylist()
            for at, value in zip(rows.tolist(), taken, strict=True):
                known[at] = value
        return len(rows)

    def _make_room(self) -> None:
        """For what is said of every track that has a name by now."""
        if more := len(self._names.numbers) - len(self._described):
            self._described = np.append(self._described, np.zeros(more, np.bool_))
            for known in self._known.values():
                known += [None] * more

    def write(self, writer: DatasetWriter, prefix: str = "") -> None:
        """Write the table tracks; their uris are their names after `prefix`."""
        self._make_room()
        names = list(self._names.numbers)
        for start in range(0, len(names), _WRITE_TRACKS):
            part = slice(start, start + _WRITE_TRACKS)
            about = {column: values[part] for column, values in self._known.items()}
            writer.add("tracks", {"uri": [prefix + name for name in names[part]], **about})
