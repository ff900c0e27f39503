"""Sounds of a simulated world: tones from wave tables, single notes, drums and a room.

Oscillators count their phase in 32-bit integers, which wrap where a period ends.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft

Float32 = npt.NDArray[np.float32]

RATE = 22_050
"""Samples a second."""

_TABLE_BITS = 13
_TABLE = 1 << _TABLE_BITS
_HIGHEST = 9_500.0  # Hz; no partial above it
_REVERBERATION = 0.9  # seconds


def frequency(pitch: float) -> float:
    """Hz of a MIDI pitch: 69 is 440 Hz."""
    return float(440 * 2 ** ((pitch - 69) / 12))


def wave(hertz: float, cutoff: float, hollow: float = 0.0) -> Float32:
    """One period of a tone whose partials fall as 1 / n, and faster above `cutoff`.

    Args:
        hertz: pitch of the tone, which limits the number of partials.
        cutoff: Hz above which partials lose 12 dB an octave more.
        hollow: how much weaker the even partials are, 0 to 1.
    """
    partials = np.arange(1, max(2, int(_HIGHEST / hertz) + 1))
    level = 1 / (partials * (1 + (partials * hertz / cutoff) ** 2))
    level[1::2] *= 1 - hollow
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex64)
    spectrum[partials] = -0.5j * _TABLE * level / np.sqrt((level**2).sum())
    table: Float32 = fft.irfft(spectrum)
    return table


def tone(table: Float32, hertz: float, samples: int, start: int = 0) -> Float32:
    """A steady tone, from sample `start` of it on. (samples,)"""
    step = np.uint32(round(hertz / RATE * 2**32))
    phase = np.arange(start, start + samples, dtype=np.uint32) * step
    turned: Float32 = table[phase >> np.uint32(32 - _TABLE_BITS)]
    return turned


@cache
def _sine() -> Float32:
    table: Float32 = np.sin(np.arange(_TABLE) * (2 * np.pi / _TABLE)).astype(np.float32)
    return table


def fall(samples: int, seconds: float) -> Float32:
    """An exponential fall to 1/e in so many seconds, faded out at its end. (samples,)"""
    curve = np.exp(np.arange(samples, dtype=np.float32) * np.float32(-1 / (seconds * RATE)))
    return faded(curve, 0.002, 0.02)


def faded(samples: Float32, attack: float, release: float) -> Float32:
    """Fade the samples in and out, in place.

    Args:
        attack, release: seconds; both together are at most the whole.
    """
    for seconds, part in ((attack, samples), (release, samples[::-1])):
        n = min(round(seconds * RATE), len(samples))
        part[:n] *= np.float32(0.5) - np.float32(0.5) * np.cos(
            np.arange(n, dtype=np.float32) * np.float32(np.pi / max(n, 1))
        )
    return samples


def pluck(pitch: float, decay: float, cutoff: float, hollow: float) -> Float32:
    """A plucked note: bright at first, then soft, gone after some `decay` seconds."""
    hertz = frequency(pitch)
    samples = round(RATE * min(3.5 * decay + 0.05, 1.4))
    bright = tone(wave(hertz, 3 * cutoff, hollow), hertz, samples)
    soft = tone(wave(hertz, cutoff, hollow), hertz, samples)
    bright *= fall(samples, decay / 4)
    soft *= fall(samples, decay)
    soft += bright
    return soft


def bell(pitch: float, decay: float) -> Float32:
    """A struck bar: the tone and, shorter, two octaves above it."""
    hertz = frequency(pitch)
    samples = round(RATE * min(3.5 * decay, 1.4))
    struck = tone(_sine(), hertz, samples) * fall(samples, decay)
    struck += np.float32(0.35) * tone(_sine(), 4 * hertz, samples) * fall(samples, decay / 4)
    return struck


def bass(pitch: float, seconds: float) -> Float32:
    """A round low note."""
    hertz = frequency(pitch)
    samples = round(RATE * seconds)
    return faded(tone(wave(hertz, 180.0), hertz, samples), 0.008, 0.06)


def chord(pitches: list[int], cutoff: float, hollow: float, samples: int) -> Float32:
    """A held chord, each tone of it twice and a little apart. (samples,)"""
    held = np.zeros(samples, np.float32)
    for place, pitch in enumerate(pitches):
        hertz = frequency(pitch)
        table = wave(hertz, cutoff, hollow)
        held += tone(table, hertz * 0.9985, samples, 3_000 * place)
        held += tone(table, hertz * 1.0015, samples, 7_000 * place)
    return faded(held, 0.05, 0.05)


def kick(pitch: float, decay: float) -> Float32:
    """A bass drum: a sine that falls to `pitch` Hz."""
    samples = round(3 * decay * RATE)
    time = np.arange(samples, dtype=np.float32) / RATE
    hertz = pitch * (1 + 2.2 * np.exp(-time / 0.025))
    return np.sin(2 * np.pi * np.cumsum(hertz) / RATE).astype(np.float32) * fall(samples, decay)


def snare(rng: np.random.Generator, pitch: float, decay: float) -> Float32:
    """A snare drum: noise and a tone of `pitch` Hz."""
    samples = round(4 * decay * RATE)
    noise = rng.standard_normal(samples, np.float32)
    noise[1:] -= np.float32(0.6) * noise[:-1]
    noise *= np.float32(0.5) * fall(samples, decay)
    noise += np.float32(0.6) * tone(_sine(), pitch, samples) * fall(samples, decay)
    return noise


def hat(rng: np.random.Generator, decay: float) -> Float32:
    """A hi-hat: the high part of noise."""
    samples = round(4 * decay * RATE)
    noise = rng.standard_normal(samples + 2, np.float32)
    high: Float32 = np.float32(0.35) * (noise[2:] - 2 * noise[1:-1] + noise[:-2])
    high *= fall(samples, decay)
    return high


@cache
def _room(size: int) -> tuple[npt.NDArray[np.complex64], Float32]:
    """Spectrum of a room's echoes, and log2 of each bin's frequency over 1 kHz."""
    samples = round(_REVERBERATION * RATE)
    echoes = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    echoes *= fall(samples, _REVERBERATION / 6)
    echoes[: round(0.012 * RATE)] = 0
    spectrum = fft.rfft(echoes, size)
    hertz = np.maximum(np.arange(size // 2 + 1) * (RATE / size), 20)
    damped = spectrum / (1 + (hertz / 3_000) ** 2) / np.sqrt((echoes**2).sum())
    return damped.astype(np.complex64), np.log2(hertz / 1_000).astype(np.float32)


def in_a_room(samples: Float32, echo: float, tilt: float) -> Float32:
    """The sound in a room, its balance tilted. (samples,)

    Args:
        samples: (samples,)
        echo: level of the echoes, 1 being that of the sound itself.
        tilt: dB an octave, up for the treble.
    """
    size = fft.next_fast_len(len(samples) + round(_REVERBERATION * RATE), real=True)
    echoes, octaves = _room(size)
    spectrum = fft.rfft(samples, size)
    spectrum *= 1 + np.float32(echo) * echoes
    spectrum *= np.exp(octaves * np.float32(tilt * np.log(10) / 20))
    spectrum[: round(25 * size / RATE)] = 0  # inaudible, low frequencies
    sound: Float32 = fft.irfft(spectrum, size)[: len(samples)]
    return sound
