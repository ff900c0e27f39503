"""Reads the files of a dataset's folder and checks that they are what the schema says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segue.data.receipt import DatasetInfo
from segue.data.schema import ADDED, DATASET_FORMAT, DATASET_VERSION, REQUIRED_TABLES, TABLES
from segue.errors import DataError
from segue.system.mismatch import mismatch_of


def read_info(file: Path) -> DatasetInfo:
    """Read ``dataset.json``.

    Raises:
        DataError: it is damaged, of another format, or of a newer version.
    """
    try:
        raw = msgspec.json.decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"is not valid JSON ({error})", where=file) from error
    if not isinstance(raw, dict) or raw.get("format") != DATASET_FORMAT:
        raise DataError("is not the file of a segue dataset", where=file)
    version = raw.get("version")
    if isinstance(version, int) and not 1 <= version <= DATASET_VERSION:
        raise DataError(
            f"has version {version}, this segue reads up to {DATASET_VERSION}",
            where=file,
            do="use a newer segue",
        )
    try:
        return msgspec.convert(raw, DatasetInfo)
    except msgspec.ValidationError as error:
        raise DataError(str(mismatch_of(raw, DatasetInfo)), where=file) from error


def check_tables(path: Path, info: DatasetInfo) -> None:
    """Check files, columns, numbers of rows, and that every index points into its table.

    Raises:
        DataError: a table is missing or is not what `TABLES` says.
    """
    for name, schema in TABLES.items():
        file = path / f"{name}.parquet"
        if not file.is_file():
            if name in REQUIRED_TABLES or info.rows.get(name):
                raise DataError("is missing", where=file, do="ingest again")
            continue
        try:
            meta = pq.read_metadata(file)
            found = meta.schema.to_arrow_schema()
            names = found.names
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"is not readable Parquet ({error})", where=file) from error
        for column in schema:
            times = names.count(column.name)
            if not times and (name, column.name) in ADDED:
                continue
            if times != 1:
                what = "no column" if not times else "more than one column"
                raise DataError(f"has {what} {column.name}", where=file)
            if found.field(column.name).type != column.type:
                raise DataError(
                    f"has type {found.field(column.name).type}, needs {column.type}",
                    where=f"{file}: {column.name}",
                )
        if meta.num_rows != info.rows.get(name, 0):
            raise DataError(
                f"has {meta.num_rows} rows, dataset.json says {info.rows.get(name, 0)}",
                where=file,
                do="ingest again",
            )
    _check_index(path, info, "playlist_tracks", "playlist", "playlists", rising=True)
    _check_index(path, info, "playlist_tracks", "track", "tracks")
    _check_index(path, info, "listens", "listener", "listeners", rising=True)
    _check_index(path, info, "listens", "track", "tracks")
    _check_index(path, info, "audio", "track", "tracks", rising=True, unique=True)


def _check_index(
    path: Path,
    info: DatasetInfo,
    table: str,
    column: str,
    target: str,
    *,
    rising: bool = False,
    unique: bool = False,
) -> None:
    if not info.rows.get(table):
        return
    where = f"{path / f'{table}.parquet'}: {column}"
    values = read_table(path, table, [column])[column].to_numpy()
    if values.min() < 0 or values.max() >= info.rows.get(target, 0):
        raise DataError(f"points outside the table {target}", where=where)
    if rising and (np.diff(values) < 0).any():
        raise DataError("is not in rising order", where=where)
    if unique and (np.diff(values) == 0).any():
        raise DataError("has a value twice", where=where)


def read_table(path: Path, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table of a dataset's folder, or some of its columns; empty where the file is missing.

    Raises:
        DataError: the file is damaged, or a column that needs values has nulls.
    """
    file = path / f"{name}.parquet"
    if not file.is_file():
        return TABLES[name].empty_table().select(columns or TABLES[name].names)
    try:
        names = columns or TABLES[name].names
        stored = set(pq.read_schema(file).names)
        table = pq.read_table(file, columns=[c for c in names if c in stored])
        table.validate(full=True)  # Parquet does not see to it that text is UTF-8
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"is damaged ({error})", where=file, do="ingest again") from error
    for column in TABLES[name]:
        required = column.name in table.column_names and not column.nullable
        if required and table[column.name].null_count:
            raise DataError("has nulls", where=f"{file}: {column.name}")
    for place, column in enumerate(names):
        if column not in stored:
            kind = TABLES[name].field(column)
            table = table.add_column(place, kind, pa.nulls(len(table), kind.type))
    return table
