"""Parquet files of playlists or listens, with columns that the user maps."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from segue.data.ingestion.columns import Roles, map_columns
from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.limits import Input
from segue.data.ingestion.table_rows import read_tables
from segue.data.outcomes import TableRule
from segue.errors import DataError

_BATCH_ROWS = 1 << 16


def _open(source: Input) -> pq.ParquetFile:
    if source.member is not None:
        raise DataError("Parquet is not read from a zip", where=source, do="unpack it")
    try:
        file = pq.ParquetFile(source.path)
        _ = file.schema_arrow.names  # which may be no text
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"is not readable Parquet ({error})", where=source) from error
    return file


def _batches(
    source: Input, file: pq.ParquetFile, wanted: list[str], reading: Reading
) -> Iterator[pa.RecordBatch]:
    rows = max(file.metadata.num_rows, 1)
    try:
        for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
            batch.validate(full=True)  # Parquet does not see to it that text is UTF-8
            yield batch
            reading.tick(source.size * len(batch) / rows)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"is damaged ({error})", where=source, do="get it again") from error


def _files(
    sources: list[Input], reading: Reading
) -> Iterator[tuple[Input, Roles, Iterator[pa.RecordBatch]]]:
    for source in sources:
        with _open(source) as file:
            roles = map_columns(source, file.schema_arrow.names, reading.columns)
            wanted = list(dict.fromkeys(roles.columns.values()))
            yield source, roles, _batches(source, file, wanted, reading)


def _read(sources: list[Input], reading: Reading) -> None:
    read_tables(_files(sources, reading), reading)


READER = Reader(
    description="Parquet of playlists or listens, with columns mapped to roles",
    files="Parquet files (*.parquet)",
    unit="rows",
    wanted=lambda path: path.lower().endswith(".parquet"),
    read=_read,
    mapped=True,
    Settings=TableRule,
)
