"""The parser registers every verb under its name.

Each verb imports slow modules inside its function, so that ``--help`` is instant.
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
from segue.cli.evaluate import evaluate
from segue.cli.recipe import recipe
from segue.cli.recommend import continue_, similar, submit
from segue.cli.serve import serve, token
from segue.cli.train import train
from segue.cli.tune import tune

# typer does not export its parser's exceptions; the base class of BadParameter covers all.
WrongArguments: Any = typer.BadParameter.__bases__[0]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Train, evaluate and serve recommenders that learn from plays and skips.",
    epilog="Data goes to stdout, messages to stderr. Exit status: 0 done, 1 failed, 2 wrong usage.",
)

_VALUES = {"<int>": "N", "<int range>": "N", "<float>": "X", "<float range>": "X", "<str>": "TEXT"}
"""Names of values, for options whose help names none."""


class _Verb(TyperCommand):
    """A verb whose help names values (``SOURCE...``, ``N``), not types."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for parameter in self.params:
            if parameter.param_type_name == "argument":
                usage = str(parameter.metavar) if parameter.required else f"[{parameter.metavar}]"
                parameter.get_usage_pieces = partial(_usage, usage)  # type: ignore[method-assign]
            typed = getattr(parameter, "display_type_rich", None)  # not in every version of typer
            if typed is not None:
                argument = parameter.param_type_name == "argument"
                shown = partial(_value, None if argument else typed)
                parameter.display_type_rich = shown  # type: ignore[attr-defined]


def _usage(name: str, ctx: object) -> list[str]:
    """An argument in the usage line."""
    return [name]


def _value(typed: Callable[..., str | None] | None, ctx: object) -> str:
    """The name of an option's value; an argument names itself."""
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


def _show_version(show: bool) -> None:
    if show:
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
