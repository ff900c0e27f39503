"""ListenBrainz exports: listens, how long they were played, and what is loved and hated."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.play_cases import plays
from support.reader_cases import ingested

from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.data.rederive import derive_again
from segue.data.schema import Flag
from segue.errors import DataError

ONE = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"
ARTIST = "f27ec8db-af05-4f36-916e-3d57f91ecf5e"
START = 1_600_000_000  # 2020-09-13 12:26:40


def listen(title: str, at: float, **info: Any) -> dict[str, Any]:
    return {
        "listened_at": START + at,
        "inserted_at": START + 1e6 + 0.25,
        "track_metadata": {
            "artist_name": "Artist",
            "track_name": title,
            "release_name": "Album",
            "recording_msid": f"msid-{title}",
            "additional_info": info,
            "mbid_mapping": None,
        },
    }


def jsonl(*rows: Any) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_an_export_becomes_sessions_with_outcomes(tmp_path: Path) -> None:
    mapped = listen("Two", 200, duration=100, duration_played=95)
    mapped["track_metadata"]["mbid_mapping"] = {"recording_mbid": ONE, "artist_mbids": [ARTIST]}
    source = tmp_path / "listenbrainz_me_1.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("user.json", json.dumps({"user_id": 1, "username": "SECRET"}))
        archive.writestr(
            "listens/2020/9.jsonl",
            jsonl(
                listen("One", 0),
                mapped,
                listen("Three", 300.5, duration_ms=200_000, duration_played=29),
                listen("Three", 400, duration_ms=200_000, duration_played="100"),
                listen("Three", 600, duration_ms=200_000, duration_played=180_000),
                listen("Hated", 900),
                listen("Loved", 900 + 1801, duration_ms="odd", duration_played=[]),
            ),
        )
        archive.writestr(
            "feedback.jsonl",
            jsonl(
                {"recording_msid": "msid-Hated", "recording_mbid": None, "score": -1},
                {"recording_msid": "msid-Loved", "recording_mbid": None, "score": 1},
                {"recording_msid": None, "recording_mbid": ONE, "score": 0, "created": 5},
            ),
        )
        archive.writestr("pinned_recording.jsonl", jsonl({"blurb_content": "SECRET"}))
    receipt, dataset = ingested("listenbrainz", source)
    assert (receipt.read, receipt.kept) == (7, 7)
    assert receipt.notes == {"recordings loved": 1, "recordings hated": 1}
    two = f"https://musicbrainz.org/recording/{ONE}"
    assert plays(dataset) == [
        (0, "2020-09-13 12:26:40", "name:artist/one", "finished"),
        (0, "2020-09-13 12:30:00", two, "finished"),
        (0, "2020-09-13 12:31:40", "name:artist/three", "skipped"),
        (0, "2020-09-13 12:33:20", "name:artist/three", "partial"),
        (0, "2020-09-13 12:36:40", "name:artist/three", "finished"),
        (0, "2020-09-13 12:41:40", "name:artist/hated", "disliked"),
        (1, "2020-09-13 13:11:41", "name:artist/loved", "finished"),
    ]
    assert dataset.listens["ms_played"].to_pylist() == [
        *(None, 95_000, 29_000, 100_000, 180_000, None, None)
    ]
    assert dataset.listens["flags"].to_pylist()[-2:] == [Flag.DISLIKED, Flag.LIKED]
    (row,) = dataset.tracks.slice(1, 1).to_pylist()
    assert row == {
        "uri": two,
        "title": "Two",
        "artist": "Artist",
        "artist_uri": f"https://musicbrainz.org/artist/{ARTIST}",
        "album": "Album",
        "album_uri": None,
        "duration_ms": 100_000,
        "recording": ONE,
    }
    for file in dataset.path.iterdir():
        assert b"SECRET" not in file.read_bytes()


def test_outcomes_change_afterwards_as_if_they_had_been_ingested_so(tmp_path: Path) -> None:
    source = tmp_path / "listens.jsonl"
    rows = [listen("A", i * 50, duration=100, duration_played=i * 10) for i in range(11)]
    source.write_text(jsonl(*rows))
    changed = {"skip_seconds": 15, "finished_share": 0.5, "gap_minutes": 0.8}
    ingest("listenbrainz", source, tmp_path / "one")
    derive_again(tmp_path / "one", changed)
    ingest("listenbrainz", source, tmp_path / "two", settings=changed)
    one, two = (Dataset.open(tmp_path / name) for name in ("one", "two"))
    assert plays(one) == plays(two)
    found = [outcome for *_, outcome in plays(one)]
    assert found == ["skipped"] * 2 + ["partial"] * 3 + ["finished"] * 6


def test_feedback_is_of_the_listener_who_gave_it(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jsonl").write_text(jsonl(listen("A", 0)))
    hated = {"recording_msid": "msid-a", "score": -1}
    (tmp_path / "two" / "feedback.jsonl").write_text(jsonl(hated, "{", {"score": "x"}))
    receipt = ingest("listenbrainz", [tmp_path / "one", tmp_path / "two"], tmp_path / "d")
    assert [outcome for *_, outcome in plays(Dataset.open(tmp_path / "d"))] == [
        "finished",
        "disliked",
    ]
    assert receipt.notes == {"recordings hated": 1, "feedback that cannot be read": 2}


def test_every_row_that_is_dropped_has_its_reason(tmp_path: Path) -> None:
    source = tmp_path / "x.jsonl"
    nameless, wrong = listen("", 0), listen("A", 0)
    wrong["track_metadata"]["artist_name"] = 7
    source.write_text(
        jsonl(
            listen("A", 0),
            listen("A", 0),
            "",
            nameless,
            wrong,
            {**listen("A", 0), "listened_at": None},
            {**listen("A", 0), "listened_at": "soon"},
            listen("A", -START),
            listen("A", 1e11),
            {"listened_at": START},
            "[1]",
            "[" * 10_000,
            '{"listened_at": 16',
        )
    )
    receipt, _ = ingested("listenbrainz", source)
    assert (receipt.read, receipt.kept) == (12, 1)
    assert receipt.dropped == {
        "duplicate": 1,
        "no title": 1,
        "invalid field track_metadata.artist_name": 1,
        "no time": 1,
        "invalid field listened_at": 1,
        "time out of 1970 to 2200": 2,
        "missing field track_metadata": 1,
        "not an object": 1,
        "not JSON": 2,
    }


def test_feedback_alone_is_nothing_to_keep(tmp_path: Path) -> None:
    (tmp_path / "feedback.jsonl").write_text(jsonl({"recording_msid": "x", "score": 1}))
    with pytest.raises(DataError, match="nothing to keep"):
        ingest("listenbrainz", tmp_path / "feedback.jsonl", tmp_path / "d")
    assert not (tmp_path / "d").exists()
