"""Writing a dataset folder in a stream; it appears when it is whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from segue.data.dataset import DATASET_FILE, Dataset, plain_path
from segue.data.receipt import DatasetInfo, Receipt
from segue.data.schema import DATASET_FORMAT, DATASET_VERSION, REQUIRED_TABLES, TABLES
from segue.errors import DataError
from segue.system.files import replacing_folder, sha256

_COPY_ROWS = 1 << 18
_BATCH_BYTES = 8 << 20
"""Rows are gathered to this size before they are written, for row groups that read well."""


class DatasetWriter:
    """Writes the tables in a stream; what it keeps in memory is the index of track uris.

    Made by `writing_dataset`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._rows: Counter[str] = Counter()
        self._pending: dict[str, list[pa.RecordBatch]] = {}
        self._pending_bytes: Counter[str] = Counter()
        self._index: dict[str, int] = {}

    @property
    def folder(self) -> Path:
        """The folder being written, for files beside the tables (a world's truth)."""
        return self._folder

    def know(self, uris: Sequence[str]) -> None:
        """Tell which tracks the catalog has already, in the order of its rows (see `copy`)."""
        self._index = {uri: row for row, uri in enumerate(uris)}

    def track_ids(self, uris: Sequence[str], describe: Callable[[int], Sequence[Any]]) -> list[int]:
        """Rows of these tracks in the catalog; those seen for the first time are added.

        Args:
            uris: what the outside calls them; may repeat.
            describe: from a position in `uris` to the track's other columns, in schema order
                (title, artist, artist_uri, album, album_uri, duration_ms, recording). Called for
                new tracks only.
        """
        index = self._index
        known = list(map(index.get, uris))
        names: list[str] = []
        # Values of the new tracks, one track after another: keeping the tuples themselves would
        # wake the garbage collector every few hundred tracks.
        values: list[Any] = []
        for i, row in enumerate(known):
            if row is None:
                size = len(index)
                known[i] = index.setdefault(uris[i], size)
                if len(index) > size:
                    names.append(uris[i])
                    values += describe(i)
        if names:
            columns = TABLES["tracks"].names[1:]
            described = {name: values[k :: len(columns)] for k, name in enumerate(columns)}
            self.add("tracks", {"uri": names, **described})
        return cast("list[int]", known)

    def add(self, table: str, columns: Mapping[str, Any]) -> None:
        """Append rows: arrays or sequences by column name; columns left out become null.

        Raises:
            DataError: a value does not fit its column.
        """
        schema = TABLES[table]
        rows = len(next(iter(columns.values())))
        arrays = []
        for column in schema:
            values = columns.get(column.name)
            try:
                arrays.append(
                    pa.nulls(rows, column.type)
                    if values is None
                    else pa.array(values, type=column.type)
                )
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise DataError(
                    f"has a value that is not {column.type} ({error})",
                    where=f"{table}.{column.name}",
                ) from error
        batch = pa.record_batch(arrays, schema=schema)
        self._pending.setdefault(table, []).append(batch)
        self._rows[table] += rows
        self._pending_bytes[table] += batch.nbytes
        if self._pending_bytes[table] >= _BATCH_BYTES:
            self._flush(table)

    def add_playlists(
        self, columns: Mapping[str, Any], lengths: npt.ArrayLike, tracks: npt.ArrayLike
    ) -> None:
        """Append playlists with their entries.

        Args:
            columns: of the table playlists.
            lengths: entries of each playlist. (playlists,)
            tracks: catalog rows, playlist after playlist, in order. (sum of lengths,)
        """
        first = self._rows["playlists"]
        self.add("playlists", columns)
        lengths = np.asarray(lengths, np.int64)
        starts = np.cumsum(lengths) - lengths
        owner = np.repeat(np.arange(len(lengths)), lengths)
        self.add(
            "playlist_tracks",
            {
                "playlist": (first + owner).astype(np.int32),
                "position": (np.arange(len(owner)) - starts[owner]).astype(np.int32),
                "track": np.asarray(tracks, np.int32),
            },
        )

    def _flush(self, table: str) -> None:
        batches = self._pending.pop(table, [])
        if table not in self._writers:
            self._writers[table] = pq.ParquetWriter(
                self._folder / f"{table}.parquet", TABLES[table], compression="zstd"
            )
        if batches:
            self._writers[table].write_table(pa.Table.from_batches(batches, TABLES[table]))
            self._pending_bytes[table] = 0

    def copy(self, dataset: Dataset, *, without: Sequence[str]) -> None:
        """Append the tables of another dataset, and take over the files beside its tables.

        Args:
            without: tables to leave out.
        """
        for name in dataset.info.rows:
            if name not in without:
                file = pq.ParquetFile(dataset.path / f"{name}.parquet")
                known = [c for c in TABLES[name].names if c in file.schema_arrow.names]
                for batch in file.iter_batches(_COPY_ROWS, columns=known):
                    self.add(name, dict(zip(batch.schema.names, batch.columns, strict=True)))
        ours = {DATASET_FILE, *(f"{name}.parquet" for name in TABLES)}
        for path in dataset.path.iterdir():
            if path.name not in ours:
                _take_over(path, self._folder / path.name)

    def finish(self, sources: list[Receipt], *, simulated: bool) -> DatasetInfo:
        """Close the tables and write dataset.json."""
        for table in {*REQUIRED_TABLES, *self._pending, *self._writers}:
            self._flush(table)
        for writer in self._writers.values():
            writer.close()
        for source in sources:
            if not source.adds_up():
                raise AssertionError(f"receipt of {source.format} does not add up: {source}")
        digest = hashlib.sha256()
        for table in sorted(self._writers):
            digest.update(f"{table} {sha256(self._folder / f'{table}.parquet')}\n".encode())
        info = DatasetInfo(
            format=DATASET_FORMAT,
            version=DATASET_VERSION,
            simulated=simulated,
            fingerprint=digest.hexdigest(),
            sources=sources,
            rows={table: self._rows[table] for table in sorted(self._writers)},
        )
        text = msgspec.json.format(msgspec.json.encode(info), indent=2)
        (self._folder / DATASET_FILE).write_bytes(text)
        return info

    def abandon(self) -> None:
        """Close open files without finishing."""
        for writer in self._writers.values():
            writer.close()


def _take_over(path: Path | str, to: Path | str) -> None:
    """Link a file, or the files of a folder, to another place; copy what cannot be linked."""
    if os.path.isdir(path):
        shutil.copytree(path, to, copy_function=_take_over)
        return
    try:
        os.link(path, to)
    except OSError:
        shutil.copy2(path, to)


@contextmanager
def writing_dataset(path: Path | str) -> Iterator[DatasetWriter]:
    """Write a dataset that appears at `path` only when whole; call `finish` inside.

    Raises:
        DataError: `path` holds something that is not a dataset, or cannot be written.
    """
    with replacing_folder(plain_path(path), DATASET_FILE) as folder:
        writer = DatasetWriter(folder)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise
