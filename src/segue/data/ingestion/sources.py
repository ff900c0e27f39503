"""Opening source files: plain, gzip, bzip2, zstd and zip members, all as streams with limits.

What is packed is told by its first bytes, not by its name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from segue.data.ingestion.archives import members
from segue.data.ingestion.limits import (
    Input,
    posix,
)
from segue.errors import DataError


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
            below = posix(str(path.relative_to(folder)))
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
                    files = members(source, wanted, stack)
                else:
                    size = source.stat().st_size
                    files = [Input(source, source.parent, posix(source.name), size)]
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", where=source) from error
        if not files:
            raise DataError(
                f"holds no {what}", where=source, do="name another source or another format"
            )
        found += files
    return found
