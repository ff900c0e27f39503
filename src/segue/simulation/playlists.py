"""Sequences of tracks in a simulated world, and its playlists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segue.numeric.arrays import Bools, begins, positions
from segue.simulation.catalog import Float32, Int32, Int64, Music, generator, normal

MEDIAN_LENGTH, MIN_LENGTH, MAX_LENGTH = 57.0, 5, 250
_LENGTH_SPREAD = 0.57
_TASTE = 0.15  # variance of a playlist's, listener's or session's point around its genres


@dataclass(frozen=True)
class PlaylistStyle:
    """Parameters of a sequence of tracks in a playlist or a session.

    Attributes:
        second: chance that a track comes from the owner's second genre rather than the first.
        drift: chance that it comes from a neighbour of the first genre instead.
        popular: chance that it comes from anywhere, by popularity.
        stay: chance that it is by the same artist as the one before.
        tries: see `Music.draw_near`; more is truer to the owner's point.
    """

    second: float
    drift: float
    popular: float
    stay: float
    tries: int


PLAYLIST = PlaylistStyle(second=0.35, drift=0.1, popular=0.08, stay=0.3, tries=4)
SESSION = PlaylistStyle(second=0.3, drift=0.15, popular=0.15, stay=0.2, tries=2)


def _draw_runs(
    music: Music,
    rng: np.random.Generator,
    habit: PlaylistStyle,
    owner: Int64,
    points: Float32,
    genres: Int32,
) -> Int32:
    """A track for each slot; slots of one owner follow each other. (slots,)

    Args:
        owner: row in `points` and `genres` of each slot. (slots,)
        points: (owners, FACTORS)
        genres: first and second genre. (owners, 2)
    """
    fresh = rng.random(len(owner)) >= habit.stay
    fresh[:1] = True
    fresh[1:] |= owner[1:] != owner[:-1]
    head = owner[fresh]
    first = genres[head, 0]
    genre = np.where(rng.random(len(head)) < habit.second, genres[head, 1], first)
    drifting = np.flatnonzero(rng.random(len(head)) < habit.drift)
    genre[drifting] = music.draw_other_genre(rng, first[drifting])
    low, high = music.genre_reach[genre], music.genre_reach[genre + 1]
    popular = rng.random(len(head)) < habit.popular
    low[popular], high[popular] = 0.0, music.reach[-1]

    tracks = np.empty(len(owner), np.int32)
    leading = music.draw_near(rng, low, high, points[head], habit.tries)
    tracks[fresh] = leading
    artist = music.track_artists[leading][np.cumsum(fresh)[~fresh] - 1]
    place = music.artist_places[artist]
    low, high = music.artist_reach[place], music.artist_reach[place + 1]
    tracks[~fresh] = music.draw(rng, low, high)
    return tracks


def draw_lists(
    music: Music,
    rng: np.random.Generator,
    habit: PlaylistStyle,
    lengths: Int64,
    points: Float32,
    genres: Int32,
) -> Int32:
    """Lists of exactly these lengths, without repeats in a list, end to end. (sum of lengths,)

    A repeat is drawn again. An owner who finds nothing new takes anything at all in the end, so
    lengths must stay well below the number of tracks.
    """
    owners = len(lengths)
    owner = np.empty(0, np.int64)
    tracks = np.empty(0, np.int32)
    missing = lengths
    for attempt in range(1000):
        missing_owners = np.repeat(np.arange(owners), missing * 5 // 4 + (missing > 0))
        if attempt < 6:
            drawn = _draw_runs(music, rng, habit, missing_owners, points, genres)
        else:
            drawn = rng.integers(0, len(music.shelf), len(missing_owners), dtype=np.int32)
        owner, tracks = np.concatenate([owner, missing_owners]), np.concatenate([tracks, drawn])
        _, first = np.unique(owner * len(music.shelf) + tracks, return_index=True)
        first.sort()
        first = first[np.argsort(owner[first], kind="stable")]
        owner, tracks = owner[first], tracks[first]
        starts = np.searchsorted(owner, np.arange(owners))
        keep = np.arange(len(owner)) - starts[owner] < lengths[owner]
        owner, tracks = owner[keep], tracks[keep]
        missing = lengths - np.bincount(owner, minlength=owners)
        if not missing.any():
            return tracks
    raise AssertionError("lists are longer than the catalog allows")


def draw_points(music: Music, rng: np.random.Generator, genres: Int32, shares: Float32) -> Float32:
    """Points around mixtures of genres. (n, FACTORS); genres and shares are (n, k)."""
    centres = np.einsum("nk,nkf->nf", shares, music.genre_latents[genres])
    points: Float32 = centres + normal(rng, len(genres), _TASTE)
    return points


@dataclass(frozen=True)
class SimulatedPlaylists:
    """A chunk of playlists."""

    points: Float32
    """(playlists, FACTORS)"""
    genres: Int32
    """First and second genre; equal where there is one only. (playlists, 2)"""
    lengths: Int64
    tracks: Int32
    """End to end. (sum of lengths,)"""
    outliers: Bools
    """Mask of random tracks, drawn regardless of taste. (sum of lengths,)"""


def longest(tracks: int) -> int:
    """Maximum length of a playlist in a world of so many tracks."""
    return int(np.clip(tracks // 8, 20, MAX_LENGTH))


def plant_outliers(
    rng: np.random.Generator, tracks: Int32, lengths: Int64, share: float, catalog: int
) -> Bools:
    """Put tracks from anywhere into lists, in the place of others; which entries they are.

    A list gets round(share * length) of them, at places drawn evenly. Each is drawn evenly from
    the tracks of the catalog that its list did not have, so no list gets a repeat.

    Args:
        tracks: lists without repeats, end to end; changed in place. (sum of lengths,)
        lengths: twice the longest must stay well below `catalog`. (lists,)
        catalog: number of tracks.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((rng.random(len(tracks)), owner))
    planted = np.empty(len(tracks), np.bool_)
    planted[order] = positions(begins(owner)) < np.rint(share * lengths)[owner]
    taken = owner * catalog + tracks
    missing = np.flatnonzero(planted)
    while len(missing):
        drawn = rng.integers(0, catalog, len(missing), dtype=np.int32)
        pairs = owner[missing] * catalog + drawn
        new = np.zeros(len(missing), np.bool_)
        new[np.unique(pairs, return_index=True)[1]] = True
        new &= ~np.isin(pairs, taken)
        tracks[missing[new]] = drawn[new]
        taken = np.concatenate([taken, pairs[new]])
        missing = missing[~new]
    return planted


def draw_playlists(
    music: Music, seed: int, chunk: int, count: int, outliers: float = 0
) -> SimulatedPlaylists:
    """Chunk number `chunk`, of `count` playlists with this share of outliers.

    Whatever their share, all other entries are the same.
    """
    rng = generator(seed, "playlists", chunk)
    most = longest(len(music.shelf))
    median = MEDIAN_LENGTH * most / MAX_LENGTH
    lengths = np.exp(rng.normal(np.log(median), _LENGTH_SPREAD, count))
    first = music.draw_genres(rng, count)
    second = music.draw_other_genre(rng, first)
    genres = np.stack([first, np.where(rng.random(count) < 0.5, first, second)], axis=1)
    shares = np.array([[1 - PLAYLIST.second, PLAYLIST.second]], np.float32).repeat(count, axis=0)
    points = draw_points(music, rng, genres, shares)
    lengths = np.clip(lengths, MIN_LENGTH, most).astype(np.int64)
    tracks = draw_lists(music, rng, PLAYLIST, lengths, points, genres)
    planted = np.zeros(len(tracks), np.bool_)
    if outliers:
        rng = generator(seed, "outliers", chunk)
        planted = plant_outliers(rng, tracks, lengths, outliers, len(music.shelf))
    return SimulatedPlaylists(points, genres, lengths, tracks, planted)
