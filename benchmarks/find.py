"""How many of the tracks that people play most are found by what a person types.

Each of the most played tracks of a dataset is looked for by its title alone, by artist and title in
plain lower case, and as Segue prints it. By the title alone, the most played track of that title is
meant.

    python -m benchmarks.find DATASET [--tracks 1000]
"""

from __future__ import annotations

import argparse
import json
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from segue.catalog.catalog import Catalog, catalog_of
from segue.data.dataset import Dataset
from segue.errors import UsageError


def plain(text: str) -> str:
    """As a person types it: lower case, without accents."""
    apart = unicodedata.normalize("NFKD", text)
    return "".join(c for c in apart if not unicodedata.combining(c)).lower()


def measure(catalog: Catalog, count: int) -> list[dict[str, Any]]:
    """Share found and milliseconds of a look-up, by what is typed."""
    order = np.argsort(-catalog.plays, kind="stable")
    table = catalog.table.select(["artist", "title"])
    named = pc.and_(pc.is_valid(table["artist"]), pc.is_valid(table["title"])).to_numpy()
    best = [int(row) for row in order if named[row]][:count]
    names = {row: catalog[row] for row in best}
    of_title: dict[str, int] = {}
    for row in best:  # from the most played on
        of_title.setdefault(plain(names[row]["title"]), row)

    def same(found: int, row: int) -> bool:
        a, b = catalog[found], names[row]
        return found == row or all(plain(a[k] or "") == plain(b[k]) for k in ("artist", "title"))

    typed: dict[str, tuple[Callable[[int], str], Callable[[int], int]]] = {
        "title alone": (
            lambda row: names[row]["title"],
            lambda row: of_title[plain(names[row]["title"])],
        ),
        "artist title, plain": (
            lambda row: plain(f"{names[row]['artist']} {names[row]['title']}"),
            lambda row: row,
        ),
        "as printed": (lambda row: catalog.label(row), lambda row: row),
    }
    out = []
    catalog.names.find(catalog.label(best[0]))  # lays out what it looks names up in
    for name, (text, meant) in typed.items():
        hits = ambiguous = 0
        start = time.perf_counter()
        for row in best:
            try:
                hits += same(catalog.names.find(text(row)).row, meant(row))
            except UsageError:
                ambiguous += 1
        seconds = time.perf_counter() - start
        out.append(
            {
                "typed": name,
                "tracks": len(best),
                "found": hits / len(best),
                "refused": ambiguous / len(best),
                "ms": round(1000 * seconds / len(best), 2),
            }
        )
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--tracks", type=int, default=1000)
    args = parser.parse_args()
    dataset = Dataset.open(args.dataset)
    rows = measure(catalog_of(dataset, dataset.plays()), args.tracks)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
