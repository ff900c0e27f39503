"""Opening source files: plain, gzip, bzip2, zstd and zip members, all as streams with limits.

What is packed is told by its first bytes, not by its name.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, cast

import pyarrow as pa

from segue.errors import DataError
from segue.system.files import shown

MAX_FILE_BYTES = 2 << 30
"""Largest file that is held in memory at once, after unpacking."""
MAX_STREAM_BYTES = 64 << 30
"""Largest packed file that is read row by row, after unpacking."""
MAX_RATIO = 200
"""How many times its packed size a file may unpack to ..."""
RATIO_FREE_BYTES = 4 << 20
"""... once it is larger than this."""
MAX_MEMBERS = 100_000
"""Most members a zip may have."""

_CHUNK = 1 << 20

_DAMAGE = (
    OSError,  # gzip.BadGzipFile is one
    EOFError,
    ValueError,  # a name in a zip that is not in its encoding
    NotImplementedError,  # a zip of a version or compression that Python does not know
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    pa.ArrowException,
)
"""What unpacking damaged data raises."""

Tick = Callable[[float], None]


def _ignore(step: float) -> None:
    pass


@dataclass(frozen=True)
class Input:
    """One file to read, on disk or in a zip. ``str(input)`` names it in messages."""

    path: Path
    """The file on disk (the zip, for a member)."""
    root: Path
    """The source folder; paths inside the file are confined to it. The zip, for a member."""
    name: str
    """Path below `root`: forward slashes, NFC."""
    size: int
    """Bytes on disk, packed."""
    member: zipfile.ZipInfo | None = None
    archive: zipfile.ZipFile | None = field(default=None, repr=False)
    address: str | None = field(default=None, repr=False)
    """Of a database, which may hold a password; `path` is then only its name in messages."""

    def __str__(self) -> str:
        if self.address is not None:
            return self.name
        return str(self.path) if self.member is None else f"{self.path}: {self.member.filename}"


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
        except _DAMAGE as error:
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
def opened(source: Input, tick: Tick = _ignore, limit: int | None = None) -> Iterator[Bounded]:
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
        except _DAMAGE as error:
            raise DataError(f"cannot be read ({error})", where=source, do="get it again") from error
        if magic.startswith(b"\x1f\x8b"):
            stream = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=stream)))
        elif magic.startswith(b"BZh") and magic[3:].isdigit():
            stream = cast("IO[bytes]", stack.enter_context(bz2.BZ2File(stream)))
        elif _is_zstd(magic):
            stream = cast("IO[bytes]", _ZstdStream(stream))
        yield stack.enter_context(Bounded(source, stream, raw, tick, limit))


def read(source: Input, tick: Tick = _ignore) -> bytearray:
    """The whole file, unpacked; at most `MAX_FILE_BYTES`."""
    with opened(source, tick, MAX_FILE_BYTES) as stream:
        content = bytearray()
        while chunk := stream.read(_CHUNK):
            content += chunk
    return content


def _posix(path: str) -> str:
    return unicodedata.normalize("NFC", shown(path).replace(os.sep, "/"))


def _members(path: Path, wanted: Callable[[str], bool], stack: ExitStack) -> list[Input]:
    """The wanted members of a zip; a zip with anything hostile in it is refused whole."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except _DAMAGE as error:
        raise DataError("is a damaged or cut off zip", where=path, do="get it again") from error
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise DataError(
            f"has {len(infos)} members, more than {MAX_MEMBERS}", where=path, do="unpack it"
        )
    found = []
    for info in infos:
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or name[1:2] == ":" or ".." in PurePosixPath(name).parts:
            raise DataError("is a path that leaves the zip", where=f"{path}: {info.filename}")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError("is a symlink in a zip", where=f"{path}: {info.filename}")
        if info.is_dir() or name.startswith("__MACOSX/") or not wanted(name):
            continue
        if info.flag_bits & 1:
            raise DataError("needs a password", where=f"{path}: {info.filename}", do="unpack it")
        found.append(Input(path, path, _posix(name), info.compress_size, info, archive))
    unpacked, packed = sum(i.file_size for i in infos), path.stat().st_size
    if unpacked > RATIO_FREE_BYTES and unpacked > MAX_RATIO * packed:
        raise DataError(
            f"unpacks to more than {MAX_RATIO} times its size, like a zip bomb",
            where=path,
            do="unpack it yourself if you trust it",
        )
    return found


def _files(folder: Path, wanted: Callable[[str], bool], missed: dict[str, int]) -> Iterator[Input]:
    def miss(what: str) -> None:
        missed[what] = missed.get(what, 0) + 1

    for place, folders, names in os.walk(
        folder, onerror=lambda error: miss("folders that cannot be read")
    ):
        folders.sort()
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                miss("linked folders, not followed")
        for name in sorted(names):
            path = Path(place, name)
            below = _posix(str(path.relative_to(folder)))
            if not wanted(below):
                continue
            try:
                found = path.stat()
            except OSError:
                miss("links that lead nowhere" if path.is_symlink() else "files out of reach")
                continue
            if stat.S_ISREG(found.st_mode):
                yield Input(path, folder, below, found.st_size)


def find(
    sources: Sequence[Path],
    wanted: Callable[[str], bool],
    what: str,
    stack: ExitStack,
    missed: dict[str, int] | None = None,
) -> list[Input]:
    """The files that the sources stand for.

    A folder stands for the wanted files below it (linked folders are not followed), a zip for its
    wanted members (a zip in a zip is not opened), any other file for itself.

    Args:
        sources: folders, zips and files.
        wanted: from a path below the source to whether it is one to read.
        what: they are, for messages ("MPD slices (mpd.slice.*.json)").
        stack: closes the zips.
        missed: counts by kind what in folders cannot be looked at, and links that are not followed.

    Raises:
        DataError: a source is missing, holds nothing wanted, or is a hostile zip.
    """
    found: list[Input] = []
    missed = {} if missed is None else missed
    for source in sources:
        if not source.exists():
            raise DataError("no such file or folder", where=source, do="check the path")
        try:
            if source.is_dir():
                files = list(_files(source, wanted, missed))
            elif not source.is_file():
                raise DataError(
                    "is not a file or folder (it may be a pipe)",
                    where=source,
                    do="files are opened more than once: save it to one",
                )
            else:
                with source.open("rb") as file:
                    packed = file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
                if packed:
                    files = _members(source, wanted, stack)
                else:
                    size = source.stat().st_size
                    files = [Input(source, source.parent, _posix(source.name), size)]
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", where=source) from error
        if not files:
            raise DataError(
                f"holds no {what}", where=source, do="name another source or another format"
            )
        found += files
    return found
