"""What towers learn from: sounds of tracks as arrays, vectors to predict, artists' means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from segue.nn.items import Arrays, Subset
from segue.numeric.arrays import Float32, Int32, Int64


class WeightedRows(NamedTuple):
    """Rows of a factorisation with the confidences of their entries, for the objective "wpe"."""

    x: Float32
    """Vectors of the rows. (rows, factors)"""
    counts: Any
    """Plays minus skips. CSR (rows, tracks) float32"""
    confidence: Float32
    """c − 1 of each entry of `counts`."""
    unit: float
    """Length that wanted vectors are divided by."""


@dataclass(frozen=True)
class Examples:
    """Tracks with what a tower is given and what it should say."""

    tracks: Int32
    sounds: Arrays
    beside: Float32
    """The artist's mean without the track itself, and a 1 where there is one. (tracks, beside)"""
    wanted: Float32
    """Learned vectors. (tracks, factors)"""

    def __len__(self) -> int:
        return len(self.tracks)

    def only(self, at: Int64) -> Examples:
        """Some of them."""
        return Examples(self.tracks[at], Subset(self.sounds, at), self.beside[at], self.wanted[at])


class Artists:
    """Mean learned vector of each artist's tracks.

    Args:
        artists: a number for each track's artist, -1 where unknown. (tracks,)
        known: tracks that have a learned vector. (tracks,)
        vectors: (tracks, factors)
    """

    def __init__(self, artists: Int32, known: npt.NDArray[np.bool_], vectors: Float32) -> None:
        self.artists, self.known, self.vectors = artists, known, vectors
        count = int(artists.max(initial=-1)) + 1
        told = known & (artists >= 0)
        self.sums = np.zeros((count, vectors.shape[1]), np.float64)
        np.add.at(self.sums, artists[told], vectors[told])
        self.counts = np.bincount(artists[told], minlength=count)

    def beside(self, artists: Int32, without: Int32 | None = None) -> Float32:
        """a of `nn.tower`: the mean, and a 1; zeros where there is nothing to tell.

        Args:
            artists: number of each track's artist, or -1. (n,)
            without: tracks whose own vectors are left out of the means. (n,)

        Returns:
            (n, factors + 1) float32
        """
        out = np.zeros((len(artists), self.sums.shape[1] + 1), np.float32)
        at = np.flatnonzero(artists >= 0)
        sums, counts = self.sums[artists[at]], self.counts[artists[at]]
        if without is not None:
            own = self.known[without[at]]
            sums = sums - np.where(own[:, None], self.vectors[without[at]], 0)
            counts = counts - own
        some = counts > 0
        out[at[some], :-1] = sums[some] / counts[some, None]
        out[at[some], -1] = 1
        return out
