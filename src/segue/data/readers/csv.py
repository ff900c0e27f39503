"""CSV and TSV with a header, and columns that the user maps."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pacsv

from segue.data.ingestion.columns import Roles, map_columns
from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.limits import Input
from segue.data.ingestion.playlists import ending
from segue.data.ingestion.streams import opened
from segue.data.ingestion.table_rows import read_tables
from segue.data.outcomes import TableRule
from segue.errors import DataError

_BLOCK_BYTES = 4 << 20
"""Rows are read this many bytes at a time; no row may be longer."""

_CODED = pa.dictionary(pa.int32(), pa.string())


def _delimiter(source: Input) -> str:
    return "\t" if ending("tsv")(source.name) else ","


def header(source: Input, delimiter: str) -> list[str]:
    """Names in the first row of a text table.

    Raises:
        DataError: the file is damaged, empty, not UTF-8, or an archive of files.
    """
    with opened(source) as stream:
        start = bytearray()
        while len(start) < _BLOCK_BYTES and (chunk := stream.read(1 << 16)):
            start += chunk
            if b"\n" in chunk:
                break
    if start[257:262] == b"ustar":
        raise DataError("is a tar archive", where=source, do="unpack it and name its folder")
    try:
        text = bytes(start).rpartition(b"\n")[0] or bytes(start)
        rows = csv.reader(io.StringIO(text.decode("utf-8-sig")), delimiter=delimiter)
        return next(rows)
    except StopIteration as error:
        raise DataError("is empty", where=source) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not UTF-8 ({error.reason})", where=source, do="convert it to UTF-8"
        ) from error
    except csv.Error as error:
        raise DataError(f"has no header of CSV ({error})", where=source) from error


class _Utf8(io.RawIOBase):
    """A stream that stops at what is not UTF-8, before the parser could see it."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        n = self._stream.readinto(buffer) or 0
        self._decoder.decode(memoryview(buffer)[:n], final=n == 0)
        return n


def batches(
    source: Input,
    reading: Reading,
    names: list[str] | None,
    wanted: list[str],
    parse: pacsv.ParseOptions,
    coded: Sequence[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Rows of a text table as text, a block at a time; rows of another width are counted.

    Args:
        source: the file.
        reading: the ingest.
        names: of the columns, where the file has no header.
        wanted: columns to read.
        parse: how rows are written.
        coded: those of the wanted columns that have few values, to be given as dictionaries.

    Raises:
        DataError: the file is damaged, not UTF-8, or not such a table.
    """

    def other_width(row: pacsv.InvalidRow) -> str:
        reading.receipt.drop("wrong number of columns")
        return "skip"

    parse.invalid_row_handler = other_width
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(wanted, pa.string()) | dict.fromkeys(coded, _CODED),
        include_columns=wanted,
        null_values=[""],
        strings_can_be_null=True,
    )
    # One thread: the rows come in order, and the reasons are counted by one caller at a time.
    options = pacsv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=names)
    try:
        with (
            opened(source, reading.tick) as stream,
            pacsv.open_csv(_Utf8(stream), options, parse, convert) as rows,
        ):
            yield from rows
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not UTF-8 ({error.reason})", where=source, do="convert it to UTF-8"
        ) from error
    except pa.ArrowException as error:
        raise DataError(f"cannot be read as a table ({error})", where=source) from error


def _files(
    sources: list[Input], reading: Reading
) -> Iterator[tuple[Input, Roles, Iterator[pa.RecordBatch]]]:
    for source in sources:
        delimiter = _delimiter(source)
        roles = map_columns(source, header(source, delimiter), reading.columns)
        wanted = list(dict.fromkeys(roles.columns.values()))
        parse = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        yield source, roles, batches(source, reading, None, wanted, parse)


def _read(sources: list[Input], reading: Reading) -> None:
    read_tables(_files(sources, reading), reading)


READER = Reader(
    description="CSV (or .tsv) of playlists or listens, with columns mapped to roles",
    files="CSV files (*.csv, *.tsv)",
    unit="rows",
    wanted=ending("csv", "tsv"),
    read=_read,
    mapped=True,
    Settings=TableRule,
)
