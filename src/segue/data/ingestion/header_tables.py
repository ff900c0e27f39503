"""Text tables whose header names the columns, in files of several kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from segue.data.ingestion.limits import Input
from segue.data.readers.csv import header
from segue.errors import DataError


def by_kind(
    sources: Sequence[Input], delimiter: str, kinds: Mapping[str, Sequence[str]]
) -> dict[str, list[Input]]:
    """Sort files by the columns that they have.

    Args:
        sources: the files.
        delimiter: between their columns.
        kinds: columns that a file of each kind needs.

    Returns:
        The files of each kind.

    Raises:
        DataError: a file of no kind, or with a needed column twice.
    """
    found: dict[str, list[Input]] = {kind: [] for kind in kinds}
    for source in sources:
        names = header(source, delimiter)
        kind = max(kinds, key=lambda kind: np.mean([name in names for name in kinds[kind]]))
        if missing := [name for name in kinds[kind] if name not in names]:
            raise DataError(
                f"has no column {', '.join(missing)}: its first row is not the header of {kind}",
                where=source,
                do="check that it is of this format",
            )
        for name in kinds[kind]:
            if names.count(name) > 1:
                raise DataError(f"has the column {name} twice", where=source, do="rename one")
        found[kind].append(source)
    return found
