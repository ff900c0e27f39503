"""Which track of a catalog is meant by a track of another source."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segue.catalog.catalog import Catalog
from segue.numeric.arrays import Int32


def match_tracks(tracks: pa.Table, catalog: Catalog) -> Int32:
    """The catalog row of each track, by uri; else by artist and title.

    Names match without regard to case, and only where one track of the catalog has both.

    Args:
        tracks: with the columns uri, artist and title.

    Returns:
        -1 where no track, or more than one, is meant. (tracks,) int32
    """
    rows = _index_in(tracks["uri"], catalog.table["uri"])
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        known = _names(catalog.table)
        counts = known.value_counts()
        once = counts.field("values").filter(pc.equal(counts.field("counts"), 1)).drop_null()
        wanted = _names(tracks.take(pa.array(missing)))
        unique = _index_in(wanted, once) >= 0
        rows[missing[unique]] = _index_in(wanted.filter(pa.array(unique)), known)
    return rows


def _index_in(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> Int32:
    found = pc.index_in(values, value_set=among, skip_nulls=True).fill_null(-1)
    return np.array(found.to_numpy(zero_copy_only=False), np.int32)


def _names(tracks: pa.Table) -> pa.Array:
    """Artist and title as one text, null where one of them is not known."""
    parts = [
        pc.utf8_trim_whitespace(pc.utf8_lower(pc.utf8_normalize(tracks[column], form="NFKC")))
        for column in ("artist", "title")
    ]
    joined = pc.binary_join_element_wise(*parts, "\x1f")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def artist_codes(tracks: pa.Table) -> Int32:
    """A number for each artist, -1 where there is no name of one. (tracks,) int32

    An artist is its uri. Where a track has only the artist's name, it is the one artist who
    otherwise bears that name; if none or several do, the name stands for itself.

    Args:
        tracks: with the columns artist and artist_uri.
    """
    uris, names = (
        _codes(column)
        for column in (
            tracks["artist_uri"],
            pc.utf8_trim_whitespace(pc.utf8_lower(tracks["artist"])),
        )
    )
    both = (uris >= 0) & (names >= 0)
    pairs = np.unique(np.stack([names[both], uris[both]], axis=1), axis=0)
    bearers = np.bincount(pairs[:, 0], minlength=names.max(initial=-1) + 1)
    artist_of_name = uris.max(initial=-1) + 1 + np.arange(len(bearers))
    single = bearers[pairs[:, 0]] == 1
    artist_of_name[pairs[single, 0]] = pairs[single, 1]
    by_name = np.where(names >= 0, np.append(artist_of_name, -1)[names], -1)
    codes: Int32 = np.where(uris >= 0, uris, by_name).astype(np.int32)
    return codes


def _codes(column: pa.Array | pa.ChunkedArray) -> Int32:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    indices = array.dictionary_encode().indices.fill_null(-1)
    return np.asarray(indices.to_numpy(zero_copy_only=False), np.int32)


def artists_of(catalog: Catalog, tracks: pa.Table) -> Int32:
    """Numbers of a catalog's artists, by uri or by name, -1 where it has none. (tracks,)

    Args:
        catalog: whose artists are known.
        tracks: rows of the table `tracks`.
    """
    codes = np.full(len(tracks), -1, np.int32)
    for column in ("artist", "artist_uri"):
        known = catalog.table[column]
        # Only rows of these names are looked at one by one: a catalog has many others.
        rows = np.flatnonzero(pc.is_in(known, value_set=tracks[column].drop_null()))[::-1]
        artists = catalog.artists[rows].tolist()
        by_name = dict(zip(known.take(rows).to_pylist(), artists, strict=True))
        found = np.array([by_name.get(name, -1) for name in tracks[column].to_pylist()])
        codes = np.where(found >= 0, found, codes).astype(np.int32)
    return codes
