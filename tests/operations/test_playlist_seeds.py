"""Playlists become rows of a catalog, wherever they lie and whatever names their tracks have."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from segue.catalog.catalog import CATALOG_SCHEMA, Catalog
from segue.data.dataset import Dataset
from segue.errors import DataError, UsageError
from segue.operations.playlist_seeds import seeds_of_dataset, seeds_of_file

TRACKS = [
    ("Homogenic/02 Jóga.flac", "Björk", "Jóga"),
    ("Air/Sexy Boy.wav", "Air", "Sexy Boy"),
    ("live/Sexy Boy.wav", "Air", "Sexy Boy (Live)"),
    ("spotify:track:1", "New Order", "Blue Monday"),
]


@pytest.fixture
def catalog() -> Catalog:
    rows = [
        dict.fromkeys(CATALOG_SCHEMA.names)
        | {"uri": uri, "artist": artist, "title": title, "plays": 1}
        for uri, artist, title in TRACKS
    ]
    return Catalog(pa.Table.from_pylist(rows, CATALOG_SCHEMA))


M3U = """#EXTM3U
#PLAYLIST:Evening
/mnt/music/Homogenic/02 Jóga.flac
../Air/Sexy Boy.wav
E:\\Music\\live\\Sexy Boy.wav
#EXTINF:447,New Order - Blue Monday
elsewhere/blue.mp3
#EXTINF:-1,Nobody - Nothing
gone.mp3
"""
XSPF = """<playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>
<track><creator>bjork</creator><title>JOGA</title></track>
<track><identifier>spotify:track:1</identifier></track></trackList></playlist>"""
JSPF = '{"playlist": {"title": "Mine", "track": [{"creator": "Air", "title": "Sexy Boy"}]}}'


def test_an_m3u_of_another_machine(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "list.m3u8").write_text(M3U, "utf-8")
    seeds = seeds_of_file(tmp_path / "list.m3u8", catalog)
    assert seeds.title == "Evening"
    assert seeds.tracks == [0, 1, 2, 3]
    assert seeds.missing == ["Nobody - Nothing"]


@pytest.mark.parametrize(
    ("content", "title", "tracks"),
    [(M3U, "Evening", [0, 1, 2, 3]), (XSPF, None, [0, 3]), (JSPF, "Mine", [1])],
)
def test_the_first_sign_says_the_format(
    content: str, title: str | None, tracks: list[int], catalog: Catalog
) -> None:
    seeds = seeds_of_file("standard input", catalog, content.encode())
    assert (seeds.title, seeds.tracks) == (title, tracks)


def test_what_is_no_playlist_is_one_line(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(DataError, match=r"no\.m3u: cannot be read"):
        seeds_of_file(tmp_path / "no.m3u", catalog)
    (tmp_path / "x.xspf").write_text("<html/>")
    with pytest.raises(DataError, match=r"x\.xspf: .*not XSPF"):
        seeds_of_file(tmp_path / "x.xspf", catalog)
    (tmp_path / "empty.m3u").write_text("#EXTM3U\n")
    with pytest.raises(DataError, match=r"empty\.m3u: "):
        seeds_of_file(tmp_path / "empty.m3u", catalog)


def test_a_playlist_of_a_dataset_by_title_and_uri(catalog: Catalog) -> None:
    names = {"playlist": ["a", "a", "b", "c"], "track": ["spotify:track:1", "x", "x", "x"]}
    dataset = Dataset.from_frame(
        names | {"playlist_title": ["Work", "Work", "Twice", "Twice"]},
        playlist="playlist",
        playlist_title="playlist_title",
    )
    uri = dataset.playlists["uri"][0].as_py()
    for name in ("Work", "work", uri):
        assert seeds_of_dataset(dataset, name, catalog) == ("Work", [3], ["x"])
    with pytest.raises(UsageError, match="2 playlists are called 'Twice'"):
        seeds_of_dataset(dataset, "Twice", catalog)
    with pytest.raises(UsageError, match="no playlist 'none'"):
        seeds_of_dataset(dataset, "none", catalog)
