"""Whether a tag may be released: python scripts/check_release.py v1.2.3

The tag has to be the version of the package, and CHANGELOG.md has to have a section of that
version with a date and something in it. That is printed: the notes of the release. Exit status 1
where it is not so.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def version(root: Path) -> str:
    """The version that a build of this tree has."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    if "version" in project["project"]:
        return str(project["project"]["version"])
    source = root / project["tool"]["hatch"]["version"]["path"]
    found = re.search(r'^__version__ = "([^"]+)"$', source.read_text(encoding="utf-8"), re.M)
    if found is None:
        raise SystemExit(f'{source}: has no line __version__ = "..."')
    return found[1]


def notes(changelog: str, release: str) -> str | None:
    """The section of a version in the text of a changelog, without its heading; None: not there."""
    heading = rf"^## \[{re.escape(release)}\] - \d{{4}}-\d\d-\d\d$"
    found = re.search(rf"{heading}(.*?)(?=^## |^\[[^\]]+\]: |\Z)", changelog, re.M | re.S)
    return (found[1].strip() or None) if found else None


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Check the tag that the command line names."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    release = version(root)
    if arguments[0] != f"v{release}":
        print(
            f"the tag is {arguments[0]}, the version {release}: expected v{release}",
            file=sys.stderr,
        )
        return 1
    file = root / "CHANGELOG.md"
    text = notes(file.read_text(encoding="utf-8"), release) if file.is_file() else None
    if text is None:
        print(f"CHANGELOG.md has no section ## [{release}] - DATE with text in it", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
