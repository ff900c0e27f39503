"""The music of a simulated world: genres, artists, albums and tracks with latent points.

`docs/reference/world.md` says the same with its formulas in one place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

FACTORS = 16
"""Dimensions of the latent space."""

# Variances of a coordinate; a track's add up to about 1.
_GENRE, _ARTIST, _TRACK = 0.6, 0.25, 0.15

_ARTIST_ZIPF, _TRACK_ZIPF = 1.05, 1.2
_GENRE_ZIPF = 0.5
_NEAR = np.float32(14)  # how closely draws follow a point
_TRACKS_PER_ARTIST, _TRACKS_PER_ALBUM = 10, 10

MIN_DURATION_MS, MAX_DURATION_MS = 60_000, 480_000


def generator(seed: int, stream: str, chunk: int = 0) -> np.random.Generator:
    """The random generator of one part of the world and one chunk."""
    return np.random.default_rng([seed, chunk, *stream.encode()])


def mismatch(points: Float32, tracks: Float32) -> Float32:
    """Distance of tracks from points: `|p - t|^2 / (2 FACTORS)`.

    0 for the same place, about 1 for two unrelated tracks, 0.4 for two tracks of one genre.

    Args:
        points, tracks: (n, FACTORS).
    """
    away = points - tracks
    distance: Float32 = np.einsum("nf,nf->n", away, away) / np.float32(2 * FACTORS)
    return distance


def normal(rng: np.random.Generator, rows: int, variance: float) -> Float32:
    """Noise of this variance in each coordinate. (rows, FACTORS)"""
    noise: Float32 = rng.standard_normal((rows, FACTORS), np.float32) * np.float32(variance**0.5)
    return noise


def _zipf(ranks: Int64, exponent: float) -> Float64:
    return np.asarray((1.0 + ranks) ** -exponent, np.float64)


@dataclass(frozen=True)
class Music:
    """All tracks of a world, by catalog row, and how they are drawn.

    Tracks are drawn by popularity from a part of `shelf`, on which each genre, and in it each
    artist, is one piece: part [a, b) is the stretch ``reach[a]..reach[b]`` of cumulated popularity.
    """

    genre_latents: Float32
    """(genres, FACTORS)"""
    genre_reach: Float64
    """Cumulated popularity where each genre starts on the shelf, plus the end. (genres + 1,)"""
    neighbours: Float64
    """Row g: cumulated chances of the genre next to g. (genres, genres)"""
    artist_latents: Float32
    artist_genres: Int32
    artist_reach: Float64
    """Cumulated popularity by artist, in order of `artist_places`. (artists + 1,)"""
    artist_places: Int32
    """Place of each artist among the artists on the shelf. (artists,)"""
    track_latents: Float32
    """(tracks, FACTORS)"""
    track_artists: Int32
    track_albums: Int32
    track_popularity: Float64
    """Share of each track in draws by popularity alone; sums to 1. (tracks,)"""
    durations_ms: Int32
    shelf: Int32
    """Catalog rows by genre, artist and popularity in the artist. (tracks,)"""
    reach: Float64
    """Cumulated popularity along the shelf. (tracks,)"""

    @property
    def track_genres(self) -> Int32:
        """Genre of each track. (tracks,)"""
        genres: Int32 = self.artist_genres[self.track_artists]
        return genres

    def draw_genres(self, rng: np.random.Generator, n: int) -> Int32:
        """Genres by the popularity of their tracks. (n,)"""
        inner = self.genre_reach[1:-1]
        genres: Int32 = np.searchsorted(inner, rng.random(n) * self.reach[-1]).astype(np.int32)
        return genres

    def draw_other_genre(self, rng: np.random.Generator, genres: Int32) -> Int32:
        """Another genre for each, with high chances for near genres. (n,)"""
        chances = self.neighbours[genres]
        below = chances < rng.random((len(genres), 1)) * chances[:, -1:]
        others: Int32 = np.count_nonzero(below, axis=1).astype(np.int32)
        return others

    def draw(self, rng: np.random.Generator, low: Float64, high: Float64) -> Int32:
        """A track by popularity from each stretch low..high of the shelf. (n,)"""
        at = np.searchsorted(self.reach, low + rng.random(len(low)) * (high - low), side="right")
        tracks: Int32 = self.shelf[np.minimum(at, len(self.shelf) - 1)]
        return tracks

    def draw_near(
        self, rng: np.random.Generator, low: Float64, high: Float64, points: Float32, tries: int
    ) -> Int32:
        """Draw one of `tries` tracks each, with chances in proportion to exp(-14 mismatch). (n,)"""
        chosen = np.zeros(len(low), np.int32)
        least = np.full(len(low), np.inf, np.float32)
        for _ in range(tries):
            track = self.draw(rng, low, high)
            # An exponential race: the least of Exp(1) / weight wins in proportion to weight.
            wait = rng.standard_exponential(len(low), np.float32)
            wait *= np.exp(_NEAR * mismatch(points, self.track_latents[track]))
            better = wait < least
            chosen[better], least[better] = track[better], wait[better]
        return chosen


def genre_count(tracks: int) -> int:
    """Genres of a world with so many tracks: about 0.45 times the root, from 6 to 400."""
    return int(np.clip(round(0.45 * tracks**0.5), 6, 400))


def make_music(tracks: int, seed: int) -> Music:
    """Genres, artists, albums and tracks with their latent points and popularity."""
    rng = generator(seed, "music")
    genres = genre_count(tracks)
    artists = max(2 * genres, tracks // _TRACKS_PER_ARTIST)

    genre_latents = normal(rng, genres, _GENRE)
    genre_share = _zipf(np.arange(genres), _GENRE_ZIPF)
    artist_genres = np.concatenate(  # every genre has an artist
        [
            np.arange(genres),
            rng.choice(genres, artists - genres, p=genre_share / genre_share.sum()),
        ]
    ).astype(np.int32)
    rng.shuffle(artist_genres)
    away = genre_latents[:, None] - genre_latents
    near = np.exp(-8 * (away**2).sum(axis=2) / (2 * FACTORS))
    np.fill_diagonal(near, 0)
    neighbours = np.cumsum(near / near.sum(axis=1, keepdims=True), axis=1, dtype=np.float64)

    side = rng.integers(0, genres, artists)  # a second genre that colours the artist
    lean = (rng.beta(1, 5, artists) / 2).astype(np.float32)[:, None]
    artist_latents = (1 - lean) * genre_latents[artist_genres] + lean * genre_latents[side]
    artist_latents += normal(rng, artists, _ARTIST)
    artist_fame = _zipf(rng.permutation(artists), _ARTIST_ZIPF)

    size = rng.gamma(1.5, size=artists) * artist_fame**0.3
    extra = rng.multinomial(tracks - artists, size / size.sum())
    track_artists = np.repeat(np.arange(artists, dtype=np.int32), 1 + extra)
    rng.shuffle(track_artists)

    # Rows of the catalog say nothing about popularity: neither the artist's nor the rank in it.
    by_artist = np.lexsort((rng.random(tracks), track_artists))
    counts = np.bincount(track_artists, minlength=artists)
    starts = np.cumsum(counts) - counts
    rank = np.empty(tracks, np.int64)
    rank[by_artist] = np.arange(tracks) - np.repeat(starts, counts)
    albums = -(-counts // _TRACKS_PER_ALBUM)
    first_album = np.cumsum(albums) - albums
    track_albums = first_album[track_artists] + rank % albums[track_artists]

    popularity = artist_fame[track_artists] * _zipf(rank, _TRACK_ZIPF)
    popularity /= popularity.sum()
    shelf = np.lexsort((rank, track_artists, artist_genres[track_artists])).astype(np.int32)
    reach = np.cumsum(popularity[shelf])
    edge = np.concatenate([[0.0], reach])
    shelved = np.argsort(artist_genres, kind="stable")
    artist_places = np.empty(artists, np.int32)
    artist_places[shelved] = np.arange(artists, dtype=np.int32)
    by_genre = np.bincount(artist_genres[track_artists], minlength=genres)
    duration = np.exp(rng.normal(np.log(215_000), 0.25, tracks))
    return Music(
        genre_latents=genre_latents,
        genre_reach=edge[np.concatenate([[0], np.cumsum(by_genre)])],
        neighbours=neighbours,
        artist_latents=artist_latents,
        artist_genres=artist_genres,
        artist_reach=edge[np.concatenate([[0], np.cumsum(counts[shelved])])],
        artist_places=artist_places,
        track_latents=artist_latents[track_artists] + normal(rng, tracks, _TRACK),
        track_artists=track_artists,
        track_albums=track_albums.astype(np.int32),
        track_popularity=popularity,
        durations_ms=np.clip(duration, MIN_DURATION_MS, MAX_DURATION_MS).astype(np.int32),
        shelf=shelf,
        reach=reach,
    )
