"""The cache of audio features on disk."""

from __future__ import annotations

import contextlib
import io
import os
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.errors import DataError

Array = NDArray[Any]
_CRC_BYTES = 4
_HASH = re.compile("[0-9a-f]{64}")


def cache_folder() -> Path:
    """Folder of the cache: $SEGUE_CACHE, or `segue` in the user's cache folder."""
    if chosen := os.environ.get("SEGUE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "segue"


def entry_of(folder: Path, sha256: str) -> Path:
    """Path of the entry for a file hash.

    Raises:
        DataError: invalid hash.
    """
    if not _HASH.fullmatch(sha256):
        raise DataError(f"{sha256!r} is no SHA-256 in hex", where="audio: sha256")
    return folder / sha256[:2] / f"{sha256}.npy"


def write_entry(entry: Path, features: Array) -> None:
    """Write features atomically.

    Raises:
        DataError: the folder is not writable.
    """
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(features), allow_pickle=False)
    content = buffer.getvalue()
    content += zlib.crc32(content).to_bytes(_CRC_BYTES, "little")
    # No sync to disk, which takes longer than the features: the checksum reveals an entry that a
    # system crash damaged.
    partial = entry.with_name(f".{entry.name}.partial-{os.getpid()}")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(entry)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, PermissionError) and whole(entry):
            return  # Windows cannot replace an open file, and its content is the same
        raise DataError(
            f"cannot write ({error.strerror})", where=entry, do="set SEGUE_CACHE to another folder"
        ) from error


def whole(entry: Path) -> bool:
    """Whether an entry exists with the size that its header announces; fast."""
    try:
        with entry.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                return False
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            size = file.tell() + int(np.prod(shape)) * dtype.itemsize + _CRC_BYTES
            return os.fstat(file.fileno()).st_size == size
    except (OSError, ValueError):
        return False


def read_entry(entry: Path) -> Array | None:
    """The features of an entry, or None if it is missing or damaged."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    body, crc = content[:-_CRC_BYTES], content[-_CRC_BYTES:]
    if len(crc) < _CRC_BYTES or zlib.crc32(body) != int.from_bytes(crc, "little"):
        return None
    try:
        read: Array = np.load(io.BytesIO(body), allow_pickle=False)
    except (EOFError, ValueError):  # of nothing, the checksum is right
        return None
    return read
