"""Ingest as a whole: formats, receipts, replacing a dataset, and being killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reader_cases import playlist, write_slice

from segue.data.dataset import Dataset
from segue.data.ingestion.formats import FORMATS
from segue.data.ingestion.ingest import ingest
from segue.errors import DataError, UsageError


def test_every_format_says_what_it_reads_in_one_line() -> None:
    assert set(FORMATS) == {
        *("mpd", "mssd", "lfm-1k", "lfm-2b", "taste-profile", "spotify-history"),
        "scrobbler-log",
        "listenbrainz",
        "scrobbles",
        "youtube-music",
        "apple-music",
        "itunes",
        "tidal",
        "rekordbox",
        "traktor",
        *("m3u", "xspf", "jspf", "audio", "csv", "parquet", "feedback"),
    }
    for reader in FORMATS.values():
        assert reader.description
        assert "\n" not in reader.description


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_refuses_an_empty_folder_and_a_missing_file(
    tmp_path: Path, format: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: holds no .*; name another source"):
        ingest(format, [tmp_path / "empty"], tmp_path / "dataset")
    with pytest.raises(DataError, match="missing: no such file or folder; check the path"):
        ingest(format, [tmp_path / "missing"], tmp_path / "dataset")
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_refuses_bytes_that_are_of_none(tmp_path: Path, format: str) -> None:
    source = tmp_path / "noise"
    source.write_bytes(b"\x00\x01" + random.Random(0).randbytes(5000))
    with pytest.raises((DataError, UsageError)) as error:
        ingest(format, [source], tmp_path / "dataset")
    assert str(error.value).startswith(str(source))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert [p.name for p in tmp_path.iterdir()] == ["noise"]


def test_calls_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no format 'mp3'; use one of mpd, mssd, lfm-1k"):
        ingest("mp3", [tmp_path], tmp_path / "dataset")
    with pytest.raises(UsageError, match=r"no source; name MPD slices"):
        ingest("mpd", [], tmp_path / "dataset")
    with pytest.raises(UsageError, match="mpd has fixed columns: it takes no mapping"):
        ingest("mpd", [tmp_path], tmp_path / "dataset", columns={"track": "a"})
    with pytest.raises(UsageError, match="--set: mpd has no settings"):
        ingest("mpd", [tmp_path], tmp_path / "dataset", settings={"skip_seconds": 1})


def test_an_ingest_replaces_the_dataset_and_nothing_else(tmp_path: Path) -> None:
    source = write_slice(tmp_path / "mpd", 0, playlist(0, "a"))
    ingest("mpd", [source], tmp_path / "dataset")
    write_slice(tmp_path / "mpd", 0, playlist(0, "a"), playlist(1, "b"))
    ingest("mpd", [source], tmp_path / "dataset")
    assert Dataset.open(tmp_path / "dataset").playlist_count == 2
    with pytest.raises(DataError, match=r"exists and has no dataset.json: it is not replaced"):
        ingest("mpd", [source], tmp_path / "mpd")
    assert source.is_file()


def test_a_source_inside_the_dataset_is_not_replaced_with_it(tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    ingest("mpd", [write_slice(tmp_path / "source", 0, playlist(0, "a"))], dataset)
    inside = write_slice(dataset / "more", 0, playlist(0, "a", "b"))
    (tmp_path / "link").symlink_to(dataset / "more")
    for source in (inside, dataset, tmp_path / "link"):
        with pytest.raises(DataError, match=r"dataset: holds files that are read here"):
            ingest("mpd", [source], dataset)
        assert Dataset.open(dataset).track_count == 1
        assert any((dataset / "more").iterdir())


def test_a_failed_ingest_leaves_the_dataset_as_it_was(tmp_path: Path) -> None:
    source = write_slice(tmp_path / "mpd", 0, playlist(0, "a"))
    ingest("mpd", [source], tmp_path / "dataset")
    before = Dataset.open(tmp_path / "dataset").info
    (tmp_path / "mpd" / "mpd.slice.1000-1999.json").write_text('{"playlists": [')
    with pytest.raises(DataError, match="ends early"):
        ingest("mpd", [tmp_path / "mpd"], tmp_path / "dataset")
    assert Dataset.open(tmp_path / "dataset").info == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset", "mpd"]


def test_the_same_sources_give_the_same_fingerprint(tmp_path: Path) -> None:
    source = write_slice(tmp_path / "mpd", 0, playlist(0, "a", "b"), playlist(1, "b"))
    ingest("mpd", [source], tmp_path / "one")
    ingest("mpd", [source], tmp_path / "two")
    prints = [Dataset.open(tmp_path / name).info.fingerprint for name in ("one", "two")]
    assert prints[0] == prints[1]
    write_slice(tmp_path / "mpd", 0, playlist(0, "b", "a"), playlist(1, "b"))
    ingest("mpd", [source], tmp_path / "two")
    assert Dataset.open(tmp_path / "two").info.fingerprint != prints[0]


def test_progress_goes_to_stderr_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_slice(tmp_path / "mpd", 0, playlist(0, "a"))
    ingest("mpd", [source], tmp_path / "dataset", progress=True)
    assert capsys.readouterr().out == ""


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["good", "empty", "no uri", "no tracks"])),
        max_size=12,
    )
)
def test_receipts_add_up(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("receipts")
    made = {
        "good": lambda pid: playlist(pid, "a", "b"),
        "empty": lambda pid: playlist(pid),
        "no uri": lambda pid: {"pid": pid, "tracks": [{"track_name": "x"}]},
        "no tracks": lambda pid: {"pid": pid},
    }
    write_slice(folder / "mpd", 0, *(made[kind](pid) for pid, kind in rows))
    write_slice(folder / "mpd", 1000, playlist(1000, "z"))
    receipt = ingest("mpd", [folder / "mpd"], folder / "dataset")
    assert receipt.read == len(rows) + 1
    assert receipt.kept == len({pid for pid, kind in rows if kind == "good"}) + 1
    assert receipt.read == receipt.kept + sum(receipt.dropped.values())


# Killed

_CHILD = """
import os, signal, sys
from pathlib import Path
import segue.system.files
from segue.data.ingestion.ingest import ingest

source, dataset, step, exchange = sys.argv[1:]
left = int(step)

def dying(call):
    def counted(*args):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args)
    return counted

if left:
    segue.system.files._fsync = dying(segue.system.files._fsync)
    Path.rename = dying(Path.rename)
if exchange == "no":
    segue.system.files._exchange = lambda a, b: False
print("ready", flush=True)
ingest("mpd", [Path(source)], Path(dataset))
print("done", flush=True)
"""


@dataclass
class Replaced:
    """A dataset that is replaced by another, again and again."""

    sources: dict[str, Path]
    dataset: Path
    prints: dict[str, str]

    def start(self, step: int = 0, exchange: bool = True) -> subprocess.Popen[str]:
        """From the old dataset, begin to ingest the new one in a process that dies at a step."""
        ingest("mpd", [self.sources["old"]], self.dataset)
        arguments = [self.sources["new"], self.dataset, step, "yes" if exchange else "no"]
        running = subprocess.Popen(
            [sys.executable, "-c", _CHILD, *map(str, arguments)], stdout=subprocess.PIPE, text=True
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        return running

    def found(self) -> str:
        """What opens after the kill; another ingest works and leaves nothing beside it."""
        fingerprint = Dataset.open(self.dataset).info.fingerprint
        ingest("mpd", [self.sources["new"]], self.dataset)
        assert [p.name for p in self.dataset.parent.iterdir()] == ["dataset"]
        return self.prints[fingerprint]


@pytest.fixture(scope="module")
def replaced(tmp_path_factory: pytest.TempPathFactory) -> Replaced:
    folder = tmp_path_factory.mktemp("replaced")
    old = write_slice(folder / "old", 0, playlist(0, "a"))
    for first in range(0, 4000, 1000):
        made = [playlist(first + i, *(f"t{first}{i}{k}" for k in range(20))) for i in range(300)]
        write_slice(folder / "new", first, *made)
    sources = {"old": old, "new": folder / "new"}
    dataset = folder / "work" / "dataset"
    prints = {}
    for name, source in sources.items():
        ingest("mpd", [source], dataset)
        prints[Dataset.open(dataset).info.fingerprint] = name
    assert len(prints) == 2
    return Replaced(sources, dataset, prints)


def test_killed_at_random_moments(replaced: Replaced) -> None:
    running = replaced.start()
    begin = time.monotonic()
    assert running.wait() == 0
    whole = time.monotonic() - begin
    moments = random.Random(7)
    for _ in range(4):
        running = replaced.start()
        time.sleep(moments.uniform(0, whole))
        running.send_signal(signal.SIGKILL)
        running.wait()
        assert replaced.found() in ("old", "new")


@pytest.mark.parametrize(
    ("exchange", "step", "stands"),
    [
        # dataset.json and three tables are synced, the folder (5), then the names are exchanged,
        # and the parent is synced (6)
        (True, 1, "old"),
        (True, 5, "old"),
        (True, 6, "new"),
        # where names cannot be exchanged: old away (6), new in place (7), parent synced (8)
        (False, 6, "old"),
        (False, 7, "old"),
        (False, 8, "new"),
    ],
)
def test_killed_at_a_step_of_the_replacement(
    replaced: Replaced, exchange: bool, step: int, stands: str
) -> None:
    assert replaced.start(step, exchange).wait() == -signal.SIGKILL
    assert replaced.found() == stands
