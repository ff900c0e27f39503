"""Apple Music's Play Activity, and the files that know its artists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.play_cases import plays
from support.reader_cases import ingested

from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.data.rederive import derive_again
from segue.data.schema import Flag
from segue.errors import DataError

COLUMNS = (
    *("Album Name", "Apple ID Number", "Client IP Address", "End Reason Type"),
    *("Event End Timestamp", "Event Start Timestamp", "Event Type"),
    *("Media Duration In Milliseconds", "Media Type", "Offline", "Play Duration Milliseconds"),
    "Song Name",
)
FORWARDS, NATURAL = "TRACK_SKIPPED_FORWARDS", "NATURAL_END_OF_TRACK"


def row(title: str, start: str, ms: object, reason: str = NATURAL, **fields: str) -> str:
    """A row of Play Activity; fields by column name, with underscores for blanks."""
    values = {
        "Album Name": "Album",
        "Apple ID Number": "SECRET",
        "Client IP Address": "SECRET",
        "End Reason Type": reason,
        "Event Start Timestamp": f"2021-06-15T{start}Z" if start else "",
        "Event Type": "PLAY_END",
        "Media Duration In Milliseconds": "200000",
        "Media Type": "AUDIO",
        "Play Duration Milliseconds": str(ms),
        "Song Name": title,
    } | {name.replace("_", " "): value for name, value in fields.items()}
    return ",".join('"' + values.get(name, "").replace('"', '""') + '"' for name in COLUMNS)


def activity(folder: Path, *rows: str) -> Path:
    folder.mkdir(exist_ok=True)
    text = "\n".join([",".join(COLUMNS), *rows]) + "\n"
    (folder / "Apple Music Play Activity.csv").write_text(text, encoding="utf-8-sig")
    return folder


def library(folder: Path, *tracks: tuple[str, str, str]) -> None:
    rows = [{"Title": t, "Artist": a, "Album": b, "Track Play Count": 2} for t, a, b in tracks]
    (folder / "Apple Music Library Tracks.json").write_text(json.dumps([*rows, 5]))


def daily(folder: Path, *descriptions: str) -> None:
    text = "Date Played,Track Description\n" + "".join(f'20210615,"{d}"\n' for d in descriptions)
    (folder / "Apple Music - Play History Daily Tracks.csv").write_text(text + "x\n")


def test_plays_become_sessions_with_artists_and_skips(tmp_path: Path) -> None:
    source = activity(
        tmp_path / "mine",
        row('The "One"', "10:00:00", 200_000, Offline="TRUE"),
        row("Two", "10:03:20.500", 29_999, FORWARDS),
        row("Three", "10:03:51", 30_000, FORWARDS),
        row("Three", "10:04:30", 5_000, "PLAYBACK_MANUALLY_PAUSED"),
        row("Three", "10:05:00", 5_000, "MANUALLY_SELECTED_PLAYBACK_OF_A_DIFF_ITEM"),
        row("Two", "10:05:10", -20, FORWARDS),
        row("Two", "10:05:20", 90_000_000),
        row("Two", "10:05:30", 180_000, ""),
        row("Two", "10:09:00", 179_999, "NOT_APPLICABLE"),
        row("Two", "10:12:10", 1_000, ""),
        row("Three", "10:42:12", 60_000, "TRACK_BANNED"),
    )
    library(source, ('the "one"', "Artist A", "album"), ("Two", "Wrong", "Other"))
    daily(source, "Artist B - Two", "Artist C - Three")
    receipt, dataset = ingested("apple-music", source)
    assert (receipt.read, receipt.kept) == (11, 11)
    assert receipt.notes == {
        "tracks of the library that cannot be read": 1,
        "wrong number of columns in daily tracks": 1,
        "plays whose artist no file tells": 6,
    }
    one, three = 'name:artist a/the "one"', "name:artist c/three"
    two = "apple-music:album/two"  # two artists have a track of this title
    assert [(s, t[11:], uri, outcome) for s, t, uri, outcome in plays(dataset)] == [
        (0, "10:00:00", one, "finished"),
        (0, "10:03:20", two, "skipped"),
        (0, "10:03:51", three, "partial"),
        (0, "10:04:30", three, "unknown"),
        (0, "10:05:00", three, "skipped"),
        (0, "10:05:10", two, "skipped"),
        (0, "10:05:20", two, "finished"),
        (0, "10:05:30", two, "finished"),
        (0, "10:09:00", two, "partial"),
        (0, "10:12:10", two, "skipped"),
        (1, "10:42:12", three, "disliked"),  # 30:01 after the end of the one before
    ]
    assert dataset.tracks["artist"].to_pylist() == ["Artist A", None, "Artist C"]
    assert dataset.listens["flags"].to_pylist()[:2] == [Flag.OFFLINE, 0]
    assert dataset.listens["reason_end"].to_pylist()[:2] == [NATURAL, FORWARDS]
    for file in dataset.path.iterdir():
        assert b"SECRET" not in file.read_bytes()


def test_outcomes_change_afterwards_as_if_they_had_been_ingested_so(tmp_path: Path) -> None:
    rows = [row("One", f"10:{m:02}:00", m * 10_000, FORWARDS if m % 2 else "") for m in range(21)]
    source = activity(tmp_path / "mine", *rows)
    changed = {"skip_seconds": 50, "finished_share": 0.5, "gap_minutes": 1}
    ingest("apple-music", source, tmp_path / "one")
    derive_again(tmp_path / "one", changed)
    ingest("apple-music", source, tmp_path / "two", settings=changed)
    one, two = (plays(Dataset.open(tmp_path / name)) for name in ("one", "two"))
    assert one == two
    assert {outcome for *_, outcome in one} == {"skipped", "partial", "finished"}


def test_old_exports_have_artists_and_other_names(tmp_path: Path) -> None:
    source = tmp_path / "old.csv"
    source.write_text(
        "Artist Name,Content Name,End Reason Type,Event End Timestamp,Play Duration Milliseconds\n"
        "Artist,One,NATURAL_END_OF_TRACK,2018-06-15T20:03:20Z,200000\n"
    )
    _, dataset = ingested("apple-music", source)
    assert plays(dataset) == [(0, "2018-06-15 20:00:00", "name:artist/one", "finished")]


def test_every_row_that_is_dropped_has_its_reason(tmp_path: Path) -> None:
    source = activity(
        tmp_path / "mine",
        row("One", "10:00:00", 1),
        row("One", "10:00:00", 1),
        row("One", "10:00:00", 1, Event_Type="PLAY_START"),
        row("One", "10:00:00", 1, Media_Type="VIDEO"),
        row("", "10:00:00", 1),
        row("One", "10:00:00", 1, Album_Name=""),
        row("One", "", 1),
        row("One", "25:00:00", 1),
        "a,b",
        row("One", "10:00:00", 1) + '"',
        "",
    )
    receipt, _ = ingested("apple-music", source)
    assert (receipt.read, receipt.kept) == (10, 1)
    assert receipt.dropped == {
        "duplicate": 1,
        "not the end of a play": 1,
        "video": 1,
        "no title": 1,
        "no artist, and no album": 1,
        "no time": 2,
        "wrong number of columns": 1,
        "quotes that do not close": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no columns Song Name and Event Start Timestamp, nor Track Description"),
        ("a,b\n", "has no columns Song Name"),
        ('"a\n', "has no columns Song Name"),
        ('[{"Title": "One"', "ends early"),
        ("Song Name,Event Start Timestamp\n", "nothing to keep"),
    ],
)
def test_files_that_are_none_of_these_leave_nothing(
    tmp_path: Path, text: str, message: str
) -> None:
    source = tmp_path / "x.csv"
    source.write_text(text)
    with pytest.raises(DataError, match=message):
        ingest("apple-music", source, tmp_path / "d")
    assert not (tmp_path / "d").exists()
