"""What towers learn from: sounds of tracks as arrays, vectors to predict, artists' means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segue.audio.extractors import SOUNDS
from segue.audio.features import extract
from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.models.base.recommender import Run
from segue.nn.tower import Array, Arrays
from segue.queries import Float32, Int32, Int64
from segue.system.progress import note

_SAMPLED = 500
"""Tracks that the levels of the inputs are taken from, at most."""
_ALIKE = 1e-3
"""Deviation up to which an input counts as always the same."""


class Sounds(NamedTuple):
    """Tracks that can be heard, and what is heard of each."""

    tracks: Int32
    """Rows of the catalog, rising."""
    arrays: Arrays


class Some:
    """Some of `Arrays`, read when they are asked for."""

    def __init__(self, arrays: Arrays, at: Int64) -> None:
        self.arrays, self.at = arrays, at

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, i: int, /) -> Array:
        return self.arrays[int(self.at[i])]


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
        return Examples(self.tracks[at], Some(self.sounds, at), self.beside[at], self.wanted[at])


def extracted(dataset: Dataset, sound: str, run: Run) -> Sounds:
    """What a tower with the setting `sound` hears of the dataset's audio files.

    Raises:
        DataError: the dataset has no audio, or none of it could be read.
        ConfigError: reading audio needs libraries that are not installed.
    """
    files = dataset.audio_files()
    if not files:
        raise DataError(
            "has no audio",
            where=dataset.path,
            do='add some with segue ingest audio, or take sound = "none"',
        )
    features = extract(files, SOUNDS[sound], progress=run.progress)
    lost = sum(features.failed.values())
    if lost:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(features.failed.items()))
        note(f"{lost} audio files could not be read: {reasons}", show=run.progress)
    if not len(features):
        raise DataError("none of its audio files could be read", where=dataset.path)
    return Sounds(np.asarray(features.tracks, np.int32), features)


def levels(arrays: Arrays, *, alike: bool) -> dict[str, Float32]:
    """Arrays "shift" and "scale" that give the inputs mean 0 and deviation 1.

    An input that is the same for all tells nothing, and what another value would mean is unknown:
    it becomes 0, as the bands of silence above MP3s must not drown the sound of a new FLAC.

    Args:
        arrays: sounds.
        alike: leave the inputs as they are, beside each other: their sizes mean something.
    """
    step = max(1, len(arrays) // _SAMPLED)
    some = [np.atleast_2d(arrays[i]) for i in range(0, len(arrays), step)]
    sampled = np.concatenate([clip[:: max(1, len(clip) // 50)] for clip in some]).astype(np.float32)
    inputs = sampled.shape[1]
    if alike or not inputs:
        return {"shift": np.zeros(inputs, np.float32), "scale": np.ones(inputs, np.float32)}
    deviations = sampled.std(axis=0)
    scale = np.where(deviations > _ALIKE, 1 / np.maximum(deviations, _ALIKE), 0)
    return {"shift": sampled.mean(axis=0), "scale": scale.astype(np.float32)}


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
        """a of `audio_towers`: the mean, and a 1; zeros where there is nothing to tell.

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
