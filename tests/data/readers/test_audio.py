"""`segue ingest audio`: folders of sound files, good and bad."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.sounds import RATE, encode, sweep, wav, wav_header

from segue.cli import run
from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.data.readers import audio
from segue.data.readers.audio import wanted
from segue.errors import ConfigError, DataError
from segue.system.files import sha256


def folder(tmp_path: Path) -> Path:
    """Two tracks of an album, one beside it."""
    music = tmp_path / "music"
    (music / "Homogenic").mkdir(parents=True)
    names = {"artist": "Björk", "album": "Homogenic"}
    tags = {"title": "Jóga", "MUSICBRAINZ_TRACKID": "f1e2d3c4-0000-4000-8000-123456789abc"}
    encode(music / "Homogenic" / "02 Jóga.flac", sweep(2.0), tags=names | tags)
    encode(music / "Homogenic" / "03 Unravel.mp3", sweep(3.0), tags=names | {"title": "Unravel"})
    encode(music / "Air - Sexy Boy.wav", sweep(1.0, 44_100, 2), 44_100)
    return music


def test_files_become_tracks_with_sound(tmp_path: Path) -> None:
    music = folder(tmp_path)
    receipt = ingest("audio", [music], tmp_path / "d")
    assert (receipt.unit, receipt.read, receipt.kept, receipt.dropped) == ("files", 3, 3, {})
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.describe()["audio"] == 3
    columns = ["uri", "title", "artist", "album", "duration_ms", "recording"]
    assert [tuple(row.values()) for row in dataset.tracks.select(columns).to_pylist()] == [
        ("Air - Sexy Boy.wav", "Sexy Boy", "Air", None, 1000, None),
        (
            "Homogenic/02 Jóga.flac",
            "Jóga",
            "Björk",
            "Homogenic",
            2000,
            "f1e2d3c4-0000-4000-8000-123456789abc",
        ),
        ("Homogenic/03 Unravel.mp3", "Unravel", "Björk", "Homogenic", 3000, None),
    ]
    for file, uri in zip(dataset.audio_files(), dataset.tracks["uri"].to_pylist(), strict=True):
        assert file.path == music / uri
        assert file.sha256 == sha256(file.path)
    assert dataset.audio["sample_rate"].to_pylist() == [44_100, RATE, RATE]
    assert dataset.audio["channels"].to_pylist() == [2, 1, 1]


def test_the_same_folder_gives_the_same_dataset(tmp_path: Path) -> None:
    music = folder(tmp_path)
    for name in ("a", "b"):
        ingest("audio", [music], tmp_path / name)
    a, b = (Dataset.open(tmp_path / name).info.fingerprint for name in ("a", "b"))
    assert a == b


def test_playlists_of_the_same_folder_mean_the_same_tracks(tmp_path: Path) -> None:
    music = folder(tmp_path)
    decomposed = unicodedata.normalize("NFD", "02 Jóga.flac")
    (music / "Homogenic" / "list.m3u8").write_text(f"{decomposed}\n../Air - Sexy Boy.wav\n")
    ingest("m3u", [music], tmp_path / "lists")
    ingest("audio", [music], tmp_path / "sound")
    lists, sound = (Dataset.open(tmp_path / n).tracks["uri"] for n in ("lists", "sound"))
    assert set(lists.to_pylist()) < set(sound.to_pylist())


def test_a_name_in_decomposed_letters_is_found_again(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    name = unicodedata.normalize("NFD", "Jóga.wav")
    encode(music / name, sweep(0.1))
    ingest("audio", [music], tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.tracks["uri"].to_pylist() == ["Jóga.wav"]
    assert dataset.audio_files()[0].path.name == name
    assert dataset.audio_files()[0].path.is_file()


def test_names_in_any_script(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    names = sorted(f"{name}.wav" for name in ("音楽", "Ωδή", "песня", "أغنية", "🎵", "%20 #?&"))
    for at, name in enumerate(names):
        encode(music / name, sweep(0.1 + at / 100))
    assert ingest("audio", [music], tmp_path / "d").kept == len(names)
    assert Dataset.open(tmp_path / "d").tracks["uri"].to_pylist() == names


def no_channels(path: Path) -> None:
    wav(path, bytes(1000), channels=0)


def truncated_header(path: Path) -> None:
    whole = encode(path, sweep(1.0)).read_bytes()
    path.write_bytes(whole[:30])


def twelve_hours(path: Path) -> None:
    size = 12 * 3600 * 44_100 * 2
    path.write_bytes(wav_header(size))
    os.truncate(path, 44 + size)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.mp3": (Path.touch, "empty file"),
    "text.mp3": (lambda path: path.write_text("not music\n" * 1000), "not audio"),
    "head.flac": (truncated_header, "not audio"),
    "none.wav": (no_channels, "no channels"),
    "slow.wav": (lambda path: wav(path, bytes(1000), rate=1), "strange sample rate"),
    "long.wav": (twelve_hours, "too long"),
}


def test_bad_files_are_counted_and_the_good_ones_stay(tmp_path: Path) -> None:
    music = folder(tmp_path)
    for name, (make, _) in BAD.items():
        make(music / name)
    receipt = ingest("audio", [music], tmp_path / "d")
    reasons = [reason for _, reason in BAD.values()]
    assert receipt.dropped == {reason: reasons.count(reason) for reason in reasons}
    assert receipt.kept == 3
    assert receipt.adds_up()


def test_five_bad_files_of_each_reason_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    music = folder(tmp_path)
    for number in range(7):
        (music / f"{number}.mp3").touch()
    (music / "Homogenic" / "text\n.mp3").write_text("text" * 100)
    ingest("audio", [music], tmp_path / "d")
    assert not capsys.readouterr().err
    ingest("audio", [music], tmp_path / "d", progress=True)
    assert capsys.readouterr().err.splitlines() == [
        "segue: empty file: 0.mp3, 1.mp3, 2.mp3, 3.mp3, 4.mp3, and 2 more",
        "segue: not audio: Homogenic/text .mp3",
    ]


ODD: dict[str, Callable[[Path], object]] = {
    "claims.wav": lambda path: path.write_bytes(wav_header(2 * 10**9) + bytes(1000)),
    "bit.wav": lambda path: wav(path, bytes(1000), bits=1),
    "eight.wav": lambda path: wav(path, bytes(16_000), channels=8),
    "fast.wav": lambda path: wav(path, bytes(16_001), rate=192_000),
    "silence.wav": lambda path: wav(path, bytes(88_200)),
    "nan.wav": lambda p: wav(p, np.full(1000, np.nan, "<f4").tobytes(), bits=32, kind=3),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_tracks(tmp_path: Path, name: str) -> None:
    ODD[name](tmp_path / name)
    assert ingest("audio", [tmp_path / name], tmp_path / "d").kept == 1


def test_reasons_come_in_the_order_of_the_files_not_of_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music = folder(tmp_path)
    (music / "1.mp3").write_text("text" * 100)
    (music / "2.mp3").write_bytes(b"")
    run_files = audio.run_files
    monkeypatch.setattr(audio, "run_files", lambda *a, **k: reversed(list(run_files(*a, **k))))
    receipt = ingest("audio", [music], tmp_path / "d", settings={"seconds": 50})
    assert list(receipt.dropped) == ["not audio", "empty file"]


def test_limits_are_settings_that_the_receipt_keeps(tmp_path: Path) -> None:
    music = folder(tmp_path)
    receipt = ingest("audio", [music], tmp_path / "d", settings={"duration_minutes": 0.03})
    assert receipt.dropped == {"too long": 2}
    assert receipt.settings == {"seconds": 60.0, "memory_mb": 2000.0, "duration_minutes": 0.03}
    with pytest.raises(ConfigError, match="unknown setting"):
        ingest("audio", [music], tmp_path / "d", settings={"gap_minutes": 3})


def test_the_same_content_twice_is_one_track(tmp_path: Path) -> None:
    music = folder(tmp_path)
    shutil.copy(music / "Air - Sexy Boy.wav", music / "Homogenic" / "copy.wav")
    for sources in ([music], [music, music]):
        receipt = ingest("audio", sources, tmp_path / "d")
        twice = 1 if len(sources) == 1 else 5
        assert receipt.dropped == {"same content as another file": twice}
        assert receipt.kept == 3


def test_the_same_path_in_two_sources(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        encode(tmp_path / name / "1.wav", sweep(0.1 + number))
    receipt = ingest("audio", [tmp_path / "a", tmp_path / "b"], tmp_path / "d")
    assert (receipt.kept, receipt.dropped) == (1, {"same path in another source": 1})


def test_hidden_and_foreign_files_are_passed_over() -> None:
    assert wanted("a/b.FLAC")
    assert wanted("a.b/c.d.m4a")
    for path in (
        ".a.mp3",
        "a/._b.mp3",
        ".trash/b.mp3",
        "a/@eaDir/b.mp3",
        "b.jpg",
        "mp3",
        "b.mp3.part",
    ):
        assert not wanted(path)


def test_links_are_followed_to_files_only(tmp_path: Path) -> None:
    music = folder(tmp_path)
    (music / "around").symlink_to(music)
    (music / "itself.mp3").symlink_to(music / "itself.mp3")
    (music / "nowhere.mp3").symlink_to(music / "gone.mp3")
    encode(tmp_path / "outside.wav", sweep(0.5))
    (music / "linked.wav").symlink_to(tmp_path / "outside.wav")
    receipt = ingest("audio", [music], tmp_path / "d")
    assert (receipt.read, receipt.kept) == (4, 4)
    assert receipt.notes == {"linked folders, not followed": 1, "links that lead nowhere": 2}


def test_folders_that_may_not_be_read_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music = folder(tmp_path)
    scandir = os.scandir

    def denied(path: str) -> object:  # root may read everything
        if str(path).endswith("Homogenic"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    receipt = ingest("audio", [music], tmp_path / "d")
    assert (receipt.kept, receipt.notes) == (1, {"folders that cannot be read": 1})


def test_files_that_may_not_be_read_are_counted(tmp_path: Path) -> None:
    if not hasattr(os, "geteuid"):
        pytest.skip("Windows has no such permissions")
    music = folder(tmp_path)
    (music / "Air - Sexy Boy.wav").chmod(0)
    run = [sys.executable, "-c", "from segue.cli import main; main()"]
    if (
        hasattr(os, "geteuid") and os.geteuid() == 0
    ):  # root reads everything, unless it gives that up
        if shutil.which("setpriv") is None:
            pytest.skip("root reads everything, and there is no setpriv of util-linux")
        run = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *run]
    command = [*run, "ingest", "audio", str(music), "--dataset", str(tmp_path / "d"), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["dropped"] == {"no permission": 1}


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    music = folder(tmp_path)
    try:
        shutil.copy(music / "Air - Sexy Boy.wav", os.fsencode(music) + b"/\xff.wav")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert ingest("audio", [music], tmp_path / "d").dropped == {"name is not UTF-8": 1}


def test_nothing_to_keep_is_an_error_that_says_why(tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    (tmp_path / "a.mp3").touch()
    with pytest.raises(
        DataError, match=r"a\.mp3: nothing to keep \(files read: 1, empty file: 1\)"
    ):
        ingest("audio", [tmp_path / "a.mp3"], tmp_path / "d")
    assert not (tmp_path / "d").exists()
    with pytest.raises(DataError, match="holds no sound files"):
        ingest("audio", [empty], tmp_path / "d")


def test_sound_in_a_zip_has_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(encode(tmp_path / "a.wav", sweep(0.1)), "a.wav")
    with pytest.raises(DataError, match=r"sound is not read from a zip; unpack it$"):
        ingest("audio", [tmp_path / "a.zip"], tmp_path / "d")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    music = folder(tmp_path)
    (music / "empty.mp3").touch()
    assert run(["ingest", "audio", str(music), "--dataset", str(tmp_path / "d"), "--json"]) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert receipt["read"] == receipt["kept"] + sum(receipt["dropped"].values()) == 4
    assert receipt["dropped"] == {"empty file": 1}
    assert run(["describe", str(tmp_path / "d"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audio"] == 3


def test_files_that_end_before_they_say_are_kept_and_noted(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    for ending in ("wav", "ogg", "opus"):
        encode(music / f"whole.{ending}", sweep(2.0))
        data = (encode(music / f"cut.{ending}", sweep(12.0))).read_bytes()
        (music / f"cut.{ending}").write_bytes(data[: len(data) * 2 // 3])
    receipt = ingest("audio", [music], tmp_path / "d")
    assert (receipt.read, receipt.kept, receipt.dropped) == (6, 6, {})
    assert receipt.notes == {"files that end before they say": 3}
