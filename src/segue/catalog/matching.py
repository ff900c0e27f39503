"""Which track of a catalog is meant by a track of another source."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segue.catalog.catalog import Catalog
from segue.numeric.arrays import Int32
from segue.text.normalize import comparable, without_notes


def match_tracks(tracks: pa.Table, catalog: Catalog) -> Int32:
    """The catalog row of each track, by uri; else by artist and title.

    Names compare as `segue.text.normalize.comparable` says, and match only where one track of the
    catalog has both; else by what is left without notes on guests or a remaster, again of one
    track.

    Args:
        tracks: with the columns uri, artist and title.

    Returns:
        -1 where no track, or more than one, is meant. (tracks,) int32
    """
    rows = _index_in(tracks["uri"], catalog.table["uri"])
    for notes in (True, False):
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            known = _names(catalog.table, notes)
            counts = known.value_counts()
            once = counts.field("values").filter(pc.equal(counts.field("counts"), 1)).drop_null()
            names = _names(tracks.take(pa.array(missing)), notes)
            unique = _index_in(names, once) >= 0
            rows[missing[unique]] = _index_in(names.filter(pa.array(unique)), known)
    return rows


def _index_in(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> Int32:
    found = pc.index_in(values, value_set=among, skip_nulls=True).fill_null(-1)
    return np.array(found.to_numpy(zero_copy_only=False), np.int32)


def _names(tracks: pa.Table, notes: bool) -> pa.Array:
    """Artist and title as one text, null where one of them is unknown. notes: keep those."""
    columns = (tracks[name] for name in ("artist", "title"))
    parts = [comparable(column if notes else without_notes(column)) for column in columns]
    return pc.binary_join_element_wise(*parts, "\x1f")


def artist_codes(tracks: pa.Table) -> Int32:
    """A number for each artist, -1 where there is no name of one. (tracks,) int32

    An artist is its uri. Where a track has only the artist's name, it is the one artist who
    otherwise bears that name; if none or several do, the name stands for itself.

    Args:
        tracks: with the columns artist and artist_uri.
    """
    uris, names = (
        _codes(column) for column in (tracks["artist_uri"], comparable(tracks["artist"]))
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


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _codes(column: pa.Array | pa.ChunkedArray) -> Int32:
    indices = _whole(column).dictionary_encode().indices.fill_null(-1)
    return np.asarray(indices.to_numpy(zero_copy_only=False), np.int32)


def artists_of(catalog: Catalog, tracks: pa.Table) -> Int32:
    """Numbers of a catalog's artists, by uri or by name, -1 where it has none. (tracks,)

    Args:
        catalog: whose artists are known.
        tracks: rows of the table `tracks`.
    """
    codes = np.full(len(tracks), -1, np.int32)
    for column, form in (("artist", comparable), ("artist_uri", _whole)):
        rows = _index_in(form(tracks[column]), form(catalog.table[column]))
        codes = np.where(rows >= 0, np.append(catalog.artists, -1)[rows], codes).astype(np.int32)
    return codes
