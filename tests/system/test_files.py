"""Folders and files that are whole or not there, wherever they are asked for."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from segue.errors import DataError
from segue.system.files import recover, replacing_folder, shown, write_file

MARKER = "marker.json"
GONE = 2**22 + 1  # Linux numbers no process so high


def write(folder: Path, text: str = "new") -> None:
    with replacing_folder(folder, MARKER) as partial:
        (partial / MARKER).write_text(text)


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_a_link_to_a_folder_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/data")
    for text in ("one", "two"):
        write(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "elsewhere" / "data" / MARKER).read_text() == text
    assert not hidden(tmp_path)
    assert not hidden(tmp_path / "elsewhere")


def test_what_a_killed_writer_left_is_removed_whatever_the_name(tmp_path: Path) -> None:
    name = "[a]*?"
    (tmp_path / f".{name}.partial-{GONE}").mkdir()
    (tmp_path / f".{name}.partial-{10**30}").mkdir()
    write(tmp_path / name)
    assert not hidden(tmp_path)


def test_what_a_killed_writer_left_of_a_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".list.csv.partial-{GONE}").write_text("half")
    (tmp_path / f".list.csv.partial-{os.getppid()}").write_text("being written")
    write_file(tmp_path / "list.csv", "whole")
    assert hidden(tmp_path) == [f".list.csv.partial-{os.getppid()}"]


def test_the_current_folder_and_the_root_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data"
    write(place)
    monkeypatch.chdir(place)
    recover(Path())
    write(Path(), "newer")
    assert (place / MARKER).read_text() == "newer"
    recover(Path("/"))
    with pytest.raises(DataError, match=r"^/: exists and has no marker\.json"):
        write(Path("/"))


def test_a_mount_point_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path / "data")
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=r"is a mount point.*; name a folder in it"):
        write(tmp_path / "data")
    assert not hidden(tmp_path)


def test_a_full_disk_leaves_what_was_there_and_names_the_place(tmp_path: Path) -> None:
    def fill() -> None:
        with replacing_folder(tmp_path / "data", MARKER) as partial:
            (partial / MARKER).write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write(tmp_path / "data", "old")
    with pytest.raises(DataError, match=r"data: cannot be written \(.+\)$"):
        fill()
    assert (tmp_path / "data" / MARKER).read_text() == "old"
    assert not hidden(tmp_path)


def test_a_file_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"a\.csv: cannot write \(.+\)$"):
        write_file(tmp_path / "file" / "a.csv", "text")


def test_a_link_to_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_file(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_written_to_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_file(pipe, "text")
    assert os.read(reader, 10) == b"text"
    assert pipe.is_fifo()
    os.close(reader)


def test_names_that_are_not_utf_8_can_be_shown() -> None:
    assert shown(Path(os.fsdecode(b"caf\xe9/\xe6\x97\xa5"))) == "caf?/日"


def test_what_writes_itself_is_all_there_or_not_at_all(tmp_path):
    file = tmp_path / "a"
    write_file(file, lambda path: path.write_text("whole"))
    assert file.read_text() == "whole"

    def fails(path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DataError, match=r"a: cannot write \(.+\)$"):
        write_file(file, fails)
    assert file.read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
