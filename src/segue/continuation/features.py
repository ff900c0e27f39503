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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from segue.answers import Float32, Int32, Int64, Queries
from segue.catalog import Catalog
from segue.continuation.feature_kernels import Asked, Tables, fill
from segue.continuation.feature_tables import (
    Names,
    Side,
    Texts,
    album_codes,
    durations,
    own_features,
)
from segue.data.dataset import Dataset
from segue.errors import BundleError
from segue.models.base import expect
from segue.models.text import find, hashed, words


@dataclass(frozen=True)
class Feature:
    """One column.

    Attributes:
        name: words in kebab-case.
        family: one of `FAMILIES`.
        description: one line.
    """

    name: str
    family: str
    description: str


FAMILIES = ("first stage", "track", "playlist", "pair", "playlists of the track")
"""A to E of the paper."""

_TRACK = (
    ("track-duration", "length of the track in seconds; unknown: mean of the known"),
    ("track-playlist-length", "mean number of tracks of the playlists that have it"),
    ("track-homogeneity", "mean of U_p.V_s over the playlists p that have it"),
    ("track-title-homogeneity", "mean of Uname_p.Vname_s over the titled playlists that have it"),
    ("track-popularity", "share of playlists that have the track"),
    ("artist-popularity", "share of playlists that have a track by the artist"),
    ("album-popularity", "share of playlists that have a track of the album"),
    ("place-in-artist", "ours: how many tracks of the artist are in more playlists"),
)
_PLAYLIST = (
    ("seeds", "how many liked tracks the query has, repeats not counted"),
    ("seeds-popularity", "mean track-popularity of the seeds"),
    ("seeds-artist-popularity", "mean artist-popularity of the seeds"),
    ("seeds-album-popularity", "mean album-popularity of the seeds"),
    ("seeds-duration", "mean track-duration of the seeds"),
    ("seeds-playlist-length", "ours: mean track-playlist-length of the seeds"),
    ("seeds-homogeneity", "mean of U_q.V_s over the seeds s"),
    ("seeds-title-homogeneity", "mean of Uname_q.Vname_s over the seeds s"),
    ("seeds-artists", "different artists among the seeds, per seed"),
    ("seeds-albums", "different albums among the seeds, per seed"),
    ("has-title", "ours: 1 where the query has a title with a word in it"),
    ("title-known", "ours: 1 where a playlist of training has the same normalised title"),
    ("title-popularity", "ours: share of playlists with the same normalised title"),
)
_PAIR = (
    ("same-artist", "share of seeds by the track's artist"),
    ("same-artist-seeds", "ours: number of seeds by the track's artist"),
    ("same-artist-as-last", "ours: 1 where the last seed is by the track's artist"),
    ("artist-heard", "ours: share of the artist's tracks that are seeds"),
    ("same-album", "share of seeds on the track's album"),
    ("same-album-as-last", "ours: 1 where the last seed is on the track's album"),
    ("album-heard", "ours: share of the album's tracks that are seeds"),
    ("duration-difference", "mean over the seeds of track's minus seed's length in seconds"),
    ("duration-distance", "ours: mean over the seeds of the absolute difference in seconds"),
    ("similarity", "mean of V_s.V_seed over the seeds"),
    ("similarity-most", "ours: largest cosine of V_s and a seed's V"),
    ("similarity-to-last", "ours: cosine of V_s and the last seed's V"),
    ("title-similarity", "mean of Vname_s.Vname_seed over the seeds"),
    ("title-track", "Uname_q.Vname_s"),
    ("artist-similarity", "mean dot of artist vectors of the track and of the seeds"),
    ("album-similarity", "mean dot of album vectors of the track and of the seeds"),
    ("query-track", "U_q.V_s"),
    ("title-in-track", "ours: share of the title's words that are in the track's title"),
    ("title-in-artist", "ours: share of the title's words that are in the artist's name"),
    ("title-in-album", "ours: share of the title's words that are in the album's name"),
)
_PLAYLISTS = (
    ("same-title", "share of the track's titled playlists with the query's normalised title"),
    ("length-difference", "ours: track-playlist-length minus that of the seeds in the mean"),
    ("query-playlists", "mean of U_q.U_p over the playlists p that have the track"),
    ("title-playlists", "mean of Uname_q.Uname_p over the titled playlists that have the track"),
)


def features_of(
    models: Sequence[str], albums: int = 0, families: Sequence[str] = FAMILIES
) -> tuple[Feature, ...]:
    """Columns that `FeatureTables.compute` gives, in order.

    Args:
        models: first-stage models by name, in the order of their scores.
        albums: how many of the most frequent albums are counted among the seeds (paper: 500).
        families: those that are wanted.
    """
    scored = [
        (f"{model}-{kind}", text.format(model))
        for model in [*models, "blend"]
        for kind, text in (
            ("score", "score of {} for the track, standardised within the query"),
            ("place", "ours: log(1 + number of candidates that {} scores higher)"),
        )
    ]
    counted = [
        (f"seeds-on-album-{k}", f"how many seeds are on frequent album {k}")
        for k in range(1, albums + 1)
    ]
    parts = (scored, [*_PLAYLIST, *counted])
    columns = (parts[0], _TRACK, parts[1], _PAIR, _PLAYLISTS)
    return tuple(
        Feature(name, family, text)
        for family, some in zip(FAMILIES, columns, strict=True)
        if family in families
        for name, text in some
    )


FEATURES = features_of(["model"], 1)
"""Every kind of feature; `model-` stands for each first-stage model."""


class FeatureTables:
    """What is known of tracks, artists, albums and titles before any query.

    Attributes:
        families: that `compute` gives.
        frequent: albums whose seeds are counted, most frequent first; numbers of `album_codes`.
    """

    def __init__(
        self,
        catalog: Catalog,
        families: Sequence[str],
        frequent: Int32,
        own: Float32,
        vectors: Float32,
        playlists: Float32,
        names: Names,
        artists: Float32,
        albums: Float32,
        texts: Texts,
    ) -> None:
        self.families, self.frequent, self.own = tuple(families), frequent, own
        self.vectors, self.playlists, self.names = vectors, playlists, names
        self.artists, self.albums, self.texts = artists, albums, texts
        artist, album = catalog.codes("artist_uri", "artist"), album_codes(catalog)
        lengths = np.sqrt(np.einsum("td,td->t", vectors, vectors))
        inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        self._tables = Tables(
            artist,
            album,
            own,
            vectors,
            inverse,
            playlists,
            names.tracks,
            names.titled,
            artists,
            albums,
            np.bincount(artist[artist >= 0], minlength=len(artists)).astype(np.int32),
            np.bincount(album[album >= 0], minlength=len(albums)).astype(np.int32),
            names.offsets,
            names.columns,
            names.shares,
            *texts.titles,
            *texts.artists,
            *texts.albums,
            frequent,
        )

    @classmethod
    def learn(
        cls,
        dataset: Dataset,
        plays: Any,
        catalog: Catalog,
        vectors: Float32,
        row_vectors: Float32,
        names_rank: int,
        side_rank: int,
        albums: int,
        rng: np.random.Generator,
        families: Sequence[str] = FAMILIES,
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
            names_rank: length of the vectors of titles.
            side_rank: length of the vectors of artists and albums.
            albums: how many of the most frequent albums are counted among the seeds.
            rng: of the decompositions.
            families: that `compute` shall give.
            like: tables whose frequent albums are kept, so that columns mean what they meant to
                the ranker that learned from those tables.
        """
        binary = plays.copy()
        binary.data = np.ones_like(binary.data)
        rows = max(1, int((np.diff(binary.indptr) > 0).sum()))
        artist, album = catalog.codes("artist_uri", "artist"), album_codes(catalog)
        by_artist = Side.learn(artist, binary, side_rank, rng)
        by_album = Side.learn(album, binary, side_rank, rng)
        names = Names.learn(dataset.titles, binary, names_rank, rng)
        own, playlists = own_features(
            binary, durations(catalog), vectors, row_vectors, names, artist
        )
        own[:, 5] = by_artist.having(artist)
        own[:, 6] = by_album.having(album)
        own[:, 4:7] /= rows
        order = np.argsort(-by_album.rows, kind="stable")[:albums].astype(np.int32)
        frequent = np.full(albums, -2, np.int32)
        frequent[: len(order)] = order
        return cls(
            catalog,
            families,
            frequent if like is None else like.frequent,
            own,
            np.ascontiguousarray(vectors, np.float32),
            playlists,
            names,
            by_artist.vectors,
            by_album.vectors,
            Texts.of(catalog) if like is None else like.texts,
        )

    def compute(
        self,
        queries: Queries,
        query_vectors: Float32,
        candidates: Int32,
        scores: Float32,
        blend: Float32,
    ) -> Float32:
        """Features of each query's candidates.

        Args:
            queries: of tracks of the catalog.
            query_vectors: U_q in the space of `vectors`. (queries, d)
            candidates: tracks, padded with -1 at the end. (queries, C)
            scores: of the first-stage models, standardised. (queries, C, models)
            blend: of them. (queries, C)

        Returns:
            (queries, C, features) float32, finite; 0 where padded. Columns are
            ``features_of(models, albums, families)``.
        """
        count, models = scores.shape[1:]
        every = features_of([""] * models, len(self.frequent))
        out = np.zeros((len(queries), count, len(every)), np.float32)
        logs = np.log1p(np.arange(max(1, count))).astype(np.float32)
        asked = self._asked(queries, np.ascontiguousarray(query_vectors, np.float32))
        fill(
            asked,
            self._tables,
            np.ascontiguousarray(candidates, np.int32),
            np.ascontiguousarray(scores, np.float32),
            np.ascontiguousarray(blend, np.float32),
            logs,
            out,
        )
        if set(self.families) >= set(FAMILIES):
            return out
        return out[:, :, [feature.family in self.families for feature in every]]

    def _asked(self, queries: Queries, vectors: Float32) -> Asked:
        texts = [words(title or "") for title in queries.titles]
        rows = find(self.names.hashes, [hashed(" ".join(text)) for text in texts])
        known = rows >= 0
        if len(self.names.hashes):
            names = np.where(known[:, None], self.names.vectors[rows], np.float32(0))
            popular = np.where(known, self.names.popularity[rows], np.float32(0))
        else:
            names = np.zeros((len(rows), self.names.vectors.shape[1]), np.float32)
            popular = np.zeros(len(rows), np.float32)
        title = np.stack([[bool(text) for text in texts], known, popular], axis=1)
        found = find(self.texts.hashes, [hashed(word) for text in texts for word in text])
        offsets, seeds = _without_repeats(*queries.liked(), len(self.own))
        return Asked(
            offsets,
            seeds,
            vectors,
            title.astype(np.float32),
            rows.astype(np.int64),
            names,
            np.cumsum([0] + [len(text) for text in texts]).astype(np.int64),
            found.astype(np.int32),
        )

    @cached_property
    def album_count(self) -> int:
        """The setting `albums` that the tables were learned with."""
        return len(self.frequent)

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
        artist, album = catalog.codes("artist_uri", "artist"), album_codes(catalog)
        of_artists, of_albums = (int(codes.max(initial=-1)) + 1 for codes in (artist, album))
        vectors = expect(tensors, "vectors", np.float32, size, None)
        frequent = expect(tensors, "frequent", np.int32, albums)
        if len(frequent) and not -2 <= frequent.min() <= frequent.max() < of_albums:
            raise BundleError("points outside the albums", where="tensor frequent")
        return cls(
            catalog,
            families,
            frequent,
            expect(tensors, "own", np.float32, size, len(_TRACK)),
            vectors,
            expect(tensors, "playlists", np.float32, size, vectors.shape[1]),
            Names.restore(tensors, size),
            expect(tensors, "artists", np.float32, of_artists, None),
            expect(tensors, "albums", np.float32, of_albums, None),
            Texts.restore(tensors, size, of_artists, of_albums),
        )


def _without_repeats(offsets: Int64, tracks: Int32, size: int) -> tuple[Int64, Int32]:
    """Each history with the first of equal tracks only."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    _, first = np.unique(owner * size + tracks, return_index=True)
    first.sort()
    return np.searchsorted(first, offsets).astype(np.int64), tracks[first]
