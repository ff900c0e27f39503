"""Atomic writes: folders and files appear under their names only when complete."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import hashlib
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from segue.errors import DataError
from segue.system.environment import is_running

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EBADF, errno.EPERM, errno.ENOTSUP)
"""Error codes of unsupported operations."""


def shown(path: object) -> str:
    """A path or argument as valid UTF-8; other characters become "?"."""
    return str(path).encode(errors="replace").decode()


def _fsync(path: Path) -> None:
    """Sync a file or a folder to disk, as far as the system can."""
    folder = path.is_dir()
    # Windows syncs only files open for writing, POSIX any open file.
    writing = sys.platform == "win32" and not folder
    try:
        fd = os.open(path, os.O_RDWR if writing else os.O_RDONLY)
    except PermissionError:  # Windows: a folder, or a read-only file
        if sys.platform == "win32":
            return
        raise
    try:
        os.fsync(fd)
    except OSError as error:
        if not folder or error.errno not in _UNSUPPORTED:  # some network file systems
            raise
    finally:
        os.close(fd)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two names in one step; False if the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # macOS, an old C library, Windows
        return False
    if renameat2(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (*_UNSUPPORTED, errno.EXDEV):
        return False
    raise OSError(code, os.strerror(code), str(b))


def _real(path: Path) -> Path:
    """Target of a path: a write changes the target of a link, and the link stays."""
    return Path(os.path.realpath(path))


def _previous(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.previous"


def _partial(path: Path) -> Path:
    return path.parent / f".{path.name}.partial-{os.getpid()}"


def recover(folder: Path) -> None:
    """Restore a folder after a crash between the two renames of its replacement."""
    folder = _real(folder)
    previous = _previous(folder)
    if previous.is_dir() and not folder.exists():
        previous.rename(folder)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _sweep(path: Path) -> None:
    """Remove partial files of killed writers next to `path`."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.partial-*"):
        pid = left.name.rpartition("-")[2]
        if pid.isdecimal() and not is_running(int(pid)):
            _remove(left)


def _fresh(folder: Path, marker: str) -> Path:
    """Make the empty folder that becomes `folder` later.

    Raises:
        DataError: as `replacing_folder`.
    """
    partial = _partial(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover(folder)
        shutil.rmtree(_previous(folder), ignore_errors=True)
        _sweep(folder)
        taken = folder.exists() and not (folder / marker).is_file()
        if taken and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(
                f"exists and has no {marker}: it is not replaced",
                where=folder,
                do="name another place, or remove it yourself",
            )
        if os.path.ismount(folder):
            raise DataError(
                "is a mount point, which nothing can be put in place of",
                where=folder,
                do="name a folder in it",
            )
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    except OSError as error:
        raise DataError(f"cannot write here ({error.strerror})", where=folder) from error
    return partial


def refuse_unwritable(folder: Path, marker: str) -> None:
    """Check before long work that `replacing_folder` can write the folder.

    Raises:
        DataError: as `replacing_folder`.
    """
    shutil.rmtree(_fresh(_real(folder), marker), ignore_errors=True)


def refuse_inside(folder: Path, paths: Iterable[Path]) -> None:
    """Check that the replacement of a folder removes no input files.

    Raises:
        DataError: an input file lies in the folder.
    """
    folder = _real(folder)
    for parent in sorted({path.parent for path in paths}) if folder.exists() else ():
        if _real(parent).is_relative_to(folder):
            raise DataError(
                "holds files that are read here, which would be lost when it is replaced",
                where=folder,
                do="name another place",
            )


@contextlib.contextmanager
def replacing_folder(folder: Path, marker: str) -> Iterator[Path]:
    """Yield a new folder to write to; after the block it replaces `folder`.

    At every moment `folder` is either the old one or the complete new one: a sync to disk precedes
    one atomic exchange (or two renames on systems without it; `recover` mends a crash between
    them). If the block raises, `folder` stays as it is.

    Args:
        folder: path of the result. It may exist only if it is empty or holds `marker`.
        marker: name of the file that marks this kind of folder (``dataset.json``).

    Raises:
        DataError: `folder` is a folder of another kind or not writable, or the block raised
            OSError.
    """
    folder = _real(folder)
    partial = _fresh(folder, marker)
    try:
        yield partial
        for path in sorted(partial.rglob("*")):
            _fsync(path)
        _fsync(partial)
        if not folder.exists():
            partial.rename(folder)
        elif not _exchange(partial, folder):
            folder.rename(_previous(folder))
            partial.rename(folder)
        _fsync(folder.parent)
    except BrokenPipeError:
        raise  # of a message, not of this folder
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror or error})", where=folder) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            recover(folder)
        if folder.exists():
            shutil.rmtree(_previous(folder), ignore_errors=True)


def write_file(path: Path, data: bytes | str | Callable[[Path], None]) -> None:
    """Write a file atomically; a device or pipe directly.

    Args:
        path: path of the file.
        data: its content; or a function that writes large content to a path.

    Raises:
        DataError: it cannot be written.
    """
    path = _real(path)
    partial = _partial(path)

    def write(to: Path) -> None:
        if callable(data):
            data(to)
        else:
            to.write_bytes(data.encode() if isinstance(data, str) else data)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file() and not path.is_dir():
            write(path)
            return
        _sweep(path)
        write(partial)
        _fsync(partial)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"cannot write ({error.strerror})", where=path) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class TemporaryFolder:
    """A temporary folder that exists as long as the object.

    Attributes:
        path: path of the folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="segue-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
