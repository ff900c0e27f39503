"""The readers of tables: CSV, Parquet, Taste Profile."""

from __future__ import annotations

import gzip
import random
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reader_cases import ingested, uris

from segue.data.dataset import Dataset
from segue.data.ingestion import external_sort as _spill
from segue.data.ingestion.external_sort import Spill
from segue.data.ingestion.ingest import ingest
from segue.data.schema import Outcome
from segue.errors import DataError, SegueError, UsageError


def refusal(format: str, source: Path, columns: dict[str, str] | None = None) -> SegueError:
    with pytest.raises(SegueError) as error:
        ingest(format, [source], source.parent / "dataset", columns=columns)
    assert not list(source.parent.glob("*dataset*"))
    assert "\n" not in str(error.value)
    return error.value


def csv(folder: Path, text: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def listens(dataset: Dataset) -> list[dict[str, Any]]:
    people, names = dataset.listeners["uri"].to_pylist(), dataset.tracks["uri"].to_pylist()
    return [
        {**row, "listener": people[row["listener"]], "track": names[row["track"]]}
        for row in dataset.listens.to_pylist()
    ]


# Playlists


def test_csv_playlists_sorted_by_position(tmp_path: Path) -> None:
    source = csv(
        tmp_path,
        "playlist,position,track,playlist_title,artist,ignored\n"
        'p,2,c,,"A, and\nB",1\n'
        "q,1,a,Q,A,1\n"
        "p,0,a,P,A,1\n"
        "p,,d,other,A,1\n"
        "p,1,b,P,A,1\n",
    )
    receipt, dataset = ingested("csv", source)
    assert (receipt.read, receipt.kept, receipt.unit) == (5, 5, "rows")
    assert dataset.playlists["uri"].to_pylist() == ["p", "q"]
    assert dataset.titles == ["P", "Q"]
    assert uris(dataset) == [["a", "b", "c", "d"], ["a"]]
    assert dataset.tracks["artist"].to_pylist() == ["A, and\nB", "A", "A", "A"]


def test_roles_are_mapped_to_columns_of_other_names(tmp_path: Path) -> None:
    source = csv(tmp_path, "Track URI\tName\tList\ttitle\nt1\tOne\tmine\tnot this\n", "x.tsv")
    columns = {"track": "Track URI", "playlist": "List", "title": "Name", "playlist_title": "List"}
    _, dataset = ingested("csv", source, columns)
    assert dataset.tracks["title"].to_pylist() == ["One"]
    assert dataset.titles == ["mine"]


def test_a_mapped_owner_decides_what_the_rows_are(tmp_path: Path) -> None:
    source = csv(tmp_path, "playlist,listener,track\np,l,t\n")
    assert "both a playlist and a listener column is mapped" in str(refusal("csv", source))
    _, dataset = ingested("csv", source, {"listener": "listener"})
    assert (dataset.playlist_count, dataset.listener_count) == (0, 1)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"song": "b"}, "a table of playlists has no role 'song'; use one of playlist, playlist_t"),
        ({"plays": "b"}, "a table of playlists has no role 'plays'; use one of playlist, pla"),
        ({"track": "z"}, "{source}: has no column 'z'; its columns are playlist, b"),
        ({}, "{source}: no column is mapped to the role track; its columns are playlist, b; map"),
    ],
)
def test_a_mapping_that_does_not_fit_lists_what_there_is(
    tmp_path: Path, columns: dict[str, str], says: str
) -> None:
    source = csv(tmp_path, "playlist,b\np,t\n")
    error = refusal("csv", source, columns)
    assert isinstance(error, UsageError)
    assert str(error).startswith(says.format(source=source))


def test_a_table_of_neither_playlists_nor_listens(tmp_path: Path) -> None:
    source = csv(tmp_path, "a,b\n1,2\n")
    assert str(refusal("csv", source)) == (
        f"{source}: neither a playlist nor a listener column is mapped; its columns are a, b;"
        " map one: playlist=COLUMN or listener=COLUMN"
    )


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    source = csv(tmp_path, "playlist,track,track\np,t,u\n")
    assert "has the column 'track' twice" in str(refusal("csv", source))


# Listens


LISTENS = (
    "listener,session,time,track,outcome,plays,ms_played\n"
    "ann,s2,2020-01-02T00:00:00Z,t1,Skipped,,900\n"
    "bob,s1,2020-01-01 12:00:00,t2,1,2,\n"
    "ann,s1,2020-01-01T01:00:10+01:00,t2,,,\n"
    "ann,s1,1577836800,t3,partial,3,\n"
    "ann,,1577836800500,t3,disliked,1,\n"
)


def test_listens_are_sorted_by_listener_session_and_time(tmp_path: Path) -> None:
    _, dataset = ingested("csv", csv(tmp_path, LISTENS))
    rows = [
        (r["listener"], r["session"], r["position"], r["track"], Outcome(r["outcome"]), r["plays"])
        for r in listens(dataset)
    ]
    assert rows == [
        ("ann", 0, 0, "t3", Outcome.PARTIAL, 3),
        ("ann", 0, 1, "t2", Outcome.UNKNOWN, 1),
        ("ann", None, None, "t3", Outcome.DISLIKED, 1),
        ("ann", 1, 0, "t1", Outcome.SKIPPED, 1),
        ("bob", 2, 0, "t2", Outcome.FINISHED, 2),
    ]
    times = [r["time"] for r in listens(dataset)]
    assert times == [
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime(2020, 1, 1, 0, 0, 10, tzinfo=UTC),
        datetime(2020, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
        datetime(2020, 1, 2, tzinfo=UTC),
        datetime(2020, 1, 1, 12, tzinfo=UTC),
    ]
    assert [r["ms_played"] for r in listens(dataset)] == [None, None, None, 900, None]
    assert dataset.describe()["sessions"] == 3


def test_position_goes_before_time_and_is_numbered_from_0(tmp_path: Path) -> None:
    source = csv(
        tmp_path,
        "listener,session,position,time,track\n"
        "a,1,20,1000,y\na,1,10,2000,x\na,2,1,500,w\na,1,30,,z\n",
    )
    _, dataset = ingested("csv", source)
    assert [(r["track"], r["session"], r["position"]) for r in listens(dataset)] == [
        ("w", 0, 0),
        ("x", 1, 0),
        ("y", 1, 1),
        ("z", 1, 2),
    ]


def test_rows_that_cannot_be_kept_are_counted_once(tmp_path: Path) -> None:
    source = csv(
        tmp_path,
        "listener,track,time,outcome,plays,ms_played,duration_ms\n"
        "a,good,,,,,\n"
        "a,,,,,,\n"
        ",t,,,,,\n"
        "a,t,yesterday,,,,\n"
        "a,t,,loved,,,\n"
        "a,t,,7,,,\n"
        "a,t,,,0,,\n"
        "a,t,,,many,-1,\n"
        "a,t,,,,-1,\n"
        "a,t,,,,1.5,\n"
        "a,t,,,,,99999999999\n"
        "a,t\n"
        "a,t,,,,,,,,,\n"
        "a,good,,,3.0, 7 ,+8\n",
    )
    receipt, dataset = ingested("csv", source)
    assert receipt.dropped == {
        "no track": 1,
        "no listener": 1,
        "wrong value in time": 1,
        "wrong value in outcome": 2,
        "wrong value in plays": 2,
        "wrong value in ms_played": 2,
        "wrong value in duration_ms": 1,
        "wrong number of columns": 2,
    }
    assert (receipt.read, receipt.kept) == (14, 2)
    assert dataset.track_count == 1
    assert [(r["plays"], r["ms_played"]) for r in listens(dataset)] == [(1, None), (3, 7)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"listener,track\n" + b"a,b\n" * 99_999 + b"a,\xff\n", "is not UTF-8 ("),
        (b"\xff\xfe\n", "is not UTF-8 ("),
        (
            gzip.compress(b"listener,track\n" + b"a,b\n" * 9999, mtime=0)[:-20],
            "ends early: the packed data",
        ),
        (b"listener,track\n", "nothing to keep (rows read: 0); check"),
    ],
)
def test_a_csv_that_cannot_be_read(tmp_path: Path, content: bytes, says: str) -> None:
    source = tmp_path / "rows.csv"
    source.write_bytes(content)
    error = refusal("csv", source)
    assert isinstance(error, DataError)
    assert str(error).startswith(f"{source}: {says}")


def test_an_outcome_that_became_a_float_is_still_its_number(tmp_path: Path) -> None:
    source = csv(tmp_path, "listener,track,outcome\na,t,3.0\na,t, 1. \na,t,3.5\na,t,Skipped.0\n")
    receipt, dataset = ingested("csv", source)
    assert dataset.listens["outcome"].to_pylist() == [Outcome.SKIPPED, Outcome.FINISHED]
    assert receipt.dropped == {"wrong value in outcome": 2}


def test_times_in_microseconds_and_out_of_the_years(tmp_path: Path) -> None:
    source = csv(tmp_path, "listener,track,time\na,t,1577836800000000\na,t,-5\na,t,20200230\n")
    receipt, dataset = ingested("csv", source)
    assert dataset.listens["time"].to_pylist() == [datetime(2020, 1, 1, tzinfo=UTC)]
    assert receipt.dropped == {"time out of 1970 to 2200": 1, "wrong value in time": 1}


def test_names_with_blanks_are_quoted_in_messages(tmp_path: Path) -> None:
    error = refusal("csv", csv(tmp_path, "Track URI,a\nt,b\n"))
    assert "its columns are 'Track URI', a;" in str(error)


def test_files_of_playlists_and_of_listens_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    csv(tmp_path / "s", "playlist,track\np,t\n", "a.csv")
    csv(tmp_path / "s", "listener,track\np,t\n", "b.csv")
    error = refusal("csv", tmp_path / "s")
    assert "b.csv: has listeners where the files before have playlists" in str(error)


# Parquet


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    _, from_csv = ingested("csv", csv(tmp_path, LISTENS))
    seconds = [1577923200, 1577880000, 1577836810, 1577836800, 1577836800.5]
    table = pa.table(
        {
            "who": pa.array(["ann", "bob", "ann", "ann", "ann"]).dictionary_encode(),
            "session": pa.array([2, 1, 1, 1, None], pa.int64()),
            "time": pa.array([round(s * 1e6) for s in seconds], pa.timestamp("us")),
            "track": pa.array(["t1", "t2", "t2", "t3", "t3"], pa.large_string()),
            "outcome": pa.array([3, 1, 0, 2, 4], pa.int8()),
            "plays": [None, 2.0, float("nan"), 3.0, 1.0],
            "ms_played": [900, None, None, None, None],
            "unused": [[1]] * 5,
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    receipt, dataset = ingested("parquet", tmp_path / "rows.parquet", {"listener": "who"})
    assert receipt.kept == 5
    assert listens(dataset) == listens(from_csv)


def test_parquet_of_columns_that_cannot_be(tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"listener": ["a"], "track": [[1.5]]}), source)
    error = refusal("parquet", source)
    assert isinstance(error, UsageError)
    assert "a column of type list<element: double> cannot be the track; map another" in str(error)


def test_parquet_that_is_damaged_or_packed(tmp_path: Path) -> None:
    source = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"listener": ["a"] * 999, "track": ["t"] * 999}), source)
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.write(source, "rows.parquet")
    assert "rows.zip: rows.parquet: Parquet is not read from a zip; unpack it" in str(
        refusal("parquet", tmp_path / "rows.zip")
    )
    source.write_bytes(source.read_bytes()[:-9])
    assert str(refusal("parquet", source)).startswith(f"{source}: is not readable Parquet (")


# Taste Profile


def test_taste_profile_of_users_in_pieces(tmp_path: Path) -> None:
    source = tmp_path / "train_triplets.txt"
    source.write_text('u2\ts1\t3\nu1\ts1\t1\nu2\t"s2\t2\nu1\ts3\t40\n')
    receipt, dataset = ingested("taste-profile", source)
    assert (receipt.read, receipt.kept, receipt.unit) == (4, 4, "rows")
    assert [(r["listener"], r["track"], r["plays"], r["outcome"]) for r in listens(dataset)] == [
        ("u2", "s1", 3, Outcome.UNKNOWN),
        ("u2", '"s2', 2, Outcome.UNKNOWN),
        ("u1", "s1", 1, Outcome.UNKNOWN),
        ("u1", "s3", 40, Outcome.UNKNOWN),
    ]
    assert dataset.listens["session"].null_count == 4
    assert dataset.plays().toarray().tolist() == [[3, 2, 0], [1, 0, 40]]


def test_taste_profile_rows_that_cannot_be_kept(tmp_path: Path) -> None:
    source = tmp_path / "train_triplets.txt"
    source.write_text(
        "u\ts\t1\nu\ts\nu\ts\t1\t2\n\ts\t1\nu\t\t1\nu\ts\t0\nu\ts\t-1\nu\ts\tx\nu\ts\t\n"
        "u\ts\t1.5\nu\ts\t9999999999\n"
    )
    receipt, _ = ingested("taste-profile", source)
    assert receipt.dropped == {
        "wrong number of columns": 2,
        "no user or no song": 2,
        "plays is not a positive number": 6,
    }


def test_taste_profile_packed(tmp_path: Path) -> None:
    rows = b"u\ts\t1\n" * 1000
    with zipfile.ZipFile(tmp_path / "train_triplets.txt.zip", "w") as archive:
        archive.writestr("train_triplets.txt", rows)
    (tmp_path / "train_triplets.txt.gz").write_bytes(gzip.compress(rows))
    for name in ("train_triplets.txt.zip", "train_triplets.txt.gz"):
        receipt, _ = ingested("taste-profile", tmp_path / name)
        assert receipt.kept == 1000


def test_taste_profile_real(real_data: Path, tmp_path: Path) -> None:
    receipt = ingest("taste-profile", [real_data / "taste_profile"], tmp_path / "dataset")
    dataset = Dataset.open(tmp_path / "dataset")
    raw = gzip.decompress((real_data / "taste_profile" / "train_triplets.txt.gz").read_bytes())
    rows = [line.split("\t") for line in raw.decode().splitlines()]
    assert receipt.kept == len(rows)
    assert [(r["listener"], r["track"], str(r["plays"])) for r in listens(dataset)] == [
        tuple(row) for row in rows
    ]


# Spilled rows


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=60),
    st.integers(1, 9),
    st.integers(1, 20),
    st.booleans(),
)
def test_spilled_rows_come_back_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int]],
    most: int,
    batch: int,
    ordered: bool,
) -> None:
    folder = tmp_path_factory.mktemp("spill")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_spill, "_RANGE_ROWS", most)
        patch.setattr(_spill, "_SCAN_ROWS", most)
        with Spill(folder, {"owner": np.int32, "key": np.int64, "row": np.int32}) as spill:
            for start in range(0, len(rows), batch):
                part = np.array(rows[start : start + batch]).reshape(-1, 2)
                number = np.arange(start, start + len(part))
                spill.append({"owner": part[:, 0], "key": part[:, 1], "row": number})
            given_back = list(spill.by_owner(["key"] if ordered else []))
    assert not list(folder.iterdir())
    got = [
        (int(owner), int(row))
        for first, last, columns in given_back
        for owner, row in zip(columns["owner"], columns["row"], strict=True)
        if first <= owner < last
    ]
    keyed = [(owner, key if ordered else 0, i) for i, (owner, key) in enumerate(rows)]
    assert got == [(owner, i) for owner, _, i in sorted(keyed)]


def test_an_order_of_rows_does_not_change_the_plays(tmp_path: Path) -> None:
    lines = [f"u{i % 7}\ts{i}\t{i % 3 + 1}\n" for i in range(200)]
    plays = []
    for seed in range(2):
        random.Random(seed).shuffle(lines)
        source = tmp_path / f"{seed}_triplets.txt"
        source.write_text("".join(lines))
        _, dataset = ingested("taste-profile", source)
        plays.append(sorted((r["listener"], r["track"], r["plays"]) for r in listens(dataset)))
    assert plays[0] == plays[1]


def test_parquet_text_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    offsets = pa.py_buffer(np.array([0, 2, 4], np.int32))
    bad = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"\xff\xfeab")])
    for column in (bad, bad.dictionary_encode()):
        pq.write_table(pa.table({"playlist": ["p", "q"], "track": column}), tmp_path / "x.parquet")
        assert str(refusal("parquet", tmp_path / "x.parquet")).startswith(
            f"{tmp_path / 'x.parquet'}: is damaged ("
        )


def test_parquet_types_that_arrow_computes_little_with(tmp_path: Path) -> None:
    table = {
        "playlist": pa.array(["p", "p", "p"], pa.string_view()),
        "track": pa.array(["a", "b", "c"], pa.string_view()),
        "position": pa.array(np.array([3, 1, 2], np.float16)),
    }
    try:
        pq.write_table(pa.table(table), tmp_path / "x.parquet")
    except pa.ArrowNotImplementedError:  # an older pyarrow neither writes nor reads views
        plain = {**table, "playlist": ["p", "p", "p"], "track": ["a", "b", "c"]}
        pq.write_table(pa.table(plain), tmp_path / "x.parquet")
    _, dataset = ingested("parquet", tmp_path / "x.parquet")
    assert uris(dataset) == [["b", "c", "a"]]


def test_parquet_numbers_beyond_63_bits_are_wrong_not_negative(tmp_path: Path) -> None:
    position = pa.array([2**64 - 1, 5], pa.uint64())
    table = {"playlist": ["p", "p"], "track": ["a", "b"], "position": position}
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    receipt, dataset = ingested("parquet", tmp_path / "x.parquet")
    assert receipt.dropped == {"wrong value in position": 1}
    assert uris(dataset) == [["b"]]


def test_parquet_with_a_column_whose_name_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"playlist": ["p"], "trackxyz": ["a"]}), file, store_schema=False)
    file.write_bytes(file.read_bytes().replace(b"trackxyz", b"track\xff\xff\xff"))
    assert "is not readable Parquet" in str(refusal("parquet", file))


def test_a_gap_cuts_sessions_where_a_table_has_none(tmp_path: Path) -> None:
    rows = "listener,track,time\nada,c,7200\nada,a,0\nben,a,60\nada,b,1800\nada,d,\n"
    source = csv(tmp_path, rows)
    receipt = ingest("csv", source, tmp_path / "data", settings={"gap_minutes": 30})
    found = listens(Dataset.open(tmp_path / "data"))
    assert [(row["session"], row["position"]) for row in found] == [
        *((0, 0), (0, 1), (1, 0)),
        (None, None),
        (2, 0),
    ]
    assert receipt.settings == {"gap_minutes": 30.0}


def test_without_a_gap_the_receipt_and_the_sessions_are_as_before(tmp_path: Path) -> None:
    receipt = ingest("csv", csv(tmp_path, "listener,track,time\nada,a,0\n"), tmp_path / "data")
    assert receipt.settings == {}
    assert listens(Dataset.open(tmp_path / "data"))[0]["session"] is None


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("playlist,track", "playlists have no sessions"),
        ("listener,track", "no column is mapped to the role time"),
        ("listener,track,time,session", "the column 'session' has the sessions"),
    ],
)
def test_a_gap_that_cannot_cut_is_refused(tmp_path: Path, header: str, words: str) -> None:
    source = csv(tmp_path, f"{header}\n{','.join('1' * len(header.split(',')))}\n")
    with pytest.raises(UsageError, match=words):
        ingest("csv", source, tmp_path / "data", settings={"gap_minutes": 30})
    assert not (tmp_path / "data").exists()
