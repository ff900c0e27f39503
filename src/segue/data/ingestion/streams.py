"""Files as streams: unpacked, and bounded in size."""

from __future__ import annotations

import bz2
import gzip
import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, cast

import pyarrow as pa

from segue.data.ingestion.limits import (
    DAMAGE,
    MAX_FILE_BYTES,
    MAX_RATIO,
    MAX_STREAM_BYTES,
    RATIO_FREE_BYTES,
    Input,
    Tick,
)
from segue.errors import DataError

_CHUNK = 1 << 20


def ignore(step: float) -> None:
    pass


def _is_zstd(magic: bytes) -> bool:
    """Whether a file begins with a frame of zstd, or with one to be skipped, as pzstd writes it."""
    return magic == b"\x28\xb5\x2f\xfd" or (magic[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5)


class _Packed:
    """The packed side of a zstd stream, for Arrow to read; it knows whether its end was reached."""

    closed = False

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self.ended = False

    def read(self, size: int) -> bytes:
        content = self._packed.read(size)
        self.ended = not content
        return content

    def close(self) -> None:
        self.closed = True


class _ZstdStream(io.RawIOBase):
    """Unpacks zstd, frame after frame, a megabyte at a time however much a frame unpacks to."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = _Packed(packed)
        self._stream = pa.CompressedInputStream(pa.PythonFile(self._packed, mode="r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            return int(self._stream.readinto(buffer))
        except (OSError, pa.ArrowException) as error:
            # Arrow asks for more only inside a frame: at the end of the file this one is cut off.
            if self._packed.ended:
                raise EOFError from error
            raise


class Bounded(io.RawIOBase):
    """A stream that stops at the limits, and tells every damage as a DataError."""

    def __init__(
        self, source: Input, stream: IO[bytes], raw: IO[bytes], tick: Tick, limit: int | None
    ) -> None:
        self._source, self._stream, self._raw, self._tick = source, stream, raw, tick
        # A plain file read row by row may be of any size; only what is unpacked can be a bomb.
        self._unpacks = stream is not raw
        self._limit = limit or (MAX_STREAM_BYTES if self._unpacks else sys.maxsize)
        self._total = 0
        self._seen = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            n: int = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        except EOFError as error:
            raise DataError(
                "ends early: the packed data is cut off", where=self._source, do="get it again"
            ) from error
        except DAMAGE as error:
            raise DataError(
                f"cannot be read ({error})", where=self._source, do="get it again"
            ) from error
        self._total += n
        self._check()
        seen = self._raw.tell()
        if seen > self._seen:
            self._tick(seen - self._seen)
            self._seen = seen
        return n

    def _check(self) -> None:
        if self._total > self._limit:
            raise DataError(
                f"is larger than {self._limit / 2**30:.3g} GiB", where=self._source, do="split it"
            )
        if (
            self._unpacks
            and self._total > RATIO_FREE_BYTES
            and self._total > MAX_RATIO * self._source.size
        ):
            raise DataError(
                f"unpacks to more than {MAX_RATIO} times its size, like a zip bomb",
                where=self._source,
                do="unpack it yourself if you trust it",
            )


@contextmanager
def opened(source: Input, tick: Tick = ignore, limit: int | None = None) -> Iterator[Bounded]:
    """Open a file for reading, unpacked and bounded.

    Args:
        source: what to open.
        tick: called with packed bytes read, as they are.
        limit: most bytes after unpacking; without one, `MAX_STREAM_BYTES` for what is packed.

    Raises:
        DataError: here or while reading: missing, damaged, cut off, or beyond a limit.
    """
    with ExitStack() as stack:
        try:
            raw: IO[bytes]
            if source.member is None or source.archive is None:
                raw = stack.enter_context(source.path.open("rb"))
                stream: IO[bytes] = raw
            else:
                stream = stack.enter_context(source.archive.open(source.member))
                raw = cast("IO[bytes]", source.archive.fp)
            magic = stream.peek(4)[:4]  # type: ignore[attr-defined]
        except DAMAGE as error:
            raise DataError(f"cannot be read ({error})", where=source, do="get it again") from error
        if magic.startswith(b"\x1f\x8b"):
            stream = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=stream)))
        elif magic.startswith(b"BZh") and magic[3:].isdigit():
            stream = cast("IO[bytes]", stack.enter_context(bz2.BZ2File(stream)))
        elif _is_zstd(magic):
            stream = cast("IO[bytes]", _ZstdStream(stream))
        yield stack.enter_context(Bounded(source, stream, raw, tick, limit))


def read(source: Input, tick: Tick = ignore) -> bytearray:
    """The whole file, unpacked; at most `MAX_FILE_BYTES`."""
    with opened(source, tick, MAX_FILE_BYTES) as stream:
        content = bytearray()
        while chunk := stream.read(_CHUNK):
            content += chunk
    return content
