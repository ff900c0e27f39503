"""Side information of tracks: artist, album, and words of their playlists' titles.

`wrmf` can factorise them as extra columns. A history of tracks without plays then has a vector, and
so has a title without tracks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.catalog.catalog import Catalog
from segue.numeric.arrays import Float32, Int32
from segue.numeric.tensors import expect
from segue.text.ngrams import find, hashed, words

_LEAST = 3
"""Minimum number of playlists with a word in the title; rarer words have no column."""


class SideInformation:
    """Extra columns after the tracks: artists, albums, words of titles.

    Args:
        catalog: catalog with the artists and albums.
        hashes: hashes of the words with a column, rising.
        weights: weights of a track's artist, of its album, and of a word; a play weighs 1.

    Attributes:
        tracks: weighted columns of each track. CSR (tracks, artists + albums)
        widths: number of columns of artists, and of albums.
        size: number of columns.
    """

    def __init__(
        self, catalog: Catalog, hashes: npt.NDArray[np.uint64], weights: tuple[float, float, float]
    ) -> None:
        self.hashes, self.weights, self.word_weight = hashes, weights, np.float32(weights[2])
        blocks = [
            _columns(codes, np.float32(weight))
            for codes, weight in zip((catalog.artists, catalog.albums), weights[:2], strict=True)
        ]
        self.tracks = sp.hstack(blocks, format="csr")
        self.widths = [block.shape[1] for block in blocks]
        self.size = self.tracks.shape[1] + len(hashes)

    @classmethod
    def learn(
        cls,
        catalog: Catalog,
        titles: Sequence[str | None],
        weights: tuple[float, float, float],
    ) -> Self:
        """Make columns of the words in at least three titles."""
        counts = Counter(word for title in titles for word in words(title or ""))
        known = [hashed(word) for word, count in counts.items() if count >= _LEAST]
        hashes = np.sort(np.array(known if weights[2] else [], np.uint64))
        return cls(catalog, hashes, weights)

    def known(self, titles: Sequence[str | None]) -> tuple[npt.NDArray[np.int64], Int32]:
        """Title words with a column: rows of the titles, and indexes in `hashes`."""
        title_words = [
            (row, word) for row, title in enumerate(titles) for word in words(title or "")
        ]
        columns = find(self.hashes, [hashed(word) for _, word in title_words])
        rows = np.array([row for row, _ in title_words], np.int64)
        return rows[columns >= 0], columns[columns >= 0].astype(np.int32)

    def with_side_columns(
        self, plays: Any, titles: Sequence[str | None], shares: Float32 | None = None
    ) -> Any:
        """Plays joined with their side columns. CSR (rows, tracks + size)

        Args:
            shares: factor of the words' weights in each row; None: 1.
            plays: play counts, perhaps of more rows than titles; counts below 0 are skips, which
                have no side columns. CSR (rows, tracks) float32
        """
        played = plays.maximum(0) if plays.data.min(initial=0) < 0 else plays
        rows, at = self.known(titles)
        weights = np.full(len(at), self.word_weight)
        if shares is not None:
            weights *= shares[rows]
        word_columns = sp.csr_matrix((weights, (rows, at)), (plays.shape[0], len(self.hashes)))
        joined = sp.hstack(
            [plays, played @ self.tracks, word_columns], format="csr", dtype=np.float32
        )
        joined.sort_indices()
        return joined

    def plays(self, plays: Int32) -> npt.NDArray[np.int64]:
        """Plays of each track's artist and album. (tracks,)"""
        member_of = (self.tracks > 0).astype(np.int64)
        counts: npt.NDArray[np.int64] = member_of @ (member_of.T @ plays.astype(np.int64))
        return counts

    def sources(self, history: Any, title: str | None) -> tuple[Any, list[str]]:
        """Shares of tracks and words in each column of a query.

        Args:
            history: play counts of the history, below 0 for skips. CSR (1, tracks), sorted
            title: title of the query.

        Returns:
            Shares, (columns of the query, history tracks + words), the columns in rising order; and
            the words of the title with a column.
        """
        member_of = (self.tracks[history.indices] > 0).astype(np.float64)
        member_of = (sp.diags_array((history.data > 0).astype(np.float64)) @ member_of).tocsr()
        counts = np.asarray(member_of.sum(axis=0)).ravel()
        shared_columns = member_of[:, counts > 0].T.tocsr()
        shared = sp.diags_array(1 / counts[counts > 0]) @ shared_columns
        title_words = words(title or "")
        at = find(self.hashes, [hashed(word) for word in title_words])
        order = [int(i) for i in np.argsort(at, kind="stable") if at[i] >= 0]
        blocks = [sp.eye_array(history.nnz), shared]
        shares = sp.block_diag([sp.vstack(blocks), sp.eye_array(len(order))], format="csr")
        return shares, [title_words[i] for i in order]

    def over(self, catalog: Catalog) -> tuple[SideInformation, npt.NDArray[np.int64]]:
        """The side information of a catalog with more tracks at its end.

        New artists and albums get untrained columns.

        Returns:
            the new side information, and the new index of each old column. (size,)
        """
        more = SideInformation(catalog, self.hashes, self.weights)
        columns = np.arange(self.size)
        place = columns.copy()
        for end, before, now in zip(np.cumsum(self.widths), self.widths, more.widths, strict=True):
            place[columns >= end] += now - before
        return more, place

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The trained arrays, by name."""
        return {"title_words": self.hashes}

    @classmethod
    def restore(
        cls,
        tensors: Mapping[str, npt.NDArray[Any]],
        catalog: Catalog,
        weights: tuple[float, float, float],
    ) -> Self:
        """Restore from `tensors`."""
        return cls(catalog, expect(tensors, "title_words", np.uint64, None), weights)


def _columns(codes: Int32, weight: np.float32) -> Any:
    """The weight in the column of each track's code; empty without code or weight."""
    coded = np.flatnonzero(codes >= 0) if weight else np.zeros(0, np.int64)
    width = int(codes.max(initial=-1)) + 1 if weight else 0
    ones: Float32 = np.full(len(coded), weight, np.float32)
    return sp.csr_matrix((ones, (coded, codes[coded])), (len(codes), width))
