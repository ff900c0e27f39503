"""Kernels of the features: each query on its own, in a fixed order of operations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from segue.answers import Float32, Int32, Int64
from segue.models.least_squares_kernels import project


class Tables(NamedTuple):
    """What is known of tracks (T), artists (A), albums (B) and titles (N) before any query."""

    artist: Int32
    """-1: unknown. (T,)"""
    album: Int32
    own: Float32
    """Features of the track, in their order; the first is its duration. (T, 8)"""
    vectors: Float32
    """V_s. (T, d)"""
    inverse: Float32
    """1 / length of V_s, 0 where that is 0. (T,)"""
    playlists: Float32
    """Mean U_p of the track's playlists. (T, d)"""
    names: Float32
    """Mean Uname_p of the track's playlists with a title. (T, r)"""
    titled: Float32
    """Share of the playlists with a title that have the track. (T,)"""
    artists: Float32
    """(A, k)"""
    albums: Float32
    """(B, k)"""
    artist_size: Int32
    """Tracks of each artist. (A,)"""
    album_size: Int32
    name_offsets: Int64
    """Rows of titles: which tracks (rising) its playlists have, and what share of the track's
    playlists is called so."""
    name_tracks: Int32
    name_shares: Float32
    title_offsets: Int64
    """Words of each track's title, artist's and album's name, as in CSR."""
    title_words: Int32
    artist_offsets: Int64
    artist_words: Int32
    album_offsets: Int64
    album_words: Int32
    frequent: Int32
    """Albums whose seeds are counted."""


class Asked(NamedTuple):
    """A batch of queries (Q)."""

    offsets: Int64
    """Seeds of each query: liked, without repeats, oldest first. (Q + 1,)"""
    seeds: Int32
    vectors: Float32
    """U_q. (Q, d)"""
    title: Float32
    """Features of the title: is there one, known, share of playlists with it. (Q, 3)"""
    name: Int64
    """Row of its title, -1: unknown. (Q,)"""
    names: Float32
    """Uname_q, 0 where unknown. (Q, r)"""
    word_offsets: Int64
    words: Int32
    """Words of each title, -1: in no name of the catalog."""


@njit(fastmath=True, inline="always")
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@njit(cache=True)
def _place(scores, logs, out):  # type: ignore[no-untyped-def]
    """log(1 + how many candidates have a higher score)."""
    order = np.argsort(scores)
    higher = 0
    for i in range(len(order) - 1, -1, -1):
        if scores[order[i]] < scores[order[min(i + 1, len(order) - 1)]]:
            higher = len(order) - 1 - i
        out[order[i]] = logs[higher]


@njit(cache=True)
def _distinct(codes):  # type: ignore[no-untyped-def]
    """How many different known codes."""
    count, last = 0, -1
    for code in np.sort(codes):
        if code != last:
            count += 1
            last = code
    return count


@njit(cache=True)
def _share_of_words(words, offsets, columns, row):  # type: ignore[no-untyped-def]
    """Share of `words` that are in a row of the texts."""
    if row < 0 or len(words) == 0:
        return np.float32(0)
    found = 0
    for word in words:
        for e in range(offsets[row], offsets[row + 1]):
            if columns[e] == word:
                found += 1
                break
    return np.float32(found / len(words))


@njit(fastmath=True, cache=True)
def _means(seeds, codes, rows, out):  # type: ignore[no-untyped-def]
    """Mean of the rows of the seeds' codes; unknown codes count as 0."""
    out[:] = 0
    for s in seeds:
        if codes[s] >= 0:
            row = rows[codes[s]]
            for k in range(len(out)):
                out[k] += row[k]
    for k in range(len(out)):
        out[k] /= max(1, len(seeds))


@njit(fastmath=True, cache=True)
def _playlist(q, asked, tables, seeds, mean, mean_name, row):  # type: ignore[no-untyped-def]
    """Features of the query alone; all 0 without seeds, but the title's."""
    n = len(seeds)
    row[0] = n
    if n:
        for s in seeds:
            own = tables.own[s]
            row[1] += own[4] / n
            row[2] += own[5] / n
            row[3] += own[6] / n
            row[4] += own[0] / n
            row[5] += own[1] / n
        row[6] = _dot(asked.vectors[q], mean)
        row[7] = _dot(asked.names[q], mean_name)
        row[8] = _distinct(tables.artist[seeds]) / n
        row[9] = _distinct(tables.album[seeds]) / n
    row[10:13] = asked.title[q]
    for k in range(len(tables.frequent)):
        for s in seeds:
            row[13 + k] += tables.album[s] == tables.frequent[k]


@njit(fastmath=True, cache=True)
def _seeds_like(artist, album, duration, artists, albums, durations):  # type: ignore[no-untyped-def]
    """Seeds by the artist and on the album; sums of duration - seed's, signed and absolute."""
    by = on = 0
    difference = distance = np.float32(0)
    for i in range(len(durations)):
        by += artists[i] == artist
        on += albums[i] == album
        difference += duration - durations[i]
        distance += abs(duration - durations[i])
    return by, on, difference, distance


@njit(cache=True)
def _share_of_name(tables, name, track):  # type: ignore[no-untyped-def]
    """Share of the track's playlists with a title that have this one."""
    if name < 0:
        return np.float32(0)
    first, last = tables.name_offsets[name], tables.name_offsets[name + 1]
    at = first + np.searchsorted(tables.name_tracks[first:last], track)
    if at < last and tables.name_tracks[at] == track:
        return tables.name_shares[at]
    return np.float32(0)


@njit(fastmath=True, cache=True)
def _query(q, asked, tables, candidates, scores, blend, logs, out):  # type: ignore[no-untyped-def]
    """Features of one query's candidates. (candidates, features)"""
    seeds = asked.seeds[asked.offsets[q] : asked.offsets[q + 1]]
    n = len(seeds)
    per = np.float32(1 / max(1, n))
    models = scores.shape[1]
    b = 2 * models + 2
    c = b + tables.own.shape[1]
    d = c + 13 + len(tables.frequent)
    e = d + 20

    for m in range(models):
        out[:, 2 * m] = scores[:, m]
        _place(scores[:, m].copy(), logs, out[:, 2 * m + 1])
    out[:, b - 2] = blend
    _place(blend, logs, out[:, b - 1])

    artists, albums, durations = tables.artist[seeds], tables.album[seeds], tables.own[seeds, 0]
    unit = np.empty((n, tables.vectors.shape[1]), np.float32)
    mean = np.zeros(tables.vectors.shape[1], np.float32)
    mean_name = np.zeros(tables.names.shape[1], np.float32)
    for i in range(n):
        vector, length, name = (
            tables.vectors[seeds[i]],
            tables.inverse[seeds[i]],
            tables.names[seeds[i]],
        )
        titled = tables.titled[seeds[i]] * per
        for k in range(len(vector)):
            unit[i, k] = vector[k] * length
            mean[k] += vector[k] * per
        for k in range(len(name)):
            mean_name[k] += name[k] * titled
    mean_artist = np.empty(tables.artists.shape[1], np.float32)
    mean_album = np.empty(tables.albums.shape[1], np.float32)
    _means(seeds, tables.artist, tables.artists, mean_artist)
    _means(seeds, tables.album, tables.albums, mean_album)

    playlist = np.zeros(d - c, np.float32)
    _playlist(q, asked, tables, seeds, mean, mean_name, playlist)
    last_artist, last_album = -1, -1
    if n:
        last_artist, last_album = artists[n - 1], albums[n - 1]
    vector, name, words = (
        asked.vectors[q],
        asked.names[q],
        asked.words[asked.word_offsets[q] : asked.word_offsets[q + 1]],
    )
    cosines = np.zeros(n, np.float32)
    for i in range(len(candidates)):
        s, row = candidates[i], out[i]
        own, artist, album = tables.own[s], tables.artist[s], tables.album[s]
        row[b:c] = own
        row[c:d] = playlist
        by, on, difference, distance = _seeds_like(
            artist, album, own[0], artists, albums, durations
        )
        if artist >= 0:
            row[d] = by * per
            row[d + 1] = by
            row[d + 2] = artist == last_artist
            row[d + 3] = by / tables.artist_size[artist]
            row[d + 14] = _dot(tables.artists[artist], mean_artist)
        if album >= 0:
            row[d + 4] = on * per
            row[d + 5] = album == last_album
            row[d + 6] = on / tables.album_size[album]
            row[d + 15] = _dot(tables.albums[album], mean_album)
        row[d + 7] = difference * per
        row[d + 8] = distance * per
        row[d + 9] = _dot(tables.vectors[s], mean)
        if n:
            project(unit, tables.vectors[s], cosines)
            most = cosines[0]
            for k in range(1, n):
                most = max(most, cosines[k])
            row[d + 10] = most * tables.inverse[s]
            row[d + 11] = cosines[n - 1] * tables.inverse[s]
        row[d + 12] = _dot(tables.names[s], mean_name) * tables.titled[s]
        for_title = _dot(tables.names[s], name)
        row[d + 13] = for_title * tables.titled[s]
        row[d + 16] = _dot(tables.vectors[s], vector)
        row[d + 17] = _share_of_words(words, tables.title_offsets, tables.title_words, s)
        row[d + 18] = _share_of_words(words, tables.artist_offsets, tables.artist_words, artist)
        row[d + 19] = _share_of_words(words, tables.album_offsets, tables.album_words, album)
        row[e] = _share_of_name(tables, asked.name[q], s)
        if n:
            row[e + 1] = own[1] - playlist[5]
        row[e + 2] = _dot(tables.playlists[s], vector)
        row[e + 3] = for_title


@njit(parallel=True, cache=True)
def fill(asked, tables, candidates, scores, blend, logs, out):  # type: ignore[no-untyped-def]
    """Features of a batch.

    Args:
        candidates: padded with -1 at the end. (Q, C)
        scores: of the first-stage models. (Q, C, M)
        blend: of them. (Q, C)
        logs: log(1 + i). (C,)
        out: zeros. (Q, C, F)
    """
    for q in prange(len(candidates)):
        n = len(candidates[q])
        while n and candidates[q, n - 1] < 0:
            n -= 1
        _query(q, asked, tables, candidates[q, :n], scores[q, :n], blend[q, :n], logs, out[q, :n])
