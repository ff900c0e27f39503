"""What the second stage looks at: features of a query with each of its candidate tracks.

Source: Volkovs et al. 2018, "Two-stage Model for Automatic Playlist Continuation at Scale",
section 3.4 and the authors' code, families A to E; and ours, which say so in their description.
Differences from the paper:

- Playlists of a track are all of them, not a sample of 1,000: their means are learned once, so a
  sample would save nothing. Counts are shares of the playlists, to mean the same when more is
  learned.
- The number of tracks of the playlist to be continued, which the challenge tells, is left out: a
  query does not know it. `length-difference` compares with the playlists of the seeds instead.
- The number of the title as a feature is left out (it has no order).
- First-stage scores are the standardised ones and the places they give.

Everything is learned from the dataset and plays that are given and from nothing else: train the
second stage on tables of the *reduced* dataset, then what was hidden from it cannot be seen in a
feature. Columns of the catalog that the learning reads are names and lengths, never `plays`.

Values that are unknown are neutral, never NaN: 0, or for a length the mean of the known ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from segue.catalog.catalog import Catalog
from segue.data.dataset import Dataset
from segue.models.two_stage.candidates import Pool
from segue.models.two_stage.config import TwoStageConfig
from segue.models.two_stage.features.columns import (
    FAMILIES,
    FEATURES,
    PAIR,
    PLAYLIST,
    PLAYLISTS,
    TRACK,
    Feature,
    features_of,
)
from segue.models.two_stage.features.kernels import compare, cosines, dots
from segue.models.two_stage.features.tables import (
    NameTable,
    Texts,
    TrackSide,
    durations,
    own_features,
)
from segue.numeric.arrays import Float32, Int32, Int64
from segue.numeric.tensors import expect
from segue.queries import Queries
from segue.text.ngrams import find, hashed, words

__all__ = ["FAMILIES", "FEATURES", "Feature", "FeatureTables", "features_of"]


@dataclass(frozen=True)
class _Asked:
    """What the features of one query are made of.

    Attributes:
        seeds: liked tracks without repeats, oldest first. (n,)
        vector: U_q. (d,)
        words: numbers of the words of its title; -1: in no name of the catalog.
        name: row of its title in `NameTable`, -1: unknown.
        name_vector: Uname_q, 0 where unknown. (r,)
        mean, mean_name: means over the seeds of V_s, Vname_s.
    """

    seeds: Int32
    vector: Float32
    words: Int64
    name: int
    name_vector: Float32
    mean: Float32
    mean_name: Float32


@dataclass(eq=False)
class FeatureTables:
    """What is known of tracks, artists, albums and titles before any query.

    Made by `learn` or `restore`.

    Attributes:
        families: that `compute` gives.
        frequent: albums whose seeds are counted, most frequent first; numbers of `Catalog.albums`,
            -2 where there are fewer.
        own: features of the family "track". (tracks, 8)
        vectors: V. (tracks, d)
        playlists: mean of U_p over the playlists that have the track. (tracks, d)
        artists, albums: their vectors.
    """

    catalog: Catalog
    families: tuple[str, ...]
    frequent: Int32
    own: Float32
    vectors: Float32
    playlists: Float32
    names: NameTable
    artists: Float32
    albums: Float32
    texts: Texts

    def __post_init__(self) -> None:
        self._artist, self._album = self.catalog.artists, self.catalog.albums
        self._by_artist, self._on_album = _sizes(self._artist), _sizes(self._album)
        lengths = np.sqrt(np.einsum("td,td->t", self.vectors, self.vectors))
        self._inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)

    @classmethod
    def learn(
        cls,
        dataset: Dataset,
        plays: Any,
        catalog: Catalog,
        vectors: Float32,
        row_vectors: Float32,
        config: TwoStageConfig,
        rng: np.random.Generator,
        like: Self | None = None,
    ) -> Self:
        """Learn from `plays` and the titles of the playlists that hold something in it.

        Args:
            dataset: whose titles belong to the first rows of `plays`.
            plays: ``dataset.plays()``. "Playlists" are its rows, listeners included; those that
                are empty do not count. (rows, tracks)
            catalog: of the dataset's tracks; its `plays` are not looked at.
            vectors: V, collaborative vectors of the tracks. (tracks, d)
            row_vectors: U of the rows, such that U_p.V_s is how well s fits p. (rows, d)
            config: lengths of the vectors of titles (`name_factors`) and of artists and albums
                (`side_factors`), how many of the most frequent albums are counted among the seeds
                (`albums`), and the families that `compute` shall give.
            rng: of the decompositions.
            like: tables whose frequent albums are kept, so that columns mean what they meant to
                the ranker that learned from those tables.
        """
        binary = plays.copy()
        binary.data = np.ones_like(binary.data)
        rows = max(1, int((np.diff(binary.indptr) > 0).sum()))
        artist, album = catalog.artists, catalog.albums
        by_artist = TrackSide.learn(artist, binary, config.side_factors, rng)
        by_album = TrackSide.learn(album, binary, config.side_factors, rng)
        names = NameTable.learn(dataset.titles, binary, config.name_factors, rng)
        own, playlists = own_features(
            binary, durations(catalog), vectors, row_vectors, names, artist
        )
        own[:, 5] = by_artist.having(artist)
        own[:, 6] = by_album.having(album)
        own[:, 4:7] /= rows
        order = np.argsort(-by_album.rows, kind="stable")[: config.albums].astype(np.int32)
        frequent = np.full(config.albums, -2, np.int32)
        frequent[: len(order)] = order
        return cls(
            catalog,
            config.families,
            frequent if like is None else like.frequent,
            own,
            np.ascontiguousarray(vectors, np.float32),
            playlists,
            names,
            by_artist.vectors,
            by_album.vectors,
            Texts.of(catalog) if like is None else like.texts,
        )

    def compute(self, query: Queries, pool: Pool) -> Float32:
        """Features of the candidates of one query.

        Args:
            query: a single one, of tracks of the catalog.
            pool: its candidates. U_q is the end of their `vector`, as long as the `vectors` here.

        Returns:
            (n, features) float32, finite. Columns are
            ``features_of(models, len(frequent), families)``.
        """
        tracks = pool.tracks
        asked = self._asked(query, pool.vector[-self.vectors.shape[1] :])
        blended = np.concatenate([pool.scores, pool.blend[:, None]], axis=1, dtype=np.float32)
        blocks = [
            np.broadcast_to(block, (len(tracks), block.shape[-1]))
            for block in self._blocks(asked, tracks, blended)
        ]
        return np.concatenate([np.zeros((len(tracks), 0), np.float32), *blocks], axis=1)

    def _blocks(self, asked: _Asked, tracks: Int32, scores: Float32) -> Iterator[Float32]:
        """Columns of each family that is wanted: (n, columns), or (columns,) alike for all."""
        if "first stage" in self.families:
            yield _scored(scores)
        if "track" in self.families:
            yield self.own[tracks]
        if "playlist" in self.families:
            yield self._playlist(asked)
        if "pair" in self.families:
            yield self._pair(asked, tracks)
        if "playlists of the track" in self.families:
            yield self._playlists(asked, tracks)

    def _asked(self, query: Queries, vector: Float32) -> _Asked:
        """What is needed of one query."""
        seeds = np.array(list(dict.fromkeys(query.liked().values.tolist())), np.int32)
        title = words(query.titles[0] or "")
        name = int(find(self.names.hashes, [hashed(" ".join(title))])[0])
        return _Asked(
            seeds,
            np.ascontiguousarray(vector, np.float32),
            find(self.texts.hashes, [hashed(word) for word in title]),
            name,
            self.names.vectors[name] if name >= 0 else _mean(self.names.vectors[:0]),
            _mean(self.vectors[seeds]),
            _mean(self.names.tracks[seeds] * self.names.titled[seeds, None]),
        )

    def _playlist(self, asked: _Asked) -> Float32:
        """Features of the query alone. (13 + albums,)"""
        n = max(1, len(asked.seeds))
        artists, albums = self._artist[asked.seeds], self._album[asked.seeds]
        row = np.zeros(len(PLAYLIST) + len(self.frequent), np.float32)
        row[0] = len(asked.seeds)
        row[1:6] = _mean(self.own[asked.seeds])[[4, 5, 6, 0, 1]]
        row[6] = asked.vector @ asked.mean
        row[7] = asked.name_vector @ asked.mean_name
        row[8] = len(np.unique(artists[artists >= 0])) / n
        row[9] = len(np.unique(albums[albums >= 0])) / n
        row[10:12] = len(asked.words) > 0, asked.name >= 0
        row[12] = self.names.popularity[asked.name] if asked.name >= 0 else 0
        row[13:] = (albums[:, None] == self.frequent).sum(axis=0)
        return row

    def _pair(self, asked: _Asked, tracks: Int32) -> Float32:
        """Features of the query with each track. (n, 20)"""
        seeds, n = asked.seeds, max(1, len(asked.seeds))
        out = np.zeros((len(tracks), len(PAIR)), np.float32)
        artist, album = self._artist[tracks], self._album[tracks]
        artists, albums = self._artist[seeds], self._album[seeds]
        alike = np.empty((len(tracks), 4), np.float32)
        compare(artist, album, self.own[tracks, 0], artists, albums, self.own[seeds, 0], alike)
        by, on = alike[:, 0], alike[:, 1]
        out[:, 0], out[:, 1], out[:, 3] = by / n, by, by / self._by_artist[artist]
        out[:, 4], out[:, 6] = on / n, on / self._on_album[album]
        out[:, 7:9] = alike[:, 2:] / n
        if len(seeds):
            out[:, 2] = (artist == artists[-1]) & (artist >= 0)
            out[:, 5] = (album == albums[-1]) & (album >= 0)
            unit = self.vectors[seeds] * self._inverse[seeds, None]
            cosines(self.vectors, self._inverse, tracks, unit, out[:, 10:12])
        titled = self.names.titled[tracks]
        dots(self.vectors, tracks, asked.mean, out[:, 9])
        dots(self.names.tracks, tracks, asked.mean_name, out[:, 12])
        dots(self.names.tracks, tracks, asked.name_vector, out[:, 13])
        out[:, 12:14] *= titled[:, None]
        dots(self.artists, artist, _mean(_known(self.artists, artists)), out[:, 14])
        dots(self.albums, album, _mean(_known(self.albums, albums)), out[:, 15])
        dots(self.vectors, tracks, asked.vector, out[:, 16])
        out[:, 17] = self.texts.share(asked.words, self.texts.titles, tracks)
        out[:, 18] = self.texts.share(asked.words, self.texts.artists, artist)
        out[:, 19] = self.texts.share(asked.words, self.texts.albums, album)
        return out

    def _playlists(self, asked: _Asked, tracks: Int32) -> Float32:
        """Features of the query with the playlists of each track. (n, 4)"""
        out = np.zeros((len(tracks), len(PLAYLISTS)), np.float32)
        if asked.name >= 0:
            out[:, 0] = self.names.share(asked.name, tracks)
        if len(asked.seeds):
            out[:, 1] = self.own[tracks, 1] - _mean(self.own[asked.seeds, 1:2])
        dots(self.playlists, tracks, asked.vector, out[:, 2])
        dots(self.names.tracks, tracks, asked.name_vector, out[:, 3])
        return out

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Everything learned, by name."""
        return {
            "frequent": self.frequent,
            "own": self.own,
            "vectors": self.vectors,
            "playlists": self.playlists,
            "artists": self.artists,
            "albums": self.albums,
            **self.names.tensors(),
            **self.texts.tensors(),
        }

    @classmethod
    def restore(
        cls,
        tensors: Mapping[str, npt.NDArray[Any]],
        catalog: Catalog,
        albums: int,
        families: Sequence[str] = FAMILIES,
    ) -> Self:
        """Take tensors as `tensors` gave them.

        Raises:
            BundleError: shapes or types do not fit, or numbers point outside.
        """
        size = len(catalog)
        artists = int(catalog.artists.max(initial=-1)) + 1
        of_albums = int(catalog.albums.max(initial=-1)) + 1
        vectors = expect(tensors, "vectors", np.float32, size, None)
        return cls(
            catalog,
            tuple(families),
            expect(tensors, "frequent", np.int32, albums),
            expect(tensors, "own", np.float32, size, len(TRACK)),
            vectors,
            expect(tensors, "playlists", np.float32, size, vectors.shape[1]),
            NameTable.restore(tensors, size),
            expect(tensors, "artists", np.float32, artists, None),
            expect(tensors, "albums", np.float32, of_albums, None),
            Texts.restore(tensors, size, artists, of_albums),
        )


def _sizes(codes: Int32) -> Float32:
    """Tracks of each number, and 1 at the end, which is read for -1. (numbers + 1,)"""
    return np.append(np.bincount(codes[codes >= 0]), 1).astype(np.float32)


def _mean(rows: Float32) -> Float32:
    """Mean of rows, 0 of none. (columns,)"""
    mean: Float32 = (rows.sum(axis=0) / np.float32(max(1, len(rows)))).astype(np.float32)
    return mean


def _known(vectors: Float32, codes: Int32) -> Float32:
    """Vectors of the numbers, 0 of -1. (n, rank)"""
    out = np.zeros((len(codes), vectors.shape[1]), np.float32)
    out[codes >= 0] = vectors[codes[codes >= 0]]
    return out


def _scored(scores: Float32) -> Float32:
    """Each model's scores and log(1 + number of higher ones). (n, models) -> (n, 2 models)"""
    out = np.empty((len(scores), 2 * scores.shape[1]), np.float32)
    logs = np.log1p(np.arange(len(scores))).astype(np.float32)
    for m, column in enumerate(scores.T):
        out[:, 2 * m] = column
        out[:, 2 * m + 1] = logs[_places(column)]
    return out


def _places(scores: Float32) -> npt.NDArray[np.int64]:
    """How many scores are higher than each. (n,)"""
    order = np.argsort(-scores)
    falling = scores[order]
    new = np.ones(len(scores), np.bool_)
    new[1:] = falling[1:] != falling[:-1]
    places = np.empty(len(scores), np.int64)
    places[order] = np.maximum.accumulate(np.where(new, np.arange(len(scores)), 0))
    return places
