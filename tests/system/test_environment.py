"""What each system is asked for, when it is forced to be another one."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import other_systems

from segue.errors import DataError
from segue.system import environment, files
from segue.system.environment import is_running, lacks, peak_rss_mb
from segue.system.files import recover, replacing_folder, write_file

MARKER = "marker.json"


def be(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """Let the modules that ask see another system."""
    for module in (environment, files):
        monkeypatch.setattr(module, "sys", other_systems.System(system))


class Windows:
    """kernel32 with processes: pid to exit code, None where opening is denied."""

    def __init__(self, processes: dict[int, int | None], peak: int | None = None) -> None:
        self.processes, self.closed, self.error = processes, [], 0
        self.OpenProcess = other_systems.Function(self._open)
        self.GetExitCodeProcess = other_systems.Function(self._code)
        self.CloseHandle = other_systems.Function(self.closed.append)
        self.GetCurrentProcess = other_systems.Function(lambda: -1)
        self.K32GetProcessMemoryInfo = other_systems.Function(self._memory)
        self.peak = peak

    def _open(self, access: int, inherit: bool, pid: int) -> int:
        if self.processes.get(pid, 0) is None:
            self.error = 5  # ERROR_ACCESS_DENIED
        elif pid not in self.processes:
            self.error = 87  # ERROR_INVALID_PARAMETER
        else:
            return pid * 10
        return 0

    def _code(self, handle: int, code: Any) -> int:
        code._obj.value = self.processes[handle // 10]
        return 1

    def _memory(self, process: int, counters: Any, size: int) -> int:
        assert size == counters._obj.size == ctypes.sizeof(counters._obj)
        if self.peak is None:
            return 0
        counters._obj.peak_working_set = self.peak
        return 1


def windows(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Windows:
    kernel = Windows(**settings)
    be(monkeypatch, "win32")
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: kernel.error, raising=False)
    monkeypatch.setattr(os, "kill", lambda *a: pytest.fail("would send Ctrl-C to the console"))
    return kernel


def test_windows_is_asked_for_a_process_without_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = windows(monkeypatch, processes={4: 259, 8: 0, 12: None})
    assert is_running(4)
    assert not is_running(8)  # ended, and somebody still holds it
    assert is_running(12)  # of another user
    assert not is_running(16)
    assert not is_running(10**30)
    assert not is_running(0)
    assert kernel.closed == [40, 80]


def test_linux_is_asked_for_a_process() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_running(os.getpid())
    assert is_running(os.getppid())
    assert not is_running(ended.pid)
    assert not is_running(10**30)


def test_a_process_of_another_user_is_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", denied)
    assert is_running(1)


def test_windows_tells_the_peak_of_memory_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    windows(monkeypatch, processes={}, peak=5_000_000_000)
    assert peak_rss_mb() == 5000.0


def test_what_windows_does_not_tell_is_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    windows(monkeypatch, processes={}, peak=None)
    assert peak_rss_mb() != peak_rss_mb()


@pytest.mark.parametrize(("system", "megabytes"), [("darwin", 0.2), ("linux", 204.8)])
def test_without_proc_the_peak_is_in_bytes_on_macos_and_in_kib_on_linux(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, megabytes: float
) -> None:
    be(monkeypatch, system)
    monkeypatch.setattr(environment, "_STATUS", tmp_path / "no proc")
    usage = SimpleNamespace(ru_maxrss=200_000)
    fake = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: usage)
    monkeypatch.setitem(sys.modules, "resource", fake)
    assert peak_rss_mb() == pytest.approx(megabytes)


def test_without_proc_and_resource_the_peak_is_not_a_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "_STATUS", tmp_path / "no proc")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_rss_mb() != peak_rss_mb()


def test_what_a_system_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    be(monkeypatch, "linux")
    assert lacks() == []
    be(monkeypatch, "darwin")
    mac = list(map(str, lacks()))
    assert len(mac) == 2
    be(monkeypatch, "win32")
    assert [*map(str, lacks())][:2] == mac
    assert "no SIGHUP: POST /v1/admin/bundle loads a bundle again" in map(str, lacks())


# Files


def write(folder: Path, text: str) -> None:
    with replacing_folder(folder, MARKER) as partial:
        (partial / MARKER).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("error", [AttributeError("renameat2"), TypeError("None"), OSError()])
def test_without_an_exchange_a_folder_is_replaced_by_two_renames(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    """macOS has no renameat2, Windows no library without a name."""

    def no_library(*arguments: Any, **settings: Any) -> Any:
        raise error

    steps = []
    rename = Path.rename

    def watched(path: Path, to: Path) -> Any:
        steps.append((path.name.split("-")[0], to.name))
        return rename(path, to)

    write(tmp_path / "d", "old")
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    monkeypatch.setattr(Path, "rename", watched)
    write(tmp_path / "d", "new")
    assert steps == [("d", ".d.previous"), (".d.partial", "d")]
    assert (tmp_path / "d" / MARKER).read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_where_the_second_rename_is_refused_the_old_folder_is_back_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows refuses it while a scanner looks into the new folder."""
    rename = Path.rename

    def refused(path: Path, to: Path) -> Any:
        if "partial" in path.name:
            raise PermissionError(errno.EACCES, "in use")
        return rename(path, to)

    write(tmp_path / "d", "old")
    monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(DataError, match=r"d: cannot be written \(in use\)$"):
        write(tmp_path / "d", "new")
    assert (tmp_path / "d" / MARKER).read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_what_was_cut_between_the_renames_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "d", "old")
    (tmp_path / "d").rename(tmp_path / ".d.previous")
    recover(tmp_path / "d")
    assert (tmp_path / "d" / MARKER).read_text(encoding="utf-8") == "old"


@pytest.fixture
def folders_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As on Windows; gives the flags that files are opened with."""
    flags: list[int] = []
    opening = os.open

    def opened(path: Any, how: int, *rest: Any, **more: Any) -> int:
        if Path(path).is_dir() and more.get("dir_fd") is None:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        flags.append(how & os.O_ACCMODE)
        return opening(path, how, *rest, **more)

    monkeypatch.setattr(files.os, "open", opened)
    monkeypatch.setattr("shutil._use_fd_functions", False)
    return flags


def test_windows_syncs_files_that_are_open_for_writing_and_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folders_cannot_be_opened: list[int]
) -> None:
    windows(monkeypatch, processes={os.getpid(): 259})
    write(tmp_path / "d", "text")
    write_file(tmp_path / "f", "text")
    assert folders_cannot_be_opened == [os.O_RDWR, os.O_RDWR]


def test_elsewhere_a_folder_that_cannot_be_opened_is_an_error(
    tmp_path: Path, folders_cannot_be_opened: list[int]
) -> None:
    with pytest.raises(DataError, match=r"cannot be written \(Permission denied\)$"):
        write(tmp_path / "d", "text")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="tells what is open, on Linux")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF])
def test_a_file_system_that_syncs_no_folder_is_written_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    sync = os.fsync

    def refusing(fd: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{fd}")).is_dir():
            raise OSError(number, "")
        sync(fd)

    monkeypatch.setattr(os, "fsync", refusing)
    write(tmp_path / "d", "text")
    assert (tmp_path / "d" / MARKER).is_file()


def test_a_disk_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(DataError, match="Input/output error"):
        write(tmp_path / "d", "text")


def test_what_a_killed_writer_left_is_told_by_the_windows_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    windows(monkeypatch, processes={4: 259, 8: 1})
    for pid in (4, 8, 16):
        (tmp_path / f".d.partial-{pid}").mkdir()
    write(tmp_path / "d", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".d.partial-4", "d"]
