"""The command line: options and output. `segue.operations` does the work of each verb."""

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
"""Verbs that spend most of their time on imports, which leave no garbage."""
_OBJECTS = 100_000
"""Garbage collection threshold of these verbs, in new objects."""


def main() -> None:
    """Entry point of the ``segue`` command."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    _set_up_streams()
    if sys.argv[1:2] and sys.argv[1] in _BRIEF:
        gc.set_threshold(_OBJECTS)
    status = run(sys.argv[1:])
    gc.freeze()  # the process ends here; a last collection would take 0.2 s
    sys.exit(status)


def _interrupt(number: int, frame: Any) -> None:
    # A module that loads at this moment may turn the interrupt into another error.
    _interrupts.append(number)
    raise KeyboardInterrupt


def _set_up_streams() -> None:
    """Replace closed streams by the null device; write UTF-8 to files and pipes."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="replace")
        else:  # the same bytes on every system
            sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="\n")


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Errors become one line on stderr.

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
        # The reader has gone; the interpreter's flush at exit must not fail again.
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
    # Imported here, so that an interrupt during the import gives one line, too.
    from segue.cli.app import WrongArguments, app

    try:
        status = app(list(arguments) or ["--help"], prog_name="segue", standalone_mode=False)
        sys.stdout.flush()
    except WrongArguments as error:
        command = error.ctx.command_path if error.ctx else "segue"
        what = f"wrong usage ({error.format_message().rstrip('.')})"
        # For a wrong value, name the option.
        names = getattr(getattr(error, "param", None), "opts", [])
        option = next((name for name in names if name.startswith("-")), None)
        raise UsageError(what, where=option, do=f"see {command} --help") from error
    if status == 130:  # typer reports an interrupt by this status
        raise KeyboardInterrupt
    return status or (0 if arguments else 2)


def _failed(line: str, status: int) -> int:
    from segue.cli.output import say

    if os.environ.get("SEGUE_DEBUG"):
        traceback.print_exc()
    say(line)
    return status
