"""Text files a line at a time, and lines of CSV that damage one another in no way."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Generator

from segue.data.ingestion.limits import Input, Tick
from segue.data.ingestion.streams import opened
from segue.errors import DataError

MAX_LINE = 1 << 20
"""Most characters of a line."""

_BUFFER = 1 << 18
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def lines(source: Input, tick: Tick) -> Generator[str]:
    """The lines of a text file, without their ends, which may be of any system.

    The text is UTF-8, or UTF-16 with a mark.

    Raises:
        DataError: the file is damaged, in another encoding, or has a line beyond `MAX_LINE`.
    """
    with opened(source, tick) as stream, io.BufferedReader(stream, _BUFFER) as buffered:
        encoding = "utf-16" if buffered.peek(2)[:2] in _UTF_16 else "utf-8-sig"
        text = io.TextIOWrapper(buffered, encoding)
        try:
            while line := text.readline(MAX_LINE + 1):
                if len(line) > MAX_LINE:
                    raise DataError(
                        "has a line of more than a million characters",
                        where=source,
                        do="check that it is of this format",
                    )
                yield line.removesuffix("\n")
        except UnicodeError as error:
            raise DataError(
                f"is not UTF-8 ({getattr(error, 'reason', error)})",
                where=source,
                do="convert it to UTF-8",
            ) from error


class BrokenLine(Exception):
    """A line whose quotes do not close."""


def cells(line: str, delimiter: str = ",") -> list[str]:
    """The values of a line of CSV. A value does not go on in the next line.

    >>> cells('"Artist, The",Title')
    ['Artist, The', 'Title']

    Raises:
        BrokenLine: quotes do not close, or close within a value.
    """
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BrokenLine("quotes that do not close") from error
