"""An input of a reader, and how large it may be."""

from __future__ import annotations

import lzma
import os
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

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
DAMAGE = (
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


def posix(path: str) -> str:
    return unicodedata.normalize("NFC", shown(path).replace(os.sep, "/"))
