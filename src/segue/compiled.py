"""Where libraries keep what they make, for users without a home."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def keep_compiled() -> None:
    """Give Numba and matplotlib a folder where they would find none.

    Numba writes beside the code or into the user's cache folder, and raises if it can do neither,
    as in a container whose user has no home and did not install the code. Matplotlib complains.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if os.name != "posix" or _writable(cache):
        return
    if "MPLCONFIGDIR" not in os.environ:
        os.environ["MPLCONFIGDIR"] = str(_private())
    if "NUMBA_CACHE_DIR" not in os.environ and not _writable(Path(__file__).parent):
        os.environ["NUMBA_CACHE_DIR"] = str(_private())


def _private() -> Path:
    """A folder that nobody else can write to; what is kept there is code."""
    folder = Path(tempfile.gettempdir(), f"segue-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="segue-"))


def _writable(folder: Path) -> bool:
    """Whether it can be written to, or made."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return os.access(there, os.W_OK | os.X_OK)
