"""Mel-frequency cepstral coefficients and their differences: 39 numbers of timbre per frame.

The features of the bag-of-words baselines of van den Oord, Dieleman & Schrauwen (NIPS 2013, §3.1).
The numbers are librosa's (`feature.mfcc` and `feature.delta` with their defaults).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segue.audio.mel import PAPER, Mel, decibels

Float32 = NDArray[np.float32]

COUNT = 13
"""Coefficients of a frame, the first of which is its loudness."""
_RANGE_DB = 80.0
"""Dynamic range of a clip in dB."""
_WIDTH = 9
"""Frames of the fit of a difference."""


def mfcc(samples: Float32, mel: Mel = PAPER) -> Float32:
    """Coefficients, their first and their second differences; shape (frames, 39).

    Args:
        samples: (n,) mono, at `mel.rate`.
    """
    from scipy.fft import dct

    loudness = decibels(samples, mel)
    np.maximum(loudness, loudness.max() - np.float32(_RANGE_DB), out=loudness)
    still = dct(loudness, type=2, axis=1, norm="ortho", workers=1)[:, :COUNT]
    return np.concatenate([still, _change(still, 1), _change(still, 2)], axis=1, dtype=np.float32)


def _change(frames: Float32, order: int) -> Float32:
    """The derivative of that order, of a polynomial of that order fitted around each frame.

    At both ends it is that of the polynomial through the outermost nine frames; a clip of fewer
    frames is taken to go on as it ends.
    """
    from scipy.signal import savgol_filter

    mode = "interp" if len(frames) >= _WIDTH else "nearest"
    filtered = savgol_filter(frames, _WIDTH, polyorder=order, deriv=order, axis=0, mode=mode)
    return np.asarray(filtered, np.float32)
