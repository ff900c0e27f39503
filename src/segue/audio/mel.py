"""Log-compressed mel-spectrograms: how loud each band of pitch is, frame by frame.

Van den Oord, Dieleman & Schrauwen, Deep content-based music recommendation, NIPS 2013, §3.2; the
second variant is that of Dieleman's 2014 article on the same network at Spotify. Frames, window,
mel scale and areas are librosa's defaults, so that the numbers are (to 1e-4, see
`tests/audio/test_mel.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

_BATCH = 128
"""Frames of a batch: they and their spectra stay in the second-level cache."""
_GROUP = 16
"""Bands that are summed by one matrix product; a group covers few of the bins."""

_LINEAR_HZ = 200 / 3
"""Hz a mel below the corner, in Slaney's scale."""
_CORNER_HZ = 1000.0
_LOG_STEP = float(np.log(6.4) / 27)
"""Step of log frequency a mel above the corner."""


@dataclass(frozen=True)
class Mel:
    """Parameters of a mel-spectrogram.

    Args:
        rate: samples a second, Hz.
        window: samples of a frame, weighted by a Hann window.
        hop: samples from the middle of a frame to that of the next.
        bands: number of bands, from `low` to `high`.
        compression: C of log(1 + C · mel).
        low, high: where the first band begins and the last one ends, Hz; high None: rate / 2.
    """

    rate: int = 22_050
    window: int = 1_024
    hop: int = 512
    bands: int = 128
    compression: float = 10_000.0
    low: float = 0.0
    high: float | None = None

    def frames(self, samples: int) -> int:
        """Number of frames of so many samples."""
        return 1 + samples // self.hop


PAPER = Mel()
"""The paper's parameters: 129 frames are 3 seconds."""
BLOG = Mel(window=2_048, hop=1_104)
"""The article's parameters: 599 frames are 30 seconds."""
CLAP = Mel(rate=48_000, window=1_024, hop=480, bands=64, low=50.0, high=14_000.0)
"""Parameters of HTS-AT in CLAP and LARP: 1,001 frames are 10 seconds."""

_QUIETEST = 1e-10
"""Minimum power."""


def log_mel(samples: Float32, mel: Mel = PAPER) -> Float32:
    """log(1 + C · mel) of a sound, by the natural logarithm; shape (frames, bands).

    Args:
        samples: (n,) mono, at `mel.rate`, from -1 to 1.
    """
    spectrum = mel_power(samples, mel)
    spectrum *= np.float32(mel.compression)
    return np.log1p(spectrum, out=spectrum)


def decibels(samples: Float32, mel: Mel = PAPER) -> Float32:
    """10 · log₁₀ of the power in each mel band, from -100 up; shape (frames, bands).

    Args:
        samples: (n,) mono, at `mel.rate`.
    """
    return 10 * np.log10(np.maximum(mel_power(samples, mel), np.float32(_QUIETEST)))


def half(positive: Float32) -> NDArray[np.float16]:
    """``positive.astype(np.float16)`` for numbers from 0 to 65,504, three times as fast.

    2⁻¹¹² is what exponents of the two formats differ by; then thirteen bits are rounded away, to
    the nearest, ties to even. Below 6 · 10⁻⁵ what is nearly a tie may go either way.
    """
    bits = (positive * np.float32(2.0**-112)).view(np.uint32)
    bits += 0xFFF + (bits >> 13 & 1)
    bits >>= 13
    return bits.astype(np.uint16).view(np.float16)


def mel_power(samples: Float32, mel: Mel = PAPER) -> Float32:
    """Power in each mel band; shape (frames, bands), with frames = 1 + n // hop.

    Frame t is centred on sample t · hop; there are zeros before the first sample and after the
    last. Uses one thread: the parallel unit is the file.
    """
    from scipy.fft import rfft  # slow to load, and nothing else here needs it

    window, groups = _hann(mel.window), _groups(mel)
    padded = np.zeros(len(samples) + mel.window, np.float32)
    padded[mel.window // 2 : mel.window // 2 + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, mel.window)[:: mel.hop]
    out = np.empty((len(frames), mel.bands), np.float32)
    buffer = np.empty((_BATCH, mel.window), np.float32)
    for start in range(0, len(frames), _BATCH):
        batch = frames[start : start + _BATCH]
        weighted = np.multiply(batch, window, out=buffer[: len(batch)])
        bins = rfft(weighted, overwrite_x=True, workers=1)
        power = np.square(bins.real)
        power += np.square(bins.imag)
        for band, first, last, weights in groups:
            part = out[start : start + _BATCH, band : band + weights.shape[1]]
            np.matmul(power[:, first:last], weights, out=part)
    return out


def filter_bank(mel: Mel) -> Float32:
    """Weight of each bin of the spectrum in each band; shape (bands, window // 2 + 1).

    Triangles that rise from the middle of the band below to their own and fall to that of the band
    above, with the middles even on Slaney's mel scale; each has area 1 over Hz (Slaney, Auditory
    Toolbox, 1998).
    """
    high = mel.rate / 2 if mel.high is None else mel.high
    edges = _hz(np.linspace(_mels(mel.low), _mels(high), mel.bands + 2))
    bins = np.fft.rfftfreq(mel.window, 1 / mel.rate)
    below, middle, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - below) / (middle - below)
    falling = (above - bins) / (above - middle)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (above - below)), np.float32)


def _mels(hz: float) -> float:
    if hz < _CORNER_HZ:
        return hz / _LINEAR_HZ
    return _CORNER_HZ / _LINEAR_HZ + float(np.log(hz / _CORNER_HZ)) / _LOG_STEP


def _hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    over = mels - _CORNER_HZ / _LINEAR_HZ
    bent = _CORNER_HZ * np.exp(_LOG_STEP * np.maximum(over, 0))
    return np.where(over < 0, mels * _LINEAR_HZ, bent)


@lru_cache(maxsize=8)
def _hann(window: int) -> Float32:
    turn = 2 * np.pi * np.arange(window) / window
    return np.asarray(0.5 - 0.5 * np.cos(turn), np.float32)


@lru_cache(maxsize=8)
def _groups(mel: Mel) -> list[tuple[int, int, int, Float32]]:
    """Neighbouring bands, each group with its bins: most of the bank is zeros.

    Returns: of each group its first band, its first bin, the bin after its last, and its weights
        (bins, bands).
    """
    bank = filter_bank(mel)
    groups = []
    for band in range(0, mel.bands, _GROUP):
        rows = bank[band : band + _GROUP]
        bins = np.flatnonzero(rows.any(axis=0))
        first, last = (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 0)
        groups.append((band, first, last, np.ascontiguousarray(rows[:, first:last].T)))
    return groups
