"""JSON arrays of any length, an entry at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator

from segue.data.ingestion.limits import Input, Tick
from segue.data.ingestion.streams import opened
from segue.errors import DataError

MAX_ENTRY_BYTES = 1 << 20
"""Largest entry of an array; memory holds one chunk and one entry."""

_CHUNK = 1 << 18
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(
    # an object with no other inside (nearly every entry is one), a string, the quote of a string
    # that is not whole yet, a bracket
    rb'\{[^{}\[\]"]*+(?:' + _STRING + rb'[^{}\[\]"]*+)*+\}|' + _STRING + rb'|"|[\[\]{}]',
    re.DOTALL,
)
_BLANK = b" \t\r\n"


def entries(source: Input, tick: Tick) -> Iterator[bytes]:
    """The entries of the one JSON array that a file holds, as JSON, in order.

    Entries are only told apart here; what decodes them finds out whether they are valid.

    Raises:
        DataError: not an array, cut off, something after it, or an entry that is too large.
    """
    with opened(source, tick) as stream:
        start = b""
        while not start and (chunk := stream.read(_CHUNK)):
            start = chunk.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
        if not start:
            raise DataError("is empty", where=source, do="get it again")
        if not start.startswith(b"["):
            raise DataError(
                "is not a JSON list", where=source, do="check that it is of this format"
            )
        rest = start[1:]
        while True:
            done = 0
            for first, last in _complete(rest):
                if rest[first:last] == b"]":
                    yield from _scalars(rest[done:first])
                    _nothing_more(rest[last:] + (stream.read(_CHUNK) or b""), source)
                    return
                yield from _scalars(rest[done:first])
                yield rest[first:last]
                done = last
            rest = rest[done:]
            if len(rest) > MAX_ENTRY_BYTES:
                raise DataError(
                    f"has an entry of more than {MAX_ENTRY_BYTES >> 20} MiB",
                    where=source,
                    do="check that it is of this format",
                )
            more = stream.read(_CHUNK)
            if not more:
                raise DataError("ends early: the JSON is cut off", where=source, do="get it again")
            rest += more


def _complete(text: bytes) -> Iterator[tuple[int, int]]:
    """Where the objects, lists and strings begin and end that are whole in `text`.

    The bracket that closes the array comes as itself, and is the last.
    """
    depth = first = 0
    for token in _TOKEN.finditer(text):
        sign = text[token.start()]
        whole = token.end() - token.start() > 1
        if sign == 0x22 and not whole:  # a string that goes on in the next chunk
            return
        if depth == 0:
            first = token.start()
        if not whole:
            depth += 1 if sign in b"[{" else -1
        if depth <= 0:
            yield first, token.end()
        if depth < 0:
            return


def _scalars(between: bytes) -> Iterator[bytes]:
    """Entries among what stands between objects, lists and strings: mostly a comma."""
    for part in between.split(b","):
        if text := part.strip(_BLANK):
            yield text


def _nothing_more(rest: bytes, source: Input) -> None:
    if rest.strip(_BLANK):
        raise DataError(
            "goes on after the end of its list", where=source, do="check that it is of this format"
        )
