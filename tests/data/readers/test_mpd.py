"""The reader of Million Playlist Dataset slices."""

from __future__ import annotations

import gzip
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.reader_cases import ingested, playlist, slice_text, track, uris, write_slice, zstd

from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.errors import DataError


def test_columns_of_playlists_and_tracks(tmp_path: Path) -> None:
    write_slice(tmp_path / "mpd", 0, playlist(7, "a", "b", "a", description="for runs"))
    receipt, dataset = ingested("mpd", tmp_path / "mpd")
    assert (receipt.read, receipt.kept, receipt.unit) == (1, 1, "playlists")
    assert receipt.notes == {"tracks in playlists": 3}
    assert dataset.playlists.to_pylist() == [
        {
            "uri": "mpd:7",
            "title": "playlist 7",
            "description": "for runs",
            "followers": 1,
            "modified_at": datetime(2017, 4, 29, tzinfo=UTC),
        }
    ]
    assert dataset.tracks.to_pylist()[1] == {
        "uri": "spotify:track:b",
        "title": "b",
        "artist": "artist of b",
        "artist_uri": "spotify:artist:b",
        "album": "album of b",
        "album_uri": "spotify:album:b",
        "duration_ms": 1000,
        "recording": None,
    }
    assert uris(dataset) == [["spotify:track:a", "spotify:track:b", "spotify:track:a"]]
    assert not dataset.info.simulated


def test_fields_that_may_be_absent_or_null(tmp_path: Path) -> None:
    bare = {"track_uri": "spotify:track:x"}
    nulls = track("y", album_name=None, duration_ms=None)
    write_slice(tmp_path / "mpd", 0, {"pid": 0, "tracks": [bare, nulls], "description": None})
    _, dataset = ingested("mpd", tmp_path / "mpd")
    assert dataset.tracks["title"].to_pylist() == [None, "y"]
    assert dataset.tracks["duration_ms"].to_pylist() == [None, None]
    assert dataset.titles == [None]


def test_slices_go_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for first in (10_000, 2000, 0):
        write_slice(tmp_path / "mpd", first, playlist(first, f"t{first}"))
    _, dataset = ingested("mpd", tmp_path / "mpd")
    assert dataset.playlists["uri"].to_pylist() == ["mpd:0", "mpd:2000", "mpd:10000"]


def test_folder_file_zip_gzip_and_zstd_give_the_same_dataset(tmp_path: Path) -> None:
    parts = [slice_text(playlist(i, "a", f"b{i}")) for i in range(3)]
    names = [f"mpd.slice.{i}000-{i}999.json" for i in range(3)]
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.mkdir()
    packed.mkdir()
    (plain / "README.md").write_text("not a slice")
    for name, text in zip(names, parts, strict=True):
        (plain / name).write_text(text)
    (packed / names[0]).write_text(parts[0])
    (packed / f"{names[1]}.gz").write_bytes(gzip.compress(parts[1].encode()))
    (packed / f"{names[2]}.zst").write_bytes(zstd(parts[2].encode()))
    with zipfile.ZipFile(tmp_path / "mpd.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("stats.txt", "not a slice")
        for path in sorted(packed.iterdir()):
            archive.write(path, f"data/{path.name}")
    files = sorted(plain.glob("*.json"))
    prints = set()
    for i, sources in enumerate([[plain], [packed], [tmp_path / "mpd.zip"], files]):
        ingest("mpd", sources, tmp_path / f"dataset{i}")
        prints.add(Dataset.open(tmp_path / f"dataset{i}").info.fingerprint)
    assert len(prints) == 1


def test_invalid_playlists_are_dropped_with_few_reasons(tmp_path: Path) -> None:
    no_uri = track("q")
    del no_uri["track_uri"]
    write_slice(
        tmp_path / "mpd",
        0,
        playlist(0, "a"),
        {"pid": 1, "tracks": [track("a"), no_uri]},
        {"pid": 2, "tracks": [no_uri]},
        {"pid": 3, "tracks": [track("a", track_uri=5)]},
        {"pid": 4, "tracks": [track("a", track_uri="")]},
        {"tracks": [track("a")]},
        {"pid": "6", "tracks": [track("a")]},
        {"pid": 7},
        playlist(8),
        playlist(9, "z", num_followers=2**40),
        playlist(0, "b"),
        playlist(10, "c"),
    )
    receipt, dataset = ingested("mpd", tmp_path / "mpd")
    assert receipt.dropped == {
        "missing field tracks[].track_uri": 2,
        "invalid field tracks[].track_uri": 2,
        "missing field pid": 1,
        "invalid field pid": 1,
        "missing field tracks": 1,
        "no tracks": 1,
        "invalid field num_followers": 1,
        "duplicate pid": 1,
    }
    assert (receipt.read, receipt.kept) == (12, 2)
    assert uris(dataset) == [["spotify:track:a"], ["spotify:track:c"]]


def test_a_pid_seen_in_an_earlier_slice_is_a_duplicate(tmp_path: Path) -> None:
    write_slice(tmp_path / "mpd", 0, playlist(1, "first"))
    write_slice(tmp_path / "mpd", 1000, playlist(1, "second"), playlist(2, "first"))
    receipt, dataset = ingested("mpd", tmp_path / "mpd")
    assert receipt.dropped == {"duplicate pid": 1}
    assert uris(dataset) == [["spotify:track:first"], ["spotify:track:first"]]


WHOLE = slice_text(playlist(0, "a"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (WHOLE[:-20].encode(), "ends early: the JSON is cut off; get it again"),
        (b"", "ends early: the JSON is cut off; get it again"),
        (
            b"pid,track\n",
            "is not JSON (",
        ),
        (
            b'{"info": {}}',
            "missing field playlists; check that it is of this format",
        ),
        (b'{"playlists": 3}', "$.playlists: expected a list, got a whole number; check that"),
        (b"[]", "expected an object, got a list; check that it is of this format"),
        (WHOLE.replace("artist of a", "\xe9").encode("latin-1"), "is not UTF-8; get it again"),
        (b'{"playlists": [{"x": ' + b"[" * 200_000, "nests too deep"),
        (
            gzip.compress(WHOLE.encode(), mtime=0)[:-30],
            "ends early: the packed data is cut off; get it",
        ),
        (zstd(WHOLE.encode())[:-30], "ends early: the packed data is cut off; get"),
        (gzip.compress(WHOLE.encode(), mtime=0)[:20] + b"?" * 40, "cannot be read ("),
    ],
)
def test_a_damaged_slice_stops_the_ingest_with_one_line(
    tmp_path: Path, content: bytes, says: str
) -> None:
    write_slice(tmp_path / "mpd", 0, playlist(0, "a"))
    bad = tmp_path / "mpd" / "mpd.slice.1000-1999.json"
    bad.write_bytes(content)
    with pytest.raises(DataError) as error:
        ingest("mpd", [tmp_path / "mpd"], tmp_path / "dataset")
    assert str(error.value).startswith(f"{bad}: {says}")
    assert "\n" not in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mpd"]


def test_a_slice_that_is_good_json_but_wholly_invalid_says_why(tmp_path: Path) -> None:
    write_slice(tmp_path / "mpd", 0, {"pid": 0}, {"pid": 1})
    with pytest.raises(
        DataError, match=r"nothing to keep \(playlists read: 2, missing field tracks: 2\)"
    ):
        ingest("mpd", [tmp_path / "mpd"], tmp_path / "dataset")


def test_real_slices(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "mpd" / "mpd.slice.6000-6602.json.gz"
    receipt = ingest("mpd", [source], tmp_path / "dataset")
    dataset = Dataset.open(tmp_path / "dataset")
    raw = json.loads(gzip.decompress(source.read_bytes()))["playlists"]
    assert (receipt.read, receipt.kept) == (len(raw), len(raw)) == (603, 603)
    assert dataset.titles == [p["name"] for p in raw]
    assert uris(dataset) == [[t["track_uri"] for t in p["tracks"]] for p in raw]
    albums = {
        t["track_uri"]: t.get("album_name") for p in reversed(raw) for t in reversed(p["tracks"])
    }
    assert dataset.tracks["album"].to_pylist() == [
        albums[uri] for uri in dataset.tracks["uri"].to_pylist()
    ]
