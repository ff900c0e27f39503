"""Small catalogs by their names."""

from __future__ import annotations

import pyarrow as pa

from segue.catalog.catalog import CATALOG_SCHEMA, Catalog


def catalog(*names: tuple[str | None, str | None]) -> Catalog:
    """Tracks t0, t1, ... with these artists and titles."""
    rows = [
        dict.fromkeys(CATALOG_SCHEMA.names)
        | {"uri": f"t{i}", "artist": artist, "title": title, "artist_uri": f"a:{artist}"}
        | {"plays": 1}
        for i, (artist, title) in enumerate(names)
    ]
    return Catalog(pa.Table.from_pylist(rows, CATALOG_SCHEMA))


def played(*rows: tuple[str | None, str | None, str | None, int]) -> Catalog:
    """Tracks with these artists, titles, albums and plays."""
    names = ("artist", "title", "album", "plays")
    full = [
        dict.fromkeys(CATALOG_SCHEMA.names) | {"uri": f"t{i}"} | dict(zip(names, row, strict=True))
        for i, row in enumerate(rows)
    ]
    return Catalog(pa.Table.from_pylist(full, CATALOG_SCHEMA))
