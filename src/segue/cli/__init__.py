"""The command line: verbs only. What a verb does is in the module that it calls."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from segue.errors import SegueError, UsageError

_interrupts: list[int] = []

_BRIEF = ("add", "continue", "similar")
"""Verbs that spend their time on loading modules, which leave nothing to collect."""
_OBJECTS = 100_000
"""New objects between two searches for what can be collected, in these verbs."""


def main() -> None:
    """Entry point of the ``segue`` command."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    _set_up_streams()
    if sys.argv[1:2] and sys.argv[1] in _BRIEF:
        gc.set_threshold(_OBJECTS)
    status = run(sys.argv[1:])
    gc.freeze()  # what is left ends with the process; to search all of it takes 0.2 s
    sys.exit(status)


def _interrupt(number: int, frame: Any) -> None:
    # Remembered, because modules that load at this moment may make another error of it.
    _interrupts.append(number)
    raise KeyboardInterrupt


def _set_up_streams() -> None:
    """Closed streams take everything and give nothing; files and pipes hold UTF-8."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="replace")
        else:  # the same bytes on every system
            sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="\n")


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says. Errors become one line on stderr.

    Returns:
        exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    try:
        return _run(arguments)
    except UsageError as error:
        return _failed(str(error), 2)
    except SegueError as error:
        return _failed(str(error), 1)
    except BrokenPipeError:
        # Whoever read has gone; the interpreter's own flush at exit must not fail on it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _failed("interrupted", 130)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(f"{where}{error.strerror or error}", 1)
    except Exception as error:
        if _interrupts:
            return _failed("interrupted", 130)
        what = f"unexpected {type(error).__name__}: {error}"
        return _failed(f"{what}; SEGUE_DEBUG=1 shows where", 1)


def _run(arguments: Sequence[str]) -> int:
    # Here, so that an interrupt while modules load is one line too.
    from segue.cli.app import WrongArguments, app

    try:
        status = app(list(arguments) or ["--help"], prog_name="segue", standalone_mode=False)
        sys.stdout.flush()
    except WrongArguments as error:
        asked = error.ctx.command_path if error.ctx else "segue"
        what = f"wrong usage ({error.format_message().rstrip('.')})"
        # Of a wrong value: the option that it was given to.
        names = getattr(getattr(error, "param", None), "opts", [])
        option = next((name for name in names if name.startswith("-")), None)
        raise UsageError(what, where=option, do=f"see {asked} --help") from error
    if status == 130:  # how typer says that it was interrupted
        raise KeyboardInterrupt
    return status or (0 if arguments else 2)


def _failed(line: str, status: int) -> int:
    from segue.cli.output import say

    if os.environ.get("SEGUE_DEBUG"):
        traceback.print_exc()
    say(line)
    return status
