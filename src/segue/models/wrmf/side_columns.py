"""What keeps a track company: its artist, its album, the words of its playlists' titles.

`wrmf` can factorise them as further columns beside the tracks. A history then says something even
where nobody played its tracks, and a title says something without any track.
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
"""Playlists that have a word in their titles; a rarer word is not a column."""


class SideInformation:
    """Columns beside the tracks: artists, albums, words of titles.

    Args:
        catalog: whose artists and albums they are.
        hashes: of the words that are columns, rising.
        weights: of a track's artist, of its album, of a word of the title; a play weighs 1.

    Attributes:
        tracks: which columns come with each track, weighted. CSR (tracks, artists + albums)
        widths: how many columns are artists, and albums.
        size: columns in all.
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
        """The words of at least three of the titles become columns."""
        counts = Counter(word for title in titles for word in words(title or ""))
        known = [hashed(word) for word, count in counts.items() if count >= _LEAST]
        hashes = np.sort(np.array(known if weights[2] else [], np.uint64))
        return cls(catalog, hashes, weights)

    def known(self, titles: Sequence[str | None]) -> tuple[npt.NDArray[np.int64], Int32]:
        """Titles' words that are columns: rows of titles, and places in `hashes`."""
        said = [(row, word) for row, title in enumerate(titles) for word in words(title or "")]
        at = find(self.hashes, [hashed(word) for _, word in said])
        rows = np.array([row for row, _ in said], np.int64)
        return rows[at >= 0], at[at >= 0].astype(np.int32)

    def beside(
        self, plays: Any, titles: Sequence[str | None], shares: Float32 | None = None
    ) -> Any:
        """Plays with the columns that they bring. CSR (rows, tracks + size)

        Args:
            shares: of its weight that a word has in the title of each row; None: all of it.
            plays: of rows that may be more than the titles; below 0 are skips, which bring
                nothing. CSR (rows, tracks) float32
        """
        played = plays.maximum(0) if plays.data.min(initial=0) < 0 else plays
        rows, at = self.known(titles)
        weights = np.full(len(at), self.word_weight)
        if shares is not None:
            weights *= shares[rows]
        said = sp.csr_matrix((weights, (rows, at)), (plays.shape[0], len(self.hashes)))
        beside = sp.hstack([plays, played @ self.tracks, said], format="csr", dtype=np.float32)
        beside.sort_indices()
        return beside

    def plays(self, plays: Int32) -> npt.NDArray[np.int64]:
        """How often each track's artist and album were played. (tracks,)"""
        whose = (self.tracks > 0).astype(np.int64)
        counts: npt.NDArray[np.int64] = whose @ (whose.T @ plays.astype(np.int64))
        return counts

    def sources(self, heard: Any, title: str | None) -> tuple[Any, list[str]]:
        """Whom each column of a query speaks for.

        Args:
            heard: plays of its history, below 0 for skips. CSR (1, tracks), sorted
            title: of the query.

        Returns:
            Shares, (columns that the query has, tracks heard + words), the columns in rising
            order; and the words of the title that are columns.
        """
        whose = (self.tracks[heard.indices] > 0).astype(np.float64)
        whose = (sp.diags_array((heard.data > 0).astype(np.float64)) @ whose).tocsr()
        counts = np.asarray(whose.sum(axis=0)).ravel()
        with_it = whose[:, counts > 0].T.tocsr()
        shared = sp.diags_array(1 / counts[counts > 0]) @ with_it
        said = words(title or "")
        at = find(self.hashes, [hashed(word) for word in said])
        order = [int(i) for i in np.argsort(at, kind="stable") if at[i] >= 0]
        blocks = [sp.eye_array(heard.nnz), shared]
        shares = sp.block_diag([sp.vstack(blocks), sp.eye_array(len(order))], format="csr")
        return shares, [said[i] for i in order]

    def over(self, catalog: Catalog) -> tuple[SideInformation, npt.NDArray[np.int64]]:
        """The same over a catalog with further tracks at its end.

        Artists and albums that are new become columns that nothing was learned for.

        Returns:
            the company, and where each column of before is now. (size,)
        """
        more = SideInformation(catalog, self.hashes, self.weights)
        columns = np.arange(self.size)
        place = columns.copy()
        for end, before, now in zip(np.cumsum(self.widths), self.widths, more.widths, strict=True):
            place[columns >= end] += now - before
        return more, place

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """What was learned."""
        return {"title_words": self.hashes}

    @classmethod
    def restore(
        cls,
        tensors: Mapping[str, npt.NDArray[Any]],
        catalog: Catalog,
        weights: tuple[float, float, float],
    ) -> Self:
        """Take what `tensors` gave."""
        return cls(catalog, expect(tensors, "title_words", np.uint64, None), weights)


def _columns(codes: Int32, weight: np.float32) -> Any:
    """A one, weighted, in the column of each track's code; nothing without code or weight."""
    some = np.flatnonzero(codes >= 0) if weight else np.zeros(0, np.int64)
    width = int(codes.max(initial=-1)) + 1 if weight else 0
    ones: Float32 = np.full(len(some), weight, np.float32)
    return sp.csr_matrix((ones, (some, codes[some])), (len(codes), width))
