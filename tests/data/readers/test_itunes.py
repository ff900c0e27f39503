"""Libraries of iTunes: counts of plays and skips, and playlists."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any

import pytest
from support.library_cases import counts
from support.reader_cases import ingested, uris

from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.errors import DataError


def track(number: int, name: str = "One", artist: str = "Artist", **fields: Any) -> dict[str, Any]:
    named = {key.replace("_", " "): value for key, value in fields.items()}
    return {"Track ID": number, "Name": name, "Artist": artist, "Album": "Album", **named}


def playlist(name: str, *numbers: int, **fields: Any) -> dict[str, Any]:
    named = {key.replace("_", " "): value for key, value in fields.items()}
    items = {"Playlist Items": [{"Track ID": number} for number in numbers]} if numbers else {}
    return {"Name": name, "Playlist ID": 1000, **named, **items}


def library(path: Path, tracks: list[dict[str, Any]], *playlists: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    content = {
        "Major Version": 1,
        "Application Version": "12.9",
        "Tracks": {str(t.get("Track ID")): t for t in tracks},
        "Playlists": list(playlists),
        "Music Folder": "file:///Users/SECRET/",
    }
    path.write_bytes(plistlib.dumps(content, sort_keys=False))
    return path


def test_counts_become_listens_and_lists_become_playlists(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    inside = (folder / "Björk & Co" / "One.mp3").as_uri()
    source = library(
        folder / "Library.xml",
        [
            track(1, Location=inside, Play_Count=12, Skip_Count=3, Total_Time=200_000),
            track(3, "Two", Location="file://localhost/C:/Music/Two.mp3", Play_Count=2),
            track(5, "Three", Skip_Count=1),
            track(7, "two ", "ARTIST", Play_Count=5),
            track(9, "Five"),
        ],
        playlist("Library", 1, 3, 5, Master=True),
        playlist("Music", 1, Distinguished_Kind=4),
        playlist("Lately", 1, Smart_Info=b"\x00", Smart_Criteria=b"\x01"),
        playlist("Trips", 1, Folder=True, Playlist_Persistent_ID="F"),
        playlist("Sea", 5, 1, 99, 1, Parent_Persistent_ID="F", Playlist_Persistent_ID="P"),
        playlist("Nothing"),
    )
    receipt, dataset = ingested("itunes", source)
    assert (receipt.read, receipt.kept) == (5, 5)
    assert receipt.notes == {
        "lists of the player itself": 2,
        "smart playlists": 1,
        "entries of playlists, of no track kept": 1,
        "playlists": 1,
        "playlists without tracks": 1,
    }
    one = "Björk & Co/One.mp3"
    assert dataset.tracks["uri"].to_pylist() == [
        *(one, "name:artist/two", "name:artist/three", "name:artist/five")
    ]
    assert dataset.tracks["duration_ms"].to_pylist() == [200_000, None, None, None]
    assert counts(dataset) == [
        (0, one, 12, "finished"),
        (0, one, 3, "skipped"),
        (0, "name:artist/two", 7, "finished"),
        (0, "name:artist/three", 1, "skipped"),
    ]
    assert dataset.listens["session"].null_count == 4
    assert dataset.playlists["uri"].to_pylist() == ["Library.xml/Trips/Sea"]
    assert dataset.playlists["title"].to_pylist() == ["Sea"]
    assert uris(dataset) == [["name:artist/three", one, one]]
    for file in dataset.path.iterdir():
        assert b"SECRET" not in file.read_bytes()


def test_each_library_is_a_listener_with_keys_of_its_own(tmp_path: Path) -> None:
    for name, title in (("a", "One"), ("b", "Two")):
        library(tmp_path / name / "Library.xml", [track(1, title, Play_Count=1)], playlist("P", 1))
    ingest("itunes", [tmp_path / "a", tmp_path / "b"], tmp_path / "d")
    dataset = Dataset.open(tmp_path / "d")
    assert counts(dataset) == [
        (0, "name:artist/one", 1, "finished"),
        (1, "name:artist/two", 1, "finished"),
    ]
    assert uris(dataset) == [["name:artist/one"], ["name:artist/two"]]


def test_every_track_that_is_dropped_has_its_reason(tmp_path: Path) -> None:
    rows = [
        track(1, Play_Count=1),
        track(2, Podcast=True),
        track(3, Has_Video=True),
        track(4, Movie=True),
        track(5, Track_Type="URL", Location="http://radio.example/stream"),
        track(6, artist=""),
        track(7, name="", Location="file:///elsewhere/x.mp3"),
        {"Name": "None", "Artist": "Artist"},
    ]
    source = library(tmp_path / "m" / "x.xml", rows)
    again = source.read_text().replace("<integer>2</integer>", "<integer>1</integer>", 1)
    source.write_text(again.replace("<key>Podcast</key>", "<key>Other</key>"))
    receipt, dataset = ingested("itunes", source)
    assert (receipt.read, receipt.kept) == (8, 1)
    assert receipt.dropped == {
        "track seen before": 1,
        "video": 2,
        "stream": 1,
        "no file in the source folder, and not both artist and title": 2,
        "no Track ID": 1,
    }
    assert dataset.playlist_count == 0


def test_a_library_that_was_never_played_has_tracks_alone(tmp_path: Path) -> None:
    _, dataset = ingested("itunes", library(tmp_path / "m" / "x.xml", [track(1)]))
    assert (dataset.track_count, dataset.listener_count, len(dataset.listens)) == (1, 0, 0)


BOMB = '<!DOCTYPE plist [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><plist><dict>&b;</dict></plist>'
OUTSIDE = '<!DOCTYPE plist [<!ENTITY x SYSTEM "file:///etc/passwd">]><plist>&x;</plist>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not whole XML"),
        ("<plist><dict><key>Tracks", "is not whole XML"),
        ("<playlist/>", "its root is playlist, not plist"),
        (BOMB, "entities, which are not read"),
        (OUTSIDE, "entities, which are not read"),
        ("<plist>" + "<dict>" * 300, "nests too deep"),
        ("<plist><dict/></plist>", "nothing to keep"),
        ('<?xml version="1.0" encoding="nonsense"?><plist/>', "is not whole XML"),
    ],
)
def test_files_that_cannot_be_read_leave_nothing(tmp_path: Path, text: str, message: str) -> None:
    source = tmp_path / "x.xml"
    source.write_text(text)
    with pytest.raises(DataError, match=message):
        ingest("itunes", source, tmp_path / "d")
    assert not (tmp_path / "d").exists()
