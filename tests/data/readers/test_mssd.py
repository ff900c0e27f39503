"""The reader of the Music Streaming Sessions Dataset."""

from __future__ import annotations

import bz2
import gzip
import random
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.look_alikes import MSSD_LOG, mssd_log, mssd_row, rows_of, write_mssd
from support.reader_cases import ingested, zstd

from segue.data.dataset import Dataset
from segue.data.ingestion import external_sort as _spill
from segue.data.ingestion.ingest import ingest
from segue.data.rederive import derive_again
from segue.data.schema import Flag, Outcome
from segue.data.sessions import Sessions
from segue.errors import ConfigError, DataError
from segue.simulation import World, make_world

NAME = "log_0_20180715_000000000000.csv"
SKIP = {"skip_1": "true", "skip_2": "true", "skip_3": "true", "not_skipped": "false"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("world") / "dataset"
    make_world(folder, World(tracks=300, listeners=20, sessions=60, playlists=0), seed=3)
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def logs(world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mssd(world, tmp_path_factory.mktemp("mssd") / "mssd")


def log(folder: Path, *rows: list[str], name: str = NAME) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(mssd_log(list(rows)))
    return path


def refusal(source: Path) -> str:
    with pytest.raises(DataError) as error:
        ingest("mssd", [source], source.parent / "dataset")
    assert not list(source.parent.glob("*dataset*"))
    assert "\n" not in str(error.value)
    return str(error.value)


def sessions(dataset: Dataset) -> dict[str, list[str]]:
    """Tracks of every session."""
    heard: dict[str, list[str]] = {}
    for row in rows_of(dataset):
        assert row["position"] == len(heard.setdefault(row["listener"], []))
        heard[row["listener"]].append(row["track"]["uri"])
    return heard


# What a world's sessions become


def test_a_world_comes_back_with_its_sessions_outcomes_and_tracks(
    world: Dataset, logs: Path
) -> None:
    receipt, dataset = ingested("mssd", logs)
    assert (receipt.unit, receipt.kept, receipt.dropped) == ("rows", len(world.listens), {})
    assert receipt.notes == {"tracks with a duration": dataset.track_count}
    before, after = Sessions.of(world), Sessions.of(dataset)
    assert after.offsets.tolist() == before.offsets.tolist()
    for old, new in zip(rows_of(world), rows_of(dataset), strict=True):
        assert new["track"]["uri"] == f"t_{old['track']['uri']}"
        assert new["track"]["duration_ms"] == old["track"]["duration_ms"]
        assert (new["session"], new["position"]) == (old["session"], old["position"])
        disliked = old["outcome"] == Outcome.DISLIKED
        assert new["outcome"] == (Outcome.SKIPPED if disliked else old["outcome"])
        hour = old["time"].replace(minute=0, second=0, microsecond=0)
        assert (new["time"] - hour).total_seconds() == new["position"]


def test_a_listener_stands_for_each_session_and_has_its_id(world: Dataset, logs: Path) -> None:
    _, dataset = ingested("mssd", logs)
    assert dataset.listens["listener"].equals(dataset.listens["session"])
    assert dataset.listener_count == world.describe()["sessions"]
    assert dataset.listeners["uri"][0].as_py().startswith("0_")


def test_evidence_is_kept(tmp_path: Path) -> None:
    shuffled = {"hist_user_behavior_is_shuffle": "true", "hist_user_behavior_reason_end": ""}
    source = log(tmp_path, mssd_row("s", 1, 2, "a", **SKIP), mssd_row("s", 2, 2, "b", **shuffled))
    _, dataset = ingested("mssd", source)
    rows = rows_of(dataset)
    assert [row["flags"] for row in rows] == [
        Flag.SKIP_1 | Flag.SKIP_2 | Flag.SKIP_3,
        Flag.NOT_SKIPPED | Flag.SHUFFLE,
    ]
    assert [row["reason_start"] for row in rows] == ["trackdone", "trackdone"]
    assert [row["reason_end"] for row in rows] == ["trackdone", None]
    assert [row["ms_played"] for row in rows] == [None, None]


def test_which_step_counts_as_a_skip_is_a_setting(tmp_path: Path) -> None:
    steps = {"skip_1": "false", "skip_2": "true", "skip_3": "true", "not_skipped": "false"}
    source = log(tmp_path, mssd_row("s", 1, 1, "a", **steps))
    ended = {}
    for skip in (1, 2):
        ingest("mssd", [source], tmp_path / "dataset", settings={"skip": skip})
        dataset = Dataset.open(tmp_path / "dataset")
        assert dataset.info.sources[0].settings == {"skip": skip}
        ended[skip] = dataset.listens["outcome"].to_pylist()
    assert ended == {1: [Outcome.PARTIAL], 2: [Outcome.SKIPPED]}
    with pytest.raises(ConfigError, match="gap_minutes"):
        ingest("mssd", [source], tmp_path / "dataset", settings={"gap_minutes": 20})


def test_outcomes_derived_again_are_those_of_an_ingest_by_the_same_setting(
    logs: Path, tmp_path: Path
) -> None:
    for name, skip in (("again", 2), ("wanted", 1)):
        ingest("mssd", [logs], tmp_path / name, settings={"skip": skip})
    before, after = derive_again(tmp_path / "again", {"skip": 1})
    assert before["outcomes"]["skipped"] > after["outcomes"]["skipped"] > 0
    again, wanted = Dataset.open(tmp_path / "again"), Dataset.open(tmp_path / "wanted")
    assert again.listens.equals(wanted.listens)


def test_durations_in_features_may_come_before_the_logs_and_be_wrong(tmp_path: Path) -> None:
    log(tmp_path / "m", *(mssd_row("s", i + 1, 5, name) for i, name in enumerate("abcde")))
    (tmp_path / "m" / "a_first").mkdir()
    (tmp_path / "m" / "a_first" / "tf_0.csv").write_text(
        "duration,track_id\n180.0666,a\n99,a\n-3,b\n,c\n1e9,d\n7,nobody\n8,\n9,e,9\n"
    )
    (tmp_path / "m" / "a_first" / "tf_1.csv").write_text("track_id,duration\na,77\n")
    receipt, dataset = ingested("mssd", tmp_path / "m")
    assert dataset.tracks["duration_ms"].to_pylist() == [180_067, None, None, None, None]
    assert receipt.notes == {
        "durations that are not seconds": 3,
        "tracks with a duration": 1,
        "wrong number of columns in track features": 1,
    }
    assert receipt.read == 5


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstd)],
)
def test_packed_logs_of_many_days_give_what_plain_ones_give(
    logs: Path, tmp_path: Path, suffix: str, pack: Any
) -> None:
    (tmp_path / "m" / "day").mkdir(parents=True)
    for file in logs.iterdir():
        (tmp_path / "m" / "day" / f"{file.name}{suffix}").write_bytes(pack(file.read_bytes()))
    (tmp_path / "m" / "README.csv").write_text("nothing to read")
    plain, packed = ingested("mssd", logs)[1], ingested("mssd", tmp_path / "m")[1]
    assert packed.info.fingerprint == plain.info.fingerprint


def test_logs_in_a_zip(logs: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mssd.zip", "w") as archive:
        for file in sorted(logs.iterdir()):
            archive.write(file, f"mssd/{file.name}")
    plain, zipped = ingested("mssd", logs)[1], ingested("mssd", tmp_path / "mssd.zip")[1]
    assert zipped.info.fingerprint == plain.info.fingerprint


# Order


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(1, 3), st.booleans())
def test_rows_in_any_order_and_twice_give_the_same_sessions(
    tmp_path_factory: pytest.TempPathFactory, rng: random.Random, files: int, again: bool
) -> None:
    folder = tmp_path_factory.mktemp("mssd")
    lengths = [rng.randint(1, 6) for _ in range(rng.randint(1, 6))]
    rows = [
        mssd_row(f"s{s}", i + 1, n, f"t{rng.randint(0, 9)}")
        for s, n in enumerate(lengths)
        for i in range(n)
    ]
    expected: dict[str, list[str]] = {}
    for row in rows:
        expected.setdefault(row[0], []).append(row[3])
    rows += rows if again else []
    rng.shuffle(rows)
    for i in range(files):
        log(folder / "m", *rows[i::files], name=f"log_{i}.csv")
    receipt, dataset = ingested("mssd", folder / "m")
    assert sessions(dataset) == expected
    assert receipt.kept == sum(lengths)
    assert receipt.dropped == ({"session_position seen before": sum(lengths)} if again else {})


def test_sessions_in_pieces_are_joined_a_range_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spill, "_RANGE_ROWS", 7)
    monkeypatch.setattr(_spill, "_SCAN_ROWS", 5)
    rows = [mssd_row(f"s{s}", i + 1, 4, f"t{s * i}") for i in range(4) for s in range(6)]
    receipt, dataset = ingested("mssd", log(tmp_path, *rows))
    assert sessions(dataset) == {f"s{s}": [f"t{s * i}" for i in range(4)] for s in range(6)}
    assert list(sessions(dataset)) == dataset.listeners["uri"].to_pylist()
    assert (receipt.kept, receipt.dropped, receipt.notes) == (24, {}, {})


def test_rows_out_of_order_are_put_in_order_and_counted(tmp_path: Path) -> None:
    rows = [mssd_row("s", i, 3, f"t{i}") for i in (3, 1, 2)]
    receipt, dataset = ingested("mssd", log(tmp_path, *rows))
    assert sessions(dataset) == {"s": ["t1", "t2", "t3"]}
    assert receipt.notes == {"rows out of order of session_position": 1}


def test_of_two_rows_at_one_position_the_first_stays(tmp_path: Path) -> None:
    rows = [mssd_row("s", 1, 2, "a"), mssd_row("s", 2, 2, "b"), mssd_row("s", 2, 2, "c")]
    receipt, dataset = ingested("mssd", log(tmp_path, *rows))
    assert sessions(dataset) == {"s": ["a", "b"]}
    assert receipt.dropped == {"session_position seen before": 1}


def test_a_session_with_gaps_is_kept_in_order_and_noted(tmp_path: Path) -> None:
    rows = [mssd_row("s", i, 20, f"t{i}") for i in (2, 5, 20)]
    receipt, dataset = ingested("mssd", log(tmp_path, *rows, mssd_row("u", 1, 1, "t1")))
    assert sessions(dataset) == {"s": ["t2", "t5", "t20"], "u": ["t1"]}
    assert receipt.notes == {"sessions of fewer rows than session_length": 1}


def test_times_rise_in_a_session_even_where_hours_go_back(tmp_path: Path) -> None:
    hours = [(15, 22), (15, 23), (15, 0), (16, 1)]
    rows = [
        mssd_row("s", i + 1, 4, "t", date=f"2018-07-{day}", hour_of_day=hour)
        for i, (day, hour) in enumerate(hours)
    ]
    before = mssd_row("u", 1, 1, "t", date="2018-07-01", hour_of_day=0)
    receipt, dataset = ingested("mssd", log(tmp_path, *rows, before))
    assert [row["time"] for row in rows_of(dataset)] == [
        datetime(2018, 7, 15, 22, 0, 0, tzinfo=UTC),
        datetime(2018, 7, 15, 23, 0, 1, tzinfo=UTC),
        datetime(2018, 7, 15, 23, 0, 2, tzinfo=UTC),
        datetime(2018, 7, 16, 1, 0, 3, tzinfo=UTC),
        datetime(2018, 7, 1, 0, 0, 0, tzinfo=UTC),
    ]
    assert receipt.notes == {"rows of an hour before that of the row before": 1}


# What is wrong


def test_rows_that_cannot_be_kept_are_counted_once(tmp_path: Path) -> None:
    wrong = [
        mssd_row("", 1, 3, "t"),
        mssd_row("s", 2, 3, ""),
        mssd_row("s", 0, 3, "t"),
        mssd_row("s", 1, 3, "t", session_position="first"),
        mssd_row("s", 1, 3, "t", session_position="-1"),
        mssd_row("s", 1, 3, "t", session_length=""),
        mssd_row("s", 4, 3, "t"),
        mssd_row("s", 1, 3, "t", date="yesterday"),
        mssd_row("s", 1, 3, "t", date="1969-12-31"),
        mssd_row("s", 1, 3, "t", hour_of_day=24),
        mssd_row("s", 1, 3, "t", hour_of_day=""),
        mssd_row("s", 1, 3, "t", skip_1="maybe"),
        mssd_row("s", 1, 3, "t", skip_2="", skip_3="2"),
        mssd_row("s", 1, 3, "t", skip_3="1"),
        mssd_row("s", 1, 3, "t", not_skipped="TRUE!"),
        ["s", "1"],
        [*mssd_row("s", 1, 3, "t"), "more"],
    ]
    odd = mssd_row("s", 2, 2, "u", hist_user_behavior_is_shuffle="?", skip_1="False")
    source = log(tmp_path, mssd_row("s", 1, 2, "t"), *wrong, odd)
    receipt, dataset = ingested("mssd", source)
    assert receipt.dropped == {
        "wrong number of columns": 2,
        "no session_id": 1,
        "no track_id_clean": 1,
        "session_position is not a number from 1": 3,
        "session_length is not a number from 1": 1,
        "session_position is beyond session_length": 1,
        "wrong date": 2,
        "wrong hour_of_day": 2,
        "skip_1 is not true or false": 1,
        "skip_2 is not true or false": 1,
        "skip_3 is not true or false": 1,
        "not_skipped is not true or false": 1,
    }
    assert (receipt.read, receipt.kept) == (19, 2)
    assert receipt.notes == {"hist_user_behavior_is_shuffle is not true or false": 1}
    assert sessions(dataset) == {"s": ["t", "u"]}


def test_sessions_of_one_track_and_of_skips_alone_are_kept(tmp_path: Path) -> None:
    skips = [mssd_row("skips", i, 3, "t", **SKIP) for i in (1, 2, 3)]
    receipt, dataset = ingested("mssd", log(tmp_path, mssd_row("one", 1, 1, "t"), *skips))
    assert (receipt.kept, receipt.dropped, receipt.notes) == (4, {}, {})
    assert sessions(dataset) == {"one": ["t"], "skips": ["t"] * 3}
    assert dataset.describe()["outcomes"]["skipped"] == 3


def test_a_session_whose_rows_are_all_wrong_is_no_listener(tmp_path: Path) -> None:
    source = log(tmp_path, mssd_row("s", 1, 1, ""), mssd_row("u", 1, 1, "t"))
    _, dataset = ingested("mssd", source)
    assert dataset.listeners["uri"].to_pylist() == ["u"]


def test_a_log_without_a_column_says_which(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(",".join(name for name in MSSD_LOG if name != "skip_2") + "\n")
    assert refusal(path) == (
        f"{path}: has no column skip_2: its first row is not the header of a session log;"
        " check that it is of this format"
    )


def test_a_log_without_a_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(",".join(mssd_row("s", 1, 1, "t")) + "\n")
    assert refusal(path).startswith(f"{path}: has no column session_id, track_id_clean, session_p")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text(",".join([*MSSD_LOG, "date"]) + "\n")
    assert refusal(path) == f"{path}: has the column date twice; rename one"


def test_features_alone_are_nothing_to_keep(tmp_path: Path) -> None:
    path = tmp_path / "tf_mini.csv"
    path.write_text("track_id,duration\nt,1\n")
    assert refusal(path).startswith(f"{path}: nothing to keep (rows read: 0);")


def test_a_tar_has_to_be_unpacked(tmp_path: Path) -> None:
    source = log(tmp_path / "m", mssd_row("s", 1, 1, "t"))
    with tarfile.open(tmp_path / "training_set.tar.gz", "w:gz") as archive:
        archive.add(source, "training_set/log_0.csv")
    path = tmp_path / "training_set.tar.gz"
    assert refusal(path) == f"{path}: is a tar archive; unpack it and name its folder"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_log_that_is_cut_off_is_refused(tmp_path: Path, pack: Any) -> None:
    rng = random.Random(0)
    rows = [mssd_row(f"s{rng.random()}", 1, 1, f"t{rng.random()}") for _ in range(3_000)]
    path = tmp_path / NAME
    path.write_bytes(pack(mssd_log(rows).encode())[:-500])
    assert refusal(path) == f"{path}: ends early: the packed data is cut off; get it again"


_FIELDS = st.sampled_from(["", "1", "2", "true", "x", "2018-07-15", "99999999999", '"', "é", "-1"])


@settings(max_examples=25)
@given(st.lists(st.dictionaries(st.sampled_from(MSSD_LOG), _FIELDS, max_size=2), max_size=12))
def test_the_receipt_adds_up_whatever_is_in_the_rows(
    tmp_path_factory: pytest.TempPathFactory, changes: list[dict[str, str]]
) -> None:
    rows = [mssd_row(f"s{i % 3}", i // 3 + 1, 9, "t") for i in range(len(changes) + 1)]
    for row, changed in zip(rows, changes, strict=False):
        for name, text in changed.items():
            row[MSSD_LOG.index(name)] = text
    receipt, dataset = ingested("mssd", log(tmp_path_factory.mktemp("mssd"), *rows))
    assert receipt.read == len(rows)
    assert receipt.kept == len(dataset.listens) >= 1
    assert sum(map(len, sessions(dataset).values())) == receipt.kept
