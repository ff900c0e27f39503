"""Real sound: excerpts of games' music, and whole files from a Debian package."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import debian_package
from support.file_work import measure

from segue.audio.decode import AudioError, Excerpt, Sound, decode
from segue.audio.files import SUFFIXES
from segue.audio.workers import run_files
from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest

PACKAGE = "asc-music"
RATE = 22_050


@pytest.fixture(scope="session")
def clips(real_data: Path) -> Path:
    """Folder of the excerpts, with tracks.csv."""
    if not (real_data / "audio").is_dir():
        pytest.skip(f"needs real data (no sound in {real_data}): set SEGUE_TEST_DATA")
    return real_data / "audio"


@pytest.fixture(scope="session")
def package(pytestconfig: pytest.Config) -> Path:
    """The files of a package, fetched once."""
    try:
        return debian_package.fetch(PACKAGE, pytestconfig.cache.mkdir("debian"))
    except debian_package.NoPackage as error:
        pytest.skip(str(error))


def measured(paths: list[Path], excerpt: Excerpt | None = None) -> list[tuple[int, float, Sound]]:
    sounds = dict(run_files(partial(measure, excerpt=excerpt), paths))
    bad = [str(sound) for sound in sounds.values() if isinstance(sound, AudioError)]
    assert not bad
    return [sounds[at] for at in range(len(paths))]


def test_all_real_excerpts_decode(clips: Path) -> None:
    found = measured(sorted((clips / "clips").iterdir()))
    assert len(found) == 345
    for samples, loudest, sound in found:
        assert (sound.sample_rate, sound.channels) == (RATE, 1)
        assert 19 * RATE < samples <= 20.1 * RATE
        assert loudest < 2
    assert sum(not loudest for _, loudest, _ in found) == 2  # two excerpts are silent


def test_real_excerpts_are_what_another_library_reads(clips: Path) -> None:
    for path in sorted((clips / "clips").iterdir())[::20]:
        theirs, _ = soundfile.read(path, dtype="float32")
        assert np.abs(decode(path, RATE).samples - theirs).max() < 1e-3


def test_real_excerpts_become_a_dataset(clips: Path, tmp_path: Path) -> None:
    receipt = ingest("audio", [clips], tmp_path / "d")
    assert (receipt.read, receipt.kept, receipt.dropped) == (345, 345, {})
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.tracks["uri"].to_pylist()[0] == "clips/000.ogg"
    assert all(19_000 < ms < 20_100 for ms in dataset.audio["duration_ms"].to_pylist())


def test_whole_files_of_a_package_decode(package: Path) -> None:
    paths = [path for path in sorted(package.rglob("*")) if path.suffix[1:] in SUFFIXES]
    assert len(paths) >= 3
    for whole, middle in zip(measured(paths), measured(paths, Excerpt()), strict=True):
        assert abs(whole[0] / RATE - whole[2].duration_ms / 1000) < 0.1
        assert abs(whole[2].duration_ms - middle[2].duration_ms) < 100
        assert middle[0] == 30 * RATE


def test_whole_files_are_as_long_as_is_known_of_them(package: Path, clips: Path) -> None:
    with (clips / "tracks.csv").open(encoding="utf-8") as file:
        known = [row for row in csv.DictReader(file) if row["package"] == PACKAGE]
    assert known
    found = measured([package / row["path"] for row in known])
    for row, (_, _, sound) in zip(known, found, strict=True):
        assert abs(sound.duration_ms / 1000 - float(row["duration_s"])) < 1
