"""What a recommender learned from, by content: a hash of each playlist, listener and session."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from segue.data.dataset import Dataset
from segue.data.sessions import UNTIMED, Sessions

UInt64 = npt.NDArray[np.uint64]

_TELLING = 5
"""Listens without a time that two listeners hardly have in the same order by chance."""


@njit(cache=True)
def _mix(h):  # type: ignore[no-untyped-def]
    """Spread every bit over all others (the finaliser of SplitMix64)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True)
def _hash_runs(values, offsets):  # type: ignore[no-untyped-def]
    """FNV-1a over each run of values, finished by `_mix`; the order of values counts."""
    out = np.empty(len(offsets) - 1, np.uint64)
    for r in range(len(out)):
        h = np.uint64(0xCBF29CE484222325)
        for i in range(offsets[r], offsets[r + 1]):
            h = (h ^ np.uint64(values[i])) * np.uint64(0x100000001B3)
            h ^= h >> np.uint64(32)
        out[r] = _mix(h)
    return out


def _track_hashes(tracks: pa.Table) -> UInt64:
    """Hash of every track's uri. (tracks,)"""
    uris = tracks["uri"].cast(pa.large_string()).combine_chunks()
    if isinstance(uris, pa.ChunkedArray):
        uris = pa.concat_arrays(uris.chunks) if uris.num_chunks else pa.array([], pa.large_string())
    _, offsets, data = uris.buffers()
    starts = np.frombuffer(offsets, np.int64)[uris.offset : uris.offset + len(uris) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    hashes: UInt64 = _hash_runs(text, starts)
    return hashes


def playlist_hashes(dataset: Dataset) -> UInt64:
    """Hash of each playlist's uris in order; 0 for an empty one. (playlists,)"""
    entries = _track_hashes(dataset.tracks)[dataset.entries]
    hashes: UInt64 = _hash_runs(entries, dataset.offsets)
    hashes[np.diff(dataset.offsets) == 0] = 0
    return hashes


def _listener_hashes(dataset: Dataset) -> UInt64:
    """Hash of each listener's plays, whatever their order; 0 where there are none. (listeners,)"""
    listens = dataset.listens.select(["listener", "track", "outcome", "plays"])
    track, outcome, plays = (
        listens[column].to_numpy().astype(np.int64) for column in ("track", "outcome", "plays")
    )
    fields = np.stack(
        [_track_hashes(dataset.tracks)[track], outcome.astype(np.uint64), plays.astype(np.uint64)],
        axis=1,
    )
    rows = _hash_runs(fields.ravel(), np.arange(len(fields) + 1) * 3)
    hashes = np.zeros(dataset.listener_count, np.uint64)
    np.add.at(hashes, listens["listener"].to_numpy(), rows)
    return hashes


def session_hashes(dataset: Dataset) -> UInt64:
    """Hash of each session's uris in order and the time of its first listen. (sessions,)

    0 for one without a time that is so short that another listener may well have had the same.
    """
    sessions = Sessions.of(dataset)
    lengths = np.diff(sessions.offsets)
    heard = _track_hashes(dataset.tracks)[sessions.tracks]
    values = np.insert(heard, sessions.offsets[1:], sessions.starts.view(np.uint64))
    hashes: UInt64 = _hash_runs(values, sessions.offsets + np.arange(len(sessions) + 1))
    hashes[(sessions.starts == UNTIMED) & (lengths < _TELLING)] = 0
    return hashes


def learned_hashes(dataset: Dataset) -> UInt64:
    """What a recommender that is fitted on `dataset` learns from, as `Bundle.learned` keeps it.

    A hash for each playlist that has tracks (its uris, in order), for each listener that has
    listens (uris, outcomes, plays) and for each session (uris, in order, and its time). The rows'
    numbers play no part, so the same playlist has the same hash in any dataset.

    Returns:
        sorted, without repeats. (rows,) uint64
    """
    parts = [playlist_hashes(dataset)]
    if dataset.listener_count:
        parts += [_listener_hashes(dataset), session_hashes(dataset)]
    hashes = np.unique(np.concatenate(parts))
    known: UInt64 = hashes[hashes != 0]
    return known
