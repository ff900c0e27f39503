"""Frames become datasets by the rules of tables; tables of a dataset become frames."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import segue
from segue.data.dataset import Dataset
from segue.data.frames import gap_minutes
from segue.errors import DataError, UsageError

COLUMNS = {"listener": "user", "track": "item", "time": "ts", "outcome": "how"}


def plays(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """Plays in no order, some without an outcome, with names and a column of no role."""
    rng = np.random.default_rng(seed)
    item = rng.integers(0, 12, rows)
    seconds = 1_700_000_000 + rng.integers(0, 40_000, rows)
    return pd.DataFrame(
        {
            "user": [f"user {i}" for i in rng.integers(0, 4, rows)],
            "item": [f"spotify:track:{i}" for i in item],
            "ts": pd.to_datetime(seconds, unit="s"),
            "how": rng.choice(np.array(["finished", "skipped", None], object), rows),
            "artist": [f"Artist {i % 3}" for i in item],
            "plan": ["free"] * rows,
        }
    )


def ingested(frame: pd.DataFrame, folder: Path, gap: float | None, group: int = 50) -> Dataset:
    """What `segue ingest parquet` makes of the rows."""
    pq.write_table(pa.table(frame), folder / "plays.parquet", row_group_size=group)
    settings = {"gap_minutes": gap or 0}
    segue.ingest(
        "parquet", folder / "plays.parquet", folder / "data", columns=COLUMNS, settings=settings
    )
    return Dataset.open(folder / "data")


FRAMES = {
    "pandas": lambda frame: frame,
    "pandas, another index": lambda frame: frame.set_index(frame["plan"] + frame["item"]),
    "pandas, categories": lambda frame: frame.astype({"user": "category", "how": "category"}),
    "polars": pl.from_pandas,
    "polars, categories": lambda frame: pl.from_pandas(frame).cast({"item": pl.Categorical}),
    "Arrow": pa.table,
    "Arrow, batches": lambda frame: pa.RecordBatchReader.from_batches(
        pa.table(frame).schema, pa.table(frame).to_batches(7)
    ),
    "dict": lambda frame: {name: frame[name] for name in frame},
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("gap", [None, 30.0])
def test_a_frame_gives_the_dataset_that_ingesting_its_rows_gives(
    kind: str, gap: float | None, tmp_path: Path
) -> None:
    expected = ingested(plays(), tmp_path, gap)
    frame = FRAMES[kind](plays())
    dataset = Dataset.from_frame(frame, **COLUMNS, session_gap=gap)
    assert dataset.info.fingerprint == expected.info.fingerprint
    assert dataset.describe() == expected.describe()


def test_more_rows_than_a_batch_give_the_same_bytes(tmp_path: Path) -> None:
    frame = plays(150_000)
    expected = ingested(frame, tmp_path, 30.0, group=40_000)
    dataset = Dataset.from_frame(frame, **COLUMNS)
    assert dataset.info.fingerprint == expected.info.fingerprint


def listens(*minutes: float | None, **columns: list[Any]) -> dict[str, list[Any]]:
    times = [None if m is None else datetime.fromtimestamp(m * 60, UTC) for m in minutes]
    names = [f"t{i}" for i in range(len(minutes))]
    return {"listener": ["ada"] * len(names), "track": names, "time": times, **columns}


def sessions(dataset: Dataset) -> list[list[str]]:
    """Tracks of each session; those of no session are the last."""
    found: dict[Any, list[str]] = {}
    for row in dataset.to_arrow("listens").to_pylist():
        found.setdefault(row["session"], []).append(row["track"])
    return list(found.values())


def test_a_silence_longer_than_the_gap_ends_a_session() -> None:
    frame = listens(100, 0, 30, 60.5, None, 131)
    dataset = Dataset.from_frame(frame, session_gap="30min")
    assert sessions(dataset) == [["t1", "t2"], ["t3"], ["t0"], ["t5"], ["t4"]]
    assert dataset.listens["position"].to_pylist() == [0, 1, 0, 0, 0, None]
    assert sessions(Dataset.from_frame(frame, session_gap="2h")) == [
        ["t1", "t2", "t3", "t0", "t5"],
        ["t4"],
    ]


def test_the_silence_begins_where_the_play_ended() -> None:
    frame = listens(0, 40, 80, ms_played=[15 * 60_000, None, None])
    assert sessions(Dataset.from_frame(frame)) == [["t0", "t1"], ["t2"]]


def test_sessions_that_the_frame_has_are_not_cut() -> None:
    frame = listens(0, 100, 200, session=["a", "a", "b"])
    assert sessions(Dataset.from_frame(frame)) == [["t0", "t1"], ["t2"]]


def test_without_a_gap_or_times_there_are_no_sessions() -> None:
    frame = listens(0, 1)
    assert Dataset.from_frame(frame, session_gap=None).listens["session"].null_count == 2
    del frame["time"]
    assert Dataset.from_frame(frame).listens["session"].null_count == 2


@pytest.mark.parametrize(
    ("gap", "minutes"),
    [("30min", 30), ("90s", 1.5), ("2h", 120), ("1 d", 1440), (5, 5), (timedelta(hours=1), 60)],
)
def test_gaps_are_text_minutes_or_a_timedelta(gap: Any, minutes: float) -> None:
    assert gap_minutes(gap) == pytest.approx(minutes)


def test_listens_and_playlists_come_back_as_they_went() -> None:
    dataset = Dataset.from_frame(plays(), **COLUMNS)
    table = dataset.to_arrow("listens")
    assert Dataset.from_frame(table).to_arrow("listens").equals(table)
    lists = {"playlist": ["x", "y", "x"], "track": ["a", "b", "b"], "playlist_title": ["X"] * 3}
    dataset = Dataset.from_frame(lists)
    entries = dataset.to_arrow("playlist_tracks")
    assert entries.to_pydict() == {
        "playlist": ["x", "x", "y"],
        "playlist_title": ["X", "X", "X"],
        "position": [0, 1, 0],
        "track": ["a", "b", "b"],
    }
    assert Dataset.from_frame(entries).to_arrow("playlist_tracks").equals(entries)


def test_tables_are_frames_with_uris_and_words() -> None:
    frame = {"listener": [7], "track": [12], "outcome": [3], "title": ["Song"]}
    dataset = Dataset.from_frame(frame)
    (listen,) = dataset.to_frame("listens").to_dict("records")
    assert (listen["listener"], listen["track"], listen["outcome"]) == ("7", "12", "skipped")
    assert dataset.to_frame("tracks").loc[0, "title"] == "Song"
    assert dataset.to_frame("listeners")["uri"].tolist() == ["7"]
    assert len(dataset.to_frame("playlists")) == len(dataset.to_frame("audio")) == 0


def test_polars_reads_the_arrow_tables() -> None:
    table = pl.from_arrow(Dataset.from_frame(plays(), **COLUMNS).to_arrow("listens"))
    assert isinstance(table, pl.DataFrame)
    assert len(table) == 60


def test_a_split_gives_its_own_rows() -> None:
    dataset = Dataset.from_frame(plays(), **COLUMNS)
    half = np.arange(60) < 30
    training = dataset.keeping(listens=half)
    assert len(training.to_arrow("listens")) == 30
    assert "30 listens" in repr(training)


def test_the_repr_counts() -> None:
    dataset = Dataset.from_frame({"listener": ["a", "b"], "track": ["x", "x"]})
    assert repr(dataset) == "Dataset(1 tracks, 0 playlists, 2 listens of 2 listeners)"


def test_a_temporary_folder_lives_as_long_as_what_is_made_of_it(tmp_path: Path) -> None:
    dataset = Dataset.from_frame({"listener": ["a"], "track": ["x"]})
    path = dataset.path
    training = dataset.keeping()
    del dataset
    assert path.is_dir()
    assert training.tracks["uri"].to_pylist() == ["x"]
    del training
    assert not path.exists()


def test_a_path_keeps_the_dataset(tmp_path: Path) -> None:
    Dataset.from_frame({"listener": ["a"], "track": ["x"]}, path=tmp_path / "data")
    assert repr(Dataset.open(tmp_path / "data")).endswith(f", {str(tmp_path / 'data')!r})")


def test_rows_that_are_left_out_are_a_warning_with_their_reasons() -> None:
    frame = {
        "listener": ["a", "a", None],
        "track": ["x", "y", "z"],
        "outcome": ["skipped", "ok", 1],
    }
    frame["outcome"][2] = None
    with pytest.warns(
        UserWarning, match=r"2 of 3 rows are left out .*outcomes are: unknown"
    ) as found:
        Dataset.from_frame(frame)
    assert found[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Dataset.from_frame({"listener": ["a"], "track": ["x"]})


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (5, "frame is int"),
        ("plays.parquet", "frame is str"),
        (None, "frame is NoneType"),
        ([{"listener": 1}], "frame is list"),
        (pl.LazyFrame({"track": ["x"]}), "frame is polars.LazyFrame; collect it first"),
        ({"listener": ["a"], "track": ["x", "y"]}, "not a table of columns"),
        ({"track": ["x"]}, "neither a playlist nor a listener column"),
        ({"listener": ["a"]}, "no column is mapped to the role track"),
        ({"listener": ["a"], "track": [[1]]}, "cannot be the track"),
    ],
)
def test_what_is_no_frame_is_told_in_one_line(frame: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Dataset.from_frame(frame)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"listener": "nobody"}, "has no column 'nobody'; its columns are user"),
        ({"track": 3}, "track is int"),
        ({"mood": "plan"}, "no parameter 'mood'; roles are: listener"),
        ({"session_gap": "soon"}, "session_gap is 'soon'"),
        ({"session_gap": "-1min"}, "session_gap is '-1min'"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Dataset.from_frame(plays(), **{**COLUMNS, **given})


def test_nothing_to_keep_says_which_outcomes_there_are() -> None:
    frame = {"listener": ["a"], "track": ["x"], "outcome": ["loved"]}
    with pytest.raises(DataError, match=r"wrong value in outcome: 1\); outcomes are: unknown, fin"):
        Dataset.from_frame(frame)


@pytest.mark.parametrize("name", ["entries", "", None])
def test_an_unknown_table_is_told_with_those_there_are(name: Any) -> None:
    with pytest.raises(UsageError, match="tables are: tracks, playlists"):
        Dataset.from_frame({"listener": ["a"], "track": ["x"]}).to_arrow(name)
