"""Work on sound files in processes with limits: a bad file costs itself, never the rest."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from msgspec import Meta

from segue.audio.decode import LONGEST_MINUTES, AudioError
from segue.audio.worker_process import READY, serve
from segue.config import Config
from segue.errors import ConfigError, SegueError

Result = TypeVar("Result")

_START_SECONDS = 120.0
_MOST_WORKERS = 60 if sys.platform == "win32" else 1024
"""Windows waits for at most 63 objects at once."""


class Limits(Config, frozen=True):
    """Limits of one sound file."""

    seconds: Annotated[
        float, Meta(gt=0, le=86_400, description="maximum time of work on a file in seconds")
    ] = 60.0
    memory_mb: Annotated[
        float, Meta(ge=64, le=1e6, description="maximum memory for a file in MiB, on Linux")
    ] = 2000.0
    duration_minutes: Annotated[
        float, Meta(gt=0, le=1e6, description="maximum length of a track in minutes")
    ] = LONGEST_MINUTES


def core_count() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_files(
    work: Callable[[Path], Result],
    paths: Sequence[Path],
    *,
    workers: int | None = None,
    limits: Limits | None = None,
) -> Iterator[tuple[int, Result | AudioError]]:
    """Run work on many files in processes; yields results as they finish.

    A file that crashes its process, or takes too long or too much memory, gives an `AudioError`
    like any other bad file; a new process replaces its process. When the caller closes the
    iterator, or an exception (an interrupt) leaves the loop, all processes end.

    Args:
        work: a function of a module, or an object of a class of one (it is sent to the processes);
            gives what can be sent back. It may raise AudioError, OSError or MemoryError for a bad
            file.
        paths: paths of the files.
        workers: number of processes; one per core by default.
        limits: `Limits()` by default. `duration_minutes` is for `work` to keep.

    Yields:
        Position in `paths`, and the result or why there is none.

    Raises:
        SegueError: `work` raised it, and it is no AudioError: the file is not at fault.
        ConfigError: the processes cannot start.
    """
    limits = limits or Limits()
    waiting = deque(range(len(paths)))
    count = min(workers or core_count(), len(paths), _MOST_WORKERS)
    pool: list[_Worker] = []
    try:
        while waiting or any(worker.job is not None for worker in pool):
            while len(pool) < min(count, len(pool) + len(waiting)):
                pool.append(_Worker(work, limits))
                pool[-1].give(waiting.popleft(), paths)
            for worker in _answered(pool):
                job, result = worker.answer(paths)
                if job is None:  # it has just started
                    continue
                if worker.gone:
                    pool.remove(worker)
                elif waiting:  # it works while the caller handles the result
                    worker.give(waiting.popleft(), paths)
                yield job, cast("Result | AudioError", result)
    finally:
        for worker in pool:
            worker.end()


def _answered(pool: list[_Worker]) -> list[_Worker]:
    """Wait for workers that answered, died, or ran out of time."""
    busy = [worker for worker in pool if worker.job is not None]
    left = min(worker.deadline for worker in busy) - time.monotonic()
    answered = wait([worker.connection for worker in busy], max(left, 0))
    now = time.monotonic()
    return [w for w in busy if w.connection in answered or w.deadline <= now]


class _Worker:
    """One process and its job."""

    def __init__(self, work: Callable[[Path], Any], limits: Limits) -> None:
        self._limits = limits
        self._ready = False
        self.gone = False
        """Whether the process has ended."""
        self.job: int | None = None
        """Position of its path."""
        self.deadline = time.monotonic() + _START_SECONDS
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, limits.seconds, limits.memory_mb), daemon=True
        )
        with _without_main(), _without_interrupts():
            self._process.start()
        theirs.close()
        with contextlib.suppress(OSError):  # it died already: the answer will say so
            self.connection.send(work)

    def give(self, job: int, paths: Sequence[Path]) -> None:
        """Start on a path."""
        self.job = job
        if self._ready:
            self.deadline = time.monotonic() + self._limits.seconds
        with contextlib.suppress(OSError):
            self.connection.send(paths[job])

    def answer(self, paths: Sequence[Path]) -> tuple[int | None, Any]:
        """The finished job, or None, and its result.

        Raises:
            SegueError, ConfigError: as `run_files`.
        """
        assert self.job is not None
        path = paths[self.job]
        if not self.connection.poll():
            return self._lost("took too long", path)
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            return self._lost("crashed the decoder", path)
        if message is READY:
            self._ready = True
            self.deadline = time.monotonic() + self._limits.seconds
            return None, None
        result, wrong = message
        if isinstance(wrong, SegueError):
            raise wrong
        job, self.job = self.job, None
        return job, result if wrong is None else AudioError(wrong, path)

    def _lost(self, reason: str, path: Path) -> tuple[int | None, AudioError]:
        self.end()
        if not self._ready:
            raise ConfigError("a process could not start", do="the lines above say why")
        job, self.job = self.job, None
        return job, AudioError(reason, path)

    def end(self) -> None:
        """Kill the process."""
        self.gone = True
        self._process.kill()
        self._process.join()
        self.connection.close()


_starting = threading.Lock()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Processes that start meanwhile do not run the main program's file again.

    Work comes from modules, and a program without ``if __name__ == "__main__"`` would start itself
    over and over.
    """
    with _starting:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes that start meanwhile never see Ctrl-C: this one ends them."""
    if sys.platform == "win32" or not hasattr(signal, "pthread_sigmask"):
        yield  # they turn deaf to it themselves
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it would lift the block again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
