"""Scrobbler logs: what a player says was skipped is skipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.play_cases import plays
from support.reader_cases import ingested

from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.data.rederive import derive_again
from segue.errors import DataError

MBID = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"
HEAD = "#AUDIOSCROBBLER/1.1\n#TZ/UTC\n#CLIENT/Rockbox ipodvideo $Revision$\n"
START = 1_600_000_000  # 2020-09-13 12:26:40


def row(title: str, at: int, rating: str = "L", seconds: object = 200, mbid: str = "") -> str:
    fields = ("Artist", "Album", title, 1, seconds, rating, START + at, mbid)
    return "\t".join(map(str, fields)) + "\n"


def log(folder: Path, *rows: str, head: str = HEAD) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / ".scrobbler.log"
    path.write_text(head + "".join(rows), encoding="utf-8")
    return path


def test_l_is_finished_and_s_is_skipped(tmp_path: Path) -> None:
    source = log(
        tmp_path / "player",
        row("One", 0),
        row("Two", 200, "S"),
        row("Three", 210, mbid=MBID.upper()),
        row("One", 210 + 1801, "S"),
    )
    receipt, dataset = ingested("scrobbler-log", source.parent)
    assert (receipt.read, receipt.kept, receipt.notes) == (4, 4, {})
    recording = f"https://musicbrainz.org/recording/{MBID}"
    assert plays(dataset) == [
        (0, "2020-09-13 12:26:40", "name:artist/one", "finished"),
        (0, "2020-09-13 12:30:00", "name:artist/two", "skipped"),
        (0, "2020-09-13 12:30:10", recording, "finished"),
        (1, "2020-09-13 13:00:11", "name:artist/one", "skipped"),
    ]
    assert dataset.tracks.slice(2, 1).to_pylist() == [
        {
            "uri": recording,
            "title": "Three",
            "artist": "Artist",
            "artist_uri": None,
            "album": "Album",
            "album_uri": None,
            "duration_ms": 200_000,
            "recording": MBID,
        }
    ]


def test_the_gap_can_be_changed_afterwards_and_outcomes_stay(tmp_path: Path) -> None:
    source = log(tmp_path / "player", row("One", 0), row("Two", 400, "S"))
    ingest("scrobbler-log", source, tmp_path / "d")
    derive_again(tmp_path / "d", {"gap_minutes": 5})
    found = plays(Dataset.open(tmp_path / "d"))
    assert [(session, outcome) for session, _, _, outcome in found] == [
        (0, "finished"),
        (1, "skipped"),
    ]


def test_every_row_that_is_dropped_has_its_reason(tmp_path: Path) -> None:
    source = log(
        tmp_path / "player",
        row('"45" Grave', 0, seconds="unknown"),
        row("One", 0, seconds=0).replace("Artist", "<Untagged>"),
        row("One", 0, "X"),
        row("One", -START),
        row("One", 0).replace(str(START), "yesterday"),
        row("One", 10**10),
        row("", 0),
        row("One", 0).replace("Artist", " "),
        "one\ttwo\n",
        row('"45" Grave', 0),
        "\n",
        row("Seven", 60).rstrip("\n").rpartition("\t")[0],  # 1.0 has no recording
    )
    receipt, dataset = ingested("scrobbler-log", source)
    assert (receipt.read, receipt.kept) == (11, 2)
    assert receipt.dropped == {
        "untagged": 1,
        "rating is not L or S": 1,
        "no time (a player without a clock)": 1,
        "no time": 1,
        "time out of 1970 to 2200": 1,
        "no title": 1,
        "no artist": 1,
        "wrong number of columns": 1,
        "duplicate": 1,
    }
    assert dataset.tracks["title"].to_pylist() == ['"45" Grave', "Seven"]
    assert dataset.tracks["duration_ms"].to_pylist() == [None, 200_000]


def test_a_log_without_a_time_zone_is_noted(tmp_path: Path) -> None:
    head = HEAD.replace("UTC", "UNKNOWN")
    receipt, _ = ingested("scrobbler-log", log(tmp_path / "player", row("One", 0), head=head))
    assert receipt.notes == {"files of an unknown time zone, read as UTC": 1}


def test_an_artist_may_begin_as_comments_do(tmp_path: Path) -> None:
    names = (
        "#ARTIST\t#ALBUM\t#TITLE\t#TRACKNUM\t#LENGTH\t#RATING\t#TIMESTAMP\t#MUSICBRAINZ_TRACKID\n"
    )
    row_of = row("One", 0).replace("Artist", "#1 Dads")
    receipt, dataset = ingested("scrobbler-log", log(tmp_path / "player", names, row_of))
    assert (receipt.read, dataset.tracks["artist"].to_pylist()) == (1, ["#1 Dads"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    source = tmp_path / "x.log"
    text = (HEAD + row("Jóga", 0) + row("Two", 1)).replace("\n", end)
    source.write_bytes(text.encode(encoding))
    _, dataset = ingested("scrobbler-log", source)
    assert dataset.tracks["title"].to_pylist() == ["Jóga", "Two"]


def test_each_source_is_a_listener(tmp_path: Path) -> None:
    for name in ("one", "two"):
        log(tmp_path / name, row("One", 0))
    ingest("scrobbler-log", [tmp_path / "one", tmp_path / "two"], tmp_path / "d")
    assert Dataset.open(tmp_path / "d").listeners["uri"].to_pylist() == ["listener:1", "listener:2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#AUDIOSCROBBLER/1.1\n", r"nothing to keep \(plays read: 0\)"),
        (b"", r"nothing to keep"),
        (b"Bj\xf6rk\tA\tB\t1\t2\tL\t1600000000\t\n", "is not UTF-8"),
        (b"\xff\xfeB", "is not UTF-8"),
        (b"a" * ((1 << 20) + 1), "has a line of more than a million characters"),
    ],
)
def test_a_log_that_cannot_be_read_leaves_nothing(
    tmp_path: Path, content: bytes, message: str
) -> None:
    source = tmp_path / ".scrobbler.log"
    source.write_bytes(content)
    with pytest.raises(DataError, match=message):
        ingest("scrobbler-log", source, tmp_path / "d")
    assert not (tmp_path / "d").exists()
