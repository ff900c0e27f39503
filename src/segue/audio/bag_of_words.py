"""A bag of words: shares of a clip's frames that are nearest to each of some thousand centres.

Van den Oord, Dieleman and Schrauwen 2013, section 3.1: frames of MFCCs with their first and second
differences (39 numbers) are quantised with k-means, a clip is the counts of its words, and PCA
keeps 95 % of the variance. `Bag.learn` fits all of it on training tracks. Counts here are shares of
the clip's frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from segue.nn.items import Arrays
from segue.numeric.arrays import Float32
from segue.numeric.tensors import expect
from segue.system.extras import needs

_WORDS = 4000
_FRAMES_A_WORD = 20
"""Minimum number of frames for each word; fewer frames make fewer words."""
_SAMPLED = 400_000
"""Maximum number of frames to fit the words on."""
_VARIANCE = 0.95
_BLOCK = 4096
"""Frames of a batch in the comparison with all words."""


class Bag(NamedTuple):
    """Turns the frames of a clip into one vector."""

    shift: Float32
    """Mean of each number of a frame. (39,)"""
    scale: Float32
    """One over its standard deviation. (39,)"""
    words: Float32
    """Centres of k-means, in these units. (words, 39)"""
    mean: Float32
    """Mean share of each word. (words,)"""
    axes: Float32
    """Principal axes, longest first, divided by the root of their variance. (words, dims)"""

    def __call__(self, frames: npt.NDArray[Any]) -> Float32:
        """The vector of a clip. frames: (n, 39) -> (dims,) float32"""
        vector: Float32 = ((self.shares(frames) - self.mean) @ self.axes).astype(np.float32)
        return vector

    def shares(self, frames: npt.NDArray[Any]) -> Float32:
        """Share of the frames for which each word is the nearest. (words,)"""
        x = ((frames - self.shift) * self.scale).astype(np.float32)
        half = np.square(self.words).sum(axis=1) / 2
        counts = np.zeros(len(self.words), np.int64)
        for start in range(0, len(x), _BLOCK):
            nearest = (x[start : start + _BLOCK] @ self.words.T - half).argmax(axis=1)
            counts += np.bincount(nearest, minlength=len(counts))
        return (counts / max(1, len(x))).astype(np.float32)

    @classmethod
    def learn(cls, clips: Arrays, seed: int) -> Self:
        """Fit words and principal axes to the frames of training tracks.

        Raises:
            ConfigError: scikit-learn is not installed.
        """
        try:
            from sklearn.cluster import MiniBatchKMeans
        except ImportError as error:
            raise needs("a bag of words", "audio", "scikit-learn", cause=error) from error
        each = max(1, _SAMPLED // len(clips))
        samples = [clips[i] for i in range(len(clips))]
        samples = [clip[:: max(1, len(clip) // each)].astype(np.float32) for clip in samples]
        frames = np.concatenate(samples)
        shift, scale = frames.mean(axis=0), 1 / np.maximum(frames.std(axis=0), 1e-6)
        frames = (frames - shift) * scale
        means = MiniBatchKMeans(
            min(_WORDS, max(1, len(frames) // _FRAMES_A_WORD)),
            init="random",
            n_init=1,
            batch_size=_BLOCK,
            random_state=seed,
            compute_labels=False,
        ).fit(frames)
        words = np.ascontiguousarray(means.cluster_centers_, np.float32)
        nothing = np.zeros(len(words), np.float32)
        bag = cls(shift, scale, words, nothing, nothing[:, None])
        shares = np.stack([bag.shares(clips[i]) for i in range(len(clips))])
        mean = shares.mean(axis=0)
        return bag._replace(mean=mean, axes=_axes(shares - mean))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays, by name."""
        return self._asdict()

    @classmethod
    def restore(cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, dims: int) -> Self:
        """Restore a bag from `tensors`, under names with a prefix.

        Args:
            dims: length of the vectors.

        Raises:
            BundleError: shapes or types do not fit.
        """
        words = expect(tensors, f"{prefix}words", np.float32, None, None)
        size, numbers = words.shape
        return cls(
            expect(tensors, f"{prefix}shift", np.float32, numbers),
            expect(tensors, f"{prefix}scale", np.float32, numbers),
            words,
            expect(tensors, f"{prefix}mean", np.float32, size),
            expect(tensors, f"{prefix}axes", np.float32, size, dims),
        )


def _axes(centred: Float32) -> Float32:
    """Principal axes that keep `_VARIANCE`, so scaled that projections have length 1 on average."""
    n, size = centred.shape
    wide = size > n  # the smaller of both Gram matrices tells the same
    gram = centred @ centred.T if wide else centred.T @ centred
    values, axes = np.linalg.eigh(gram.astype(np.float64))
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]
    total = values.sum()
    if total <= 1e-12:
        return np.zeros((size, 1), np.float32)
    count = int(np.searchsorted(np.cumsum(values), _VARIANCE * total)) + 1
    values, axes = values[:count], axes[:, :count]
    if wide:
        axes = centred.T @ axes / np.sqrt(values)
    scaled: Float32 = (axes / np.sqrt(values.sum() / n)).astype(np.float32)
    return scaled
