"""Title: tracks for a playlist with a title and nothing else (`title`).

features = "words". Documents d are the distinct titles of training, each with the tracks of its
playlists, and the names of artists, each with the artist's tracks. A title x is compared with
them by cosine over its words and their character n-grams (weighted by idf), so that a name never
seen before still finds names that look like it. A title of which no word looks like one of theirs
(`Vocabulary.knows`) is not known. Similar documents vote for their tracks; votes also reach tracks
that share playlists with the voted ones; popularity fills up:

    a_t      = sum over d of cos(x, d)^sharpness D_dt
    score(t) = a_t + smoothing sqrt(n_t) v_t . z + popularity n_t / max n,
    z        = sum over t of a_t / sqrt(n_t) v_t

D_dt is the number of playlists called d that have t, and for an artist's name
``artists n_t / sqrt(sum of n over the artist's tracks)``; n_t counts playlists and listeners that
have t. The v are right singular vectors of the rows of plays, each entry divided by
sqrt(length of its row) and n_t^(1/4).

features = "name". The whole normalised name is one category (Volkovs et al. 2018, "Two-stage Model
for Automatic Playlist Continuation at Scale", section 3.5). M are tracks (how many playlists of
each name have the track) stacked on playlists (1 for the name), truncated M ~ P S Q^T:

    score(t) = (P S)_name . (P S)_t,   where (P S)_name = Q_name and (P S)_t = M_t Q
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.catalog.catalog import first_of_each
from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import ScoringModel
from segue.models.title.config import TitleConfig
from segue.models.title.kernels import cosines, vote
from segue.models.title.titles import by_name
from segue.numeric.arrays import Float32, Int32
from segue.numeric.kernels import add_products
from segue.numeric.svd import right_vectors
from segue.numeric.tensors import csr, expect, expect_rows, rows_as_tensors
from segue.queries import Queries, Query, Reason
from segue.text.ngrams import Vocabulary, find, hashed, words

Vectors = npt.NDArray[np.float64]

_LEAST = 0.1
"""Minimum similarity of a voting document; less similar ones are many and only add noise."""
_BLOCK = 32
"""Number of queries in a comparison with all documents."""


class Title(ScoringModel):
    """Recommends by the title alone, whatever the history.

    `Title(features=...)` makes one of the two models below.
    """

    name: ClassVar[str] = "title"
    Config = TitleConfig
    vectors: Float32
    """(tracks, factors) float32"""

    def __new__(cls, /, **settings: Any) -> Self:
        kind: Any = _Names if settings.get("features") == "name" else _Words
        made: Self = object.__new__(kind)
        return made

    @property
    def reads_titles(self) -> bool:
        return True

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        binary = sp.csr_matrix(
            (np.ones(plays.nnz, np.float32), plays.indices, plays.indptr), plays.shape
        )
        names, count, votes = by_name(dataset.titles, binary)
        if not names:
            raise DataError(
                "has no playlist with a title and tracks",
                where=dataset.path,
                do="title learns from the names of playlists",
            )
        self._learn(names, count, votes, binary, np.random.default_rng(run.seed))

    @abstractmethod
    def _learn(
        self, names: list[str], count: Any, votes: Any, plays: Any, rng: np.random.Generator
    ) -> None:
        """Fit to the distinct names, their numbers of playlists, and their tracks."""


class _Words(Title):
    def _learn(
        self, names: list[str], count: Any, votes: Any, plays: Any, rng: np.random.Generator
    ) -> None:
        _, first = self._artists()
        artists = self.catalog.table["artist"].take(first).to_pylist()
        documents = [name.split() for name in names] + [words(artist) for artist in artists]
        self.vocabulary = Vocabulary.learn(
            documents, np.concatenate([count, np.zeros(len(artists))])
        )
        self.texts = self.vocabulary.vectors(documents).astype(np.float32)
        self.texts.sort_indices()
        self.votes = votes
        row = np.maximum(np.diff(plays.indptr), 1) ** -0.5
        column = np.maximum(self.catalog.plays, 1) ** -0.25
        scaled = sp.diags_array(row) @ plays @ sp.diags_array(column)
        self.vectors = right_vectors(scaled.astype(np.float32), self.config.factors, rng)
        self._prepare()

    def _artists(self) -> tuple[Int32, npt.NDArray[np.int64]]:
        """Artist's number of each track (-1: unknown), and the first track of each artist."""
        codes = self.catalog.codes("artist")
        return codes, first_of_each(codes)

    def _prepare(self) -> None:
        """Compute the arrays that follow from tensors and catalog."""
        plays = self.catalog.plays.astype(np.float64)
        codes, first = self._artists()
        known = np.flatnonzero((codes >= 0) & (plays > 0))
        total = np.bincount(codes[known], plays[known], minlength=len(first))
        weight = self.config.artists * plays[known] / np.sqrt(total[codes[known]])
        by_artist = sp.csr_matrix(
            (weight.astype(np.float32), (codes[known], known)), (len(first), len(plays))
        )
        self.documents = sp.vstack([self.votes, by_artist], format="csr")
        self.postings = self.texts.T.tocsr()
        self.root = np.sqrt(np.maximum(plays, 1)).astype(np.float32)
        prior = self.config.popularity * plays / max(1.0, plays.max(initial=0))
        self.prior = prior.astype(np.float32)

    def _cosines(self, texts: Any) -> Vectors:
        """Cosine of texts, as rows of features, with each document. (texts, documents)"""
        out = np.empty((texts.shape[0], len(self.texts.indptr) - 1))
        cosines(*csr(texts), *csr(self.postings), out)
        return out

    def _voters(self, queries: Queries) -> Any:
        """Weight of each document's votes. CSR (queries, documents)"""
        texts = [words(title or "") for title in queries.titles]
        texts = [text if self.vocabulary.knows(text) else [] for text in texts]
        if not any(texts):
            return sp.csr_matrix((len(texts), self.texts.shape[0]))
        features = self.vocabulary.vectors(texts)
        blocks = [sp.csr_matrix((0, self.texts.shape[0]))]
        for start in range(0, len(queries), _BLOCK):
            similar = self._cosines(features[start : start + _BLOCK])
            similar[similar < _LEAST] = 0
            blocks.append(sp.csr_matrix(similar))
        voters = sp.vstack(blocks, format="csr")
        voters.data **= self.config.sharpness
        return voters

    def _spread(self, voters: Any) -> Float32:
        """Votes of the documents, and votes for tracks in shared playlists. (rows, tracks)"""
        out = np.empty((voters.shape[0], len(self.vectors)), np.float32)
        z = np.empty((len(out), self.vectors.shape[1]), np.float32)
        vote(*csr(voters), *csr(self.documents), self.root, self.vectors, out, z)
        add_products(self.vectors, np.float32(self.config.smoothing) * self.root, z, out)
        return out

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        known: npt.NDArray[np.bool_] = np.diff(self._voters(queries).indptr) > 0
        return known

    def scores(self, queries: Queries) -> Float32:
        return self.known_scores(queries)[1]

    def known_scores(self, queries: Queries) -> tuple[npt.NDArray[np.bool_], Float32]:
        voters = self._voters(queries)
        known = np.diff(voters.indptr) > 0
        scores = np.repeat(self.prior[None], len(queries), axis=0)
        if known.any():
            scores[known] += self._spread(voters[known])
        return known, scores

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        title = words(query.title or "")
        parts = self._cosines(self.vocabulary.parts(title))
        similar = parts.sum(axis=0)
        similar[similar < _LEAST] = 0
        shares = parts * np.power(
            similar, self.config.sharpness - 1, out=np.zeros_like(similar), where=similar > 0
        )
        amounts = self._spread(sp.csr_matrix(shares))
        return [
            [Reason("popularity", None, float(self.prior[track]))]
            + [
                Reason("title", word, float(word_votes[track]))
                for word, word_votes in zip(title, amounts, strict=True)
            ]
            for track in tracks
        ]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "features": self.vocabulary.hashes,
            "idf": self.vocabulary.idf,
            "vectors": self.vectors,
            **rows_as_tensors("texts", self.texts.indptr, self.texts.indices),
            "texts.weights": self.texts.data,
            **rows_as_tensors("votes", self.votes.indptr, self.votes.indices),
            "votes.counts": self.votes.data,
        }

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        size = len(self.catalog)
        hashes = expect(tensors, "features", np.uint64, None)
        self.vocabulary = Vocabulary(hashes, expect(tensors, "idf", np.float32, len(hashes)))
        self.vectors = expect(tensors, "vectors", np.float32, size, None)
        offsets, tracks = expect_rows(tensors, "votes", size)
        counts = expect(tensors, "votes.counts", np.float32, len(tracks))
        self.votes = sp.csr_matrix((counts, tracks, offsets), (len(offsets) - 1, size))
        offsets, columns = expect_rows(tensors, "texts", len(hashes))
        weights = expect(tensors, "texts.weights", np.float32, len(columns))
        rows = self.votes.shape[0] + len(self._artists()[1])
        expect(tensors, "texts.offsets", np.int64, rows + 1)
        self.texts = sp.csr_matrix((weights, columns, offsets), (rows, len(hashes)))
        self._prepare()


class _Names(Title):
    features: npt.NDArray[np.uint64]
    """Hashes of the known names, rising. (names,)"""
    names: Float32
    """(P S)_name of each known name. (names, factors)"""

    def _learn(
        self, names: list[str], count: Any, votes: Any, plays: Any, rng: np.random.Generator
    ) -> None:
        hashes = np.array([hashed(name) for name in names], np.uint64)
        order = np.argsort(hashes)
        self.features = hashes[order]
        by_track = votes[order].T.tocsr()
        # The playlists of a name are equal rows; for Q they are one row times their number's root.
        name_rows = sp.diags_array(np.sqrt(count[order]).astype(np.float32))
        self.names = right_vectors(sp.vstack([by_track, name_rows]), self.config.factors, rng)
        self.vectors = by_track @ self.names

    def _rows(self, queries: Queries) -> npt.NDArray[np.int64]:
        """Row of each query's name, -1 for unknown ones."""
        names = [" ".join(words(title or "")) for title in queries.titles]
        return find(self.features, [hashed(name) for name in names])

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return self._rows(queries) >= 0

    def scores(self, queries: Queries) -> Float32:
        rows = self._rows(queries)
        names = np.where(rows[:, None] >= 0, self.names[rows], np.float32(0))
        out = np.zeros((len(queries), len(self.vectors)), np.float32)
        add_products(self.vectors, np.ones(len(self.vectors), np.float32), names, out)
        return out

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        name = " ".join(words(query.title or ""))
        (scores,) = self.scores(Queries.of([query]))
        return [[Reason("title", name, float(scores[track]))] for track in tracks]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {"features": self.features, "names": self.names, "vectors": self.vectors}

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        self.features = expect(tensors, "features", np.uint64, None)
        self.names = expect(tensors, "names", np.float32, len(self.features), None)
        factors = self.names.shape[1]
        self.vectors = expect(tensors, "vectors", np.float32, len(self.catalog), factors)
