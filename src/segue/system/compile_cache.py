"""Cache folders of libraries for users without a home.

The package imports this module first, so the module imports nothing until it must.
"""

from __future__ import annotations

import os


def keep_compiled() -> None:
    """Give Numba and matplotlib a cache folder if they have none.

    Numba writes beside the code or into the user's cache folder, and raises if it can do neither,
    as in a container whose user has no home and did not install the code. Matplotlib complains.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not hasattr(os, "getuid") or _writable(cache):  # Windows: every user has a home
        return
    if "MPLCONFIGDIR" not in os.environ:
        os.environ["MPLCONFIGDIR"] = _private(os.getuid())
    if "NUMBA_CACHE_DIR" not in os.environ and not _writable(os.path.dirname(__file__)):
        os.environ["NUMBA_CACHE_DIR"] = _private(os.getuid())


def _private(user: int) -> str:
    """A folder that no other user can write to, because it holds code."""
    import stat
    import tempfile

    folder = os.path.join(tempfile.gettempdir(), f"segue-{user}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    status = os.lstat(folder)
    if stat.S_ISDIR(status.st_mode) and status.st_uid == user and not status.st_mode & 0o022:
        return folder
    return tempfile.mkdtemp(prefix="segue-")


def _writable(folder: str) -> bool:
    """Whether the folder is writable, or can be made."""
    while not os.path.exists(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return os.access(folder, os.W_OK | os.X_OK)
