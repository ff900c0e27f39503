"""Mel-spectrograms and MFCC: against librosa, against the definition, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.optional import optional

from segue.audio.extractors import MEL_CLAP
from segue.audio.mel import (
    BLOG,
    CLAP,
    PAPER,
    Mel,
    decibels,
    filter_bank,
    half,
    log_mel,
    mel_power,
)
from segue.audio.mfcc import mfcc

librosa = optional("librosa")

MUSICNN = Mel(rate=16_000, window=512, hop=256, bands=96)
KINDS = [PAPER, BLOG, MUSICNN]
RANDOM = np.random.default_rng(5)


def chord(rate: int, seconds: float = 3.0) -> np.ndarray:
    """Three tones that swell, with a little noise."""
    t = np.arange(int(rate * seconds)) / rate
    tones = sum(np.sin(2 * np.pi * hz * t) for hz in (220.0, 554.37, 3520.0))
    noise = np.random.default_rng(3).standard_normal(len(t))
    return (0.2 * tones * np.sin(np.pi * t / seconds) + 0.01 * noise).astype(np.float32)


def by_librosa(samples: np.ndarray, mel: Mel) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=samples, sr=mel.rate, n_fft=mel.window, hop_length=mel.hop, n_mels=mel.bands
    )
    return np.log1p(mel.compression * power.T)


@pytest.mark.parametrize("mel", KINDS, ids=["paper", "blog", "musicnn"])
def test_the_filter_bank_is_librosas(mel):
    theirs = librosa.filters.mel(sr=mel.rate, n_fft=mel.window, n_mels=mel.bands)
    np.testing.assert_allclose(filter_bank(mel), theirs, atol=1e-8)


@pytest.mark.parametrize("mel", KINDS, ids=["paper", "blog", "musicnn"])
@pytest.mark.parametrize("kind", ["chord", "noise", "loud"])
def test_log_mel_agrees_with_librosa_to_1e_4(mel, kind):
    samples = chord(mel.rate)
    if kind != "chord":
        samples = RANDOM.standard_normal(len(samples)).astype(np.float32)
        samples *= 30 if kind == "loud" else 0.1
    ours = log_mel(samples, mel)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, by_librosa(samples, mel), atol=1e-4)


def test_bands_can_begin_and_end_anywhere():
    """Those of CLAP and, at twice the rate, of what has bands up to half of it."""
    theirs = librosa.filters.mel(sr=48_000, n_fft=1_024, n_mels=64, fmin=50, fmax=14_000)
    np.testing.assert_allclose(filter_bank(CLAP), theirs, atol=1e-8)
    np.testing.assert_array_equal(
        filter_bank(Mel(rate=44_100, window=2_048, high=11_025.0))[:, :513], filter_bank(PAPER)
    )


@pytest.mark.parametrize("kind", ["chord", "noise", "silence"])
def test_decibels_are_those_of_clap(kind):
    """But for two frames at either end, where theirs mirror the sound and ours hear silence."""
    transformers = optional("transformers")
    clap = transformers.ClapFeatureExtractor(
        frequency_min=50, frequency_max=14_000, truncation="rand_trunc"
    )
    samples = chord(48_000, 10.0)
    if kind != "chord":
        samples = RANDOM.standard_normal(len(samples)).astype(np.float32)
        samples *= 0 if kind == "silence" else 0.1
    theirs = clap(samples, sampling_rate=48_000)["input_features"][0][0]
    ours = decibels(samples, CLAP)
    assert ours.shape == theirs.shape == (1_001, 64)
    np.testing.assert_allclose(ours[2:-2], theirs[2:-2], atol=1e-3)
    rounded = MEL_CLAP(samples)
    assert rounded.dtype == np.float16
    np.testing.assert_allclose(rounded[2:-2], theirs[2:-2], atol=1 / 31)


def test_silence_is_a_hundred_decibels_down():
    np.testing.assert_allclose(decibels(np.zeros(9_600, np.float32), CLAP), -100, rtol=1e-6)


def test_log_mel_agrees_with_librosa_on_real_music(real_data):
    soundfile = optional("soundfile")
    samples, rate = soundfile.read(real_data / "audio/clips/000.ogg", dtype="float32")
    assert rate == PAPER.rate
    for mel in (PAPER, BLOG):
        np.testing.assert_allclose(log_mel(samples, mel), by_librosa(samples, mel), atol=1e-4)


def test_mel_power_is_what_the_definition_says():
    """One frame, by the sum that a Fourier transform is, in float64."""
    mel = Mel(rate=8_000, window=64, hop=16, bands=8)
    samples = RANDOM.standard_normal(200).astype(np.float32)
    n = np.arange(64)
    padded = np.concatenate([np.zeros(32), samples, np.zeros(32)])
    frame = padded[5 * 16 : 5 * 16 + 64] * np.sin(np.pi * n / 64) ** 2
    spectrum = [abs(np.sum(frame * np.exp(-2j * np.pi * k * n / 64))) ** 2 for k in range(33)]
    np.testing.assert_allclose(mel_power(samples, mel)[5], filter_bank(mel) @ spectrum, rtol=1e-4)


def test_a_tone_is_loudest_in_the_band_of_its_pitch():
    t = np.arange(22_050) / 22_050
    for hz in (440, 1_000, 5_000):
        tone = np.sin(2 * np.pi * hz * t).astype(np.float32)
        loudest = int(log_mel(tone)[20].argmax())
        heard = np.flatnonzero(filter_bank(PAPER)[loudest]) * 22_050 / 1_024
        assert heard.min() - 22 <= hz <= heard.max() + 22


def test_silence_is_zero():
    assert not log_mel(np.zeros(22_050, np.float32)).any()


@pytest.mark.parametrize(("seconds", "mel", "frames"), [(3, PAPER, 130), (30, BLOG, 600)])
def test_frames_of_the_published_lengths(seconds, mel, frames):
    """129 and 599 as published, and a last one that is half beyond the end."""
    samples = np.zeros(seconds * mel.rate, np.float32)
    assert log_mel(samples, mel).shape == (frames, 128)


@settings(max_examples=30)
@given(n=st.integers(0, 5_000), hop=st.integers(1, 700), seed=st.integers(0, 9))
def test_frames_are_where_they_should_be_for_any_length(n, hop, seed):
    """However the frames fall into batches, frame t is that of the sound around t · hop."""
    mel = Mel(window=256, hop=hop, bands=20)
    samples = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    whole = mel_power(samples, mel)
    assert whole.shape == (mel.frames(n), 20)
    t = (seed * 37) % len(whole)
    around = np.concatenate([np.zeros(128), samples, np.zeros(128)])[t * hop : t * hop + 256]
    alone = mel_power(around.astype(np.float32), Mel(window=256, hop=128, bands=20))[1]
    np.testing.assert_allclose(whole[t], alone, rtol=1e-3, atol=1e-4)


def test_bands_that_hear_no_bin_are_silent():
    """Short windows have fewer bins than bands: the empty bands stay finite and zero."""
    mel = Mel(window=32, hop=16, bands=128)
    out = log_mel(chord(22_050, 0.1), mel)
    empty = ~filter_bank(mel).any(axis=1)
    assert empty.any()
    assert not out[:, empty].any()
    assert np.isfinite(out).all()


def test_mfcc_and_its_changes_are_librosas():
    samples = chord(22_050)
    theirs = librosa.feature.mfcc(y=samples, sr=22_050, n_mfcc=13, n_fft=1_024, hop_length=512)
    changes = [librosa.feature.delta(theirs, order=order) for order in (1, 2)]
    ours = mfcc(samples)
    assert ours.shape == (130, 39)
    np.testing.assert_allclose(ours, np.concatenate([theirs, *changes]).T, atol=2e-3)


def test_mfcc_of_a_real_clip_are_librosas(real_data):
    soundfile = optional("soundfile")
    samples, _ = soundfile.read(real_data / "audio/clips/007.ogg", dtype="float32")
    theirs = librosa.feature.mfcc(y=samples, sr=22_050, n_mfcc=13, n_fft=1_024, hop_length=512)
    np.testing.assert_allclose(mfcc(samples)[:, :13], theirs.T, atol=5e-3)


def test_mfcc_of_what_does_not_change_has_no_changes():
    steady = mfcc(np.zeros(22_050, np.float32))
    assert np.isfinite(steady).all()
    np.testing.assert_allclose(steady[:, 13:], 0, atol=1e-4)


def test_mfcc_of_a_moment_are_finite():
    """Fewer frames than a change is fitted over."""
    short = mfcc(chord(22_050, 0.05))
    assert short.shape == (3, 39)
    assert np.isfinite(short).all()


def test_half_precision_is_numpys():
    """Every number of the format, the middle between each two, and what is just beside it."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = (halves[1:] + halves[:-1]) / 2
    beside = [np.nextafter(middles, np.float32(to)) for to in (0, 1e9)]
    for numbers in (halves, middles, *beside):
        ours, theirs = half(numbers), numbers.astype(np.float16)
        normal = numbers >= 2.0**-14
        np.testing.assert_array_equal(ours[normal], theirs[normal])
        np.testing.assert_allclose(ours[~normal], theirs[~normal], rtol=0, atol=2.0**-24)
