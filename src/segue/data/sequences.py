"""Playlists and sessions as sequences of tracks."""

from __future__ import annotations

import numpy as np

from segue.data.dataset import Dataset
from segue.data.schema import is_negative
from segue.numeric.arrays import Int32, Int64, offsets_of


def sequences(dataset: Dataset) -> tuple[Int64, Int32]:
    """Tracks of each playlist and listener in their order, without repeats: (offsets, tracks).

    Listens that ended in a skip or a dislike, and rows of fewer than two tracks, are left out.
    """
    rows, tracks = dataset.entry_playlists.astype(np.int64), dataset.entries
    if dataset.listener_count:
        listens = dataset.listens
        good = ~is_negative(listens["outcome"].to_numpy())
        listeners = listens["listener"].to_numpy()[good] + dataset.playlist_count
        rows = np.concatenate([rows, listeners])
        tracks = np.concatenate([tracks, listens["track"].to_numpy()[good]])
    _, first = np.unique(rows * dataset.track_count + tracks, return_index=True)
    first.sort()
    rows, tracks = rows[first], tracks[first]
    lengths = np.bincount(rows)
    keep = lengths > 1
    offsets = offsets_of(lengths[keep])
    return offsets, tracks[keep[rows]].astype(np.int32)
