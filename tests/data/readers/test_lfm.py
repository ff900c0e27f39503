"""The readers of Last.fm plays: LFM-1K and LFM-2b."""

from __future__ import annotations

import bz2
import gzip
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.look_alikes import LFM_1K, Rows, mbid, rows_of, write_lfm_1k, write_lfm_2b
from support.reader_cases import ingested

from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.data.rederive import derive_again
from segue.data.schema import Outcome
from segue.errors import DataError
from segue.simulation import World, make_world

MBID = "f1b1cf71-bd35-4e99-8624-24a6e15f133a"
RECORDING = f"https://musicbrainz.org/recording/{MBID}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("world") / "dataset"
    make_world(folder, World(tracks=300, listeners=20, sessions=60, playlists=0), seed=3)
    return Dataset.open(folder)


def lfm_1k(folder: Path, *rows: str) -> Path:
    """Rows of fields that are separated by | here, for easier reading."""
    path = folder / LFM_1K
    path.write_text("".join(row.replace("|", "\t") + "\n" for row in rows))
    return path


def lfm_2b(folder: Path, events: list[str], tracks: list[str] | None = None) -> Path:
    source = folder / "lfm"
    source.mkdir()
    files = {"listening-events.tsv": ["user_id|track_id|album_id|timestamp", *events]}
    if tracks is not None:
        files["tracks.tsv"] = ["track_id|artist_name|track_name", *tracks]
    for name, rows in files.items():
        (source / name).write_text("".join(row.replace("|", "\t") + "\n" for row in rows))
    return source


def refusal(format: str, source: Path) -> str:
    with pytest.raises(DataError) as error:
        ingest(format, [source], source.parent / "dataset")
    assert not list(source.parent.glob("*dataset*"))
    assert "\n" not in str(error.value)
    return str(error.value)


def by_next_play(rows: Rows, gap_minutes: float, skip_seconds: float) -> list[tuple[int, Outcome]]:
    """Session and outcome of each listen by the rule as it is documented, a listen at a time."""
    found, session = [], -1
    for i, row in enumerate(rows):
        last, after = rows[i - 1] if i else None, rows[i + 1] if i + 1 < len(rows) else None

        def waited(one: dict[str, Any] | None, other: dict[str, Any] | None) -> float:
            if one is None or other is None or one["listener"] != other["listener"]:
                return float("inf")
            passed: float = (second(other) - second(one)).total_seconds()
            return passed

        session += waited(last, row) > gap_minutes * 60
        seconds = waited(row, after)
        if seconds > gap_minutes * 60:
            outcome = Outcome.UNKNOWN
        else:
            outcome = Outcome.SKIPPED if seconds < skip_seconds else Outcome.FINISHED
        found.append((session, outcome))
    return found


def second(row: dict[str, Any]) -> datetime:
    time: datetime = row["time"]
    return time.replace(microsecond=0)


def check_against(world: Dataset, dataset: Dataset, uri: Callable[[dict[str, Any]], str]) -> None:
    """The dataset has the world's listens: tracks, times, sessions by gaps, outcomes by the rule.

    Listeners stand in the order that their first row had in the source.
    """
    heard: dict[int, Rows] = {}
    for row in rows_of(world):
        heard.setdefault(int(row["listener"].rpartition(":")[2]), []).append(row)
    people = [int(name.rpartition(":")[2]) for name in dataset.listeners["uri"].to_pylist()]
    assert sorted(people) == sorted(heard)
    old = [row for name in people for row in heard[name]]
    new = rows_of(dataset)
    assert [row["time"] for row in new] == [second(row) for row in old]
    assert [row["track"]["uri"] for row in new] == [uri(row["track"]) for row in old]
    wanted = by_next_play(old, 30, 30)
    assert [(row["session"], row["outcome"]) for row in new] == wanted
    assert {outcome for _, outcome in wanted} == {
        *(Outcome.UNKNOWN, Outcome.FINISHED, Outcome.SKIPPED)
    }


# LFM-1K


def test_lfm_1k_gives_back_a_world(world: Dataset, tmp_path: Path) -> None:
    receipt, dataset = ingested("lfm-1k", write_lfm_1k(world, tmp_path / "lfm"))
    assert (receipt.unit, receipt.kept, receipt.dropped) == ("rows", len(world.listens), {})
    assert receipt.settings == {"gap_minutes": 30.0, "skip_seconds": 30.0}

    def uri(track: dict[str, Any]) -> str:
        if int(track["uri"][-6:]) % 3:
            return f"https://musicbrainz.org/recording/{mbid(track['uri'])}"
        return f"name:{track['artist'].lower()}/{track['title'].lower()}"

    check_against(world, dataset, uri)
    names = set(zip(*(world.tracks[c].to_pylist() for c in ("title", "artist")), strict=True))
    for track in dataset.tracks.to_pylist():
        assert (track["title"], track["artist"]) in names
        known = track["uri"].startswith("https:")
        assert track["recording"] == (track["uri"].rpartition("/")[2] if known else None)
        assert (track["artist_uri"] is not None) == known


def test_lfm_1k_sessions_and_skips_are_settings(tmp_path: Path) -> None:
    minutes = ["00:00", "00:20", "05:20", "30:00"]
    rows = [f"u|2009-05-04T10:{m}Z||A||t{i}" for i, m in enumerate(minutes)]
    source = lfm_1k(tmp_path, *reversed(rows))
    found = {}
    for gap, skip in ((30, 30), (20, 30), (20, 10)):
        chosen = {"gap_minutes": gap, "skip_seconds": skip}
        ingest("lfm-1k", [source], tmp_path / "dataset", settings=chosen)
        listens = Dataset.open(tmp_path / "dataset").listens
        found[gap, skip] = list(
            zip(*(listens[c].to_pylist() for c in ("session", "outcome")), strict=True)
        )
    assert found == {
        (30, 30): [(0, 3), (0, 1), (0, 1), (0, 0)],
        (20, 30): [(0, 3), (0, 1), (0, 0), (1, 0)],
        (20, 10): [(0, 1), (0, 1), (0, 0), (1, 0)],
    }


def test_lfm_1k_plays_of_the_same_second_were_the_newest_first(tmp_path: Path) -> None:
    row = "u|2009-05-04T10:00:00Z||A||{}"
    source = lfm_1k(tmp_path, row.format("third"), row.format("second"), row.format("first"))
    _, dataset = ingested("lfm-1k", source)
    assert [row["track"]["title"] for row in rows_of(dataset)] == ["first", "second", "third"]


def test_lfm_1k_times_in_any_order_and_users_in_pieces(tmp_path: Path) -> None:
    rows = [f"u{i % 3}|2009-05-04T10:{i:02}:00Z||A||t{i}" for i in range(30)]
    random.Random(0).shuffle(rows)
    _, dataset = ingested("lfm-1k", lfm_1k(tmp_path, *rows))
    for user in range(3):
        heard = [r["track"]["title"] for r in rows_of(dataset) if r["listener"] == f"u{user}"]
        assert heard == [f"t{i}" for i in range(user, 30, 3)]


def test_lfm_1k_names_a_track_by_its_recording_else_by_artist_and_title(tmp_path: Path) -> None:
    time = "2009-05-04T10:0{}:00Z"
    source = lfm_1k(
        tmp_path,
        f"u|{time.format(0)}|{MBID}|Ärtist|{MBID.upper()}|Title",
        f"u|{time.format(1)}||ärtist |not an id|  TITLE",
        f"u|{time.format(2)}|||{MBID}|",
        f'u|{time.format(3)}||"A||B"',
    )
    _, dataset = ingested("lfm-1k", source)
    assert dataset.tracks.select(
        ["uri", "title", "artist", "artist_uri", "recording"]
    ).to_pylist() == [
        dict(zip(("uri", "title", "artist", "artist_uri", "recording"), row, strict=True))
        for row in (
            (RECORDING, "Title", "Ärtist", f"https://musicbrainz.org/artist/{MBID}", MBID),
            ("name:ärtist/title", "  TITLE", "ärtist ", None, None),
            ('name:"a/b"', 'B"', '"A', None, None),
        )
    ]


def test_lfm_1k_rows_that_cannot_be_kept_are_counted_once(tmp_path: Path) -> None:
    good = "u|2009-05-04T10:00:00Z||A||t"
    source = lfm_1k(
        tmp_path,
        good,
        "userid|timestamp|artid|artname|traid|traname",
        "|2009-05-04T10:00:00Z||A||t",
        "u|||A||t",
        "u|2009-02-31T10:00:00Z||A||t",
        "u|2009-05-04T10:00:00Z||A||",
        "u|2009-05-04T10:00:00Z||||t",
        "u|2009-05-04T10:00:00Z||A|t",
        "u|2009-05-04T10:00:00Z||A||t|t",
        good,
        "u|2009-05-04T10:00:00+01:00||A||t",
    )
    receipt, dataset = ingested("lfm-1k", source)
    assert receipt.dropped == {
        "wrong number of columns": 2,
        "no userid": 1,
        "timestamp is not a time": 3,
        "no traid, and not both artname and traname": 2,
        "duplicate": 1,
    }
    assert (receipt.read, receipt.kept) == (11, 2)
    assert [row["time"].hour for row in rows_of(dataset)] == [9, 10]


def test_lfm_1k_of_another_width_is_nothing_to_keep(tmp_path: Path) -> None:
    path = lfm_1k(tmp_path, "u|2009-05-04T10:00:00Z|t", "u|2009-05-04T10:00:00Z|t")
    assert refusal("lfm-1k", path).startswith(
        f"{path}: nothing to keep (rows read: 2, wrong number of columns: 2)"
    )


# LFM-2b


def test_lfm_2b_gives_back_a_world(world: Dataset, tmp_path: Path) -> None:
    receipt, dataset = ingested("lfm-2b", write_lfm_2b(world, tmp_path / "lfm"))
    assert (receipt.unit, receipt.kept, receipt.dropped) == ("rows", len(world.listens), {})
    check_against(world, dataset, lambda track: f"lfm-2b:track:{int(track['uri'][-6:])}")
    named = 0
    names = world.tracks.select(["title", "artist"]).to_pylist()
    for track in dataset.tracks.to_pylist():
        number = int(track["uri"].rpartition(":")[2])
        known = number % 2 == 0
        named += known
        expected = names[number] if known else {"title": None, "artist": None}
        assert {"title": track["title"], "artist": track["artist"]} == expected
    assert receipt.notes == {"tracks with names": named}


def test_lfm_2b_without_the_table_of_tracks(tmp_path: Path) -> None:
    source = lfm_2b(tmp_path, ["7|12|3|2020-01-01 10:00:00", "7|13||2020-01-01 10:00:10"])
    _, dataset = ingested("lfm-2b", source)
    assert dataset.listeners["uri"].to_pylist() == ["lfm-2b:user:7"]
    assert dataset.tracks["uri"].to_pylist() == ["lfm-2b:track:12", "lfm-2b:track:13"]
    assert dataset.tracks["title"].null_count == 2
    rows = rows_of(dataset)
    assert rows[0]["time"] == datetime(2020, 1, 1, 10, tzinfo=UTC)
    assert [row["outcome"] for row in rows] == [Outcome.SKIPPED, Outcome.UNKNOWN]


def test_lfm_2b_rows_that_cannot_be_kept_are_counted_once(tmp_path: Path) -> None:
    source = lfm_2b(
        tmp_path,
        [
            "7|12|3|2020-01-01 10:00:00",
            "|12|3|2020-01-01 10:00:00",
            "7||3|2020-01-01 10:00:00",
            "7|12|3|",
            "7|12|3|10 o'clock",
            "7|12|2020-01-01 10:00:00",
            "7|12|3|2020-01-01 10:00:00",
        ],
        ["12|A|T", "12|B|U", "|C|V", "99|D|W", "12|B"],
    )
    receipt, dataset = ingested("lfm-2b", source)
    assert receipt.dropped == {
        "wrong number of columns": 1,
        "no user_id": 1,
        "no track_id": 1,
        "timestamp is not a time": 2,
        "duplicate": 1,
    }
    assert receipt.notes == {
        "tracks with names": 1,
        "wrong number of columns in the table of tracks": 1,
    }
    assert dataset.tracks.select(["title", "artist"]).to_pylist() == [{"title": "T", "artist": "A"}]


def test_lfm_2b_needs_its_header(tmp_path: Path) -> None:
    path = tmp_path / "listening-events.tsv"
    path.write_text("7\t12\t3\t2020-01-01 10:00:00\n")
    assert refusal("lfm-2b", path) == (
        f"{path}: has no column user_id, track_id, timestamp: its first row is not the header of"
        " listening events; check that it is of this format"
    )
    path.write_text("user_id\ttrack_id\talbum_id\n7\t12\t3\n")
    assert refusal("lfm-2b", path).startswith(f"{path}: has no column timestamp: its first row is")


def test_lfm_2b_that_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "listening-events.tsv.bz2"
    path.write_bytes(bz2.compress(b""))
    assert refusal("lfm-2b", path) == f"{path}: is empty"


# Both


@pytest.mark.parametrize(("format", "write"), [("lfm-1k", write_lfm_1k), ("lfm-2b", write_lfm_2b)])
def test_sessions_derived_again_are_those_of_an_ingest_by_the_same_settings(
    world: Dataset, tmp_path: Path, format: str, write: Callable[[Dataset, Path], Path]
) -> None:
    source, chosen = write(world, tmp_path / "lfm"), {"gap_minutes": 2, "skip_seconds": 10}
    ingest(format, [source], tmp_path / "again")
    ingest(format, [source], tmp_path / "wanted", settings=chosen)
    before, after = derive_again(tmp_path / "again", chosen)
    assert before["sessions"] < after["sessions"]
    again, wanted = Dataset.open(tmp_path / "again"), Dataset.open(tmp_path / "wanted")
    assert again.listens.equals(wanted.listens)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize(
    ("format", "name", "header", "row"),
    [
        ("lfm-1k", LFM_1K, "", "u{}|2009-05-04T10:00:00Z||A||t"),
        ("lfm-2b", "listening-events.tsv", "user_id|track_id|timestamp\n", "{}|1|2020-01-01"),
    ],
)
def test_packed_plays_that_are_cut_off_or_damaged_are_refused(
    tmp_path: Path, pack: Callable[[bytes], bytes], format: str, name: str, header: str, row: str
) -> None:
    rng = random.Random(0)
    text = header + "".join(row.format(rng.random()) + "\n" for _ in range(50_000))
    packed = pack(text.replace("|", "\t").encode())
    path = tmp_path / name
    path.write_bytes(packed[:-200])
    assert refusal(format, path) == (
        f"{path}: ends early: the packed data is cut off; get it again"
    )
    damaged = bytearray(packed)
    damaged[len(packed) // 2 : len(packed) // 2 + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    assert refusal(format, path).startswith(f"{path}: cannot be read (")


_LFM_1K_FIELDS = st.sampled_from(["", "u", "t", MBID, "2009-05-04T10:00:00Z", "x\ty", '"', "é"])


@settings(max_examples=25)
@given(st.lists(st.lists(_LFM_1K_FIELDS, min_size=5, max_size=7), max_size=12))
def test_the_receipt_adds_up_whatever_is_in_the_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    lines = ["u|2009-05-04T10:00:00Z||A||good", *("|".join(row) or "-" for row in rows)]
    receipt, dataset = ingested("lfm-1k", lfm_1k(tmp_path_factory.mktemp("lfm"), *lines))
    assert receipt.read == len(lines)
    assert receipt.kept == len(dataset.listens) >= 1
    assert dataset.listens["session"].null_count == 0
