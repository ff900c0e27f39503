"""Nothing asks unguarded for what is not on Windows, macOS and Linux alike."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import segue

ROOT = Path(segue.__file__).parent
TESTS = Path(__file__).parents[1]

MODULES = {
    *("resource", "fcntl", "pwd", "grp", "spwd", "crypt", "termios", "tty", "pty", "posix", "nis"),
    *("syslog", "readline", "curses", "msvcrt", "winreg", "winsound", "_winapi"),
}
"""Of the standard library, not on every system."""

NAMES = {
    "os": {
        *("fork", "forkpty", "wait", "wait3", "wait4", "waitid", "posix_spawn", "posix_spawnp"),
        *("getuid", "geteuid", "getgid", "getegid", "getgroups", "setuid", "seteuid", "setgid"),
        *("getpgid", "getpgrp", "setpgid", "setpgrp", "getsid", "setsid", "killpg", "kill"),
        *("chown", "lchown", "fchown", "fchmod", "lchmod", "chroot", "mkfifo", "mknod", "umask"),
        *("sched_getaffinity", "sched_setaffinity", "sched_yield", "nice", "getpriority"),
        *("statvfs", "fstatvfs", "sysconf", "confstr", "pathconf", "uname", "ctermid", "ttyname"),
        *("pread", "pwrite", "preadv", "pwritev", "readv", "writev", "sendfile", "splice"),
        *("posix_fadvise", "posix_fallocate", "memfd_create", "copy_file_range", "eventfd"),
        *("getxattr", "setxattr", "listxattr", "openpty", "register_at_fork", "sync", "fdatasync"),
        *("getrandom", "getloadavg", "symlink", "link", "access", "chmod", "fsync", "rename"),
        *("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_TMPFILE", "O_NONBLOCK", "O_SYNC"),
        *("startfile", "O_BINARY"),
    },
    "signal": {
        *("alarm", "setitimer", "pause", "pthread_sigmask", "pthread_kill", "sigwait"),
        *("sigpending", "siginterrupt", "SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"),
        *("SIGHUP", "SIGKILL", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGCHLD", "SIGPIPE"),
        *("CTRL_C_EVENT", "CTRL_BREAK_EVENT"),
    },
    "socket": {"AF_UNIX", "SO_REUSEPORT", "SO_REUSEADDR", "SO_EXCLUSIVEADDRUSE"},
    "time": {"tzset", "clock_gettime", "pthread_getcpuclockid"},
    "multiprocessing": {"Pool", "Process", "set_start_method"},  # of the default start method
    "tempfile": {"mkstemp", "NamedTemporaryFile", "mktemp"},
    "ctypes": {"CDLL", "WinDLL", "windll", "cdll"},
    "locale": {"nl_langinfo"},
}
"""Not there on every system, or not the same there."""
PLACES = ("/proc", "/dev/", "/tmp", "/sys/", "/etc/", "/usr/")

ALLOWED = {
    ("system/environment.py", "os.kill"): "asked with 0 where the system is not Windows",
    ("system/environment.py", "resource"): "in a function, after Windows, and may be missing",
    ("system/environment.py", "ctypes.WinDLL"): "on Windows alone",
    ("system/environment.py", "/proc"): "may be missing: then getrusage tells",
    ("system/files.py", "ctypes.CDLL"): "a library without renameat2, or none, means two renames",
    ("system/files.py", "os.fsync"): "of what is open for writing on Windows; not of folders",
    ("system/compile_cache.py", "os.getuid"): "where there is one",
    ("system/compile_cache.py", "os.access"): "of folders, where there are users by number",
    ("audio/workers.py", "os.sched_getaffinity"): "where there is one",
    ("audio/workers.py", "signal.pthread_sigmask"): "where there is one",
    ("audio/workers.py", "signal.SIG_BLOCK"): "beside pthread_sigmask",
    ("audio/workers.py", "signal.SIG_SETMASK"): "beside pthread_sigmask",
    ("audio/worker_process.py", "signal.alarm"): "where there is one",
    ("audio/worker_process.py", "resource"): "in a function, after Windows, and may be missing",
    ("audio/worker_process.py", "/proc"): "may be missing: then there is no limit",
    ("data/writer.py", "os.link"): "a copy where there are no links",
    ("data/feedback/database.py", "os.access"): "on Windows of the read-only attribute",
    ("service/app.py", "signal.SIGHUP"): "where there is one",
    ("service/api/routes.py", "tempfile.mkstemp"): "the file is closed before it is moved",
    ("service/run.py", "signal.SIGHUP"): "where there is one",
    ("service/run.py", "socket.AF_UNIX"): "where there is one",
    ("service/run.py", "socket.SO_REUSEADDR"): "not on Windows, where two could listen",
}
"""Uses with a guard beside them, and what the guard is."""


def uses(file: Path) -> Iterator[tuple[str, int, bool]]:
    """What a file asks of the system: a name, its line, and whether a module is loaded at once."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    at_once = set(map(id, loaded_at_once(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                base = module or alias.name
                if base.split(".")[0] in MODULES:
                    yield base, node.lineno, id(node) in at_once
                elif alias.name in NAMES.get(module, ()):
                    yield f"{module}.{alias.name}", node.lineno, id(node) in at_once
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in NAMES.get(node.value.id, ()):
                yield f"{node.value.id}.{node.attr}", node.lineno, id(node) in at_once
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for place in PLACES:
                if node.value.startswith(place):
                    yield place, node.lineno, id(node) in at_once


def loaded_at_once(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes that run when a module is loaded: all but bodies of functions."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            left += [*node.decorator_list, *node.args.defaults]
            left += [default for default in node.args.kw_defaults if default is not None]
        elif not isinstance(node, ast.Lambda):
            left += ast.iter_child_nodes(node)


FILES = sorted(ROOT.rglob("*.py"))


def test_only_guarded_uses_of_what_is_not_on_every_system() -> None:
    found = {
        (file.relative_to(ROOT).as_posix(), name): line
        for file in FILES
        for name, line, _ in uses(file)
    }
    unguarded = {place: line for place, line in found.items() if place not in ALLOWED}
    assert not unguarded
    assert not ALLOWED.keys() - found.keys()  # the list holds nothing that is gone


@pytest.mark.parametrize("folder", [ROOT, TESTS], ids=["segue", "tests"])
def test_loading_a_module_asks_for_nothing_that_is_not_on_every_system(folder: Path) -> None:
    found = [
        f"{file.relative_to(folder)}:{line}: {name}"
        for file in sorted(folder.rglob("*.py"))
        for name, line, at_once in uses(file)
        if at_once and not name.startswith("/")
    ]
    assert not found


def test_kernels_on_many_cores_are_made_by_one_decorator() -> None:
    """What `njit(parallel=True)` makes ends the process where two threads call it, on macOS."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "parallel":
                assert file.name == "parallel.py", f"{file}:{node.value.lineno}"


def test_text_files_are_opened_in_a_stated_encoding() -> None:
    """Windows takes the encoding of the country for what is not stated."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            words = {keyword.arg for keyword in node.keywords}
            texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            if isinstance(node.func, ast.Name) and node.func.id == "open":
                text = not any("b" in mode for mode in texts[1:] or texts if mode != "/dev/null")
                devnull = any(isinstance(a, ast.Attribute) for a in node.args)
                text = text and not devnull
            else:
                text = name in ("read_text", "write_text")
            if text:
                assert "encoding" in words, f"{file}:{node.lineno}"
