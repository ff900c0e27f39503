"""Collections of Traktor."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.library_cases import counts
from support.reader_cases import ingested, uris

from segue.data.ingestion.ingest import ingest
from segue.errors import DataError


def entry(title: str, artist: str, folder: str, file: str, volume: str = "HD", **info: str) -> str:
    values = "".join(f' {name}="{value}"' for name, value in info.items())
    return (
        f'<ENTRY TITLE="{title}" ARTIST="{artist}">'
        f'<LOCATION DIR="{folder}" FILE="{file}" VOLUME="{volume}" VOLUMEID="x"></LOCATION>'
        f'<ALBUM TRACK="1" TITLE="Album"></ALBUM><INFO BITRATE="1"{values}></INFO>'
        '<TEMPO BPM="124.0"></TEMPO></ENTRY>'
    )


def playlist(name: str, *keys: str) -> str:
    rows = "".join(
        f'<ENTRY><PRIMARYKEY TYPE="TRACK" KEY="{key}"></PRIMARYKEY></ENTRY>' for key in keys
    )
    return f'<NODE TYPE="PLAYLIST" NAME="{name}"><PLAYLIST TYPE="LIST">{rows}</PLAYLIST></NODE>'


def collection(folder: Path, entries: str, playlists: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "collection.nml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n<NML VERSION="19"><HEAD></HEAD>'
        f'<MUSICFOLDERS></MUSICFOLDERS><COLLECTION ENTRIES="9">{entries}</COLLECTION>'
        '<PLAYLISTS><NODE TYPE="FOLDER" NAME="$ROOT"><SUBNODES COUNT="1">'
        f"{playlists}</SUBNODES></NODE></PLAYLISTS></NML>",
        encoding="utf-8",
    )
    return path


def test_counts_become_listens_and_lists_become_playlists(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    here = str(folder).replace("/", "/:") + "/:"
    source = collection(
        folder,
        entry("One", "A &amp; B", here, "a b.mp3", PLAYCOUNT="7", PLAYTIME="200")
        + entry("Two", "A", "/:Music/:", "x.mp3", "C:", PLAYTIME="9", PLAYTIME_FLOAT="9.5"),
        '<NODE TYPE="FOLDER" NAME="Sets"><SUBNODES COUNT="1">'
        + playlist("Ibiza", "C:/:Music/:x.mp3", f"HD{here}a b.mp3", "HD/:gone.mp3")
        + "</SUBNODES></NODE>"
        + playlist("_LOOPS", "C:/:Music/:x.mp3")
        + playlist("Empty")
        + '<NODE TYPE="SMARTLIST" NAME="S"><SMARTLIST UUID="u"></SMARTLIST></NODE>',
    )
    receipt, dataset = ingested("traktor", source)
    assert (receipt.read, receipt.kept) == (2, 2)
    assert receipt.notes == {
        "entries of playlists, of no track kept": 1,
        "playlists": 1,
        "lists of the player itself": 1,
        "playlists without tracks": 1,
    }
    assert counts(dataset) == [(0, "a b.mp3", 7, "unknown")]
    assert dataset.tracks["uri"].to_pylist() == ["a b.mp3", "name:a/two"]
    assert dataset.tracks["duration_ms"].to_pylist() == [200_000, 9_500]
    assert dataset.tracks["album"].to_pylist() == ["Album", "Album"]
    assert dataset.playlists["uri"].to_pylist() == ["collection.nml/Sets/Ibiza"]
    assert uris(dataset) == [["name:a/two", "a b.mp3"]]


def test_every_track_that_is_dropped_has_its_reason(tmp_path: Path) -> None:
    row = entry("One", "A", "/:x/:", "x.mp3")
    source = collection(
        tmp_path / "m",
        row + row + '<ENTRY TITLE="None"/>' + entry("", "A", "/:y/:", "y.mp3", PLAYTIME="x"),
    )
    receipt, _ = ingested("traktor", source)
    assert (receipt.read, receipt.kept) == (4, 1)
    assert receipt.dropped == {
        "track seen before": 1,
        "no LOCATION": 1,
        "no file in the source folder, and not both artist and title": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<NML><COLLECTION>", "is not whole XML"),
        ("<plist/>", "its root is plist, not NML"),
        ('<!DOCTYPE x [<!ENTITY a "a">]><NML>&a;</NML>', "document type"),
        ("<NML/>", "nothing to keep"),
    ],
)
def test_files_that_cannot_be_read_leave_nothing(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "collection.nml").write_text(text)
    with pytest.raises(DataError, match=message):
        ingest("traktor", tmp_path / "collection.nml", tmp_path / "d")
    assert not (tmp_path / "d").exists()
