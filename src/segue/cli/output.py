"""Output of the verbs: JSON or tables on stdout, one-line messages on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer

from segue.data.playlist_export import one_line
from segue.errors import ConfigError, UsageError
from segue.system.tables import text_table

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]

SIMULATED = "simulated: this comes from a world that segue made up, not from real listening"


@contextmanager
def given_settings() -> Iterator[None]:
    """Report a wrong setting as wrong usage: the command line gave it, not a file."""
    try:
        yield
    except ConfigError as error:
        raise UsageError(error.what, where=error.where, do=error.do) from error


def overrides(texts: Sequence[str] | None) -> dict[str, Any]:
    """Parse the values of ``--set KEY=VALUE``."""
    if not texts:
        return {}
    from segue.recipe import parse_override  # imports the recommenders, and Numba with them

    return dict(map(parse_override, texts))


def say(message: str) -> None:
    """Print a line on stderr."""
    print(f"segue: {one_line(message)}", file=sys.stderr, flush=True)


def emit(data: Any) -> None:
    """Print a value as JSON on stdout."""
    print(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())


def facts(rows: dict[str, Any]) -> None:
    """Print names and values, one pair a line."""
    table(("", ""), [(name, number(value)) for name, value in rows.items()])


def number(value: Any) -> str:
    """Format a value for a table."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()
) -> None:
    """Print a table on stdout: ruled on a terminal, else in plain, uncut columns.

    Args:
        columns: headings; if all are empty, the table has none.
        rows: cells. Control characters in them and in headings become spaces.
        numeric: headings of the right-aligned columns.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    columns, numeric = ([one_line(name) for name in names] for names in (columns, numeric))
    headings = any(columns)
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        ruled = Table(box=box.SIMPLE, show_header=headings)
        for column in columns:
            ruled.add_column(column, justify="right" if column in numeric else "left")
        for row in cells:
            ruled.add_row(*map(Text, row))
        Console().print(ruled)
        return
    if columns:
        text = text_table(columns, cells, numeric)
        print(text if headings else text.partition("\n")[2])
