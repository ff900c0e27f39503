"""Playlist files: what they look like, and that no name can break them."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from typing import Any

import defusedxml.ElementTree
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.data.playlist_export import PLAYLIST_FORMATS

NS = {"x": "http://xspf.org/ns/0/"}


def row(uri: str, title=None, artist=None, album=None, duration_ms=None) -> dict[str, Any]:
    return {
        "uri": uri,
        "title": title,
        "artist": artist,
        "album": album,
        "duration_ms": duration_ms,
    }


TRACKS = [
    row("music/Björk/Jóga.flac", "Jóga", "Björk", "Homogenic", 305_400),
    row("spotify:track:1", "A & <B>", 'Say "x"', None, 1_500),
    row("https://a.example/x.mp3"),
]


def test_m3u8_to_the_letter():
    assert PLAYLIST_FORMATS["m3u8"]("Mine", TRACKS) == (
        "#EXTM3U\n"
        "#PLAYLIST:Mine\n"
        "#EXTINF:305,Björk - Jóga\n"
        "music/Björk/Jóga.flac\n"
        '#EXTINF:2,Say "x" - A & <B>\n'
        "spotify:track:1\n"
        "#EXTINF:-1,\n"
        "https://a.example/x.mp3\n"
    )


def test_xspf_to_the_letter():
    assert PLAYLIST_FORMATS["xspf"]("R&B", TRACKS) == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<playlist version="1" xmlns="http://xspf.org/ns/0/">\n'
        "  <title>R&amp;B</title>\n"
        "  <trackList>\n"
        "    <track>\n"
        "      <location>music/Bj%C3%B6rk/J%C3%B3ga.flac</location>\n"
        "      <title>Jóga</title>\n"
        "      <creator>Björk</creator>\n"
        "      <album>Homogenic</album>\n"
        "      <duration>305400</duration>\n"
        "    </track>\n"
        "    <track>\n"
        "      <identifier>spotify:track:1</identifier>\n"
        "      <title>A &amp; &lt;B&gt;</title>\n"
        '      <creator>Say "x"</creator>\n'
        "      <duration>1500</duration>\n"
        "    </track>\n"
        "    <track>\n"
        "      <location>https://a.example/x.mp3</location>\n"
        "    </track>\n"
        "  </trackList>\n"
        "</playlist>\n"
    )


def test_jspf_holds_lists_of_locations_and_identifiers():
    playlist = json.loads(PLAYLIST_FORMATS["jspf"]("Mine", TRACKS))["playlist"]
    assert playlist["title"] == "Mine"
    assert playlist["track"] == [
        {
            "location": ["music/Bj%C3%B6rk/J%C3%B3ga.flac"],
            "title": "Jóga",
            "creator": "Björk",
            "album": "Homogenic",
            "duration": 305_400,
        },
        {
            "identifier": ["spotify:track:1"],
            "title": "A & <B>",
            "creator": 'Say "x"',
            "duration": 1_500,
        },
        {"location": ["https://a.example/x.mp3"]},
    ]


def test_csv_has_the_columns_that_exportify_has():
    lines = PLAYLIST_FORMATS["csv"]("Mine", TRACKS).splitlines()
    assert lines == [
        "Track URI,Track Name,Artist Name(s),Album Name,Track Duration (ms)",
        "music/Björk/Jóga.flac,Jóga,Björk,Homogenic,305400",
        'spotify:track:1,A & <B>,"Say ""x""",,1500',
        "https://a.example/x.mp3,,,,",
    ]


@pytest.mark.parametrize("sign", "=+-@")
def test_a_spreadsheet_computes_nothing_that_a_title_says(sign):
    track = row("a.mp3") | dict.fromkeys(("title", "artist", "album"), f"{sign}cmd()")
    table = list(csv.DictReader(io.StringIO(PLAYLIST_FORMATS["csv"]("x", [track]))))
    assert table[0]["Track Name"] == table[0]["Album Name"] == f"'{sign}cmd()"
    (address,) = csv.DictReader(io.StringIO(PLAYLIST_FORMATS["csv"]("x", [row(f"{sign}a.mp3")])))
    assert address["Track URI"] == f"%{ord(sign):02X}a.mp3"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/m/a b#1.mp3", "file:///m/a%20b%231.mp3"),
        ("C:\\m\\a b.mp3", "file:///C:/m/a%20b.mp3"),
        ("m/100%.mp3", "m/100%25.mp3"),
        ("file:///m/a%20b.mp3", "file:///m/a%20b.mp3"),
    ],
)
def test_xspf_locations_are_urls(path, location):
    text = PLAYLIST_FORMATS["xspf"]("x", [row(path)])
    assert f"<location>{location}</location>" in text


def test_a_path_that_starts_like_a_comment_is_no_comment_in_m3u8():
    assert PLAYLIST_FORMATS["m3u8"]("x", [row("#1.mp3")]).splitlines()[-1] == "./#1.mp3"


NASTY = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\n\r\0\x0b\x1b\x85\u2028\u2029\ud800\uffff<>&\"',;#]]>%"),
    ),
    max_size=12,
)
ROWS = st.lists(
    st.builds(
        row,
        NASTY.filter(str.strip),
        st.none() | NASTY,
        st.none() | NASTY,
        st.none() | NASTY,
        st.none() | st.integers(0, 2**31 - 1),
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(NASTY, ROWS)
def test_no_name_breaks_a_file(title, tracks):
    files = {name: write(title, tracks) for name, write in PLAYLIST_FORMATS.items()}
    for text in files.values():
        text.encode()  # no lone surrogates
    lines = files["m3u8"].splitlines()
    assert len(lines) == 2 + 2 * len(tracks)
    assert lines[0] == "#EXTM3U"
    assert all(line.startswith("#EXTINF:") for line in lines[2::2])
    assert not any(line.startswith("#") or not line for line in lines[3::2])
    root = defusedxml.ElementTree.fromstring(files["xspf"])
    assert len(root.findall("x:trackList/x:track", NS)) == len(tracks)
    assert len(json.loads(files["jspf"])["playlist"]["track"]) == len(tracks)
    table = list(csv.reader(io.StringIO(files["csv"])))
    assert len(table) == 1 + len(tracks)
    assert all(len(cells) == 5 for cells in table)


# There and back

WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs", "Cn")),
    min_size=1,
    max_size=8,
)
NAMES = st.lists(WORDS.filter(lambda word: word != "-"), min_size=1, max_size=3).map(" ".join)
URIS = st.one_of(
    WORDS.map(
        lambda word: "music/" + unicodedata.normalize("NFC", re.sub(r"[/\\]", "_", word)) + ".mp3"
    ),
    st.integers(0, 999).map("spotify:track:{:022d}".format),
    st.integers(0, 999).map("https://radio.example/a%20b/{}".format),
    st.integers(0, 999).map(
        "https://musicbrainz.org/recording/{:08x}-0000-4000-8000-0123456789ab".format
    ),
)


@pytest.mark.parametrize("format", ["m3u8", "xspf", "jspf"])
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    title=NAMES,
    tracks=st.lists(
        st.builds(row, URIS, NAMES, NAMES, NAMES, st.integers(1, 10**6).map(lambda s: 1000 * s)),
        min_size=1,
        max_size=5,
        unique_by=lambda track: track["uri"],
    ),
)
def test_what_is_written_is_what_is_read(tmp_path, format, title, tracks):
    file = tmp_path / f"list.{format}"
    file.write_text(PLAYLIST_FORMATS[format](title, tracks), encoding="utf-8", newline="")
    ingest("m3u" if format == "m3u8" else format, [file], tmp_path / "dataset")
    dataset = Dataset.open(tmp_path / "dataset")
    assert dataset.titles == [title]
    columns = ["uri", "title", "artist", "album", "duration_ms"]
    if format == "m3u8":
        columns.remove("album")  # it has no place there
    read = dataset.tracks.take(dataset.entries).select(columns).to_pylist()
    assert read == [{column: track[column] for column in columns} for track in tracks]
