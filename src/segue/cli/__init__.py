"""The command line: verbs only. What a verb does is in the module that it calls.

Modules that take long to import are imported inside the verbs, so that ``--help`` is instant.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer

from segue.cli.ask import continue_, similar, submit
from segue.cli.check import doctor
from segue.cli.data import describe, ingest, world
from segue.cli.learn import evaluate, train
from segue.cli.output import say
from segue.errors import SegueError, UsageError

# typer keeps its parser's exceptions to itself; the base of the one it shows is all of them.
_WrongArguments: Any = typer.BadParameter.__bases__[0]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Learn from what people play and skip, and continue playlists.",
    epilog="Data goes to stdout, messages to stderr. Exit status: 0 done, 1 failed, 2 wrong usage.",
)

_VERBS: dict[str, Callable[..., None]] = {
    "ingest": ingest,
    "world": world,
    "describe": describe,
    "train": train,
    "evaluate": evaluate,
    "continue": continue_,
    "submit": submit,
    "similar": similar,
    "doctor": doctor,
}
for _name, _verb in _VERBS.items():
    app.command(_name)(_verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("segue"))
        raise typer.Exit


@app.callback()
def _segue(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the ``segue`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says. Errors become one line on stderr.

    Returns:
        exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    try:
        status = app(list(arguments) or ["--help"], prog_name="segue", standalone_mode=False)
        sys.stdout.flush()
    except UsageError as error:
        return _failed(str(error), 2)
    except SegueError as error:
        return _failed(str(error), 1)
    except _WrongArguments as error:
        asked = error.ctx.command_path if error.ctx else "segue"
        return _failed(f"{error.format_message().rstrip('.')}; see {asked} --help", 2)
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
        what = f"unexpected {type(error).__name__}: {error}"
        return _failed(f"{what}; SEGUE_DEBUG=1 shows where", 1)
    if status == 130:  # how typer says that it was interrupted
        say("interrupted")
    if not arguments:
        return 2
    return status or 0


def _failed(line: str, status: int) -> int:
    if os.environ.get("SEGUE_DEBUG"):
        traceback.print_exc()
    say(line)
    return status
