"""Packed sources: limits, hostile zips, and what a folder stands for."""

from __future__ import annotations

import bz2
import gzip
import os
import random
import stat
import struct
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reader_cases import ingested, playlist, slice_text, uris, zstd

from segue.data.ingestion import archives, streams
from segue.data.ingestion.ingest import ingest
from segue.data.ingestion.sources import find
from segue.data.ingestion.streams import read
from segue.errors import DataError

NAME = "mpd.slice.0-999.json"
BOMB = b'{"playlists": [' + b" " * (8 << 20) + b"]}"


def refusal(source: Path) -> str:
    with pytest.raises(DataError) as error:
        ingest("mpd", [source], source.parent / "dataset")
    assert not (source.parent / "dataset").exists()
    assert not list(source.parent.glob(".dataset*"))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstd])
def test_a_packed_bomb_is_refused(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    source = tmp_path / NAME
    source.write_bytes(pack(BOMB))
    assert refusal(source) == (
        f"{source}: unpacks to more than 200 times its size, like a zip bomb;"
        " unpack it yourself if you trust it"
    )


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    source = tmp_path / "mpd.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, BOMB)
    assert refusal(source).startswith(f"{source}: unpacks to more than 200 times its size")


def test_a_bomb_packed_twice_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "mpd.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(f"{NAME}.gz", gzip.compress(BOMB))
    assert refusal(source).startswith(f"{source}: {NAME}.gz: unpacks to more than 200 times")


def test_what_packs_well_but_is_small_is_no_bomb(tmp_path: Path) -> None:
    source = tmp_path / NAME
    text = slice_text(playlist(0, "a")) + " " * (1 << 20)
    source.write_bytes(gzip.compress(text.encode()))
    _, dataset = ingested("mpd", source)
    assert uris(dataset) == [["spotify:track:a"]]


def test_a_file_larger_than_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_FILE_BYTES", 1000)
    source = tmp_path / NAME
    source.write_text(slice_text(playlist(0, *"abcdefghijklmno")))
    assert refusal(source).endswith("is larger than 9.31e-07 GiB; split it")


@pytest.mark.parametrize("name", ["../a", "/etc/a", "x/../../a", "C:/a", "..\\a"])
def test_a_zip_whose_members_leave_it_is_refused(tmp_path: Path, name: str) -> None:
    source = tmp_path / "mpd.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(NAME, slice_text(playlist(0, "a")))
        archive.writestr(zipfile.ZipInfo(name), "x")
    assert refusal(source) == f"{source}: {name}: is a path that leaves the zip"


def test_a_symlink_in_a_zip_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "mpd.zip"
    link = zipfile.ZipInfo(NAME)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert refusal(source) == f"{source}: {NAME}: is a symlink in a zip"


def test_a_zip_of_too_many_members_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    source = tmp_path / "mpd.zip"
    with zipfile.ZipFile(source, "w") as archive:
        for i in range(4):
            archive.writestr(f"{i}", "")
    assert refusal(source) == f"{source}: has 4 members, more than 3; unpack it"


def test_a_zip_in_a_zip_is_not_opened(tmp_path: Path) -> None:
    inner, source = tmp_path / "inner.zip", tmp_path / "mpd.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(NAME, slice_text(playlist(0, "a")))
    with zipfile.ZipFile(source, "w") as archive:
        archive.write(inner, "inner.zip")
    assert refusal(source).startswith(f"{source}: holds no MPD slices (mpd.slice.*.json")


def test_a_cut_off_zip_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "mpd.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(NAME, slice_text(playlist(0, "a")))
    source.write_bytes(source.read_bytes()[:-40])
    assert refusal(source) == f"{source}: is a damaged or cut off zip; get it again"


def test_a_flipped_byte_in_a_zip_member_is_found(tmp_path: Path) -> None:
    source = tmp_path / "mpd.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(NAME, slice_text(playlist(0, "a")))
    content = bytearray(source.read_bytes())
    content[content.index(b"playlist 0")] ^= 1
    source.write_bytes(content)
    said = refusal(source)
    assert said.startswith(f"{source}: {NAME}: cannot be read (")
    assert said.endswith("); get it again")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "mpd.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(NAME, slice_text(playlist(0, "a")))
    content = bytearray(source.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(content)
    assert refusal(source) == f"{source}: {NAME}: needs a password; unpack it"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "no such file or folder; check the path"),
        (Path.mkdir, "holds no MPD slices (mpd.slice.*.json, plain, .gz or .zst); name another"),
        (lambda p: p.write_bytes(os.urandom(0)), "ends early: the JSON is cut off"),
        (lambda p: p.write_bytes(b"\x89PNG"), "is not JSON ("),
    ],
)
def test_a_source_that_is_nothing_to_read_gives_one_line(  # type: ignore[no-untyped-def]
    tmp_path: Path, make, says: str
) -> None:
    source = tmp_path / "source"
    make(source)
    assert refusal(source).startswith(f"{source}: {says}")


def test_linked_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / NAME).write_text(slice_text(playlist(0, "a")))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "link").symlink_to(tmp_path / "elsewhere")
    assert "holds no MPD slices" in refusal(tmp_path / "source")


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 3), st.integers(0, 2**32))
def test_packed_bytes_come_back_or_are_refused_when_cut(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, frames: int, seed: int
) -> None:
    content = random.Random(seed).randbytes(50_000) + content
    path = tmp_path_factory.mktemp("packed") / "file"
    pack = [gzip.compress, bz2.compress, zstd][seed % 3]
    packed = b"".join(pack(content) for _ in range(frames + 1))
    path.write_bytes(packed)
    with ExitStack() as stack:
        [source] = find([path], lambda _: True, "files", stack)
        assert read(source) == content * (frames + 1)
        path.write_bytes(packed[: -1 - seed % 4])
        with pytest.raises(DataError, match="ends early"):
            read(source)


def unpacked(path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    with ExitStack() as stack:
        [source] = find([path], lambda _: True, "files", stack)
        return bytes(read(source))


SKIPPED = struct.pack("<II", 0x184D2A50, 5) + b"notes"
"""A frame of zstd that readers pass over."""


@pytest.mark.parametrize(
    ("frames", "whole"),
    [
        ([b"a"], b"a"),
        ([b"a", b"b" * 300_000, b"c"], b"a" + b"b" * 300_000 + b"c"),
        ([b"", b"a", b"", b""], b"a"),
        ([b"ab"] * 50_000, b"ab" * 50_000),
        ([b"a", SKIPPED, b"b"], b"ab"),
        ([SKIPPED, b"a"], b"a"),
        ([b"a", SKIPPED], b"a"),
    ],
)
def test_zstd_is_read_frame_after_frame(tmp_path: Path, frames: list[bytes], whole: bytes) -> None:
    packed = b"".join(one if one is SKIPPED else zstd(one) for one in frames)
    assert unpacked(tmp_path / "x", packed) == whole


@pytest.mark.parametrize("frame", [zstd(random.Random(0).randbytes(9_000)), SKIPPED])
def test_zstd_that_is_cut_off_anywhere_ends_early(tmp_path: Path, frame: bytes) -> None:
    whole = zstd(b"before")
    for kept in (*range(1, 24), *range(24, len(frame), 997), len(frame) - 1):
        if kept < len(frame):
            with pytest.raises(DataError, match="ends early: the packed data is cut off"):
                unpacked(tmp_path / "x", whole + frame[:kept])


@pytest.mark.parametrize(
    "after", [b"\0\0\0\0\0", b"not a frame of zstd", gzip.compress(b"a", mtime=0)]
)
def test_something_else_after_zstd_is_damage(tmp_path: Path, after: bytes) -> None:
    with pytest.raises(DataError, match=r"x: cannot be read \(.*\); get it again"):
        unpacked(tmp_path / "x", zstd(b"whole") + after)


def test_zstd_with_any_byte_damaged_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    whole = zstd(slice_text(playlist(0, *"abcdefgh")).encode())
    rng = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(4, len(whole))] = rng.randrange(256)
        try:
            unpacked(tmp_path / "x", bytes(damaged))
        except DataError:
            refused += 1
    assert refused


def test_a_bomb_of_zstd_takes_little_memory(tmp_path: Path) -> None:
    """A gigabyte of spaces in 32 KB, in one frame: refused by what has come, not by all of it."""
    path = tmp_path / "x"
    with pa.CompressedOutputStream(path, "zstd") as sink:
        for _ in range(1 << 10):
            sink.write(b" " * (1 << 20))
    before = pa.total_allocated_bytes()

    def drain(stream: streams.Bounded) -> None:
        while stream.read(1 << 20):
            assert pa.total_allocated_bytes() - before < 16 << 20

    with ExitStack() as stack:
        [source] = find([path], lambda _: True, "files", stack)
        stream = stack.enter_context(streams.opened(source))
        with pytest.raises(DataError, match="like a zip bomb"):
            drain(stream)


def test_progress_counts_the_packed_bytes(tmp_path: Path) -> None:
    content = random.Random(0).randbytes(3 << 20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", content)
    (tmp_path / "b").write_bytes(gzip.compress(content))
    for name in ("a.zip", "b"):
        steps: list[float] = []
        with ExitStack() as stack:
            [source] = find([tmp_path / name], lambda _: True, "files", stack)
            read(source, steps.append)
        assert sum(steps) == pytest.approx(source.size, rel=0.01)
        assert len(steps) > 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / NAME
    os.mkfifo(pipe)
    assert refusal(pipe).startswith(f"{pipe}: is not a file or folder")


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_zip_with_any_byte_damaged_is_read_or_refused_in_one_line(
    tmp_path: Path, method: int
) -> None:
    source = tmp_path / "mpd.zip"
    with zipfile.ZipFile(source, "w", method) as archive:
        archive.writestr(f"é/{NAME}", slice_text(playlist(0, *"abcdefgh")))
    whole = source.read_bytes()
    rng = random.Random(method)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] = rng.randrange(256)
        source.write_bytes(damaged)
        try:
            with ExitStack() as stack:
                for file in find([source], lambda name: True, "slices", stack):
                    read(file)
        except DataError:
            continue


def test_a_zip_of_a_version_to_come_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "mpd.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr(NAME, "{}")
    content = bytearray(source.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 99
    source.write_bytes(content)
    assert "is a damaged or cut off zip" in refusal(source)
