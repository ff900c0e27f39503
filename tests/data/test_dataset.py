"""The dataset folder: writing in a stream, opening with checks, the views models learn from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segue.audio.files import AudioFile
from segue.data import writer as module
from segue.data.dataset import Dataset
from segue.data.receipt import Receipt
from segue.data.schema import DATASET_VERSION, TABLES, Outcome
from segue.data.writer import writing_dataset
from segue.errors import DataError

GOLDEN = Path(__file__).parents[1] / "golden"


def write(folder: Path) -> Path:
    """Two playlists, two listeners, four tracks."""
    with writing_dataset(folder) as writer:
        names = ["a", "b", "a", "c"]
        rows = writer.track_ids(names, lambda i: (names[i].upper(), *[None] * 6))
        assert rows == [0, 1, 0, 2]
        writer.add_playlists({"uri": ["p", "q"], "title": ["P", None]}, [3, 1], rows)
        [d] = writer.track_ids(["d"], lambda i: ["D", *[None] * 6])
        writer.add("listeners", {"uri": ["l", "m"]})
        writer.add(
            "listens",
            {
                "listener": [0, 0, 1],
                "session": [0, 0, None],
                "position": [0, 1, None],
                "track": [0, d, 1],
                "outcome": [int(Outcome.FINISHED), int(Outcome.SKIPPED), int(Outcome.UNKNOWN)],
                "plays": [1, 1, 5],
            },
        )
        writer.add(
            "audio",
            {
                "track": [1, d],
                "file": ["/music/b.flac", "audio/d.flac"],
                "sha256": ["b" * 64, "d" * 64],
            },
        )
        receipt = Receipt(format="test", unit="playlists")
        receipt.keep(2)
        receipt.drop("not good", 3)
        writer.finish([receipt], simulated=True)
    return folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    dataset = Dataset.open(write(tmp_path / "d"))
    assert (dataset.track_count, dataset.playlist_count, dataset.listener_count) == (4, 2, 2)
    assert dataset.titles == ["P", None]
    assert dataset.tracks["title"].to_pylist() == ["A", "B", "C", "D"]
    assert dataset.entries.tolist() == [0, 1, 0, 2]
    assert dataset.entry_playlists.tolist() == [0, 0, 0, 1]
    assert dataset.offsets.tolist() == [0, 3, 4]
    assert dataset.info.simulated
    [source] = dataset.info.sources
    assert (source.read, source.kept, source.dropped) == (5, 2, {"not good": 3})


def test_a_dataset_of_before_has_no_evidence_and_opens(tmp_path: Path) -> None:
    path = write(tmp_path / "d") / "listens.parquet"
    evidence = ["reason_start", "reason_end", "flags"]
    pq.write_table(pq.read_table(path).drop_columns(evidence), path)
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.listens.schema == TABLES["listens"]
    assert all(dataset.listens[name].null_count == 3 for name in evidence)
    assert dataset.listens["plays"].to_pylist() == [1, 1, 5]


def test_plays_count_what_was_not_skipped(tmp_path: Path) -> None:
    plays = Dataset.open(write(tmp_path / "d")).plays()
    assert plays.toarray().tolist() == [[2, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 5, 0, 0]]
    assert plays.has_canonical_format


def test_keeping_some_rows_leaves_playlists_and_tracks_in_place(tmp_path: Path) -> None:
    dataset = Dataset.open(write(tmp_path / "d"))
    part = dataset.keeping(np.array([0, 1, 0, 1], bool), np.array([0, 1, 1], bool))
    assert part.entries.tolist() == [1, 2]
    assert part.offsets.tolist() == [0, 1, 2]
    assert len(part.listens) == 2
    assert part.plays().toarray().tolist() == [
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
        [0, 5, 0, 0],
    ]


def test_hidden_titles_stay_hidden_and_the_rest_stays(tmp_path: Path) -> None:
    dataset = Dataset.open(write(tmp_path / "d"))
    part = dataset.narrowed(np.array([1, 1, 1, 0], bool)).without_titles(np.array([0], np.int32))
    assert part.titles == [None, None]
    assert part.without_titles(np.array([], np.int32)).titles == [None, None]
    assert part.entries.tolist() == [0, 1, 0]
    assert dataset.without_titles(np.array([1], np.int32)).titles == dataset.titles == ["P", None]


def test_describe(tmp_path: Path) -> None:
    assert Dataset.open(write(tmp_path / "d")).describe() == {
        "tracks": 4,
        "playlists": 2,
        "playlist_tracks": 4,
        "listeners": 2,
        "sessions": 1,
        "listens": 3,
        "outcomes": {"unknown": 1, "finished": 1, "partial": 0, "skipped": 1, "disliked": 0},
        "audio": 2,
    }


def test_sound_files_are_those_of_their_tracks(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    assert Dataset.open(folder).audio_files() == [
        AudioFile(1, Path("/music/b.flac"), "b" * 64),
        AudioFile(3, folder / "audio" / "d.flac", "d" * 64),
    ]


def test_a_split_keeps_the_sound(tmp_path: Path) -> None:
    dataset = Dataset.open(write(tmp_path / "d"))
    part = dataset.keeping(entries=np.zeros(4, np.bool_))
    assert part.audio_files() == dataset.audio_files()


def test_files_have_the_written_schema(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    for name, schema in TABLES.items():
        assert pq.read_schema(folder / f"{name}.parquet").equals(schema)


def test_batches_flow_to_disk_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 100)
    with writing_dataset(tmp_path / "d") as writer:
        for i in range(50):
            rows = writer.track_ids([f"t{i}", "t0"], lambda i: [None] * 7)
            writer.add_playlists({"uri": [f"p{i}"]}, [2], rows)
            assert sum(map(len, writer._pending.get("playlist_tracks", []))) < 9
        writer.finish([], simulated=False)
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.entries.tolist() == [t for i in range(50) for t in (i, 0)]
    assert dataset.tracks["uri"].to_pylist() == [f"t{i}" for i in range(50)]
    table = pq.read_table(tmp_path / "d" / "playlist_tracks.parquet")
    assert table["position"].to_pylist() == [0, 1] * 50


def test_a_value_that_does_not_fit_its_column_names_it(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"^playlists\.followers: "),
        writing_dataset(tmp_path / "d") as writer,
    ):
        writer.add("playlists", {"uri": ["p"], "followers": [2**40]})
    assert not list(tmp_path.iterdir())


def test_a_receipt_that_does_not_add_up_is_never_written(tmp_path: Path) -> None:
    receipt = Receipt(format="test", unit="rows", read=3, kept=1)
    with (
        pytest.raises(AssertionError, match="does not add up"),
        writing_dataset(tmp_path / "d") as writer,
    ):
        writer.finish([receipt], simulated=False)
    assert not list(tmp_path.iterdir())


# Opening what is damaged


def change_info(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "dataset.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def change_table(name: str, **columns: pa.Array) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / f"{name}.parquet"
        table = pq.read_table(path)
        for column, values in columns.items():
            table = table.set_column(table.column_names.index(column), column, values)
        pq.write_table(table, path)

    return change


def truncate(folder: Path) -> None:
    path = folder / "tracks.parquet"
    path.write_bytes(path.read_bytes()[:-5])


def flip_bytes(folder: Path) -> None:
    path = folder / "playlist_tracks.parquet"
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(b ^ 0x5A for b in content[4:60])
    path.write_bytes(content)


def int32(*values: int | None) -> pa.Array:
    return pa.array(values, pa.int32())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda d: (d / "dataset.json").unlink(),
            ": is not a dataset (no dataset.json); make one with segue ingest",
        ),
        (lambda d: (d / "dataset.json").write_text("{"), "/dataset.json: is not valid JSON ("),
        (lambda d: (d / "dataset.json").write_bytes(b'{"a": "\xff"}'), "/dataset.json: is not va"),
        (
            lambda d: (d / "dataset.json").write_text("[]"),
            "/dataset.json: is not the file of a segue dataset",
        ),
        (
            change_info(version=99),
            "/dataset.json: has version 99, this segue reads up to 1; use a newer segue",
        ),
        (change_info(rows=3), "/dataset.json: $.rows: expected an object, got a whole number"),
        (
            lambda d: (d / "tracks.parquet").unlink(),
            "/tracks.parquet: is missing; ingest again",
        ),
        (
            lambda d: (d / "listens.parquet").unlink(),
            "/listens.parquet: is missing; ingest again",
        ),
        (truncate, "/tracks.parquet: is not readable Parquet ("),
        (flip_bytes, "/playlist_tracks.parquet: is damaged ("),
        (
            change_table("playlists", followers=pa.array(["1", "2"])),
            "/playlists.parquet: followers: has type string, needs int32",
        ),
        (
            lambda d: pq.write_table(pa.table({"uri": ["x"]}), d / "playlists.parquet"),
            "/playlists.parquet: has no column title",
        ),
        (
            lambda d: pq.write_table(TABLES["playlists"].empty_table(), d / "playlists.parquet"),
            "/playlists.parquet: has 0 rows, dataset.json says 2; ingest again",
        ),
        (
            change_table("playlist_tracks", track=int32(0, 1, 0, 4)),
            "/playlist_tracks.parquet: track: points outside the table tracks",
        ),
        (
            change_table("playlist_tracks", track=int32(0, 1, 0, -1)),
            "/playlist_tracks.parquet: track: points outside the table tracks",
        ),
        (
            change_table("playlist_tracks", playlist=int32(0, 1, 0, 1)),
            "/playlist_tracks.parquet: playlist: is not in rising order",
        ),
        (
            change_table("listens", track=int32(0, None, 1)),
            "/listens.parquet: track: has nulls",
        ),
        (
            change_table("listens", listener=int32(0, 0, 2)),
            "/listens.parquet: listener: points outside the table listeners",
        ),
        (
            change_table("audio", track=int32(1, 4)),
            "/audio.parquet: track: points outside the table tracks",
        ),
        (
            change_table("audio", track=int32(1, 1)),
            "/audio.parquet: track: has a value twice",
        ),
        (
            change_table("audio", track=int32(3, 1)),
            "/audio.parquet: track: is not in rising order",
        ),
    ],
)
def test_opening_what_is_damaged_says_where(
    tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    folder = write(tmp_path / "d")
    damage(folder)
    with pytest.raises(DataError) as error:
        Dataset.open(folder)
    assert str(error.value).startswith(f"{folder}{says}")
    assert "\n" not in str(error.value)


def change(folder: Path, table: str, column: str, values: pa.Array) -> None:
    file = folder / f"{table}.parquet"
    rows = pq.read_table(file)
    at = rows.schema.get_field_index(column)
    pq.write_table(rows.set_column(at, column, values), file)


def test_describe_counts_outcomes_that_do_not_exist_nowhere(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    change(folder, "listens", "outcome", pa.array([77, 1, 1], pa.int8()))
    assert Dataset.open(folder).describe()["outcomes"] == {
        "unknown": 0,
        "finished": 2,
        "partial": 0,
        "skipped": 0,
        "disliked": 0,
    }


def test_a_required_column_with_nulls_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    change(folder, "tracks", "uri", pa.nulls(4, pa.string()))
    dataset = Dataset.open(folder)
    with pytest.raises(DataError, match=r"tracks\.parquet: uri: has nulls$"):
        _ = dataset.tracks


def test_text_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    offsets = pa.py_buffer(np.arange(3, dtype=np.int32))
    wild = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"\xff\xfe")])
    change(folder, "playlists", "title", wild)
    dataset = Dataset.open(folder)
    with pytest.raises(DataError, match=r"playlists\.parquet: is damaged .*; ingest again$"):
        _ = dataset.titles


def test_damage_that_opening_does_not_reach_is_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    file = folder / "tracks.parquet"
    content = bytearray(file.read_bytes())
    content[4:40] = bytes(36)
    file.write_bytes(content)
    dataset = Dataset.open(folder)
    with pytest.raises(DataError, match=r"tracks\.parquet: is damaged"):
        _ = dataset.tracks


def test_a_column_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    rows = pq.read_table(folder / "tracks.parquet")
    pq.write_table(rows.append_column("title", rows["title"]), folder / "tracks.parquet")
    with pytest.raises(DataError, match="has more than one column title"):
        Dataset.open(folder)


def test_an_empty_dataset_need_not_say_that_it_is(tmp_path: Path) -> None:
    with writing_dataset(tmp_path / "d") as writer:
        writer.finish([], simulated=False)
    file = tmp_path / "d" / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rows": {}}))
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.plays().shape == (0, 0)
    assert dataset.describe()["tracks"] == 0


def golden() -> list[Path]:
    return sorted(path for path in GOLDEN.glob("dataset-v*") if path.is_dir())


def test_every_version_that_is_read_has_a_golden_dataset() -> None:
    named = {path.name for path in golden()}
    assert named == {f"dataset-v{number}" for number in range(1, DATASET_VERSION + 1)}


@pytest.mark.parametrize("path", golden(), ids=lambda path: path.name)
def test_a_golden_dataset_is_read_as_it_was_written(path: Path) -> None:
    dataset = Dataset.open(path)
    recorded = json.loads((GOLDEN / f"{path.name}.json").read_text(encoding="utf-8"))
    assert dataset.describe() == recorded["counts"]
    for name in ("tracks", "playlists", "listens"):
        rows = getattr(dataset, name).to_pylist()
        assert [[str(value) for value in row.values()] for row in rows] == recorded[name]
    assert dataset.entries.tolist() == recorded["entries"]
    assert dataset.offsets.tolist() == recorded["offsets"]


def test_a_version_that_never_was_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "d") / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 0}))
    with pytest.raises(DataError, match="has version 0"):
        Dataset.open(tmp_path / "d")


def test_a_column_whose_name_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / "d") / "listeners.parquet"
    rows = pq.read_table(file)
    pq.write_table(rows.append_column("wildest", pa.array(["x", "y"])), file, store_schema=False)
    file.write_bytes(file.read_bytes().replace(b"wildest", b"wild\xff\xff\xff"))
    with pytest.raises(DataError, match="is not readable Parquet"):
        Dataset.open(tmp_path / "d")
