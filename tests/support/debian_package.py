"""Fetch one Debian package and unpack it; no root is needed.

python tests/support/debian_package.py asc-music FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SECONDS = 300


class NoPackage(Exception):
    """It cannot be had here; the text says why."""


def fetch(package: str, folder: Path) -> Path:
    """The files of a package under a folder, from the mirror that this machine uses.

    What is there already is not fetched again.

    Raises:
        NoPackage: no apt, no network, or no such package.
    """
    to = folder / package
    if to.is_dir():
        return to
    if missing := [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]:
        raise NoPackage(f"no {missing[0]} on this machine")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        lists = Path(place, "lists")
        lists.mkdir()
        try:
            _run("apt-get", "download", package, at=place)
        except NoPackage:  # perhaps the lists are not there: get them here, where nobody is asked
            own = ("-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={place}")
            _run("apt-get", *own, "update", at=place)
            _run("apt-get", *own, "download", package, at=place)
        (archive,) = Path(place).glob("*.deb")
        _run("dpkg-deb", "-x", str(archive), "unpacked", at=place)
        Path(place, "unpacked").rename(to)
    return to


def _run(*command: str, at: str) -> None:
    try:
        ran = subprocess.run(
            command, cwd=at, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise NoPackage(f"{command[0]} took more than {SECONDS} s") from error
    if ran.returncode:
        last = (ran.stderr.strip() or ran.stdout.strip()).splitlines()[-1:]
        raise NoPackage(f"{' '.join(command)}: {' '.join(last)}")


def main(arguments: Sequence[str]) -> int:
    """Fetch what the command line names."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(fetch(arguments[0], Path(arguments[1])))
    except NoPackage as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
