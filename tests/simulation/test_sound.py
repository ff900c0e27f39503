"""The sound of the simulated world: what is heard of a track, and how it is written."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from scipy.stats import spearmanr

from segue.cli import run
from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.errors import ConfigError, DataError
from segue.simulation import World, make_world, truth
from segue.simulation import recording as recording_module
from segue.simulation.catalog import generator, make_music
from segue.simulation.instruments import RATE, fall, frequency, pluck, tone, wave
from segue.simulation.recording import flac
from segue.simulation.sound import CONTROLS, make_style, render, scale, sound_controls

SILENT = World(tracks=200, listeners=5, sessions=10, playlists=10)
HEARD = msgspec.structs.replace(SILENT, audio=True, audio_seconds=3)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("world") / "dataset"
    make_world(folder, HEARD, seed=5)
    return Dataset.open(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def piece(seconds: float = 8, *, random: int = 0, **changed: float) -> np.ndarray:
    """A piece with every control in the middle but these."""
    assert set(changed) <= {control.name for control in CONTROLS}
    at = [changed.get(control.name, 0.5) for control in CONTROLS]
    rng = np.random.default_rng(random)
    return render(np.array(at, np.float32), make_style(0, 0), rng, seconds)


def spectrogram(samples: np.ndarray, window: int = 1024, hop: int = 256) -> np.ndarray:
    """Magnitudes. (frames, window // 2 + 1)"""
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    return np.abs(np.fft.rfft(frames * np.hanning(window)))


def pitch_classes(samples: np.ndarray) -> np.ndarray:
    """Energy of each pitch class from 330 Hz to 1 kHz. (12,)"""
    power = (spectrogram(samples, 8192, 2048) ** 2).sum(axis=0)
    hertz = np.arange(len(power)) * RATE / 8192
    inside = (hertz > 330) & (hertz < 1000)
    classes = np.rint(12 * np.log2(hertz[inside] / 440) + 9).astype(int) % 12
    return np.bincount(classes, power[inside], 12)


# What is heard of a point


def test_controls_follow_their_coordinate_as_closely_as_they_say() -> None:
    music = make_music(4_000, 0)
    controls = sound_controls(music, 0)
    assert controls.shape == (4_000, len(CONTROLS))
    assert 0 <= controls.min() <= controls.max() <= 1
    assert np.array_equal(load(save({"": controls}))[""], controls)
    for place, control in enumerate(CONTROLS):
        followed = spearmanr(controls[:, place], music.track_latents[:, control.factor]).statistic
        assert followed == pytest.approx(control.share, abs=0.1)


def test_coordinates_without_a_control_and_popularity_are_silent() -> None:
    music = make_music(300, 0)
    silent = sorted(set(range(16)) - {control.factor for control in CONTROLS})
    assert silent == [14, 15]
    latents = music.track_latents.copy()
    latents[:, silent] = 9
    other = dataclasses.replace(
        music, track_latents=latents, track_popularity=music.track_popularity[::-1]
    )
    assert np.array_equal(sound_controls(music, 0), sound_controls(other, 0))
    latents[:, 0] = 9
    assert not np.array_equal(sound_controls(music, 0), sound_controls(other, 0))


def test_pieces_of_one_artist_share_habits_and_differ() -> None:
    assert make_style(0, 3) == make_style(0, 3)
    assert len({make_style(0, artist).kick for artist in range(20)}) == 20
    assert not np.array_equal(piece(random=1), piece(random=2))
    assert np.array_equal(piece(random=1), piece(random=1))


@pytest.mark.parametrize(("at", "minute"), [(0.0, 70), (1.0, 160)])
def test_tempo_is_from_70_to_160_beats_a_minute(at: float, minute: int) -> None:
    heard = np.log1p(100 * spectrogram(piece(10, tempo=at, drums=1, groove=0, swing=0)))
    onsets = np.maximum(np.diff(heard, axis=0), 0).sum(axis=1)
    onsets -= onsets.mean()
    together = np.correlate(onsets, onsets, "full")[len(onsets) - 1 :]
    rates = np.linspace(0.8 * minute, 1.4 * minute, 241)
    lags = 60 / rates * RATE / 256
    best = rates[np.argmax(np.interp(lags, np.arange(len(together)), together))]
    assert best == pytest.approx(minute, rel=0.02)


def test_scales_by_hand() -> None:
    assert scale(0.5, 0.7) == [0, 2, 4, 5, 7, 9, 11]  # C major
    assert scale(0.5, 0.2) == [9, 11, 0, 2, 4, 5, 7]  # A minor
    assert scale(0.6, 0.7) == [7, 9, 11, 0, 2, 4, 6]  # G major: one sharp
    assert scale(0.4, 1.0) == [10, 0, 2, 4, 5, 7, 9]  # B flat lydian: one flat
    assert scale(0.5, 0.0)[0] == 4  # E phrygian
    assert set(scale(0.0, 0.5)) == {1, 3, 5, 6, 8, 10, 0}  # five flats


@pytest.mark.parametrize("key", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_notes_are_of_the_scale(key: float) -> None:
    energy = pitch_classes(piece(key=key, drums=0))
    share = energy[scale(key, 0.5)].sum() / energy.sum()
    assert share > 0.93


def rise(samples: np.ndarray) -> float:
    """Of the moves of the strongest pitch by a little, how many go up."""
    hertz = np.arange(2049) * RATE / 4096
    heard = spectrogram(samples, 4096, 1024)[:, (hertz > 230) & (hertz < 1_200)]
    moves = np.diff(np.log2(heard.argmax(axis=1) + 43))
    moves = moves[(abs(moves) > 0.05) & (abs(moves) < 0.7)]
    return float((moves > 0).mean())


def centroid(samples: np.ndarray) -> float:
    power = spectrogram(samples).mean(axis=0)
    return float((power * np.arange(len(power))).sum() / power.sum())


def highs(samples: np.ndarray) -> float:
    power = (spectrogram(samples) ** 2).mean(axis=0)
    return float(power[300:].sum() / power.sum())


def notes(samples: np.ndarray) -> float:
    heard = np.log1p(100 * spectrogram(samples)[:, 10:80])
    flux = np.maximum(np.diff(heard, axis=0), 0).mean(axis=1)
    return float(((flux[1:-1] > flux[:-2]) & (flux[1:-1] > flux[2:]) & (flux[1:-1] > 0.3)).sum())


def swelling(samples: np.ndarray) -> float:
    """Mean frequency of the loudness from 0.6 to 5 Hz."""
    loud = np.square(samples[: len(samples) // RATE * RATE]).reshape(-1, RATE // 50).mean(axis=1)
    power = np.abs(np.fft.rfft((loud - loud.mean()) * np.hanning(len(loud)))) ** 2
    hertz = np.fft.rfftfreq(len(loud), 0.02)
    inside = (hertz > 0.6) & (hertz < 5)
    return float((hertz * power)[inside].sum() / power[inside].sum())


@pytest.mark.parametrize(
    ("name", "measure", "others"),
    [
        ("contour", rise, {"mix": 1, "drums": 0, "length": 1, "density": 0, "register": 0}),
        ("brightness", centroid, {"drums": 0}),
        ("drums", highs, {"brightness": 0}),
        ("density", notes, {"mix": 1, "drums": 0, "length": 0, "tempo": 0}),
        ("tremolo", swelling, {"mix": 0, "drums": 0, "density": 0, "length": 0, "harmony": 0}),
        ("register", centroid, {"mix": 1, "drums": 0, "length": 1, "brightness": 0}),
    ],
)
def test_controls_are_heard_the_more_the_further_they_go(name, measure, others) -> None:
    heard = [
        np.mean([measure(piece(random=r, **others, **{name: at})) for r in range(3)])
        for at in (0.0, 0.5, 1.0)
    ]
    assert heard[0] < heard[1] < heard[2]
    assert heard[2] > 1.15 * heard[0]


# What every piece is


@settings(max_examples=25)
@given(
    st.lists(st.floats(0, 1, width=32), min_size=len(CONTROLS), max_size=len(CONTROLS)),
    st.integers(0, 50),
    st.sampled_from([3, 3.7]),
)
def test_pieces_have_their_length_and_loudness_fade_and_never_clip(
    controls: list[float], number: int, seconds: float
) -> None:
    style, rng = make_style(1, number), np.random.default_rng(number)
    samples = render(np.array(controls, np.float32), style, rng, seconds)
    assert samples.dtype == np.float32
    assert len(samples) == round(seconds * RATE)
    assert np.isfinite(samples).all()
    assert 0.3 < np.abs(samples).max() < 0.999
    assert 0.1 < np.sqrt(np.mean(samples**2)) < 0.17
    assert abs(samples.mean()) < 1e-3
    assert samples[0] == 0
    assert np.abs(samples[-20:]).max() < 1e-3


def test_tones_have_their_pitch_and_nothing_above_the_highest_partial() -> None:
    assert frequency(69) == 440
    assert frequency(57) == pytest.approx(220)
    sound = tone(wave(440, 3_000), 440, RATE)
    power = np.abs(np.fft.rfft(sound * np.hanning(RATE)))  # a bin is a Hz
    assert power.argmax() == 440
    assert power[9_700:].max() < 2e-3 * power.max()
    parts = [tone(wave(440, 3_000), 440, RATE // 2, start) for start in (0, RATE // 2)]
    assert np.array_equal(np.concatenate(parts), sound[: 2 * (RATE // 2)])


def test_notes_fall_to_1_over_e_in_their_decay_and_end_in_silence() -> None:
    curve = fall(RATE, 0.2)
    assert curve[RATE // 5] / curve[RATE // 10] == pytest.approx(np.exp(-0.5), rel=1e-4)
    assert curve[0] == curve[-1] == 0
    note = np.square(pluck(69, 0.2, 2_000, 0.5)).reshape(-1, 2)
    quarters = [part.mean() for part in np.array_split(note, 4)]
    assert quarters == sorted(quarters, reverse=True)
    assert quarters[3] < 0.01 * quarters[0]


# Files


def test_flac_holds_the_samples_and_is_the_same_every_time(tmp_path: Path) -> None:
    samples = piece(3)
    content = flac(samples)
    assert content == flac(samples)
    assert b"Lav" not in content  # the encoder does not write down its version
    (tmp_path / "a.flac").write_bytes(content)
    read, rate = soundfile.read(tmp_path / "a.flac", dtype="int16")
    assert rate == RATE
    assert np.array_equal(read, np.rint(samples * np.float32(32_767)).astype(np.int16))


def test_same_sizes_and_seed_give_the_same_sound_from_the_command_line_too(
    world: Dataset, tmp_path: Path
) -> None:
    sizes = {"tracks": 200, "listeners": 5, "sessions": 10, "playlists": 3, "audio-seconds": 3}
    options = [f"--{name}={size}" for name, size in sizes.items()]
    assert run(["world", "--dataset", str(tmp_path / "w"), "--audio", "--seed=5", *options]) == 0
    assert run(["world", "--dataset", str(tmp_path / "x"), "--audio-seconds=3"]) == 2
    before, after = files(world.path), files(tmp_path / "w")
    sounds = {name for name in before if name.startswith("audio")}
    assert len(sounds) == 201
    assert {name: before[name] for name in sounds} == {name: after[name] for name in sounds}
    assert before["tracks.parquet"] == after["tracks.parquet"]


def test_table_says_what_the_files_are(world: Dataset) -> None:
    table = world.audio.to_pydict()
    assert table["track"] == list(range(200))
    assert table["file"][123] == "audio/000123.flac"
    assert len(set(table["sha256"])) == 200
    for track in (0, 123, 199):
        file = world.path / table["file"][track]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == table["sha256"][track]
        known = soundfile.info(file)
        assert (known.samplerate, known.channels, known.frames) == (RATE, 1, 3 * RATE)
    for name, value in (("duration_ms", 3_000), ("sample_rate", RATE), ("channels", 1)):
        assert set(table[name]) == {value}
    assert world.describe()["audio"] == 200


def test_receipt_counts_the_sounds(world: Dataset) -> None:
    (receipt,) = world.info.sources
    assert receipt.kept == sum(world.info.rows.values())
    assert world.info.rows["audio"] == 200


def test_truth_says_where_the_controls_stand(world: Dataset) -> None:
    known = truth(world.path)["track_sound"]
    music = make_music(200, 5)
    assert np.array_equal(known, sound_controls(music, 5))
    style = make_style(5, int(music.track_artists[7]))
    content = flac(render(known[7], style, generator(5, "piece", 7), 3))
    assert content == (world.path / "audio" / "000007.flac").read_bytes()


def test_sound_leaves_everything_else_as_it_is(world: Dataset, tmp_path: Path) -> None:
    make_world(tmp_path / "silent", SILENT, seed=5)
    silent, heard = files(tmp_path / "silent"), files(world.path)
    assert not [name for name in silent if "audio" in name]
    changed = {name for name in silent if silent[name] != heard[name]}
    assert changed == {"dataset.json", "truth.safetensors"}
    a, b = truth(tmp_path / "silent"), truth(world.path)
    assert set(b) - set(a) == {"track_sound"}
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_dataset_in_the_place_of_a_world_with_sound_leaves_nothing_of_it(
    world: Dataset, tmp_path: Path
) -> None:
    place = tmp_path / "w"
    (tmp_path / "list.m3u").write_text("#EXTM3U\n#EXTINF:1,a - b\nb.mp3\n")
    for replace in (
        lambda: make_world(place, SILENT, seed=5),
        lambda: ingest("m3u", [tmp_path / "list.m3u"], place),
    ):
        shutil.copytree(world.path, place, dirs_exist_ok=True)
        assert (place / "audio" / "000199.flac").is_file()
        replace()
        assert not [name for name in files(place) if "audio" in name]
        assert sorted(file.name for file in tmp_path.iterdir()) == ["list.m3u", "w"]


def test_a_world_cut_off_amid_its_sound_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "w"
    make_world(place, SILENT, seed=5)
    before, left = files(place), iter(range(20))

    def full(samples: np.ndarray) -> bytes:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return b"sound"

    monkeypatch.setattr(recording_module, "flac", full)
    with pytest.raises(DataError, match="No space left"):
        make_world(place, HEARD, seed=6)
    assert files(place) == before
    assert [file.name for file in tmp_path.iterdir()] == ["w"]


def test_sound_without_its_library_is_one_line_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError) as caught:
        make_world(tmp_path / "w", HEARD)
    assert "segue[audio]" in str(caught.value)
    assert not (tmp_path / "w").exists()
    make_world(tmp_path / "w", SILENT)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"audio": True, "audio_seconds": 2}, "world: audio_seconds: "),
        ({"audio": True, "audio_seconds": 61}, "world: audio_seconds: "),
        ({"audio": 1}, "world: audio: "),
        ({"audio_seconds": 20}, "no sound"),
    ],
)
def test_seconds_out_of_bounds_are_one_line(sizes: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        World.make(sizes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
