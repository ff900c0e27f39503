"""The readers of M3U, XSPF and JSPF."""

from __future__ import annotations

import json
import ntpath
import os
import unicodedata
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reader_cases import ingested, uris

from segue.data.dataset import Dataset
from segue.data.ingestion import paths as _places
from segue.data.ingestion.ingest import ingest
from segue.data.ingestion.limits import Input
from segue.data.ingestion.paths import UnusablePath, track_uri
from segue.data.playlist_export import PLAYLIST_FORMATS
from segue.data.readers import xspf as xspf_reader
from segue.errors import DataError

MBID = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"
RECORDING = f"https://musicbrainz.org/recording/{MBID}"


def refusal(format: str, source: Path) -> str:
    with pytest.raises(DataError) as error:
        ingest(format, [source], source.parent / "dataset")
    assert not (source.parent / "dataset").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def tracks(dataset: Dataset, *columns: str) -> list[tuple[Any, ...]]:
    table = dataset.tracks.select(["uri", *columns])
    return [tuple(row.values()) for row in table.to_pylist()]


# M3U


def test_m3u_extended(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.m3u8").write_text(
        "#EXTM3U\n#PLAYLIST:Evening\n"
        "#EXTINF:123,Ann - One - Two\nx/1.mp3\n"
        '#EXTINF:-1 tvg-id="7",Only a title\nhttp://radio.example/s?q=1#f\n'
        "#EXTALB:The Album\n#EXTART:Bob\n#EXTINF:1.5,Song\n./x/../2.mp3\n"
        "# a comment\nspotify:track:4cxM\n"
    )
    receipt, dataset = ingested("m3u", tmp_path / "m")
    assert dataset.titles == ["Evening"]
    assert dataset.playlists["uri"].to_pylist() == ["a.m3u8"]
    assert (receipt.unit, receipt.kept, receipt.notes) == ("tracks", 4, {"playlists": 1})
    assert tracks(dataset, "title", "artist", "album", "duration_ms") == [
        ("x/1.mp3", "One - Two", "Ann", None, 123_000),
        ("http://radio.example/s?q=1#f", "Only a title", None, None, None),
        ("2.mp3", "Song", "Bob", "The Album", 1500),
        ("spotify:track:4cxM", None, None, None, None),
    ]


def test_m3u_without_header_is_titled_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "Road Trip.2020.m3u").write_text("a.mp3\nb.mp3")
    _, dataset = ingested("m3u", tmp_path / "Road Trip.2020.m3u")
    assert dataset.titles == ["Road Trip.2020"]
    assert uris(dataset) == [["a.mp3", "b.mp3"]]


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\r\n#EXTINF:1,É - Ü\r\nmusic\\é.mp3\r\n".encode(),
        b"\xef\xbb\xbf" + "#EXTINF:1,É - Ü\nmusic/é.mp3".encode(),
        "#EXTINF:1,É - Ü\rmusic/é.mp3\r\r".encode(),
        "#EXTINF:1,É - Ü\nmusic/é.mp3\n".encode("utf-16"),
        "#EXTINF:1,É - Ü\nmusic/é.mp3\n".encode("latin-1"),
        unicodedata.normalize("NFD", "#EXTINF:1,E - U\nmusic/é.mp3\n").encode(),
        "#EXTINF:1,É - Ü\n{root}/lists/music/é.mp3\n".encode(),
        "#EXTINF:1,É - Ü\nfile://{root}/lists/music/%C3%A9.mp3\n".encode(),
        "#EXTINF:1,É - Ü\nFILE://localhost{root}/x/../lists/music/é.mp3\n".encode(),
    ],
)
def test_m3u_in_every_dress_names_the_same_track(tmp_path: Path, content: bytes) -> None:
    root = tmp_path / "source"
    (root / "lists").mkdir(parents=True)
    path = root / "lists" / "a.m3u"
    path.write_bytes(content.replace(b"{root}", str(root).encode()))
    _, dataset = ingested("m3u", root)
    [(uri, artist)] = tracks(dataset, "artist")
    assert uri == "lists/music/é.mp3"
    assert artist in ("É", "E")


def test_m3u_folder_is_read_with_all_below_it(tmp_path: Path) -> None:
    root = tmp_path / "source"
    (root / "rock").mkdir(parents=True)
    (root / "b.M3U").write_text("1.mp3")
    (root / "rock" / "a.m3u8").write_text("../1.mp3\n2.mp3")
    (root / "cover.jpg").write_bytes(b"\xff\xd8")
    (root / "empty.m3u").write_text("#EXTM3U\n")
    receipt, dataset = ingested("m3u", root)
    assert dataset.playlists["uri"].to_pylist() == ["b.M3U", "rock/a.m3u8"]
    assert uris(dataset) == [["1.mp3"], ["1.mp3", "rock/2.mp3"]]
    assert receipt.notes == {"playlists": 2, "playlists without tracks": 1}
    with zipfile.ZipFile(tmp_path / "lists.zip", "w") as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, path.relative_to(root))
    _, packed = ingested("m3u", tmp_path / "lists.zip")
    assert uris(packed) == uris(dataset)


def test_m3u_paths_that_leave_the_source_are_dropped(tmp_path: Path) -> None:
    root = tmp_path / "source"
    (root / "in").mkdir(parents=True)
    (root / "out").symlink_to(tmp_path)
    (root / "in" / "link.mp3").symlink_to("/etc/passwd")
    (root / "in" / "good.mp3").symlink_to("../1.mp3")
    lines = [
        "../../secret.mp3",
        "../in/../../secret.mp3",
        "/etc/passwd",
        "C:\\Music\\a.mp3",
        "\\\\nas\\music\\a.mp3",
        "file:///etc/passwd",
        "file:///C:/Music/a.mp3",
        "file:///..%2f..%2fetc/passwd",
        "file://nas/music/a.mp3",
        "../out/secret.mp3",
        "link.mp3",
        "x" * 5000,
        "a\x01b",
        ".",
        "..",
        "folder/",
        "../out/source/in/kept.mp3",
        "good.mp3",
    ]
    (root / "in" / "a.m3u").write_text("\n".join(lines))
    receipt, dataset = ingested("m3u", root)
    assert receipt.dropped == {
        "path outside the source folder": 8,
        "path on another machine": 1,
        "link out of the source folder": 2,
        "not a path": 5,
    }
    assert uris(dataset) == [["out/source/in/kept.mp3", "in/good.mp3"]]


@given(
    st.text(max_size=60) | st.from_regex(r"(\.\.?/|/|a|\\|%2e|file://?|//|[C]:)*"), st.booleans()
)
def test_no_path_ever_leaves_the_source(text: str, quoted: bool) -> None:
    folder = Path("/nowhere/source/lists")
    source = Input(folder / "a.m3u", folder.parent, "lists/a.m3u", 0)
    try:
        uri = track_uri(source, text, quoted=quoted)
    except UnusablePath:
        return
    if "://" not in uri and ":" not in uri:
        assert not uri.startswith("/")
        assert ".." not in uri.split("/")
        assert "\\" not in uri


WINDOWS_LIST = Input(Path("C:/Music/lists/a.m3u"), Path("C:/Music"), "lists/a.m3u", 0)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are those of Windows, where a playlist lies in C:\\Music\\lists."""
    monkeypatch.setattr(_places, "os", SimpleNamespace(path=ntpath, sep="\\"))


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("..\\Air\\a.mp3", "Air/a.mp3"),
        ("../Air/a.mp3", "Air/a.mp3"),
        ("C:\\Music\\Air\\a.mp3", "Air/a.mp3"),
        ("c:/music/Air/a.mp3", "Air/a.mp3"),
        ("file:///C:/Music/Air/a%20b.mp3", "Air/a b.mp3"),
        ("file:///C:/Music/lists/../Air/a.mp3", "Air/a.mp3"),
    ],
)
def test_on_windows_a_path_with_a_drive_may_lie_in_the_source(
    windows: None, text: str, uri: str
) -> None:
    assert track_uri(WINDOWS_LIST, text, quoted=False) == uri


@pytest.mark.parametrize(
    "text",
    [
        "C:\\Windows\\a.mp3",
        "D:\\Music\\Air\\a.mp3",
        "D:a.mp3",
        "\\\\nas\\music\\a.mp3",
        "\\\\?\\C:\\Windows\\a.mp3",
        "C:\\Music\\..\\a.mp3",
        "..\\..\\a.mp3",
        "file:///D:/a.mp3",
        "\\Windows\\a.mp3",
    ],
)
def test_on_windows_a_path_out_of_the_source_is_refused(windows: None, text: str) -> None:
    with pytest.raises(UnusablePath, match="outside the source folder"):
        track_uri(WINDOWS_LIST, text, quoted=False)


def test_on_windows_a_link_to_another_drive_is_refused(
    windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = WINDOWS_LIST.root
    monkeypatch.setattr(ntpath, "realpath", lambda p: "C:\\Music" if p == root else "E:\\a.mp3")
    with pytest.raises(UnusablePath, match="link out of the source folder"):
        track_uri(WINDOWS_LIST, "a.mp3", quoted=False)


def test_m3u_that_is_xml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.m3u"
    path.write_text("\n<playlist/>")
    assert refusal("m3u", path) == (
        f"{path}: is not M3U: it looks like XML or JSON; try xspf or jspf"
    )


def test_m3u_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.m3u"
    path.write_bytes(b"ID3\x03\x00\x00\xff\xfb")
    assert refusal("m3u", path) == f"{path}: is not text; check that it is of this format"


def test_a_folder_without_playlists_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    assert refusal("m3u", tmp_path / "s") == (
        f"{tmp_path / 's'}: holds no M3U files (*.m3u, *.m3u8);"
        " name another source or another format"
    )


# XSPF


def xspf(*rows: str, head: str = "", about: str = "<title>List</title>") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}\n'
        '<playlist version="1" xmlns="http://xspf.org/ns/0/">'
        f"{about}<trackList>{''.join(f'<track>{row}</track>' for row in rows)}</trackList>"
        "</playlist>"
    )


def test_xspf_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.xspf"
    path.write_text(
        xspf(
            f"<location>x.mp3</location><identifier>tag:x</identifier>"
            f"<identifier>{RECORDING.upper().replace('HTTPS', 'http')}</identifier>"
            "<title> One &amp; two </title><creator>Ann</creator><album>A</album>"
            "<duration>1234</duration>",
            "<location>music/b%20c.mp3</location><duration>soon</duration>",
            "<identifier>isrc:usrc17607839</identifier>",
            "<title>Names  Only</title><creator>BOB</creator>",
            "<location>https://example.org/x%20y.ogg</location>"
            "<extension application='z'><title>not this</title></extension>",
            about="<title>List</title><creator>me</creator><annotation>why</annotation>",
        )
    )
    receipt, dataset = ingested("xspf", path)
    assert tracks(dataset, "title", "artist", "album", "duration_ms", "recording") == [
        (RECORDING, "One & two", "Ann", "A", 1234, MBID),
        ("music/b c.mp3", None, None, None, None, None),
        ("isrc:usrc17607839", None, None, None, None, "USRC17607839"),
        ("name:bob/names only", "Names  Only", "BOB", None, None, None),
        ("https://example.org/x%20y.ogg", None, None, None, None, None),
    ]
    assert dataset.playlists.select(["title", "description"]).to_pylist() == [
        {"title": "List", "description": "why"}
    ]
    assert receipt.notes == {"playlists": 1, "durations left out": 1}


def test_xspf_without_namespace_or_title(tmp_path: Path) -> None:
    path = tmp_path / "mine.xspf"
    path.write_text(
        xspf("<location>a.mp3</location>", about="").replace(' xmlns="http', ' y="http')
    )
    _, dataset = ingested("xspf", path)
    assert dataset.titles == ["mine"]


def test_xspf_rows_that_cannot_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.xspf"
    path.write_text(
        xspf(
            "<location>../a.mp3</location>",
            "<location>%2e%2e/a.mp3</location>",
            "<location>file:///etc/passwd</location><title>t</title><creator>c</creator>",
            "<title>no creator</title>",
            "<location>/etc/passwd</location><location>good.mp3</location>",
        )
    )
    receipt, dataset = ingested("xspf", path)
    assert receipt.dropped == {
        "path outside the source folder": 3,
        "no identifier, no location, and not both title and creator": 1,
    }
    assert uris(dataset) == [["good.mp3"]]


LAUGHS = '<!DOCTYPE p [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE p [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
DTD = '<!DOCTYPE playlist SYSTEM "http://example.org/p.dtd">'


@pytest.mark.parametrize("head", [LAUGHS, OUTSIDE, DTD, "<!DOCTYPE playlist>"])
def test_xspf_with_entities_or_a_document_type_is_refused(tmp_path: Path, head: str) -> None:
    path = tmp_path / "a.xspf"
    path.write_text(xspf("<title>&a;</title>", head=head))
    assert refusal("xspf", path) == (
        f"{path}: has a document type or entities, which are not read; remove its DOCTYPE"
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (xspf("<location>a.mp3</location>")[:-30], "is not whole XML ("),
        ("#EXTM3U\na.mp3", "is not whole XML ("),
        ("", "is not whole XML ("),
        ("<rss/>", "is not XSPF: its root is rss; check that it is of this format"),
        (xspf().replace("xspf.org/ns/0", "other"), "is not XSPF: its root is {http://other/}"),
        ('<?xml version="1.0" encoding="no-such"?><playlist/>', "is not whole XML ("),
        (xspf("<title>&undefined;</title>"), "is not whole XML ("),
    ],
)
def test_xspf_that_is_not_xspf(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "a.xspf"
    path.write_text(content)
    said = refusal("xspf", path)
    assert said.startswith(f"{path}: {says}")
    assert said.endswith(("; get it again", "; check that it is of this format"))


# JSPF


def jspf(*rows: Any, **about: Any) -> str:
    return json.dumps({"playlist": {"title": "List", **about, "track": list(rows)}})


def test_jspf_of_listenbrainz(tmp_path: Path) -> None:
    artist = "https://musicbrainz.org/artist/f27ec8db-af05-4f36-916e-3d57f91ecf5e"
    release = "https://musicbrainz.org/release/0b7a2b4b-0b3b-4b0e-9f5b-0e6b7c6d5e4f"
    extension = {
        "https://musicbrainz.org/doc/jspf#track": {
            "artist_identifiers": [artist],
            "release_identifier": release,
            "additional_metadata": {"subsonic_identifier": "7"},
            "added_at": "2020-01-01",
        }
    }
    path = tmp_path / "a.jspf"
    row = {"title": "One", "creator": "Ann", "album": "A", "duration": 1000}
    path.write_text(
        jspf(
            {**row, "identifier": [RECORDING], "extension": extension},
            {"identifier": RECORDING, "title": "as text"},
            {"location": ["x%20y.mp3"], "duration": 12.5, "extension": {"x": 1}},
            {"location": "z.mp3", "extension": "not as documented", "identifier": []},
            annotation="why",
        )
    )
    _, dataset = ingested("jspf", path)
    columns = ("title", "artist", "artist_uri", "album", "album_uri", "duration_ms", "recording")
    assert tracks(dataset, *columns) == [
        (RECORDING, "One", "Ann", artist, "A", release, 1000, MBID),
        ("x y.mp3", None, None, None, None, None, 12, None),
        ("z.mp3", None, None, None, None, None, None, None),
    ]
    assert uris(dataset) == [[RECORDING, RECORDING, "x y.mp3", "z.mp3"]]
    assert dataset.playlists["description"].to_pylist() == ["why"]


def test_jspf_rows_that_cannot_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jspf"
    path.write_text(
        jspf(
            {"identifier": "tag:a"},
            {"identifier": ["tag:a", 7]},
            {"identifier": "tag:b", "duration": -1},
            {"title": 3},
            "a.mp3",
            {"location": "../a.mp3"},
            {},
        )
    )
    receipt, dataset = ingested("jspf", path)
    assert receipt.dropped == {
        "invalid field identifier[]": 1,
        "invalid field title": 1,
        "not an object": 1,
        "path outside the source folder": 1,
        "no identifier, no location, and not both title and creator": 1,
    }
    assert uris(dataset) == [["tag:a", "tag:b"]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (jspf({"identifier": "a"})[:-3], "ends early: the JSON is cut off; get it again"),
        ("{}", "missing field playlist; check that it is of this format"),
        ('{"playlist": {}}', "$.playlist: missing field track; check"),
        ("<playlist/>", "is not JSON ("),
    ],
)
def test_jspf_that_is_not_jspf(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "a.jspf"
    path.write_text(content)
    assert refusal("jspf", path).startswith(f"{path}: {says}")


# What is written is read


@pytest.mark.parametrize("written", ["m3u8", "xspf", "jspf"])
def test_a_playlist_that_segue_wrote_comes_back(tmp_path: Path, written: str) -> None:
    names = [
        "spotify:track:x",
        "https://example.org/a%20b?q=1",
        "a/b c.mp3",
        "é%41.mp3",
        "#1.mp3",
        "name:bob/x y",
        RECORDING,
        "SOABC123",
        "isrc:USRC17607839",
    ]
    about = {"title": "T & t", "artist": "A", "album": None, "duration_ms": 61_000}
    text = PLAYLIST_FORMATS[written]("My list", [{"uri": uri, **about} for uri in names])
    (tmp_path / f"list.{written}").write_text(text)
    format = "m3u" if written == "m3u8" else written
    receipt, dataset = ingested(format, tmp_path / f"list.{written}")
    assert receipt.kept == len(names)
    assert uris(dataset) == [names]
    assert dataset.titles == ["My list"]
    columns = ("title", "artist", "album", "duration_ms")
    assert {row[1:] for row in tracks(dataset, *columns)} == {("T & t", "A", None, 61_000)}


def test_a_file_name_that_is_not_utf_8_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.m3u")).write_text("a.mp3\n")
    receipt, dataset = ingested("m3u", folder)
    assert (receipt.kept, dataset.titles) == (1, ["caf?"])


def test_a_long_line_of_m3u_costs_no_more_than_its_length(tmp_path: Path) -> None:
    (tmp_path / "m.m3u").write_text("#EXTINF:" + "1" * 2_000_000 + "\nx.mp3\n")
    receipt, dataset = ingested("m3u", tmp_path / "m.m3u")
    assert receipt.kept == 1
    assert tracks(dataset, "title", "duration_ms") == [("x.mp3", None, None)]


@pytest.mark.parametrize("start", ["", "<trackList><track>"])
def test_an_xspf_of_elements_without_end_is_refused(tmp_path: Path, start: str) -> None:
    (tmp_path / "x.xspf").write_text(f"<playlist>{start}" + "<a>" * 200_000)
    assert refusal("xspf", tmp_path / "x.xspf") == (
        f"{tmp_path / 'x.xspf'}: has a track of more than 100000 elements;"
        " check that it is of this format"
    )


def test_elements_of_xspf_that_are_not_tracks_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xspf_reader, "_MOST_HELD", 10)
    track = "<track><title>t</title><creator>c</creator></track>"
    (tmp_path / "x.xspf").write_text(
        f"<playlist><title>x</title>{'<meta/>' * 50}"
        f"<trackList>{'<extension/>' * 50}{track * 50}</trackList></playlist>"
    )
    receipt, dataset = ingested("xspf", tmp_path / "x.xspf")
    assert (receipt.kept, dataset.titles) == (50, ["x"])


# Lists of other programs and machines


def test_m3u_of_windows_is_read_in_its_own_letters(tmp_path: Path) -> None:
    (tmp_path / "a.m3u").write_bytes("It’s — “ok”.wav\nnaïve.mp3\n".encode("cp1252"))
    receipt, dataset = ingested("m3u", tmp_path / "a.m3u")
    assert uris(dataset) == [["It’s — “ok”.wav", "naïve.mp3"]]
    assert receipt.notes["files read as Windows-1252"] == 1


def test_attributes_of_extinf_may_hold_commas(tmp_path: Path) -> None:
    (tmp_path / "a.m3u").write_text('#EXTINF:9 tvg-name="a, b" x="",Ann - One, Two\n1.mp3\n')
    _, dataset = ingested("m3u", tmp_path / "a.m3u")
    assert tracks(dataset, "title", "artist", "duration_ms") == [("1.mp3", "One, Two", "Ann", 9000)]


def test_m3u_paths_are_percent_encoded_where_the_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "J\u00f3ga 1.mp3").write_bytes(b"")
    (tmp_path / "100%25.mp3").write_bytes(b"")
    (tmp_path / "a.m3u").write_text("J%C3%B3ga%201.mp3\n100%25.mp3\nno%20file.mp3\n")
    _, dataset = ingested("m3u", tmp_path / "a.m3u")
    assert uris(dataset) == [["J\u00f3ga 1.mp3", "100%25.mp3", "no%20file.mp3"]]


def test_segments_of_streams_and_other_lists_are_no_tracks(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9.9,\nseg1.ts\n#EXTINF:9.9,\nseg2.ts\n"
    (tmp_path / "m" / "hls.m3u8").write_text(hls)
    (tmp_path / "m" / "old.m3u").write_bytes(b"#ext-x-version:3\rseg3.ts\r")
    (tmp_path / "m" / "a.m3u").write_text("b.M3U8\nhttp://radio.example/x.pls?q=1\na.mp3\n")
    receipt, dataset = ingested("m3u", tmp_path / "m")
    assert receipt.dropped == {"segment of a stream": 3, "another playlist": 2}
    assert [some for some in uris(dataset) if some] == [["a.mp3"]]


def test_jspf_with_a_mark_and_wrong_lengths_keeps_its_tracks(tmp_path: Path) -> None:
    rows = [
        {"title": "One", "creator": "Ann", "duration": "long", "album": 1989},
        {"title": "Two", "creator": "Ann", "duration": "2500", "album": ["x"]},
        {"title": "Three", "creator": "Ann", "duration": -1},
        {"title": "Four", "creator": "Ann", "duration": True, "album": True},
        {"title": "Five", "creator": "Ann", "duration": 10**400},
        {"title": "Six", "creator": "Ann", "duration": 0.2},
    ]
    text = json.dumps({"playlist": {"track": rows}})
    (tmp_path / "a.jspf").write_bytes(b"\xef\xbb\xbf" + text.encode())
    receipt, dataset = ingested("jspf", tmp_path / "a.jspf")
    assert tracks(dataset, "album", "duration_ms") == [
        ("name:ann/one", "1989", None),
        ("name:ann/two", None, 2500),
        ("name:ann/three", None, None),
        ("name:ann/four", None, None),
        ("name:ann/five", None, None),
        ("name:ann/six", None, None),
    ]
    assert receipt.notes["durations left out"] == 5
