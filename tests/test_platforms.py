"""Segue on systems that are not this one: every other path is taken here by force."""

from __future__ import annotations

import ast
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import segue
from segue import environment, files
from segue.audio import workers
from segue.files import replacing_folder

SOURCES = Path(segue.__file__).parent
HERE = Path(__file__).parent
SECONDS = 300

UNIX_MODULES = {
    "crypt", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios",
    "tty",
}  # fmt: skip
UNIX_NAMES = {
    "os": {
        "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "chown", "fchmod", "fork",
        "getegid", "geteuid", "getgid", "getloadavg", "getpgid", "getuid", "kill", "killpg",
        "mkfifo", "nice", "posix_fadvise",
        "pread", "pwrite", "register_at_fork", "sched_getaffinity", "setsid",
        "statvfs", "sysconf", "wait",
    },
    "signal": {
        "SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIG_BLOCK",
        "SIG_SETMASK", "alarm", "pthread_kill", "pthread_sigmask", "setitimer", "sigwait",
    },
}  # fmt: skip
GUARDED = {
    "audio/_serving.py": {"alarm"},  # hasattr: the other end stops this process anyway
    "audio/workers.py": {"sched_getaffinity", "pthread_sigmask", "SIG_BLOCK", "SIG_SETMASK"},
    "compiled.py": {"getuid"},  # posix alone
    "environment.py": {"kill"},  # after the question for Windows
    "service/app.py": {"SIGHUP"},  # hasattr
    "service/run.py": {"SIGHUP"},  # hasattr
}
"""Where a name that only Unix has stands behind a question for it, beside the other path."""


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(SOURCES.rglob("*.py")):
        yield file.relative_to(SOURCES).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def test_no_module_needs_a_module_of_unix_to_load():
    found = []
    for name, tree in parsed():
        for node in tree.body:
            for inner in ast.walk(node) if not isinstance(node, ast.FunctionDef) else ():
                if isinstance(inner, ast.Import):
                    loaded = {alias.name.split(".")[0] for alias in inner.names}
                elif isinstance(inner, ast.ImportFrom):
                    loaded = {(inner.module or "").split(".")[0]}
                else:
                    continue
                found += [f"{name}: {module}" for module in loaded & UNIX_MODULES]
    assert found == []


def test_names_that_only_unix_has_stand_where_their_other_path_is():
    found: dict[str, set[str]] = {}
    for name, tree in parsed():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
                continue
            if node.attr in UNIX_NAMES.get(node.value.id, ()):
                found.setdefault(name, set()).add(node.attr)
    assert found == GUARDED


def test_text_files_say_their_encoding():
    found = []
    for name, tree in parsed():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if isinstance(node.func, ast.Name):
                called = node.func.id
            if called in {"read_text", "write_text"} or (
                called == "open" and isinstance(node.func, ast.Name)
            ):
                words = {word.arg for word in node.keywords}
                texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                binary = any(isinstance(text, str) and "b" in text for text in texts)
                if "encoding" not in words and not binary:
                    found.append(f"{name}:{node.lineno}")
    assert found == []


# Whole verbs, with what the system lacks taken away


WORLD = ("--tracks=200", "--playlists=150", "--listeners=20", "--sessions=60", "--seed=1")


@pytest.fixture(scope="module", params=["win32", "darwin"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """What each verb said on a system that is not this one, in one process."""
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems are imitated on Linux alone")
    folder = tmp_path_factory.mktemp(request.param)
    files = folder / "lists"
    files.mkdir()
    (files / "a.m3u").write_text("#EXTM3U\n#EXTINF:1,A - b\nmusic/b.mp3\nc.mp3\n", encoding="utf-8")
    world, bundle = str(folder / "world"), str(folder / "bundle")
    train = ["train", "item-knn", world, "--bundle", bundle, "--holdout", "challenge", "--json"]
    commands = {
        "world": ["world", "--dataset", world, *WORLD],
        "train": train,
        "again": train,
        "evaluate": ["evaluate", bundle, world, "--protocol", "challenge", "--json"],
        "continue": ["continue", bundle, "--title", "night", "-n", "3", "--json"],
        "ingest": ["ingest", "m3u", str(files), "--dataset", str(folder / "mine"), "--json"],
        "describe": ["describe", world, "--json"],
        "doctor": ["doctor", "--json"],
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(HERE / "other_systems.py"), request.param],
        input=json.dumps(list(commands.values())),
        capture_output=True, text=True, encoding="utf-8", check=False, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return request.param, dict(zip(commands, json.loads(done.stdout), strict=True))


def test_every_verb_works_there(ran):
    _, verbs = ran
    for verb, (status, _, said) in verbs.items():
        assert status == 0, f"{verb}: {said}"


def test_answers_and_figures_are_there(ran):
    _, verbs = ran
    assert len(json.loads(verbs["continue"][1])["tracks"]) == 3
    (model,) = json.loads(verbs["evaluate"][1])["models"]
    assert model["metrics"]["ndcg@500"]["mean"] > 0
    assert json.loads(verbs["ingest"][1])["kept"] == 2


def test_memory_is_told_in_the_unit_of_the_system(ran):
    system, verbs = ran
    peak = json.loads(verbs["train"][1])["peak_rss_mb"]
    if system == "win32":
        assert peak == 300  # as the imitation says
    else:
        assert peak > 0


def test_doctor_says_what_the_system_lacks(ran):
    system, verbs = ran
    limits = json.loads(verbs["doctor"][1])["limits"]
    assert any("two renames" in limit for limit in limits)
    assert any("SIGHUP" in limit for limit in limits) is (system == "win32")


def test_linux_lacks_nothing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert environment.lacks() == []


# Single paths


def test_replacing_a_folder_takes_two_renames_where_names_cannot_be_exchanged(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: object())
    for text in ("old", "new"):
        with replacing_folder(tmp_path / "a", "f") as partial:
            (partial / "f").write_text(text, encoding="utf-8")
    assert (tmp_path / "a" / "f").read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_written_to(tmp_path, monkeypatch, code):
    real = os.fsync

    def fsync(number: int) -> None:
        if os.path.isdir(f"/dev/fd/{number}"):
            raise OSError(code, os.strerror(code))
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing_folder(tmp_path / "a", "f") as partial:
        (partial / "f").write_text("whole", encoding="utf-8")
    assert (tmp_path / "a" / "f").exists()


def test_memory_is_told_without_proc(tmp_path, monkeypatch):
    pytest.importorskip("resource", reason="Windows has no getrusage")
    told = environment.peak_rss_mb()
    monkeypatch.setattr(environment, "_STATUS", tmp_path / "nothing")
    assert environment.peak_rss_mb() == pytest.approx(told, rel=0.5)
    monkeypatch.setitem(sys.modules, "resource", None)
    assert environment.peak_rss_mb() != environment.peak_rss_mb()  # NaN: nothing tells


def test_a_process_runs_or_does_not():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert environment.is_running(process.pid)
        process.kill()
    assert not environment.is_running(process.pid)
    assert not environment.is_running(2**40)


def test_windows_is_never_asked_by_a_signal(monkeypatch):
    """Signal 0 is Ctrl-C there."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(environment, "_runs_on_windows", lambda pid: pid == 1)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
    assert environment.is_running(1)
    assert not environment.is_running(2)


def test_cores_are_counted_where_processes_are_not_bound_to_any(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert workers.core_count() == 7


def test_the_service_goes_without_a_hangup_where_there_is_none(monkeypatch):
    pytest.importorskip("fastapi", reason="needs the extra `service` (FastAPI)")
    from segue.service import app

    monkeypatch.delattr(signal, "SIGHUP", raising=False)
    assert app._on_hangup(lambda: pytest.fail("nobody hung up")) is False
