"""Towers: from a track's sound, and its artist, to its vector. Inference with numpy alone.

Van den Oord, Dieleman and Schrauwen 2013, section 3, and Dieleman's 2014 article. With x the frames
of a clip, standardised for each band (frames, bands):

    h  = relu(W * x + b), max-pooled over time          a convolution over time only, width 4, ...
    g  = mean_t h ‖ max_t h ‖ sqrt(mean_t h²)           of a whole clip (the article), or
    g  = h, all of it                                   of a window of 3 seconds (the paper)
    y' = W_n relu( ... relu(W_1 [g ‖ a] + b_1) ... ) + b_n  +  q ⊙ a

The prediction of a clip in windows is the mean over the windows. Sounds that are one vector each (a
bag of words, an embedding) stand in the place of g. a, the mean vector of the artist's other tracks
with a 1 for "there are some", and its gate q are there only where a tower is told the artist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from segue.nn.items import Array, Arrays
from segue.numeric.arrays import Float32

KERNEL = 4
"""Frames that a convolution sees."""
WINDOW = 129
"""Frames of 3 seconds at the paper's hop of 512 samples."""
_AT_ONCE = 64
"""Sounds whose dense layers are computed together."""


class Form(NamedTuple):
    """Sizes of a tower's layers.

    Attributes:
        inputs: numbers of a sound, or bands of its frames; 0: no sound is heard.
        convolutions: (outputs, frames that are max-pooled to one) of each; none: a sound is one
            vector.
        window: frames of a window; 0: the whole clip is pooled at once.
        hidden: outputs of each hidden dense layer.
        outputs: length of y'.
        artist: length of the artist's mean vector; 0: towers are not told the artist.
    """

    inputs: int
    convolutions: tuple[tuple[int, int], ...]
    window: int
    hidden: tuple[int, ...]
    outputs: int
    artist: int

    @property
    def least(self) -> int:
        """Frames that the convolutions need, to have one output."""
        frames = 1
        for _, pool in reversed(self.convolutions):
            frames = frames * pool + KERNEL - 1
        return frames

    @property
    def heard(self) -> int:
        """Length of g."""
        if not self.convolutions:
            return self.inputs
        channels = self.convolutions[-1][0]
        if not self.window:
            return 3 * channels
        frames = self.window
        for _, pool in self.convolutions:
            frames = (frames - KERNEL + 1) // pool
        return frames * channels

    @property
    def beside(self) -> int:
        """Length of a with its flag."""
        return self.artist + 1 if self.artist else 0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array of a tower, by name."""
        shapes: dict[str, tuple[int, ...]] = {"shift": (self.inputs,), "scale": (self.inputs,)}
        inputs = self.inputs
        for i, (outputs, _) in enumerate(self.convolutions):
            shapes[f"convolution{i}"] = (KERNEL, inputs, outputs)
            shapes[f"convolution{i}_bias"] = (outputs,)
            inputs = outputs
        inputs = self.heard + self.beside
        for i, outputs in enumerate((*self.hidden, self.outputs)):
            shapes[f"dense{i}"] = (inputs, outputs)
            shapes[f"dense{i}_bias"] = (outputs,)
            inputs = outputs
        if self.artist:
            shapes["gate"] = (self.artist,)
        return shapes


def filled(sound: Array, frames: int) -> Array:
    """A clip of at least so many frames: a shorter one is repeated. (frames, bands)"""
    if len(sound) >= frames:
        return sound
    return np.tile(sound, (-(-frames // len(sound)), 1))[:frames]


def windows(sound: Array, size: int) -> Array:
    """Consecutive windows of a clip, without the rest. (windows, size, bands)"""
    whole = filled(sound, size)
    count = len(whole) // size
    return whole[: count * size].reshape(count, size, -1)


def cropped(sounds: Iterable[Array], frames: int, rng: np.random.Generator | None) -> Float32:
    """So many frames from anywhere in each clip, or from its middle. (clips, frames, bands)

    Args:
        sounds: clips; a short one is repeated.
        frames: of each.
        rng: None takes the middles.
    """
    crops = []
    for sound in sounds:
        clip = filled(sound, frames)
        room = len(clip) - frames
        first = room // 2 if rng is None else int(rng.integers(room + 1))
        crops.append(clip[first : first + frames])
    return np.stack(crops).astype(np.float32)


def convolved(x: Float32, weights: Float32, bias: Float32) -> Float32:
    """relu(W * x + b). (clips, frames, inputs) -> (clips, frames - 3, outputs)"""
    kernel, inputs, outputs = weights.shape
    seen = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=1).swapaxes(2, 3)
    flat = seen.reshape(-1, kernel * inputs) @ weights.reshape(-1, outputs)
    h: Float32 = np.maximum(flat + bias, 0).reshape(len(x), -1, outputs)
    return h


def max_pooled(h: Float32, size: int) -> Float32:
    """The largest of each `size` frames, without the rest. (clips, frames, channels)"""
    frames = h.shape[1] // size
    largest: Float32 = h[:, : frames * size].reshape(len(h), frames, size, -1).max(axis=2)
    return largest


def pooled(h: Float32) -> Float32:
    """Mean, maximum and L2 norm over time; the same for a clip and its repetition.

    (clips, frames, channels) -> (clips, 3 channels)
    """
    l2 = np.sqrt(np.square(h).mean(axis=1))
    return np.concatenate([h.mean(axis=1), h.max(axis=1), l2], axis=1)


def lengthened(outputs: Float32) -> Float32:
    """Vectors from outputs trained by the contrastive loss: their direction, times the length told.

    (tracks, factors + 1) -> (tracks, factors)
    """
    y, length = outputs[:, :-1], np.clip(outputs[:, -1:], -20, 20)
    units = y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12)
    vectors: Float32 = units * np.exp(length)
    return vectors


class Tower:
    """A trained tower.

    Args:
        form: sizes of its layers.
        arrays: float32, of the shapes of ``form.shapes``.
    """

    def __init__(self, form: Form, arrays: Mapping[str, Float32]) -> None:
        self.form, self.arrays = form, dict(arrays)

    def __call__(self, sounds: Arrays, beside: Float32) -> Float32:
        """y' of some tracks.

        Args:
            sounds: of each, any float type.
            beside: a of each, with its flag. (tracks, beside)

        Returns:
            (tracks, outputs) float32
        """
        out = np.empty((len(sounds), self.form.outputs), np.float32)
        for start in range(0, len(sounds), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(sounds)))
            heard = [self._heard(sounds[i]) for i in rows]
            counts = [len(g) for g in heard]
            y = self._dense(np.concatenate(heard), np.repeat(beside[rows], counts, axis=0))
            ends = np.cumsum([0, *counts[:-1]])
            out[rows] = np.add.reduceat(y, ends, axis=0) / np.array(counts, np.float32)[:, None]
        return out

    def _heard(self, sound: Array) -> Float32:
        """g of one track, of each window. (windows, heard)"""
        form, arrays = self.form, self.arrays
        if not form.convolutions:
            x = sound.astype(np.float32)[None]
        elif form.window:
            x = windows(sound, form.window).astype(np.float32)
        else:
            x = filled(sound, form.least).astype(np.float32)[None]
        h: Float32 = (x - arrays["shift"]) * arrays["scale"]
        for i, (_, pool) in enumerate(form.convolutions):
            h = convolved(h, arrays[f"convolution{i}"], arrays[f"convolution{i}_bias"])
            h = max_pooled(h, pool)
        if form.convolutions and not form.window:
            return pooled(h)
        return h.reshape(len(h), -1)

    def _dense(self, heard: Float32, beside: Float32) -> Float32:
        form, arrays = self.form, self.arrays
        h = np.concatenate([heard, beside], axis=1)
        last = len(form.hidden)
        for i in range(last + 1):
            h = h @ arrays[f"dense{i}"] + arrays[f"dense{i}_bias"]
            if i < last:
                h = np.maximum(h, 0)
        if form.artist:
            h[:, : form.artist] += arrays["gate"] * beside[:, : form.artist]
        return h
