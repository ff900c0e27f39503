"""Training examples of LARP: tracks with their items, and the playlists that they share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from segue.nn.items import Arrays, Subset
from segue.numeric.arrays import Int32, Int64, offsets_of

Bools = npt.NDArray[np.bool_]
LEAST = 4
"""Minimum number of held-out tracks of a playlist to halve."""


class Seeds(NamedTuple):
    """Seed tracks, one row for each playlist."""

    tracks: Int64
    """Indexes of tracks among the examples, padded with 0. (rows, most)"""
    valid: Bools
    """(rows, most)"""


@dataclass(frozen=True)
class PlaylistSets:
    """Playlists of at least two distinct tracks, as indexes among the examples.

    Attributes:
        offsets, tracks: playlist p has ``tracks[offsets[p]:offsets[p + 1]]``, in its order.
        starts, entries: track i is at ``entries[starts[i]:starts[i + 1]]`` of `tracks`.
        owners: playlist of each entry.
    """

    offsets: Int64
    tracks: Int64
    starts: Int64
    entries: Int64
    owners: Int64

    @classmethod
    def of(cls, owners: Int64, tracks: Int64, count: int) -> Self:
        """Make the sets from rows of playlists; repeats of a track do not count.

        Args:
            owners: playlist of each row; never falls. (rows,)
            tracks: index of each row's track among the examples. (rows,)
            count: number of examples.
        """
        _, first = np.unique(owners * count + tracks, return_index=True)
        first.sort()
        owners, tracks = owners[first], tracks[first]
        sizes = np.bincount(owners)
        with_partner = sizes[owners] > 1 if len(owners) else np.zeros(0, np.bool_)
        _, owners = np.unique(owners[with_partner], return_inverse=True)
        tracks = tracks[with_partner]
        entries = np.argsort(tracks, kind="stable")
        return cls(
            offsets_of(np.bincount(owners)),
            tracks,
            offsets_of(np.bincount(tracks, minlength=count)),
            entries,
            owners.astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def partnered(self) -> Int64:
        """Tracks that share a playlist with another track."""
        return np.flatnonzero(np.diff(self.starts))

    def partners(self, tracks: Int64, rng: np.random.Generator) -> tuple[Int64, Int64]:
        """Draw for each track one of its playlists and another track of it, uniformly.

        Args:
            tracks: tracks with a playlist. (rows,)

        Returns:
            entries of the tracks and of their partners. (rows,) each
        """
        mine = self.starts[tracks]
        entry = self.entries[mine + _below(self.starts[tracks + 1] - mine, rng)]
        playlist = self.owners[entry]
        first = self.offsets[playlist]
        other = first + _below(self.offsets[playlist + 1] - first - 1, rng)
        return entry, other + (other >= entry)

    def seeds(self, entries: Int64, most: int, rng: np.random.Generator, *, ordered: bool) -> Seeds:
        """Other tracks of the playlists of some entries.

        Args:
            entries: rows of `tracks`. (rows,)
            most: maximum number for each, |J|.
            ordered: take the tracks right before the entry (after it, if it is the first) in their
                order, instead of random ones.
        """
        playlist = self.owners[entries]
        first = self.offsets[playlist]
        others = self.offsets[playlist + 1] - first - 1
        position = entries - first
        if ordered:
            start = np.maximum(position - most, 0)
            size = np.where(position > 0, np.minimum(position, most), np.minimum(others, most))
            places = start[:, None] + np.arange(most)
        else:
            size = np.minimum(others, most)
            keys = rng.random((len(entries), int(others.max(initial=1))))
            keys[np.arange(keys.shape[1]) >= others[:, None]] = 2.0
            places = np.argsort(keys, axis=1, kind="stable")[:, :most]
            places = np.pad(places, ((0, 0), (0, max(0, most - places.shape[1]))))
        valid = np.arange(most) < size[:, None]
        places = np.where(valid, places, 0)
        places = places + (places >= position[:, None])
        seed_tracks = self.tracks[np.where(valid, first[:, None] + places, 0)]
        return Seeds(np.where(valid, seed_tracks, 0), valid)

    def inside(self, playlists: Int64, tracks: Int64, count: int) -> Bools:
        """Whether each playlist has each track. (playlists, tracks)

        Args:
            count: number of examples.
        """
        distinct, row = np.unique(playlists, return_inverse=True)
        mask, has = np.zeros((len(distinct), len(tracks)), np.bool_), np.zeros(count, np.bool_)
        for r, p in enumerate(distinct):
            playlist_tracks = self.tracks[self.offsets[p] : self.offsets[p + 1]]
            has[playlist_tracks] = True
            mask[r] = has[tracks]
            has[playlist_tracks] = False
        return mask[row]


def _below(bounds: Int64, rng: np.random.Generator) -> Int64:
    """A random integer below each bound."""
    return np.minimum((rng.random(len(bounds)) * bounds).astype(np.int64), bounds - 1)


@dataclass(frozen=True)
class TrainingExamples:
    """Tracks with items of every encoder.

    Attributes:
        tracks: rows of the catalog, rising. (n,)
        items: items of the tracks, by encoder.
        playlists: playlists that these tracks share.
    """

    tracks: Int32
    items: tuple[Arrays, ...]
    playlists: PlaylistSets

    def __len__(self) -> int:
        return len(self.tracks)

    def only(self, at: Int64, owners: Int64, tracks: Int64) -> TrainingExamples:
        """A subset of the tracks, with their playlists.

        Args:
            at: indexes, rising. (n,)
            owners, tracks: rows of playlists, as indexes among these examples. (rows,)
        """
        place = np.full(len(self), -1)
        place[at] = np.arange(len(at))
        retained = place[tracks] >= 0
        shared = PlaylistSets.of(owners[retained], place[tracks[retained]], len(at))
        return TrainingExamples(self.tracks[at], tuple(Subset(s, at) for s in self.items), shared)


def halves(
    offsets: npt.NDArray[Any], tracks: npt.NDArray[Any], rng: np.random.Generator
) -> tuple[list[Int64], list[Int64]]:
    """A random half of the tracks of each long enough playlist, and the other half.

    Args:
        offsets, tracks: playlist p has ``tracks[offsets[p]:offsets[p + 1]]``.
    """
    shown, targets = [], []
    for first, end in pairwise(offsets):
        if end - first >= LEAST:
            shuffled = rng.permutation(tracks[first:end]).astype(np.int64)
            shown.append(shuffled[: round(len(shuffled) / 2)])
            targets.append(shuffled[round(len(shuffled) / 2) :])
    return shown, targets
