"""Runs segue as another system would let it: what Linux has, and that system lacks, is taken away.

    python tests/support/other_systems.py SYSTEM < COMMANDS

SYSTEM is win32 or darwin. COMMANDS is JSON: lists of arguments of the command line. Prints JSON:
the exit status, stdout and stderr of each. Its own file, so that it is loaded before all others.

A text file that segue opens in no stated encoding is an error, where Python is told to tell of it.
As Windows it also refuses what Windows refuses: to open or sync a folder, to sync what is open for
reading alone, to rename onto a file, and to rename, replace or remove what is open or mapped.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import sys
from types import ModuleType
from typing import Any

MODULES = {
    "win32": ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline"),
    "darwin": (),
}
NAMES = {
    "win32": {
        os: (
            *("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "getpgid", "setsid"),
            *("killpg", "chown", "fchmod", "mkfifo", "sched_getaffinity", "statvfs", "sysconf"),
            *("wait", "nice", "getloadavg", "register_at_fork", "pread", "pwrite"),
        ),
        signal: (
            *("alarm", "setitimer", "pthread_sigmask", "pthread_kill", "sigwait", "SIG_BLOCK"),
            *("SIG_SETMASK", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGCHLD"),
        ),
    },
    "darwin": {os: ("sched_getaffinity", "posix_fadvise", "memfd_create"), signal: ()},
}
PLATFORM_MODULES = (
    "system.environment",
    "system.files",
    "audio.workers",
    "audio.worker_process",
)
"""That ask for `sys.platform`."""


class System:
    """`sys`, of another system."""

    def __init__(self, platform: str) -> None:
        self.platform = platform

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def pretend(system: str) -> None:
    """Take away what the system lacks; before anything else is loaded."""
    import fcntl

    for name in MODULES[system]:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in NAMES[system].items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    plain = ctypes.CDLL

    class CDLL(plain):  # type: ignore[misc, valid-type]
        def __init__(self, name: str | None, *rest: Any, **more: Any) -> None:
            if name is None and system == "win32":
                raise TypeError("argument of type 'NoneType' is not iterable")
            super().__init__(name, *rest, **more)

        def __getattr__(self, name: str) -> Any:
            if name == "renameat2":
                raise AttributeError(name)
            return super().__getattr__(name)

    ctypes.CDLL = CDLL  # type: ignore[misc]
    _hide(folders=system == "win32")
    if system == "win32":
        _refuse_as_windows(fcntl)
        ctypes.WinDLL = Kernel32  # type: ignore[attr-defined]
        ctypes.get_last_error = lambda: 87  # type: ignore[attr-defined]


def _hide(*, folders: bool) -> None:
    def opened(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and not _looking:
            if arguments[0].startswith("/proc/"):
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", arguments[0])
            nameless = (arguments[2] or 0) & os.O_TMPFILE == os.O_TMPFILE
            by_number = arguments[1] is None  # os.open
            if folders and by_number and not nameless and os.path.isdir(arguments[0]):
                raise PermissionError(errno.EACCES, "Permission denied", arguments[0])

    sys.addaudithook(opened)


_looking: list[bool] = []


def _in_use() -> set[str]:
    """Files that this process has open or mapped."""
    _looking.append(True)
    try:
        found = set()
        for number in os.listdir("/proc/self/fd"):
            try:
                found.add(os.readlink(f"/proc/self/fd/{number}"))
            except OSError:
                continue
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            found |= {line.split(None, 5)[5].rstrip("\n") for line in maps if "/" in line}
        return found
    finally:
        _looking.pop()


def _refuse_as_windows(fcntl: ModuleType) -> None:
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    get, sync = fcntl.fcntl, os.fsync

    def fsync(number: int) -> None:
        if get(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        sync(number)

    def free(path: Any) -> None:
        place = os.path.realpath(path)
        used = [file for file in _in_use() if file == place or file.startswith(f"{place}/")]
        if used:
            raise PermissionError(errno.EACCES, f"in use: {used}", os.fspath(path))

    def refusing(call: Any, *, onto: bool) -> Any:
        def refused(path: Any, *rest: Any, **more: Any) -> Any:
            if more.get("dir_fd") is None:
                free(path)
            if rest:
                free(rest[0])
                if not onto and os.path.lexists(rest[0]):
                    raise FileExistsError(errno.EEXIST, "File exists", os.fspath(rest[0]))
            return call(path, *rest, **more)

        return refused

    os.fsync = fsync
    os.rename = refusing(os.rename, onto=False)
    os.replace = refusing(os.replace, onto=True)
    os.unlink = os.remove = refusing(os.unlink, onto=True)


class Function:
    """One of a library of Windows."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __call__(self, *arguments: Any) -> Any:
        return self._answer(*arguments)


class Kernel32:
    """Knows this process, and no other; it has held 300 MB."""

    def __init__(self, name: str, *, use_last_error: bool) -> None:
        assert name == "kernel32"
        assert use_last_error
        self.OpenProcess = Function(lambda access, inherit, pid: 7 if pid == os.getpid() else 0)
        self.GetExitCodeProcess = Function(self._code)
        self.CloseHandle = Function(lambda handle: 1)
        self.GetCurrentProcess = Function(lambda: 7)
        self.K32GetProcessMemoryInfo = Function(self._memory)

    @staticmethod
    def _code(handle: int, code: Any) -> int:
        code._obj.value = 259
        return 1

    @staticmethod
    def _memory(handle: int, counters: Any, size: int) -> int:
        assert size == ctypes.sizeof(counters._obj)
        counters._obj.peak_working_set = 300_000_000
        return 1


def become(system: str) -> None:
    """Let the modules that ask for it see the name of the system."""
    from importlib import import_module

    for name in PLATFORM_MODULES:
        module: ModuleType = import_module(f"segue.{name}")
        module.sys = System(system)  # type: ignore[attr-defined]


def main() -> None:
    """What the file says above."""
    system = sys.argv[1]
    pretend(system)
    import contextlib
    import io
    import json
    import multiprocessing
    import warnings

    multiprocessing.set_start_method("spawn")
    warnings.filterwarnings("error", category=EncodingWarning, module=r"segue(\.|$)")
    become(system)
    from segue.cli import run

    ran = []
    for arguments in json.load(sys.stdin):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(arguments)
        ran.append([status, out.getvalue(), err.getvalue()])
    print(json.dumps(ran))


if __name__ == "__main__":
    main()
