"""What LARP learns from: tracks with their items, and the playlists that they share."""

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
"""Held tracks of a playlist that can be halved."""


class Seeds(NamedTuple):
    """Tracks of playlists, a row each."""

    tracks: Int64
    """Places in the material, 0 where there are fewer. (rows, most)"""
    there: Bools
    """(rows, most)"""


@dataclass(frozen=True)
class PlaylistSets:
    """Playlists of at least two distinct tracks, in places of the material.

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
        """From a track for each row of each playlist; a track's repeats are left out.

        Args:
            owners: playlist of each row; never falls. (rows,)
            tracks: places in the material. (rows,)
            count: tracks of the material.
        """
        _, first = np.unique(owners * count + tracks, return_index=True)
        first.sort()
        owners, tracks = owners[first], tracks[first]
        sizes = np.bincount(owners)
        kept = sizes[owners] > 1 if len(owners) else np.zeros(0, np.bool_)
        _, owners = np.unique(owners[kept], return_inverse=True)
        tracks = tracks[kept]
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
        """Tracks that share a playlist with another."""
        return np.flatnonzero(np.diff(self.starts))

    def partners(self, tracks: Int64, rng: np.random.Generator) -> tuple[Int64, Int64]:
        """For each track one of its playlists, all alike likely, and another track of it.

        Args:
            tracks: each in some playlist. (rows,)

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
            most: of each, |J|.
            ordered: those right before the entry (after it, where it is the first) in their
                order, rather than any.
        """
        playlist = self.owners[entries]
        first = self.offsets[playlist]
        others = self.offsets[playlist + 1] - first - 1
        own = entries - first
        if ordered:
            start = np.maximum(own - most, 0)
            size = np.where(own > 0, np.minimum(own, most), np.minimum(others, most))
            places = start[:, None] + np.arange(most)
        else:
            size = np.minimum(others, most)
            keys = rng.random((len(entries), int(others.max(initial=1))))
            keys[np.arange(keys.shape[1]) >= others[:, None]] = 2.0
            places = np.argsort(keys, axis=1, kind="stable")[:, :most]
            places = np.pad(places, ((0, 0), (0, max(0, most - places.shape[1]))))
        there = np.arange(most) < size[:, None]
        places = np.where(there, places, 0)
        places = places + (places >= own[:, None])
        found = self.tracks[np.where(there, first[:, None] + places, 0)]
        return Seeds(np.where(there, found, 0), there)

    def inside(self, playlists: Int64, tracks: Int64, count: int) -> Bools:
        """Whether each playlist has each track. (playlists, tracks)

        Args:
            count: tracks of the material.
        """
        distinct, row = np.unique(playlists, return_inverse=True)
        found, has = np.zeros((len(distinct), len(tracks)), np.bool_), np.zeros(count, np.bool_)
        for r, p in enumerate(distinct):
            own = self.tracks[self.offsets[p] : self.offsets[p + 1]]
            has[own] = True
            found[r] = has[tracks]
            has[own] = False
        return found[row]


def _below(bounds: Int64, rng: np.random.Generator) -> Int64:
    """A number from 0 to each bound, which it does not reach."""
    return np.minimum((rng.random(len(bounds)) * bounds).astype(np.int64), bounds - 1)


@dataclass(frozen=True)
class TrainingExamples:
    """Tracks that every side knows something of.

    Attributes:
        tracks: rows of the catalog, rising. (n,)
        items: of each side, of each track.
        playlists: that these tracks share.
    """

    tracks: Int32
    items: tuple[Arrays, ...]
    playlists: PlaylistSets

    def __len__(self) -> int:
        return len(self.tracks)

    def only(self, at: Int64, owners: Int64, tracks: Int64) -> TrainingExamples:
        """Some of the tracks, and what playlists have of them.

        Args:
            at: places, rising. (n,)
            owners, tracks: rows of playlists, in places here. (rows,)
        """
        place = np.full(len(self), -1)
        place[at] = np.arange(len(at))
        kept = place[tracks] >= 0
        shared = PlaylistSets.of(owners[kept], place[tracks[kept]], len(at))
        return TrainingExamples(self.tracks[at], tuple(Subset(s, at) for s in self.items), shared)


def halves(
    offsets: npt.NDArray[Any], tracks: npt.NDArray[Any], rng: np.random.Generator
) -> tuple[list[Int64], list[Int64]]:
    """Half of the tracks of each playlist that has enough, drawn, and the others.

    Args:
        offsets, tracks: playlist p has ``tracks[offsets[p]:offsets[p + 1]]``.
    """
    shown, wanted = [], []
    for first, end in pairwise(offsets):
        if end - first >= LEAST:
            own = rng.permutation(tracks[first:end]).astype(np.int64)
            shown.append(own[: round(len(own) / 2)])
            wanted.append(own[round(len(own) / 2) :])
    return shown, wanted
