"""What `features` learns once: vectors of titles, artists and albums, means over playlists, words.

Volkovs et al. 2018, section 3.5 and the authors' code: M are tracks stacked on playlists, with a
column for each title (artist, album). A track's row counts how many of its playlists are called
so (is 1 for its artist, its album); a playlist's row is 1 for its title (counts its tracks by each
artist, on each album). Truncated M ~ P S Q^T, and a row's vector is its row of P S = M Q.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from segue.catalog.catalog import Catalog, first_of_each
from segue.errors import BundleError
from segue.models.title.titles import by_name
from segue.numeric.arrays import Float32, Int32, Int64
from segue.numeric.svd import right_vectors
from segue.numeric.tensors import csr, expect, expect_rows, rows_as_tensors
from segue.text.ngrams import find, hashed, words

Hashes = npt.NDArray[np.uint64]
Rows = tuple[Int64, Int32]


def durations(catalog: Catalog) -> Float32:
    """Length of each track in seconds; where it is unknown, the mean of the known. (tracks,)"""
    seconds = catalog.table["duration_ms"].to_numpy().astype(np.float64) / 1000
    known = ~np.isnan(seconds)
    seconds[~known] = seconds[known].mean() if known.any() else 0
    lengths: Float32 = seconds.astype(np.float32)
    return lengths


def _decompose(matrix: Any, rank: int, rng: np.random.Generator) -> Float32:
    if not matrix.shape[1]:
        return np.zeros((0, rank), np.float32)
    return np.ascontiguousarray(right_vectors(matrix.tocsr(), rank, rng))


class TrackSide(NamedTuple):
    """Artists or albums.

    Attributes:
        rows: how many playlists have one of its tracks. (artists,)
        vectors: of a track by it: M Q is Q where M is 1 for one column. (artists, rank)
    """

    rows: Int64
    vectors: Float32

    @classmethod
    def learn(cls, codes: Int32, plays: Any, rank: int, rng: np.random.Generator) -> Self:
        """From each track's number (-1: unknown) and who has which track (of ones)."""
        known = np.flatnonzero(codes >= 0)
        size = int(codes.max(initial=-1)) + 1
        ones = np.ones(len(known), np.float32)
        counts = plays @ sp.csr_matrix((ones, (known, codes[known])), (len(codes), size))
        # Tracks by one artist are equal rows; for Q they are one row times their number's root.
        tracks = sp.diags_array(np.sqrt(np.bincount(codes[known], minlength=size)))
        matrix = sp.vstack([tracks.astype(np.float32), counts])
        having = np.bincount(counts.indices, minlength=size)
        return cls(having, _decompose(matrix, rank, rng))

    def having(self, codes: Int32) -> Int64:
        """Playlists that have the artist of each track, 0 where unknown. (tracks,)"""
        return np.where(codes >= 0, np.append(self.rows, 0)[codes], 0)


def _merged(rows: Any, count: Int64) -> Any:
    """Rows, and for each column `count` rows that are 1 there, as few rows with the same Q.

    Rows with a single value in the same column are for Q one row with the root of the sum of
    squares: playlists of one title, and the many tracks that only one title has.
    """
    held = np.diff(rows.indptr)
    single = rows[held == 1]
    squares = count + np.bincount(single.indices, single.data**2, minlength=len(count))
    return sp.vstack([rows[held > 1], sp.diags_array(np.sqrt(squares)).astype(np.float32)])


class NameTable(NamedTuple):
    """Normalised titles of playlists (N).

    Attributes:
        hashes: rising. (N,)
        vectors: Uname of a playlist called so. (N, rank)
        popularity: share of the titled playlists that are called so. (N,)
        tracks: mean Uname of each track's titled playlists. Vname of the track in the paper is
            this times their number; here times `titled`. (tracks, rank)
        titled: share of the titled playlists that have each track. (tracks,)
        offsets, columns, shares: of each track's titled playlists, which are called so; as in
            CSR. (N, tracks)
    """

    hashes: Hashes
    vectors: Float32
    popularity: Float32
    tracks: Float32
    titled: Float32
    offsets: Int64
    columns: Int32
    shares: Float32

    @classmethod
    def learn(
        cls, titles: Sequence[str | None], plays: Any, rank: int, rng: np.random.Generator
    ) -> Self:
        """From titles of the first rows of `plays` (of ones); empty rows are left out."""
        names, count, votes = by_name(titles, plays)
        hashes = np.array([hashed(name) for name in names], np.uint64)
        order = np.argsort(hashes)
        hashes, count, votes = hashes[order], count[order], votes[order]
        by_track = votes.T.tocsr()
        vectors = _decompose(_merged(by_track, count), rank, rng)
        playlists = np.asarray(votes.sum(axis=0)).ravel()
        tracks = (by_track @ vectors) / np.maximum(playlists, 1)[:, None]
        offsets, columns, counts = csr(votes)
        every = max(1, int(count.sum()))
        return cls(
            hashes,
            vectors,
            (count / every).astype(np.float32),
            tracks.astype(np.float32),
            (playlists / every).astype(np.float32),
            offsets,
            columns,
            (counts / playlists[columns]).astype(np.float32),
        )

    def share(self, name: int, tracks: Int32) -> Float32:
        """Share of each track's titled playlists that are called by a name. (n,)"""
        rows = slice(self.offsets[name], self.offsets[name + 1])
        columns, shares = self.columns[rows], self.shares[rows]
        at = np.searchsorted(columns[:-1], tracks)
        return np.where(columns[at] == tracks, shares[at], np.float32(0))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """By name."""
        return {
            "names.hashes": self.hashes,
            "names.vectors": self.vectors,
            "names.popularity": self.popularity,
            "names.tracks": self.tracks,
            "names.titled": self.titled,
            **rows_as_tensors("names.rows", self.offsets, self.columns),
            "names.shares": self.shares,
        }

    @classmethod
    def restore(cls, tensors: Mapping[str, npt.NDArray[Any]], size: int) -> Self:
        """Take what `tensors` gave, for a catalog of `size` tracks."""
        hashes = expect(tensors, "names.hashes", np.uint64, None)
        vectors = expect(tensors, "names.vectors", np.float32, len(hashes), None)
        offsets, columns = expect_rows(tensors, "names.rows", size)
        if len(offsets) != len(hashes) + 1 or (np.diff(offsets) < 1).any():
            raise BundleError("is not a row for each name", where="tensor names.rows.offsets")
        return cls(
            hashes,
            vectors,
            expect(tensors, "names.popularity", np.float32, len(hashes)),
            expect(tensors, "names.tracks", np.float32, size, vectors.shape[1]),
            expect(tensors, "names.titled", np.float32, size),
            offsets,
            columns,
            expect(tensors, "names.shares", np.float32, len(columns)),
        )


class Texts(NamedTuple):
    """Words of the catalog.

    Attributes:
        hashes: of all words, rising. (words,)
        titles, artists, albums: which tracks' titles, artists' and albums' names have each word:
            offsets and columns (rising), as in CSR. (words, tracks) ...
    """

    hashes: Hashes
    titles: Rows
    artists: Rows
    albums: Rows

    @classmethod
    def of(cls, catalog: Catalog) -> Self:
        """Read the names. Artists and albums have the one of their first track."""
        artist, album = catalog.artists, catalog.albums
        texts = [
            _texts(catalog, "title", np.arange(len(catalog))),
            _texts(catalog, "artist", first_of_each(artist)),
            _texts(catalog, "album", first_of_each(album)),
        ]
        number = {word: hashed(word) for word in set(chain.from_iterable(chain(*texts)))}
        hashes = np.sort(np.array(list(number.values()), np.uint64))
        titles, artists, albums = (_rows(some, number, hashes) for some in texts)
        return cls(hashes, titles, artists, albums)

    def share(self, wanted: Int64, having: Rows, rows: Int32) -> Float32:
        """Share of words that each text has. wanted: of words, -1: in none. rows: of texts. (n,)"""
        offsets, columns = having
        found = np.zeros(len(rows), np.float32)
        for word in wanted[wanted >= 0]:
            texts = columns[offsets[word] : offsets[word + 1]]
            if len(texts):
                found += texts[np.searchsorted(texts[:-1], rows)] == rows
        return found / np.float32(max(1, len(wanted)))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """By name."""
        return {
            "words.hashes": self.hashes,
            **rows_as_tensors("words.titles", *self.titles),
            **rows_as_tensors("words.artists", *self.artists),
            **rows_as_tensors("words.albums", *self.albums),
        }

    @classmethod
    def restore(
        cls, tensors: Mapping[str, npt.NDArray[Any]], tracks: int, artists: int, albums: int
    ) -> Self:
        """Take what `tensors` gave, for so many tracks, artists and albums."""
        hashes = expect(tensors, "words.hashes", np.uint64, None)
        rows = []
        for name, size in (("titles", tracks), ("artists", artists), ("albums", albums)):
            rows.append(expect_rows(tensors, f"words.{name}", size))
            expect(tensors, f"words.{name}.offsets", np.int64, len(hashes) + 1)
        return cls(hashes, *rows)


def _texts(catalog: Catalog, column: str, rows: Int64) -> list[list[str]]:
    names = catalog.table[column].take(pa.array(rows)).to_pylist()
    return [words(name or "") for name in names]


def _rows(texts: list[list[str]], number: dict[str, int], hashes: Hashes) -> Rows:
    found = find(hashes, [number[word] for text in texts for word in text])
    text = np.repeat(np.arange(len(texts), dtype=np.int32), [len(some) for some in texts])
    offsets = np.searchsorted(np.sort(found), np.arange(len(hashes) + 1)).astype(np.int64)
    return offsets, text[np.argsort(found, kind="stable")]


def own_features(
    plays: Any,
    seconds: Float32,
    vectors: Float32,
    row_vectors: Float32,
    names: NameTable,
    artist: Int32,
) -> tuple[Float32, Float32]:
    """Features of the track alone, and the mean U_p of its playlists.

    Args:
        plays: who has which track, of ones. (rows, tracks)
        seconds: length of each track.
        vectors, row_vectors: V and U.
        names: titles.
        artist: number of each track's artist, -1: unknown.

    Returns:
        (tracks, 8), of which column 4 is a count and 5 and 6 are still 0, and (tracks, d).
    """
    by_track = plays.T.tocsr()
    count = np.diff(by_track.indptr)
    mean = sp.diags_array((1 / np.maximum(count, 1)).astype(np.float32)) @ by_track
    playlists = np.ascontiguousarray(mean @ row_vectors, np.float32)
    own = np.zeros((len(seconds), 8), np.float32)
    own[:, 0] = seconds
    own[:, 1] = mean @ np.diff(plays.indptr).astype(np.float32)
    own[:, 2] = np.einsum("td,td->t", playlists, vectors)
    own[:, 3] = np.einsum("tr,tr->t", names.tracks, names.tracks) * names.titled
    own[:, 4] = count
    own[:, 7] = _places(artist, count)
    return own, playlists


def _places(artist: Int32, count: npt.NDArray[Any]) -> Float32:
    """How many tracks of the same artist are in more playlists; 0 where unknown. (tracks,)"""
    order = np.lexsort((-count, artist))
    at = np.arange(len(order))
    sorted_artist, sorted_count = artist[order], count[order]
    begins = np.append(True, sorted_artist[1:] != sorted_artist[:-1])[: len(order)]
    differs = begins | np.append(True, sorted_count[1:] != sorted_count[:-1])[: len(order)]
    start = np.maximum.accumulate(np.where(begins, at, 0))
    place = np.maximum.accumulate(np.where(differs, at, 0)) - start
    out = np.zeros(len(order), np.float32)
    out[order] = place
    return np.where(artist >= 0, out, np.float32(0))
