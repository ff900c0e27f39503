"""The parser: every verb under its name.

Modules that take long to import are imported inside the verbs, so that ``--help`` is instant.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from segue import __version__
from segue.cli.add_tracks import add
from segue.cli.data import describe, ingest, outcomes, world
from segue.cli.doctor import doctor
from segue.cli.learn import evaluate, train
from segue.cli.recipe import recipe
from segue.cli.recommend import continue_, similar, submit
from segue.cli.serve import serve, token
from segue.cli.tune import tune

# typer keeps its parser's exceptions to itself; the base of the one it shows is all of them.
WrongArguments: Any = typer.BadParameter.__bases__[0]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Learn from what people play and skip, and continue playlists.",
    epilog="Data goes to stdout, messages to stderr. Exit status: 0 done, 1 failed, 2 wrong usage.",
)

_VALUES = {"<int>": "N", "<int range>": "N", "<float>": "X", "<float range>": "X", "<str>": "TEXT"}
"""What stands for a value in the help of an option that names none."""


class _Verb(TyperCommand):
    """A verb whose help names values (``SOURCE...``, ``N``), not types of Python."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for parameter in self.params:
            typed = getattr(parameter, "display_type_rich", None)  # not in every version of typer
            if typed is not None:
                argument = parameter.param_type_name == "argument"
                shown = partial(_value, None if argument else typed)
                parameter.display_type_rich = shown  # type: ignore[attr-defined]


def _value(typed: Callable[..., str | None] | None, ctx: object) -> str:
    """The name of an option's value; an argument has its own."""
    name = (typed and typed(ctx=ctx)) or ""
    return _VALUES.get(name, name)


_VERBS: dict[str, Callable[..., None]] = {
    "ingest": ingest,
    "outcomes": outcomes,
    "world": world,
    "describe": describe,
    "recipe": recipe,
    "train": train,
    "evaluate": evaluate,
    "tune": tune,
    "add": add,
    "continue": continue_,
    "submit": submit,
    "similar": similar,
    "serve": serve,
    "token": token,
    "doctor": doctor,
}
for _name, _verb in _VERBS.items():
    app.command(_name, cls=_Verb)(_verb)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"segue {__version__}")
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
