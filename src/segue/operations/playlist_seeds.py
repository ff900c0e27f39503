"""The tracks of a playlist as rows of a catalog: of a file, or of a dataset."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segue.catalog.catalog import Catalog
from segue.catalog.matching import match_tracks
from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.errors import DataError, UsageError
from segue.queries import MAX_HISTORY

_FORMATS = {".m3u": "m3u", ".m3u8": "m3u", ".xspf": "xspf", ".jspf": "jspf", ".json": "jspf"}
_ROOT = re.compile(rb"^(?:[A-Za-z]:)?(?:\.{0,2}[/\\])+", re.M)
"""What leads from a playlist out of its folder: a drive, slashes, ``..``."""


class PlaylistSeeds(NamedTuple):
    """A playlist, as far as a catalog knows it.

    Attributes:
        title: of the playlist, None where it has none.
        tracks: rows of the catalog, in order.
        missing: names of the tracks that the catalog lacks.
    """

    title: str | None
    tracks: list[int]
    missing: list[str]


def seeds_of_file(
    file: Path | str, catalog: Catalog, content: bytes | None = None
) -> PlaylistSeeds:
    """A playlist file: M3U, XSPF or JSPF.

    Tracks match by uri, by artist and title, else by the end of their path: a playlist may lie
    anywhere, and name another machine's folders.

    Args:
        file: the file; its ending says the format, else its first sign does.
        catalog: the tracks that are known.
        content: of the file, where it comes from elsewhere; None reads it.

    Raises:
        DataError: the file cannot be read, or holds no track.
    """
    file = Path(file)
    try:
        content = file.read_bytes() if content is None else content
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=file) from error
    first = content.lstrip()[:1]
    by_sign = "xspf" if first == b"<" else "jspf" if first == b"{" else "m3u"
    format = _FORMATS.get(file.suffix.lower(), by_sign)
    if format == "m3u":
        content = _ROOT.sub(b"", content)
    with tempfile.TemporaryDirectory(prefix="segue-playlist-") as folder:
        copy = Path(folder) / f"{file.stem or 'playlist'}.{format}"
        copy.write_bytes(content)
        try:
            ingest(format, copy, Path(folder) / "dataset")
        except DataError as error:
            raise DataError(error.what, where=file, do=error.do) from error
        found = _seeds(Dataset.open(Path(folder) / "dataset"), 0, catalog)
    return found._replace(title=None) if found.title == copy.stem else found


def seeds_of_dataset(dataset: Dataset, name: str, catalog: Catalog) -> PlaylistSeeds:
    """A playlist of a dataset, by its uri or its title.

    Raises:
        UsageError: no playlist is called so, or several are.
    """
    uris, titles = dataset.playlists["uri"].to_pylist(), dataset.titles
    rows = [p for p, uri in enumerate(uris) if uri == name]
    rows = rows or [p for p, title in enumerate(titles) if title == name]
    rows = rows or [p for p, title in enumerate(titles) if (title or "").lower() == name.lower()]
    if len(rows) != 1:
        many = ", ".join(uris[p] for p in rows[:5])
        raise UsageError(
            f"{len(rows)} playlists are called {name!r}: {many}"
            if rows
            else f"no playlist {name!r}",
            where=dataset.path,
            do="give the uri of one" if rows else "give its title or uri",
        )
    return _seeds(dataset, rows[0], catalog)


def _seeds(dataset: Dataset, playlist: int, catalog: Catalog) -> PlaylistSeeds:
    entries = dataset.entries[dataset.offsets[playlist] : dataset.offsets[playlist + 1]]
    tracks = dataset.tracks.take(entries)
    rows = match_tracks(tracks, catalog)
    table = tracks.select(["uri", "artist", "title"]).to_pylist()
    lost = np.flatnonzero(rows < 0)
    if len(lost):
        by_path = _by_path({table[at]["uri"] for at in lost}, catalog)
        rows[lost] = [by_path.get(table[at]["uri"], -1) for at in lost]
    missing = [
        " - ".join(filter(None, (table[at]["artist"], table[at]["title"]))) or table[at]["uri"]
        for at in np.flatnonzero(rows < 0)
    ]
    return PlaylistSeeds(dataset.titles[playlist], rows[rows >= 0][-MAX_HISTORY:].tolist(), missing)


def _by_path(paths: set[str], catalog: Catalog) -> dict[str, int]:
    """Rows of files by the longest end of their path that one file of the catalog has."""
    ends = {path: path.split("/") for path in paths}
    rows: dict[str, list[int]] = {}
    names = {parts[-1] for parts in ends.values()}
    for row, uri in enumerate(catalog.uris):
        name = uri.rpartition("/")[2]
        if name in names:
            rows.setdefault(name, []).append(row)
    found = {}
    for path, parts in ends.items():
        candidates = rows.get(parts[-1], [])
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            same = [
                row
                for row in candidates
                if catalog.uris[row] == end
                or catalog.uris[row].endswith(f"/{end}")
                or end.endswith(f"/{catalog.uris[row]}")
            ]
            if len(same) == 1:
                found[path] = same[0]
                break
    return found
