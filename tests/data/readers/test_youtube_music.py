"""YouTube Music of Google Takeout."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.play_cases import plays
from support.reader_cases import ingested

from segue.data.ingestion.ingest import ingest
from segue.errors import DataError


def watched(title: str, time: str, video: str = "", **fields: Any) -> dict[str, Any]:
    url = {"titleUrl": f"https://www.youtube.com/watch?v={video}"} if video else {}
    return {
        "header": "YouTube Music",
        "title": title,
        **url,
        "subtitles": [{"name": "Artist - Topic", "url": "https://www.youtube.com/channel/UC"}],
        "time": f"2023-02-01T{time}Z",
        "products": ["YouTube"],
        **fields,
    }


def test_plays_of_youtube_music_become_sessions(tmp_path: Path) -> None:
    rows = [
        watched("Has visto Four", "10:40:00.000", "dQw4w9WgXcQ"),
        watched("Watched Three", "10:03:25.500"),
        watched("Two angesehen", "10:03:00.000", "abcdefghijk"),
        watched("Watched One", "10:00:00.000", "dQw4w9WgXcQ"),
    ]
    source = tmp_path / "takeout.zip"
    with zipfile.ZipFile(source, "w") as archive:
        folder = "Takeout/YouTube and YouTube Music"
        archive.writestr(f"{folder}/history/watch-history.json", json.dumps(rows))
        archive.writestr(f"{folder}/history/search-history.json", "[")
    receipt, dataset = ingested("youtube-music", source)
    assert (receipt.read, receipt.kept, receipt.notes) == (4, 4, {})
    one, two = (f"https://music.youtube.com/watch?v={v}" for v in ("dQw4w9WgXcQ", "abcdefghijk"))
    assert plays(dataset) == [
        (0, "2023-02-01 10:00:00", one, "finished"),
        (0, "2023-02-01 10:03:00", two, "skipped"),
        (0, "2023-02-01 10:03:25", "name:artist/three", "unknown"),
        (1, "2023-02-01 10:40:00", one, "unknown"),
    ]
    assert dataset.tracks["title"].to_pylist() == ["Four", "Three", "Two"]
    assert dataset.tracks["artist"].to_pylist() == ["Artist"] * 3


def test_every_row_that_is_dropped_has_its_reason(tmp_path: Path) -> None:
    rows: list[Any] = [
        watched("Watched One", "10:00:00"),
        watched("Watched One", "10:00:00"),
        watched("One を視聴しました", "11:00:00"),
        watched("Watched One", "12:00:00", header="YouTube"),
        watched("Watched One", "12:00:00", details=[{"name": "From Google Ads"}]),
        watched("Watched One", "12:00:00", subtitles=None),
        watched("Watched a video that has been removed", "12:00:00", subtitles=[]),
        watched("Watched https://www.youtube.com/watch?v=x", "12:00:00"),
        watched("", "12:00:00"),
        watched("Watched One", "12:00:99"),
        {**watched("Watched One", ""), "time": None},
        {**watched("Watched One", ""), "time": "1969-01-01T00:00:00Z"},
        {**watched("Watched One", ""), "time": 5},
        3,
    ]
    source = tmp_path / "watch-history.json"
    source.write_text(json.dumps(rows))
    receipt, dataset = ingested("youtube-music", source)
    assert (receipt.read, receipt.kept) == (14, 2)
    times = receipt.dropped.pop("no time") + receipt.dropped.pop("time out of 1970 to 2200", 0)
    assert times == 3
    assert receipt.dropped == {
        "duplicate": 1,
        "not YouTube Music": 1,
        "advertisement": 1,
        "no artist": 2,
        "no title": 2,
        "invalid field time": 1,
        "not an object": 1,
    }
    assert receipt.notes == {
        "titles kept whole, in a language whose word for watched is not known": 1
    }
    assert dataset.tracks["title"].to_pylist() == ["One", "One を視聴しました"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>", "is not a JSON list"),
        ('[{"header": "YouTube Music"', "ends early: the JSON is cut off"),
        ("[{]", "is not JSON|ends early"),
        ("[]", "nothing to keep"),
    ],
)
def test_damaged_files_leave_nothing(tmp_path: Path, text: str, message: str) -> None:
    source = tmp_path / "watch-history.json"
    source.write_text(text)
    with pytest.raises(DataError, match=message):
        ingest("youtube-music", source, tmp_path / "d")
    assert not (tmp_path / "d").exists()
