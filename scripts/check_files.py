"""What holds for every text file: python scripts/check_files.py FILE...

Says each line that ends in blanks or marks a merge, each file that does not end in one line break,
and each that is too large for a repository. Exit status 1 where it says anything.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LARGEST = 1_000_000
"""Bytes of a file; data belongs elsewhere."""
_MERGE = re.compile(rb"(<{7}|>{7}|\|{7}) |={7}$")


def problems(file: Path) -> Iterator[str]:
    """What is wrong with a file, a line each."""
    size = file.stat().st_size
    if size > LARGEST:
        yield f"{file}: has {size:,} bytes, more than {LARGEST:,}"
        return
    content = file.read_bytes()
    if b"\0" in content or not content:  # no text; empty
        return
    for number, line in enumerate(content.split(b"\n"), 1):
        if line != line.rstrip():
            yield f"{file}:{number}: ends in blanks"
        if _MERGE.match(line):
            yield f"{file}:{number}: marks a merge"
    if not content.endswith(b"\n"):
        yield f"{file}: does not end in a line break"
    elif content.endswith(b"\n\n"):
        yield f"{file}: ends in empty lines"


def main(files: list[str]) -> int:
    """Check what the command line names."""
    found = [problem for name in files if Path(name).is_file() for problem in problems(Path(name))]
    print(*found, sep="\n", end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
