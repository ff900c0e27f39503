"""Members of archives as inputs."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from segue.data.ingestion.limits import (
    DAMAGE,
    MAX_MEMBERS,
    MAX_RATIO,
    RATIO_FREE_BYTES,
    Input,
    posix,
)
from segue.errors import DataError


def members(path: Path, wanted: Callable[[str], bool], stack: ExitStack) -> list[Input]:
    """The wanted members of a zip; a zip with anything hostile in it is refused whole."""
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except DAMAGE as error:
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
        found.append(Input(path, path, posix(name), info.compress_size, info, archive))
    unpacked, packed = sum(i.file_size for i in infos), path.stat().st_size
    if unpacked > RATIO_FREE_BYTES and unpacked > MAX_RATIO * packed:
        raise DataError(
            f"unpacks to more than {MAX_RATIO} times its size, like a zip bomb",
            where=path,
            do="unpack it yourself if you trust it",
        )
    return found
