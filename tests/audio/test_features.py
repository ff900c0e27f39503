"""Features of sound files: computed once, kept, found again, and never trusted when damaged."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.optional import reason

pytest.importorskip("av", reason=reason("av"))

from support.sounds import RATE, encode, sweep

from segue.audio import features
from segue.audio.decode import AudioError, Excerpt
from segue.audio.extractors import EXTRACTORS, MEL_BLOG, MEL_PAPER, MFCC, extractor_named
from segue.audio.features import Features, extract
from segue.audio.files import AudioFile
from segue.errors import ConfigError, DataError
from segue.system import progress
from segue.system.feature_cache import cache_folder


@dataclass(frozen=True)
class Loudness:
    """The loudest sample of each tenth of a second: easy to tell by hand."""

    name: str = "loudness-1"
    rate: int = 8_000
    excerpt: Excerpt = Excerpt(30.0)  # noqa: RUF009

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        tenths = len(samples) // 800
        return np.abs(samples[: tenths * 800]).reshape(tenths, 800).max(axis=1, keepdims=True)


LOUDNESS = Loudness()


def audio_file(track: int, path: Path) -> AudioFile:
    return AudioFile(track, path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def files(tmp_path: Path) -> list[AudioFile]:
    """Tracks 10, 11, 12 of 1, 2 and 3 tenths of a second, ever louder."""
    made = []
    for i in range(3):
        path = tmp_path / f"{i}.wav"
        encode(path, sweep(0.1 * (i + 1)) * (i + 1) / 2)
        made.append(audio_file(10 + i, path))
    return made


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files that are analysed, here instead of in processes."""
    names: list[str] = []

    def inline(
        work: Callable[[Path], Any], paths: Sequence[Path], **_: Any
    ) -> Iterator[tuple[int, Any]]:
        for i, path in enumerate(paths):
            names.append(path.name)
            try:
                yield i, work(path)
            except AudioError as error:
                yield i, error

    monkeypatch.setattr(features, "run_files", inline)
    return names


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_features_are_those_of_each_file_in_order(files, heard, tmp_path):
    found = extract(files, LOUDNESS, cache=tmp_path / "cache")
    assert found.tracks.tolist() == [10, 11, 12]
    assert found.tracks.dtype == np.int32
    assert [len(found[i]) for i in range(len(found))] == [1, 2, 3]
    peaks = [found[i].max() for i in range(3)]
    np.testing.assert_allclose(peaks, [0.2, 0.4, 0.6], atol=0.02)
    assert not found.failed


def test_workers_give_what_this_process_gives(files, tmp_path):
    """Real processes, and the shipped extractor."""
    parallel = extract(files, MEL_PAPER, cache=tmp_path / "many", workers=2)
    for i, file in enumerate(files):
        alone = features.Analysis(MEL_PAPER, 240.0)(file.path)
        assert alone.dtype == np.float16
        np.testing.assert_array_equal(parallel[i], alone)


def test_what_is_kept_is_not_heard_again(files, heard, tmp_path):
    first = extract(files, LOUDNESS, cache=tmp_path / "cache")
    for file in files:
        file.path.unlink()  # not even looked at
    second = extract(files, LOUDNESS, cache=tmp_path / "cache")
    assert heard == ["0.wav", "1.wav", "2.wav"]
    for i in range(3):
        np.testing.assert_array_equal(first[i], second[i])


def test_only_new_files_are_heard(files, heard, tmp_path):
    extract(files[:2], LOUDNESS, cache=tmp_path / "cache")
    extract(files, LOUDNESS, cache=tmp_path / "cache")
    assert heard == ["0.wav", "1.wav", "2.wav"]


def test_another_version_of_an_extractor_leaves_the_others_valid(files, heard, tmp_path):
    cache = tmp_path / "cache"
    extract(files, LOUDNESS, cache=cache)
    extract(files, Loudness(name="loudness-2"), cache=cache)
    assert len(heard) == 6
    extract(files, LOUDNESS, cache=cache)
    assert len(heard) == 6
    assert {path.name for path in (cache / "features").iterdir()} == {"loudness-1", "loudness-2"}


def test_a_file_that_moved_keeps_its_features(files, heard, tmp_path):
    extract(files, LOUDNESS, cache=tmp_path / "cache")
    moved = [file._replace(path=tmp_path / "elsewhere" / file.path.name) for file in files]
    assert len(extract(moved, LOUDNESS, cache=tmp_path / "cache")) == 3
    assert len(heard) == 3


def test_a_file_that_is_there_twice_is_heard_once(files, heard, tmp_path):
    copy = tmp_path / "copy.wav"
    shutil.copy(files[1].path, copy)
    found = extract([*files, audio_file(20, copy)], LOUDNESS, cache=tmp_path / "cache")
    assert len(heard) == 3
    assert found.tracks.tolist() == [10, 11, 12, 20]
    np.testing.assert_array_equal(found[1], found[3])


def test_bad_files_are_counted_and_the_rest_is_heard(files, tmp_path):
    """In processes; a bad file that is there twice counts twice."""
    text, empty = tmp_path / "text.mp3", tmp_path / "empty.wav"
    text.write_text("not sound at all " * 100)
    empty.write_bytes(b"")
    some = [files[0], *(audio_file(1, p) for p in (text, empty)), files[2], audio_file(2, text)]
    found = extract(some, LOUDNESS, cache=tmp_path / "cache", workers=1)
    assert found.tracks.tolist() == [10, 12]
    assert found.failed == {"empty file": 1, "not audio": 2}
    assert len(entries(tmp_path / "cache")) == 2


def damage_nothing_left(content: bytes) -> bytes:
    return b""


def damage_cut(content: bytes) -> bytes:
    return content[:-7]


def damage_longer(content: bytes) -> bytes:
    return content + b"\0"


def damage_another_thing(content: bytes) -> bytes:
    return b"this is no array" * 20


def damage_version(content: bytes) -> bytes:
    return content[:6] + b"\x09" + content[7:]


def damage_a_byte(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    "damage", [damage_nothing_left, damage_cut, damage_longer, damage_another_thing, damage_version]
)
def test_a_damaged_entry_is_heard_again(files, heard, tmp_path, damage):
    before = extract(files, LOUDNESS, cache=tmp_path / "cache")
    entry = next(p for p in entries(tmp_path / "cache") if files[1].sha256 in p.name)
    entry.write_bytes(damage(entry.read_bytes()))
    after = extract(files, LOUDNESS, cache=tmp_path / "cache")
    assert heard[3:] == ["1.wav"]
    np.testing.assert_array_equal(after[1], before[1])


@pytest.mark.parametrize("damage", [damage_a_byte, damage_cut, damage_nothing_left])
def test_an_entry_that_is_damaged_later_is_computed_when_it_is_read(files, heard, tmp_path, damage):
    found = extract(files, LOUDNESS, cache=tmp_path / "cache")
    right = found[1]
    entry = next(p for p in entries(tmp_path / "cache") if files[1].sha256 in p.name)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    np.testing.assert_array_equal(found[1], right)
    assert entry.read_bytes() == whole


def test_nothing_with_its_right_checksum_is_no_entry(files, heard, tmp_path):
    """CRC-32 of no bytes is 0, so four zeros look whole."""
    found = extract(files, LOUDNESS, cache=tmp_path / "cache")
    right = found[1]
    entry = next(p for p in entries(tmp_path / "cache") if files[1].sha256 in p.name)
    entry.write_bytes(bytes(4))
    np.testing.assert_array_equal(found[1], right)


def test_a_file_that_has_changed_is_not_kept_as_what_it_was(files, heard, tmp_path):
    shutil.copyfile(files[0].path, files[1].path)
    found = extract(files, LOUDNESS, cache=tmp_path / "cache")
    assert found.failed == {"changed since it was ingested": 1}
    assert found.tracks.tolist() == [10, 12]
    assert not any(files[1].sha256 in p.name for p in entries(tmp_path / "cache"))


def test_nor_where_its_entry_is_damaged_later(files, heard, tmp_path):
    found = extract(files, LOUDNESS, cache=tmp_path / "cache")
    entry = next(p for p in entries(tmp_path / "cache") if files[1].sha256 in p.name)
    entry.unlink()
    shutil.copyfile(files[0].path, files[1].path)
    with pytest.raises(AudioError, match="changed since it was ingested"):
        found[1]
    assert not entry.exists()


def test_an_interrupt_loses_nothing_that_was_done(files, heard, tmp_path, monkeypatch):
    inline = features.run_files

    def interrupted(*args: Any, **kwargs: Any) -> Iterator[tuple[int, Any]]:
        for i, result in inline(*args, **kwargs):
            if i == 2:
                raise KeyboardInterrupt
            yield i, result

    monkeypatch.setattr(features, "run_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(files, LOUDNESS, cache=tmp_path / "cache")
    heard.clear()
    monkeypatch.setattr(features, "run_files", inline)
    assert len(extract(files, LOUDNESS, cache=tmp_path / "cache")) == 3
    assert heard == ["2.wav"]


def test_entries_are_plain_arrays_and_nothing_else_is_left(files, heard, tmp_path):
    extract(files, LOUDNESS, cache=tmp_path / "cache")
    for file in files:
        name = f"features/loudness-1/{file.sha256[:2]}/{file.sha256}.npy"
        kept = np.load(tmp_path / "cache" / name, allow_pickle=False)
        assert kept.shape[1:] == (1,)
    assert len(entries(tmp_path / "cache")) == 3


def loaded(arrays: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Features:
    """Features of given arrays, without files."""
    found = Features([AudioFile(i, Path(), "0" * 64) for i in range(len(arrays))], {}, None, Path())
    monkeypatch.setattr(Features, "__getitem__", lambda self, i: arrays[i])
    return found


def test_load_pads_with_zeros_to_the_longest(monkeypatch):
    found = loaded([np.ones((n, 2), np.float16) for n in (1, 3, 2)], monkeypatch)
    stacked = found.load([2, 0])
    assert stacked.dtype == np.float16
    assert stacked.shape == (2, 2, 2)
    assert stacked[:, :, 0].tolist() == [[1, 1], [1, 0]]


def test_load_crops_or_pads_to_as_many_frames_as_asked(monkeypatch):
    found = loaded([np.arange(1, n + 1, dtype=np.float32)[:, None] for n in (1, 3)], monkeypatch)
    assert found.load(np.array([0, 1]), frames=2)[..., 0].tolist() == [[1, 0], [1, 2]]
    assert found.load([0], frames=4)[..., 0].tolist() == [[1, 0, 0, 0]]


def test_load_stacks_vectors(monkeypatch):
    found = loaded([np.full(3, i, np.float32) for i in range(4)], monkeypatch)
    assert found.load([3, 1]).tolist() == [[3, 3, 3], [1, 1, 1]]


def test_a_hash_that_is_none_leads_nowhere(files, tmp_path):
    evil = files[0]._replace(sha256="../../../etc/passwd")
    with pytest.raises(DataError, match="no SHA-256"):
        extract([evil], LOUDNESS, cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_one_line(files, heard, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match="cannot write"):
        extract(files, LOUDNESS, cache=tmp_path / "cache")


def test_the_cache_is_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", "/some/place")
    assert cache_folder() == Path("/some/place")
    monkeypatch.delenv("SEGUE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/segue")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "segue"


def test_progress_tells_rate_and_time_left(files, heard, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PLAIN_EVERY_SECONDS", 0)
    extract(files, LOUDNESS, cache=tmp_path / "cache", progress=True)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("listening (loudness-1): 1 of 3 files, ")
    assert first.endswith("left")
    extract(files, LOUDNESS, cache=tmp_path / "cache", progress=True)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("extractor", "shape"), [(MEL_PAPER, (1_290, 128)), (MEL_BLOG, (599, 128)), (MFCC, (1_292, 39))]
)
def test_thirty_seconds_have_the_published_shapes(extractor, shape):
    samples = sweep(30.0, rate=extractor.rate)[0]
    made = extractor(samples)
    assert made.shape == shape
    assert made.dtype == np.float16


def test_an_excerpt_is_what_extractors_hear(tmp_path):
    """Of a minute with a click in the middle, the 30 s around it."""
    samples = np.zeros((1, 60 * RATE), np.float32)
    samples[0, 30 * RATE : 30 * RATE + 400] = 0.5
    path = tmp_path / "click.wav"
    encode(path, samples)
    frames = features.Analysis(LOUDNESS, 240.0)(path)
    assert len(frames) == 300
    assert int(frames.argmax()) in (149, 150)


def test_extractors_are_known_by_their_names():
    assert all(extractor_named(name).name == name for name in EXTRACTORS)
    with pytest.raises(ConfigError, match=r"no features are called 'mel-paper-0'; there are: mel-"):
        extractor_named("mel-paper-0")


def test_every_extractor_and_the_cache_are_documented():
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "reference" / "audio.md").read_text(encoding="utf-8")
    for name in [*EXTRACTORS, "SEGUE_CACHE"]:
        assert f"`{name}`" in page
