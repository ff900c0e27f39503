"""Collections of rekordbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.library_cases import counts
from support.reader_cases import ingested, uris

from segue.data.ingestion.ingest import ingest
from segue.errors import DataError


def collection(folder: Path, tracks: str, playlists: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "rekordbox.xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<DJ_PLAYLISTS Version="1.0.0">'
        '<PRODUCT Name="rekordbox"/>'
        f'<COLLECTION Entries="9">{tracks}</COLLECTION>'
        f'<PLAYLISTS><NODE Type="0" Name="ROOT">{playlists}</NODE></PLAYLISTS></DJ_PLAYLISTS>',
        encoding="utf-8",
    )
    return path


def test_counts_become_listens_and_lists_become_playlists(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    inside = (folder / "a b.mp3").as_uri().replace("file://", "file://localhost")
    away = "file://localhost/C:/x.mp3"
    source = collection(
        folder,
        f'<TRACK TrackID="1" Name="One" Artist="A &amp; B" Album="Album" TotalTime="200" '
        f'PlayCount="7" Location="{inside}"><TEMPO Inizio="0.1"/></TRACK>'
        f'<TRACK TrackID="2" Name="Two" Artist="A" TotalTime="0" PlayCount="0" Location="{away}"/>'
        '<TRACK TrackID="3" Name="two" Artist="a" PlayCount="2"/>',
        '<NODE Type="0" Name="Sets"><NODE Type="1" Name="Ibiza" KeyType="0">'
        '<TRACK Key="2"/><TRACK Key="1"/><TRACK Key="77"/></NODE></NODE>'
        f'<NODE Type="1" Name="By path" KeyType="1"><TRACK Key="{inside}"/><TRACK Key="{away}"/>'
        '</NODE><NODE Type="1" Name="None"/>',
    )
    receipt, dataset = ingested("rekordbox", source)
    assert (receipt.read, receipt.kept) == (3, 3)
    assert receipt.notes == {
        "entries of playlists, of no track kept": 1,
        "playlists": 2,
        "playlists without tracks": 1,
    }
    assert counts(dataset) == [(0, "a b.mp3", 7, "unknown"), (0, "name:a/two", 2, "unknown")]
    assert dataset.tracks["artist"].to_pylist() == ["A & B", "A"]
    assert dataset.tracks["duration_ms"].to_pylist() == [200_000, None]
    assert dataset.playlists["uri"].to_pylist() == [
        *("rekordbox.xml/Sets/Ibiza", "rekordbox.xml/By path")
    ]
    assert uris(dataset) == [["name:a/two", "a b.mp3"], ["a b.mp3", "name:a/two"]]


def test_every_track_that_is_dropped_has_its_reason(tmp_path: Path) -> None:
    source = collection(
        tmp_path / "m",
        '<TRACK TrackID="1" Name="One" Artist="A" PlayCount="x"/>'
        '<TRACK TrackID="1" Name="One" Artist="A"/>'
        '<TRACK Name="One" Artist="A"/>'
        '<TRACK TrackID="2" Name="NOISE" Artist="" Location="file://localhost/C:/NOISE.wav"/>',
    )
    receipt, dataset = ingested("rekordbox", source)
    assert (receipt.read, receipt.kept, dataset.listener_count) == (4, 1, 0)
    assert receipt.dropped == {
        "track seen before": 1,
        "no TrackID": 1,
        "no file in the source folder, and not both artist and title": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<DJ_PLAYLISTS><COLLECTION>", "is not whole XML"),
        ("<NML/>", "its root is NML, not DJ_PLAYLISTS"),
        ('<!DOCTYPE x [<!ENTITY a "a">]><DJ_PLAYLISTS>&a;</DJ_PLAYLISTS>', "document type"),
        ("<DJ_PLAYLISTS/>", "nothing to keep"),
    ],
)
def test_files_that_cannot_be_read_leave_nothing(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rekordbox.xml").write_text(text)
    with pytest.raises(DataError, match=message):
        ingest("rekordbox", tmp_path / "rekordbox.xml", tmp_path / "d")
    assert not (tmp_path / "d").exists()
