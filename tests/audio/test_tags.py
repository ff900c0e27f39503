"""What sound files say about themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sounds import ENCODERS, encode, sweep

from segue.audio.tags import MOST_CHARACTERS, Tags, named_by_file, read_tags

MBID = "f1e2d3c4-0000-4000-8000-123456789abc"
NAMES = {"title": "Jóga", "artist": "Björk", "album": "Homogenic"}


@pytest.mark.parametrize("ending", ENCODERS)
def test_title_artist_and_album_of_every_format(tmp_path: Path, ending: str) -> None:
    path = encode(tmp_path / f"a.{ending}", sweep(0.5), tags=NAMES)
    assert read_tags(path) == Tags("Jóga", "Björk", "Homogenic", None)


@pytest.mark.parametrize("ending", ["flac", "opus"])
def test_the_musicbrainz_recording_of_vorbis_comments(tmp_path: Path, ending: str) -> None:
    tags = {**NAMES, "MUSICBRAINZ_TRACKID": MBID.upper(), "ISRC": "GBAAA9700123"}
    assert read_tags(encode(tmp_path / f"a.{ending}", sweep(0.5), tags=tags)).recording == MBID


def syncsafe(n: int) -> bytes:
    return bytes(n >> shift & 127 for shift in (21, 14, 7, 0))


def frame(name: bytes, content: bytes) -> bytes:
    return name + syncsafe(len(content)) + bytes(2) + content


def with_id3(path: Path, *frames: bytes) -> Path:
    """An MP3 whose tag has these frames alone."""
    sound = encode(path, sweep(0.5)).read_bytes()
    sound = sound[sound.index(b"\xff\xfb") :]
    body = b"".join(frames)
    path.write_bytes(b"ID3\x04\x00\x00" + syncsafe(len(body)) + body + sound)
    return path


def test_the_musicbrainz_recording_of_an_mp3(tmp_path: Path) -> None:
    ufid = frame(b"UFID", b"http://musicbrainz.org\0" + MBID.encode())
    tags = read_tags(with_id3(tmp_path / "a.mp3", frame(b"TIT2", b"\3Title"), ufid))
    assert tags == Tags("Title", None, None, MBID)


def test_another_owners_id_is_none(tmp_path: Path) -> None:
    ufid = frame(b"UFID", b"http://example.org/\0" + MBID.encode())
    assert read_tags(with_id3(tmp_path / "a.mp3", ufid)).recording is None


def test_the_isrc_where_there_is_no_musicbrainz_id(tmp_path: Path) -> None:
    for written in ("GBAAA9700123", "gb-aaa-97-00123", "\3GBAAA9700123"):
        text = written.encode() if written.startswith("\3") else b"\3" + written.encode()
        path = with_id3(tmp_path / "a.mp3", frame(b"TSRC", text))
        assert read_tags(path).recording == "GBAAA9700123"


def test_ids_that_are_none(tmp_path: Path) -> None:
    tags = {"MUSICBRAINZ_TRACKID": "unknown", "ISRC": "12"}
    assert read_tags(encode(tmp_path / "a.flac", sweep(0.5), tags=tags)).recording is None


def test_the_album_artist_stands_in_for_the_artist(tmp_path: Path) -> None:
    path = with_id3(tmp_path / "a.mp3", frame(b"TIT2", b"\3T"), frame(b"TPE2", b"\3Band"))
    assert read_tags(path).artist == "Band"


def test_tags_are_one_line_of_bounded_text(tmp_path: Path) -> None:
    tags = {"title": " a\n\tb\x1b[2J ", "artist": "x" * 5000, "album": " "}
    found = read_tags(encode(tmp_path / "a.flac", sweep(0.5), tags=tags))
    assert found == Tags("a b [2J", "x" * MOST_CHARACTERS)


def test_without_tags_the_name_of_the_file_says_it(tmp_path: Path) -> None:
    path = encode(tmp_path / "03 - Björk - Jóga.wav", sweep(0.1))
    assert read_tags(path) == Tags("Jóga", "Björk")


def test_an_artist_in_the_tags_goes_before_that_of_the_name(tmp_path: Path) -> None:
    path = encode(tmp_path / "X - Jóga.flac", sweep(0.1), tags={"artist": "Björk"})
    assert read_tags(path) == Tags("Jóga", "Björk")


def test_damaged_tags_are_none(tmp_path: Path) -> None:
    path = tmp_path / "Title.mp3"
    path.write_bytes(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7fTIT2\xff\xff\xff\xff")
    assert read_tags(path) == Tags("Title")
    path.write_bytes(b"no sound at all")
    assert read_tags(path) == Tags("Title")


@pytest.mark.parametrize(
    ("name", "title", "artist"),
    [
        ("Jóga.mp3", "Jóga", None),
        ("Björk - Jóga.mp3", "Jóga", "Björk"),
        ("07 - Björk - Jóga.mp3", "Jóga", "Björk"),
        ("07 Jóga.mp3", "Jóga", None),
        ("7. Jóga.mp3", "Jóga", None),
        ("1-07 Jóga.flac", "Jóga", None),
        ("07_Jóga_live.mp3", "Jóga live", None),
        ("99 Luftballons.mp3", "99 Luftballons", None),
        ("1979.mp3", "1979", None),
        ("07.mp3", "07", None),
        ("_.mp3", "_.mp3", None),
        ("音楽 - 歌.opus", "歌", "音楽"),
    ],
)
def test_what_the_name_of_a_file_says(name: str, title: str, artist: str | None) -> None:
    assert named_by_file(Path(name)) == Tags(title, artist)
