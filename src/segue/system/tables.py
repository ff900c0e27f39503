"""Tables for people: as plain text, and as a pandas frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from segue.errors import ConfigError


def text_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[str] = ()
) -> str:
    """Aligned columns of text below their headings; `numeric` ones are aligned to the right."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numeric else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    )


def to_pandas(table: Any) -> Any:
    """An Arrow table as a pandas DataFrame.

    Raises:
        ConfigError: pandas is not installed.
    """
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "to_frame() needs pandas",
            do="pip install pandas, or take to_arrow(), which polars reads, too",
        ) from error
    return table.to_pandas()
