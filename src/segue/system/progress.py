"""Progress of long work on stderr: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Advance = Callable[[float], None]
"""Adds finished work, in the task's unit."""

_PLAIN_EVERY_SECONDS = 5.0


def _ignore(step: float) -> None:
    pass


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes}:{rest:02d}"
        if minutes < 60
        else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
    )


def note(message: str, *, show: bool) -> None:
    """Print a line on stderr."""
    if show:
        print(f"segue: {message}", file=sys.stderr, flush=True)


def say_once_when_compiling() -> None:
    """Say so on stderr before Numba compiles a kernel that its cache lacks, the first time."""
    if "numba" not in sys.modules or _listening:
        return
    from numba.core import event

    class FirstCompilation(event.Listener):
        def on_start(self, event: Any) -> None:
            if not _said:
                _said.append(True)
                note("compiling for this machine (once, up to a minute)", show=True)

        def on_end(self, event: Any) -> None:
            pass

    _listening.append(FirstCompilation())
    event.register("numba:compile", _listening[0])  # type: ignore[no-untyped-call]


_listening: list[Any] = []
_said: list[bool] = []


@contextlib.contextmanager
def task(what: str, total: float | None, unit: str, *, show: bool) -> Iterator[Advance]:
    """Show the progress of work, with its rate and the time left.

    Args:
        what: name of the work ("fitting wrmf").
        total: amount of work, or None if unknown.
        unit: unit of `total` ("sweeps", "MB").
        show: False shows nothing.
    """
    if not show:
        yield _ignore
        return
    if sys.stderr.isatty():
        say_once_when_compiling()
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.speed:.3g}/s" if total is None else "{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            row = bar.add_task(what, total=total, rate="")
            start = time.monotonic()
            done = 0.0

            def advance_bar(step: float) -> None:
                nonlocal done
                done += step
                rate = done / max(time.monotonic() - start, 1e-9)
                bar.update(row, advance=step, rate=f"{rate:.3g} {unit}/s")

            yield advance_bar
        return
    start = last = time.monotonic()
    done = 0.0

    def advance_line(step: float) -> None:
        nonlocal done, last
        done += step
        now = time.monotonic()
        if now - last < _PLAIN_EVERY_SECONDS:
            return
        last = now
        rate = done / (now - start)
        line = f"{what}: {done:.4g}"
        if total is not None:
            line += f" of {total:.4g} {unit}, {rate:.3g}/s, {_duration((total - done) / rate)} left"
        else:
            line += f" {unit}, {rate:.3g}/s"
        print(line, file=sys.stderr, flush=True)

    yield advance_line
