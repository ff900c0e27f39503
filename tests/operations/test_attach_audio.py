"""`segue ingest audio --add`: sound for the tracks of a dataset that is there already."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.sounds import encode, sweep

from segue.cli import run
from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.data.receipt import Receipt
from segue.data.rederive import derive_again
from segue.data.writer import writing_dataset
from segue.errors import DataError, UsageError
from segue.operations.attach_audio import attach_audio

MBID = "f1e2d3c4-0000-4000-8000-123456789abc"
TRACKS: list[tuple[str, list[Any]]] = [
    ("album/1.flac", [None] * 7),
    (f"https://musicbrainz.org/recording/{MBID}", ["By id", "X", *[None] * 4, MBID]),
    ("spotify:track:1", ["Jóga", "BJÖRK", "artist:b", "Other album", None, 99, None]),
    ("spotify:track:2", ["Twice", "X", *[None] * 5]),
    ("spotify:track:3", ["Twice", "X", *[None] * 5]),
]


def behaviour(folder: Path) -> Path:
    """A dataset of plays and playlists without sound, and a file beside its tables."""
    with writing_dataset(folder) as writer:
        rows = writer.track_ids([uri for uri, _ in TRACKS], lambda i: TRACKS[i][1])
        writer.add_playlists({"uri": ["p"], "title": ["P"]}, [5], rows)
        writer.add("listeners", {"uri": ["l"]})
        listens = {"listener": [0], "track": [2], "outcome": [1], "plays": [3]}
        writer.add("listens", listens)
        (writer.folder / "truth").mkdir()
        (writer.folder / "truth" / "of.txt").write_text("kept")
        writer.finish([Receipt(format="test", unit="rows", read=1, kept=1)], simulated=False)
    return folder


def music(folder: Path) -> Path:
    """One file for each way to match, and one that nobody knows."""
    (folder / "album").mkdir(parents=True)

    def file(name: str, title: str, artist: str, **more: str) -> None:
        tags = {"title": title, "artist": artist, "album": "Album", **more}
        encode(folder / name, sweep(0.5 + len(list(folder.rglob("*"))) / 10), tags=tags)

    file("album/1.flac", "By path", "X")
    file("id.flac", "Another name", "Y", MUSICBRAINZ_TRACKID=MBID.upper())
    file("names.flac", "jóga", "Björk")
    file("twice.flac", "Twice", "X")
    file("unknown.flac", "New", "Z")
    return folder


def sound(dataset: Dataset) -> dict[str, str]:
    """Name of the file of each track that has one."""
    uris = dataset.tracks["uri"].to_pylist()
    return {uris[file.track]: file.path.name for file in dataset.audio_files()}


MATCHED = {
    "album/1.flac": "1.flac",
    f"https://musicbrainz.org/recording/{MBID}": "id.flac",
    "spotify:track:1": "names.flac",
    "twice.flac": "twice.flac",
    "unknown.flac": "unknown.flac",
}


def test_files_find_their_tracks_by_uri_recording_and_names(tmp_path: Path) -> None:
    path = behaviour(tmp_path / "d")
    receipt = attach_audio([music(tmp_path / "music")], path)
    assert (receipt.read, receipt.kept, receipt.dropped) == (5, 5, {})
    assert receipt.notes == {
        "matched by uri": 1,
        "matched by recording": 1,
        "matched by artist and title": 1,
        "new tracks": 2,
    }
    dataset = Dataset.open(path)
    assert sound(dataset) == MATCHED
    assert dataset.track_count == 7
    assert [one.format for one in dataset.info.sources] == ["test", "audio"]


def test_tags_fill_what_was_not_known_and_change_nothing_else(tmp_path: Path) -> None:
    path = behaviour(tmp_path / "d")
    before = Dataset.open(path)
    tables = {name: getattr(before, name) for name in ("playlists", "listens", "listeners")}
    entries, known = before.entries, before.tracks.to_pylist()
    attach_audio([music(tmp_path / "music")], path)
    after = Dataset.open(path)
    for name, table in tables.items():
        assert getattr(after, name).equals(table)
    assert after.entries.tolist() == entries.tolist()
    tracks = after.tracks.to_pylist()
    for old, new in zip(known, tracks, strict=False):
        assert all(new[name] == value for name, value in old.items() if value is not None)
    assert (tracks[0]["title"], tracks[0]["artist"], tracks[0]["album"]) == (
        "By path",
        "X",
        "Album",
    )
    assert tracks[2] == known[2]
    assert tracks[3] == known[3]
    assert (tracks[-1]["uri"], tracks[-1]["title"]) == ("unknown.flac", "New")
    assert (path / "truth" / "of.txt").read_text() == "kept"


def test_adding_the_same_again_changes_no_table(tmp_path: Path) -> None:
    path = behaviour(tmp_path / "d")
    attach_audio([music(tmp_path / "music")], path)
    once = Dataset.open(path)
    tracks, audio = once.tracks, once.audio
    receipt = attach_audio([tmp_path / "music"], path)
    assert receipt.notes == {"attached before": 5, "new tracks": 0}
    again = Dataset.open(path)
    assert again.tracks.equals(tracks)
    assert again.audio.equals(audio)


def test_moved_and_retagged_files_find_their_tracks_again(tmp_path: Path) -> None:
    path = behaviour(tmp_path / "d")
    old = music(tmp_path / "music")
    attach_audio([old], path)
    encode(old / "names.flac", sweep(2.0), tags={"title": "Renamed"})  # at its place
    (tmp_path / "moved").mkdir()
    shutil.move(old / "unknown.flac", tmp_path / "moved" / "new name.flac")
    (old / "id.flac").unlink()
    receipt = attach_audio([old, tmp_path / "moved"], path)
    assert receipt.notes == {"attached before": 4, "new tracks": 0}
    dataset = Dataset.open(path)
    assert sound(dataset) == MATCHED | {"unknown.flac": "new name.flac"}
    assert dataset.tracks["title"].to_pylist()[2] == "Jóga"


def test_a_second_file_of_a_track_is_a_track_of_its_own(tmp_path: Path) -> None:
    path = behaviour(tmp_path / "d")
    (tmp_path / "music").mkdir()
    for name, seconds in (("a.flac", 1.0), ("b.flac", 2.0)):
        tags = {"title": "Jóga", "artist": "Björk"}
        encode(tmp_path / "music" / name, sweep(seconds), tags=tags)
    for _ in range(2):
        attach_audio([tmp_path / "music"], path)
        assert sound(Dataset.open(path)) == {"spotify:track:1": "a.flac", "b.flac": "b.flac"}


def test_copies_count_once_unless_both_are_tracks_already(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    encode(folder / "a.flac", sweep(1.0))
    for name in ("b.flac", "c.flac"):
        shutil.copy(folder / "a.flac", folder / name)
    (folder / "list.m3u").write_text("a.flac\nb.flac\n")
    ingest("m3u", [folder], tmp_path / "d")
    receipt = attach_audio([folder], tmp_path / "d")
    assert receipt.dropped == {"same content as another file": 1}
    assert sound(Dataset.open(tmp_path / "d")) == {"a.flac": "a.flac", "b.flac": "b.flac"}


def test_sound_inside_the_dataset_stays_there(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with writing_dataset(path) as writer:
        writer.track_ids(["a"], lambda i: ["A", *[None] * 6])
        (writer.folder / "audio").mkdir()
        inside = encode(writer.folder / "audio" / "a.flac", sweep(1.0))
        writer.add("audio", {"track": [0], "file": ["audio/a.flac"], "sha256": ["0" * 64]})
        size = inside.stat().st_size
        writer.finish([], simulated=True)
    attach_audio([music(tmp_path / "music")], path)
    dataset = Dataset.open(path)
    assert dataset.info.simulated
    assert dataset.audio["file"].to_pylist()[0] == "audio/a.flac"
    assert dataset.audio_files()[0].path.stat().st_size == size


def test_outcomes_can_be_derived_again_and_the_sound_stays(tmp_path: Path) -> None:
    plays = [
        {"endTime": f"2024-01-01 10:{n:02d}", "artistName": "Björk", "trackName": "Jóga"}
        | {"msPlayed": 60_000}
        for n in range(3)
    ]
    (tmp_path / "StreamingHistory_music_0.json").write_text(json.dumps(plays))
    ingest("spotify-history", [tmp_path / "StreamingHistory_music_0.json"], tmp_path / "d")
    attach_audio([music(tmp_path / "music")], tmp_path / "d")
    before = sound(Dataset.open(tmp_path / "d"))
    assert before["name:björk/jóga"] == "names.flac"
    derive_again(tmp_path / "d", {"skip_seconds": 15})
    assert sound(Dataset.open(tmp_path / "d")) == before


def test_without_add_plays_are_not_replaced_by_sound_alone(tmp_path: Path) -> None:
    path, folder = behaviour(tmp_path / "d"), music(tmp_path / "music")
    before = Dataset.open(path).info.fingerprint
    with pytest.raises(DataError, match=r"d: holds plays, which would be lost; .* --add"):
        ingest("audio", [folder], path)
    assert Dataset.open(path).info.fingerprint == before
    ingest("audio", [folder], tmp_path / "sound")
    ingest("audio", [folder], tmp_path / "sound")  # no plays are lost
    (path / "tracks.parquet").unlink()
    ingest("audio", [folder], path)  # a damaged one cannot be read anyway
    assert Dataset.open(path).info.rows["playlist_tracks"] == 0


def test_what_fails_leaves_the_dataset_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = behaviour(tmp_path / "d")
    files = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "a.mp3").write_text("no")
    with pytest.raises(DataError, match=r"nothing to keep \(files read: 1, not audio: 1\)"):
        attach_audio([tmp_path / "music"], path)
    encode(tmp_path / "music" / "a.wav", sweep(0.1))
    monkeypatch.setattr("segue.operations.attach_audio.write_audio", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attach_audio([tmp_path / "music"], path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == files
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "music"]


def test_a_dataset_that_cannot_be_written_is_found_out_before_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, files = behaviour(tmp_path / "d"), music(tmp_path / "music")
    monkeypatch.setattr("segue.system.files.os.path.ismount", lambda path: True)
    monkeypatch.setattr(
        "segue.operations.attach_audio.scan", lambda *_: pytest.fail("files were read")
    )
    with pytest.raises(DataError, match="is a mount point"):
        attach_audio([files], dataset)


def test_there_has_to_be_a_dataset_and_a_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a dataset"):
        attach_audio([tmp_path], tmp_path / "d")
    with pytest.raises(UsageError, match="no source"):
        attach_audio([], behaviour(tmp_path / "d"))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = behaviour(tmp_path / "d"), music(tmp_path / "music")
    command = ["ingest", "audio", str(folder), "--dataset", str(path), "--add", "--json"]
    assert run(command) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert (receipt["format"], receipt["kept"], receipt["notes"]["new tracks"]) == ("audio", 5, 2)
    assert run(["ingest", "m3u", str(folder), "--dataset", str(path), "--add"]) == 2
    assert capsys.readouterr().err == "segue: --add: m3u cannot be added to a dataset\n"
    assert sound(Dataset.open(path)) == MATCHED
