"""Tiny datasets whose right answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segue.data.dataset import Dataset
from segue.data.writer import writing_dataset


def make(
    path: Path,
    playlists: Sequence[Sequence[int]],
    titles: Sequence[str | None] | None = None,
    artists: Sequence[str | None] | None = None,
    tracks: int | None = None,
) -> Dataset:
    """A dataset of playlists of track numbers."""
    known = max((t for playlist in playlists for t in playlist), default=-1) + 1
    count = known if tracks is None else tracks
    by = artists or [None] * count
    with writing_dataset(path) as writer:
        names = [f"track:{t}" for t in range(count)]
        writer.track_ids(names, lambda t: (names[t], by[t], None, None, None, None, None))
        writer.add_playlists(
            {
                "uri": [f"playlist:{p}" for p in range(len(playlists))],
                "title": list(titles or [None] * len(playlists)),
            },
            [len(playlist) for playlist in playlists],
            [t for playlist in playlists for t in playlist],
        )
        writer.finish([], simulated=True)
    return Dataset.open(path)


def checkerboard(path: Path, size: int = 16) -> Dataset:
    """Even playlists hold all even tracks and odd ones all odd tracks, but p never track p.

    So playlist p should be continued by track p: everything else that its kind holds, it has.
    Titles say the kind, artists too; a last track is in no playlist.
    """
    kinds = [[t for t in range(size) if t % 2 == p % 2 and t != p] for p in range(size)]
    titles = [f"{('even', 'odd')[p % 2]} mix {p}" for p in range(size)]
    artists = [("Evens", "Odds")[t % 2] for t in range(size)] + [None]
    return make(path, kinds, titles, artists, tracks=size + 1)


def genres(path: Path, playlists: int = 120, seed: int = 3) -> Dataset:
    """Four genres of 30 tracks; a playlist has 12 tracks of its genre, popular ones more often.

    Titles hold the genre's word; every eighth playlist has no title.
    """
    rng = np.random.default_rng(seed)
    words = ("metal", "jazz", "техно", "🎻")
    weights = 1 / np.arange(1, 31)
    lists, titles = [], []
    for p in range(playlists):
        genre = p % 4
        chosen = rng.choice(30, 12, replace=False, p=weights / weights.sum())
        lists.append([int(genre * 30 + t) for t in chosen])
        titles.append(None if p % 8 == 7 else f"{words[genre]} no. {p}")
    by = [f"artist {t // 5}" for t in range(120)]
    return make(path, lists, titles, [*by, None], tracks=121)
