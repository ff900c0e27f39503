"""Where Numba keeps what it compiles."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def keep_compiled() -> None:
    """Give Numba a folder where it would find none; it raises then, and nothing runs.

    It writes beside the code or into the user's cache folder. Code that root installed, run by a
    user without a home (as in containers), has neither.
    """
    if os.name != "posix" or "NUMBA_CACHE_DIR" in os.environ:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if _writable(Path(__file__).parent) or _writable(cache):
        return
    folder = Path(tempfile.gettempdir(), f"segue-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    # What is kept there is code: it has to be ours, and nobody else may have put it there.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        folder = Path(tempfile.mkdtemp(prefix="segue-"))
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


def _writable(folder: Path) -> bool:
    """Whether it can be written to, or made."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return os.access(there, os.W_OK | os.X_OK)
