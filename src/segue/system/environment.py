"""Processes, memory, and missing features of this system."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_QUERY_LIMITED_INFORMATION = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
_NO_SUCH_PROCESS = 87  # ERROR_INVALID_PARAMETER: OpenProcess returns it for a free number
_STILL_ACTIVE = 259


@dataclass(frozen=True)
class MissingFeature:
    """A missing feature of this system, and Segue's substitute."""

    what: str
    instead: str

    def __str__(self) -> str:
        return f"{self.what}: {self.instead}"


def lacks() -> list[MissingFeature]:
    """Features that Segue misses on this system; empty on Linux."""
    features: list[MissingFeature] = []
    if not sys.platform.startswith("linux"):
        features += [
            MissingFeature(
                "no exchange of two folders in one step", "replacing one takes two renames"
            ),
            MissingFeature("no limit to the memory of a sound file", "only its time is limited"),
        ]
    if sys.platform == "win32":
        features += [
            MissingFeature("no SIGHUP", "POST /v1/admin/bundle loads a bundle again"),
            MissingFeature("no sync of a folder", "after a power cut a new name may be missing"),
            MissingFeature(
                "no permissions of files", "tokens and logs are as private as their folder"
            ),
        ]
    return features


def is_running(pid: int) -> bool:
    """Whether a process with this number exists; True if the system does not tell."""
    if sys.platform == "win32":
        return _runs_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def peak_rss_mb() -> float:
    """Peak memory of this process in MB (10^6 bytes); NaN if unknown."""
    if sys.platform == "win32":
        return _windows_peak() / 1e6
    try:  # getrusage also counts the process before its exec
        status = _STATUS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        status = ""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def _runs_on_windows(pid: int) -> bool:
    """Whether a process exists on Windows, where `os.kill(pid, 0)` sends Ctrl-C to the console."""
    if sys.platform == "win32":
        import ctypes
        from ctypes import wintypes

        if not 0 < pid < 1 << 32:
            return False
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
        kernel32.OpenProcess.restype = wintypes.HANDLE
        kernel32.GetExitCodeProcess.argtypes = (wintypes.HANDLE, wintypes.LPDWORD)
        kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
        handle = kernel32.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
        if not handle:  # another user's process cannot be opened, and is there
            return ctypes.get_last_error() != _NO_SUCH_PROCESS
        try:
            code = wintypes.DWORD()
            succeeded = kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
            return not succeeded or code.value == _STILL_ACTIVE
        finally:
            kernel32.CloseHandle(handle)
    return True


def _windows_peak() -> float:
    """Peak working set in bytes; NaN if unknown."""
    if sys.platform == "win32":
        import ctypes
        from ctypes import wintypes

        class Counters(ctypes.Structure):
            """PROCESS_MEMORY_COUNTERS."""

            _fields_ = (
                ("size", wintypes.DWORD),
                ("faults", wintypes.DWORD),
                ("peak_working_set", ctypes.c_size_t),
                ("working_set", ctypes.c_size_t),
                ("rest", ctypes.c_size_t * 6),
            )

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.GetCurrentProcess.restype = wintypes.HANDLE
        kernel32.K32GetProcessMemoryInfo.argtypes = (
            wintypes.HANDLE,
            ctypes.POINTER(Counters),
            wintypes.DWORD,
        )
        counters = Counters(size=ctypes.sizeof(Counters))
        here = kernel32.GetCurrentProcess()
        if kernel32.K32GetProcessMemoryInfo(here, ctypes.byref(counters), counters.size):
            return float(counters.peak_working_set)
    return float("nan")
