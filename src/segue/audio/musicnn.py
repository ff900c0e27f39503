"""An embedding of music by musicnn, a network trained on tags of the Million Song Dataset.

Pons & Serra, musicnn: Pre-trained convolutional neural networks for music audio tagging, ISMIR
2019 (late-breaking); the weights are those of the package `musicnn` (ISC licence). Neither the
package's code nor TensorFlow is needed: the network is below, in numpy.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from segue.audio.mel import Mel, log_mel
from segue.audio.tensor_bundle import read_tensors
from segue.errors import DataError

Float32 = NDArray[np.float32]

MEL = Mel(rate=16_000, window=512, hop=256, bands=96, compression=10_000)
FRAMES = 187
"""Frames of a patch, which are 3 seconds."""
PATCHES = 10
"""Evenly spaced patches of a clip; its embedding is the mean of theirs."""
DIMS = 200

INSTALL = "pip install --no-deps musicnn==0.1.0"
_SHA256 = "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6"
"""Hash of the weights: other weights would give other embeddings under the same name."""
_EPSILON = 1e-3
_AT_ONCE = 8
"""Frames whose neighbourhoods are laid out for one matrix product: half a megabyte."""
_REACH = 3
"""Frames to either side in a filter of 7 frames."""


class _Norm(NamedTuple):
    """Batch normalisation with the statistics of training: x · scale + shift."""

    scale: Float32
    shift: Float32

    def __call__(self, x: Float32) -> Float32:
        return x * self.scale + self.shift


class _Filters(NamedTuple):
    """A convolution, its ReLU and the normalisation after it."""

    kernel: Float32
    """(frames · bands, filters), in the order of the neighbourhoods."""
    bias: Float32
    norm: _Norm

    def __call__(self, around: Float32) -> Float32:
        """Neighbourhoods (..., frames · bands) to (..., filters)."""
        return self.norm(np.maximum(around @ self.kernel + self.bias, 0))


class _Peaks(NamedTuple):
    """Filters with max pooling over frequency.

    ReLU and normalisation rise or fall with the convolution, so the largest value after them is
    that of its largest or, where the normalisation turns it round, its smallest value. The kernel
    has the sign of the scale, and both are the largest.
    """

    frames: int
    bands: int
    kernel: Float32
    sign: Float32
    bias: Float32
    norm: _Norm

    def __call__(self, patch: Float32) -> Float32:
        """A patch (frames, bands), padded in time, to (frames, filters)."""
        # The longer side of the filters lies in one piece, so that neighbourhoods are copied fast.
        patch = np.asarray(patch, order="F" if self.bands == 1 else "C")
        around = sliding_window_view(patch, (self.frames, self.bands))
        count, places = around.shape[:2]
        near = np.empty((_AT_ONCE, *around.shape[1:]), np.float32)
        outputs = np.empty((_AT_ONCE, places, len(self.sign)), np.float32)
        largest = np.empty((count, len(self.sign)), np.float32)
        for start in range(0, count, _AT_ONCE):
            part = around[start : start + _AT_ONCE]
            n = len(part)
            near[:n] = part
            flat = near[:n].reshape(n * places, -1)
            np.matmul(flat, self.kernel, out=outputs[:n].reshape(n * places, -1))
            outputs[:n].max(axis=1, out=largest[start : start + n])
        return self.norm(np.maximum(largest * self.sign + self.bias, 0))


class MusiCNN(NamedTuple):
    """The network up to the layer before its tags."""

    first: _Norm
    timbral: list[_Peaks]
    """Shapes in frequency, 7 frames long: 38 and 67 of the 96 bands high."""
    temporal: list[_Peaks]
    """Shapes in time, one band high: 128, 64 and 32 frames long."""
    middle: list[_Filters]
    pooled: _Norm
    dense: _Filters

    def __call__(self, patches: Float32) -> Float32:
        """Embeddings of log-mel patches by base 10, (n, 187, 96): (n, 200)."""
        pooled = np.stack([self._pooled(patch) for patch in self.first(patches)])
        return self.dense(self.pooled(pooled))

    def _pooled(self, patch: Float32) -> Float32:
        """A patch (187, 96) to the largest and mean value of each feature over time: (1506,)."""
        near = _padded(patch, _REACH, _REACH)
        front = [peaks(near) for peaks in self.timbral]
        for peaks in self.temporal:
            before = (peaks.frames - 1) // 2
            front.append(peaks(_padded(patch, before, peaks.frames - 1 - before)))
        features = [np.concatenate(front, axis=1)]
        x = features[0]
        for depth, filters in enumerate(self.middle):
            around = sliding_window_view(_padded(x, _REACH, _REACH), (2 * _REACH + 1, x.shape[1]))
            outputs = filters(around.reshape(len(x), -1))
            x = outputs + x if depth else outputs
            features.append(x)
        whole = np.concatenate(features, axis=1)
        return np.stack([whole.max(axis=0), whole.mean(axis=0)], axis=1).reshape(-1)


def _padded(x: Float32, before: int, after: int) -> Float32:
    """Frames of zeros before and after (frames, values)."""
    return np.pad(x, ((before, after), (0, 0)))


def embed(samples: Float32) -> Float32:
    """The embedding of a clip; shape (200,).

    Args:
        samples: (n,) mono at 16 kHz; what is shorter than 3 seconds is filled up with silence.

    Raises:
        DataError: the weights are not installed, or not those.
    """
    return np.asarray(network()(patches_of(samples)).mean(axis=0), np.float32)


def patches_of(samples: Float32) -> Float32:
    """At most ten evenly spaced patches of the log-mel-spectrogram by base 10: (n, 187, 96)."""
    spectrum = log_mel(samples, MEL) / np.float32(np.log(10))
    spectrum = _padded(spectrum, 0, max(0, FRAMES - len(spectrum)))
    starts = np.unique(np.linspace(0, len(spectrum) - FRAMES, PATCHES).astype(int))
    return np.stack([spectrum[start : start + FRAMES] for start in starts])


def weights_folder() -> Path:
    """Folder of the installed package's weights, found without an import.

    Raises:
        DataError: it is not installed.
    """
    spec = importlib.util.find_spec("musicnn")
    if spec is None or spec.origin is None:
        raise DataError("the weights of musicnn are not installed", do=INSTALL)
    return Path(spec.origin).parent / "MSD_musicnn"


@lru_cache(maxsize=1)
def network() -> MusiCNN:
    """The network with its published weights, read once a process.

    Raises:
        DataError: the weights are not installed, damaged, or not those.
    """
    prefix = f"{weights_folder()}/"
    tensors = read_tensors(prefix)
    data = Path(f"{prefix}.data-00000-of-00001")
    if hashlib.sha256(data.read_bytes()).hexdigest() != _SHA256:
        raise DataError("are not the weights of musicnn 0.1.0", where=data, do=INSTALL)
    return _assembled({name.removeprefix("model/"): x for name, x in tensors.items()})


def _assembled(tensors: dict[str, Float32]) -> MusiCNN:
    """Layers have numbers in the order of the authors' code; the first has none."""

    def of(kind: str, number: int, what: str) -> Float32:
        return tensors[f"{kind}_{number}/{what}" if number else f"{kind}/{what}"]

    def norm(number: int) -> _Norm:
        gamma, beta, mean, variance = (
            of("batch_normalization", number, what)
            for what in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + np.float32(_EPSILON))
        return _Norm(scale, beta - mean * scale)

    def filters(number: int) -> _Filters:
        kernel = of("conv2d", number, "kernel")
        flat = kernel.reshape(-1, kernel.shape[-1])
        return _Filters(flat, of("conv2d", number, "bias"), norm(number + 1))

    def peaks(number: int) -> _Peaks:
        kernel = of("conv2d", number, "kernel")
        frames, bands, _, count = kernel.shape
        after = norm(number + 1)
        sign = np.where(after.scale < 0, np.float32(-1), np.float32(1))
        turned = kernel.reshape(-1, count) * sign
        return _Peaks(frames, bands, turned, sign, of("conv2d", number, "bias"), after)

    return MusiCNN(
        first=norm(0),
        timbral=[peaks(0), peaks(1)],
        temporal=[peaks(2), peaks(3), peaks(4)],
        middle=[filters(5), filters(6), filters(7)],
        pooled=norm(9),
        dense=_Filters(of("dense", 0, "kernel"), of("dense", 0, "bias"), norm(10)),
    )
