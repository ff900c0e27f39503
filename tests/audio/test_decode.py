"""Sound files to samples: formats, channels, rates, excerpts, and what is wrong with a file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support.sounds import ENCODERS, RATE, encode, sweep, wav, wav_header

from segue.audio import decode as module
from segue.audio.decode import AudioError, Excerpt, decode, probe

SECONDS = 12.0
LOSSLESS = {"wav", "flac"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep in every format."""
    folder = tmp_path_factory.mktemp("library")
    for ending in ENCODERS:
        encode(folder / f"sweep.{ending}", sweep(SECONDS))
    return folder


def likeness(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Correlation of what both have."""
    n = min(len(a), len(b))
    return float(np.corrcoef(a[:n], b[:n])[0, 1])


def reason(path: Path, **settings: float) -> str:
    with pytest.raises(AudioError) as error:
        decode(path, 22_050, **settings)
    assert str(error.value) == f"{path}: {error.value.reason}"
    return error.value.reason


@pytest.mark.parametrize("ending", ENCODERS)
def test_every_format_gives_back_what_was_encoded(library: Path, ending: str) -> None:
    sound = decode(library / f"sweep.{ending}", RATE)
    late = 1024 if ending == "m4a" else 0  # this encoder's delay, which the file does not tell
    assert sound.samples.dtype == np.float32
    assert likeness(sound.samples[late:], sweep(SECONDS)[0]) > 0.999
    assert (sound.rate, sound.sample_rate, sound.channels) == (RATE, RATE, 1)
    assert abs(sound.duration_ms - 1000 * SECONDS) < 50
    if ending in LOSSLESS:
        assert np.abs(sound.samples - sweep(SECONDS)[0]).max() < 2e-4


def test_alac_in_m4a_is_lossless(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", sweep(1.0), codec="alac")
    assert np.abs(decode(path, RATE).samples - sweep(1.0)[0]).max() < 2e-4


@pytest.mark.parametrize("ending", ENCODERS)
def test_an_excerpt_is_the_middle_to_the_sample(library: Path, ending: str) -> None:
    path = library / f"sweep.{ending}"
    whole = decode(path, RATE).samples
    excerpt = decode(path, RATE, Excerpt(3.0))
    promised = excerpt.duration_ms / 1000
    start = round((promised - 3.0) / 2 * RATE)
    assert len(excerpt.samples) == 3 * RATE
    there = whole[start : start + 3 * RATE]
    slack = 64 if ending == "m4a" else 1  # milliseconds are coarser than samples
    shifts = range(-slack * 48, slack * 48 + 1)
    best = min(
        np.abs(whole[start + k : start + k + len(there)] - excerpt.samples).max() for k in shifts
    )
    assert best < 1e-3


def test_a_track_that_is_shorter_than_the_excerpt_is_taken_whole(library: Path) -> None:
    path = library / "sweep.flac"
    assert np.array_equal(decode(path, RATE, Excerpt(30.0)).samples, decode(path, RATE).samples)


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_resampling_keeps_time_and_pitch(library: Path, rate: int) -> None:
    samples = decode(library / "sweep.flac", rate).samples
    assert abs(len(samples) - SECONDS * rate) <= 1
    assert likeness(samples, sweep(SECONDS, rate)[0]) > 0.9999


def test_what_is_above_half_the_rate_is_gone(tmp_path: Path) -> None:
    t = np.arange(RATE) / RATE
    high = 0.5 * np.sin(2 * np.pi * 15_000 * t[None]).astype(np.float32)
    samples = decode(encode(tmp_path / "high.flac", high), 22_050).samples
    assert np.abs(samples[1000:-1000]).max() < 1e-3


def test_channels_are_mixed_to_their_mean(tmp_path: Path) -> None:
    for channels in (2, 3, 6, 8, 24):
        frame = 100 * np.arange(channels, dtype="<i2")
        path = wav(tmp_path / "c.wav", np.tile(frame, 1000).tobytes(), channels=channels)
        sound = decode(path, 44_100)
        assert sound.channels == channels
        assert np.allclose(sound.samples * 32_768, 50 * (channels - 1), atol=1e-2)


def test_opposite_channels_cancel(tmp_path: Path) -> None:
    left = sweep(1.0)[0]
    samples = decode(encode(tmp_path / "s.flac", np.stack([left, -left])), RATE).samples
    assert np.abs(samples).max() < 1e-4


def test_the_same_file_gives_the_same_samples(library: Path) -> None:
    for ending in ENCODERS:
        path = library / f"sweep.{ending}"
        once, again = (decode(path, 22_050, Excerpt(3.0)).samples for _ in range(2))
        assert once.tobytes() == again.tobytes()


def test_a_file_is_told_by_its_content_not_its_name(library: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.mp3"
    path.write_bytes((library / "sweep.flac").read_bytes())
    assert np.array_equal(decode(path, RATE).samples, decode(library / "sweep.flac", RATE).samples)


def test_names_in_any_script(tmp_path: Path) -> None:
    for name in ("音楽", "Ωδή", "песня", "أغنية", "🎵 %20 #?&", "file:x", "concat:a|b", "-y"):
        path = encode(tmp_path / f"{name}.wav", sweep(0.1))
        assert len(decode(path, RATE).samples) == 4800


@pytest.mark.parametrize("name", ["a.wav", "concat:a|b.wav", "http:a.wav", "-y.wav"])
def test_a_name_relative_to_the_folder_at_work_is_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    encode(tmp_path / "a.wav", sweep(0.1)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(decode(Path(name), RATE).samples) == 4800


# Bad audio


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").touch()
    assert reason(tmp_path / "a.mp3") == "empty file"


def test_text_in_an_mp3(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_text("not music\n" * 1000)
    assert reason(tmp_path / "a.mp3") == "not audio"


def test_noise_in_an_mp3_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    for seed in range(20):
        path.write_bytes(np.random.default_rng(seed).bytes(20_000))
        with contextlib.suppress(AudioError):
            assert np.isfinite(decode(path, 22_050).samples).all()


def test_a_playlist_does_not_lead_to_another_file(library: Path, tmp_path: Path) -> None:
    target = library / "sweep.mp3"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n"
    for name, text in (("a.m3u8", playlist), ("a.mp3", f"ffconcat version 1.0\nfile '{target}'\n")):
        (tmp_path / name).write_text(text)
        assert reason(tmp_path / name) == "not audio"


def test_a_truncated_flac(library: Path, tmp_path: Path) -> None:
    whole = (library / "sweep.flac").read_bytes()
    path = tmp_path / "a.flac"
    path.write_bytes(whole[: len(whole) // 3])
    assert reason(path) == "truncated"
    assert reason(path, excerpt=Excerpt(3.0)) == "truncated"


def test_a_flac_without_its_last_second_still_has_its_middle(library: Path, tmp_path: Path) -> None:
    whole = (library / "sweep.flac").read_bytes()
    path = tmp_path / "a.flac"
    path.write_bytes(whole[: len(whole) * 11 // 12])
    cut, full = (decode(p, RATE, Excerpt(3.0)) for p in (path, library / "sweep.flac"))
    assert np.array_equal(cut.samples, full.samples)


def test_damage_in_the_middle_is_passed_over(library: Path, tmp_path: Path) -> None:
    data = bytearray((library / "sweep.mp3").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    assert len(decode(path, RATE).samples) > 0.9 * SECONDS * RATE


def test_an_mp3_whose_length_is_only_an_estimate(tmp_path: Path) -> None:
    """Silence in front makes the estimate by the first frames far too long."""
    path = encode(tmp_path / "a.mp3", sweep(SECONDS))
    data = path.read_bytes()
    info = data.index(b"Info") if b"Info" in data else data.index(b"Xing")
    path.write_bytes(data[:info] + b"none" + data[info + 4 :] + bytes(len(data)))
    sound = decode(path, RATE, Excerpt(6.0))
    assert len(sound.samples) == 6 * RATE
    assert abs(sound.duration_ms - 1000 * SECONDS) < 200


def test_a_wav_header_that_claims_a_thousand_million_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_header(2 * 10**9) + b"\1\0" * 44_100)
    sound = decode(path, 44_100)
    assert (len(sound.samples), sound.duration_ms) == (44_100, 1000)


def test_a_header_and_nothing_else(tmp_path: Path) -> None:
    assert reason(wav(tmp_path / "a.wav", b"")) in ("no sound in it", "not audio")


def test_no_channels(tmp_path: Path) -> None:
    assert reason(wav(tmp_path / "a.wav", bytes(1000), channels=0)) == "no channels"


def test_more_channels_than_anybody_has(tmp_path: Path) -> None:
    assert reason(wav(tmp_path / "a.wav", bytes(65 * 200), channels=65)) == "too many channels"


@pytest.mark.parametrize("rate", [1, 999, 2_000_000_000])
def test_a_strange_sample_rate(tmp_path: Path, rate: int) -> None:
    assert reason(wav(tmp_path / "a.wav", bytes(1000), rate=rate)) == "strange sample rate"


def test_192_khz(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flac", sweep(2.0, 192_000), 192_000)
    sound = decode(path, 22_050)
    assert sound.sample_rate == 192_000
    assert likeness(sound.samples, sweep(2.0, 22_050)[0]) > 0.9999


def test_one_bit(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", bytes(1000), bits=1)
    assert np.isfinite(decode(path, 22_050).samples).all()


def test_silence_is_sound(tmp_path: Path) -> None:
    samples = decode(wav(tmp_path / "a.wav", bytes(88_200)), 22_050).samples
    assert len(samples) == 22_050
    assert not samples.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_sound(tmp_path: Path, value: float) -> None:
    data = np.zeros(10_000, "<f4")
    data[5_000] = value
    path = wav(tmp_path / "a.wav", data.tobytes(), bits=32, kind=3)
    assert reason(path) == "not finite"


def sparse_wav(path: Path, hours: float) -> Path:
    """A WAV of silence that takes no room on disk."""
    n = round(hours * 3600 * 44_100) * 2
    with path.open("wb") as file:
        file.write(wav_header(n))
        file.truncate(44 + n)
    return path


def test_twelve_hours_are_too_long(tmp_path: Path) -> None:
    path = sparse_wav(tmp_path / "a.wav", 12)
    assert reason(path) == "too long"
    assert reason(path, excerpt=Excerpt()) == "too long"
    with pytest.raises(AudioError, match="too long"):
        probe(path)


def test_an_excerpt_of_a_long_file_takes_no_more_than_itself(tmp_path: Path) -> None:
    sound = decode(sparse_wav(tmp_path / "a.wav", 12), 22_050, Excerpt(), longest_minutes=721)
    assert len(sound.samples) == 30 * 22_050
    assert sound.duration_ms == 12 * 3600 * 1000


def test_a_file_that_hides_its_length_is_too_long_when_it_gets_there(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = module._File.__init__

    def hidden(self: module._File, *args: object) -> None:
        opened(self, *args)  # type: ignore[arg-type]
        self.seconds = None

    monkeypatch.setattr(module._File, "__init__", hidden)
    path = library / "sweep.flac"
    assert len(decode(path, RATE, Excerpt(3.0)).samples) == 3 * RATE
    assert reason(path, longest_minutes=0.1) == "too long"


def test_missing_and_forbidden_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(tmp_path / "a.mp3") == "no such file"
    assert reason(tmp_path) in ("cannot be read", "not audio")

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    encode(tmp_path / "a.wav", sweep(0.1))
    monkeypatch.setattr(os, "stat", denied)  # root may read everything
    assert reason(tmp_path / "a.wav") == "no permission"


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").symlink_to(tmp_path / "a.mp3")
    assert reason(tmp_path / "a.mp3") == "cannot be read"


def test_a_look_at_the_head(library: Path) -> None:
    for ending in ENCODERS:
        ms, rate, channels = probe(library / f"sweep.{ending}")
        assert ms is not None
        assert abs(ms - 1000 * SECONDS) < 50
        assert (rate, channels) == (RATE, 1)


def with_frames(path: Path, frames: int) -> Path:
    """An MP3 of 6 seconds whose header claims so many frames of 24 ms."""
    data = bytearray(encode(path, sweep(6.0)).read_bytes())
    at = max(data.find(b"Info"), data.find(b"Xing"))
    data[at + 8 : at + 12] = frames.to_bytes(4, "big")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("frames", [4_000_000, 54, 1])
def test_a_wrong_number_of_frames_in_the_header_decides_nothing(
    tmp_path: Path, frames: int
) -> None:
    path = with_frames(tmp_path / "claims.mp3", frames)  # 27 hours, 1.3 s, one frame
    assert probe(path)[0] == pytest.approx(6000, abs=60)
    whole, middle = decode(path, 16_000), decode(path, 16_000, Excerpt(3.0))
    assert whole.duration_ms == pytest.approx(6000, abs=60)
    assert middle.duration_ms == pytest.approx(6000, abs=60)
    assert len(middle.samples) == 48_000
    # The sweep is at 200 + 300 t Hz after t seconds; the middle begins after 1.5.
    first = middle.samples[:4000]
    assert np.count_nonzero(np.diff(np.sign(first))) * 2 == pytest.approx(690, rel=0.05)
