"""Audio features of a dataset's tracks, as models train on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segue.audio.extractors import SOUNDS
from segue.audio.features import extract
from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.models.base.recommender import TrainingOptions
from segue.nn.items import Arrays
from segue.numeric.arrays import Float32, Int32

_SAMPLED = 500
"""Tracks that the levels of the inputs are taken from, at most."""


_ALIKE = 1e-3
"""Deviation up to which an input counts as always the same."""


class Sounds(NamedTuple):
    """Tracks that can be heard, and what is heard of each."""

    tracks: Int32
    """Rows of the catalog, rising."""
    arrays: Arrays


def extracted(dataset: Dataset, sound: str, run: TrainingOptions) -> Sounds:
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
        run.note(f"{lost} audio files could not be read: {reasons}")
    if not len(features):
        raise DataError(
            "none of its audio files could be read",
            where=dataset.path,
            do="bring the files back, or ingest them again",
        )
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
