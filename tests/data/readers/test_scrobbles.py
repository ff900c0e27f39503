"""Scrobbles in the forms of the common tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.play_cases import plays
from support.reader_cases import ingested

from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.errors import DataError

MBID = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"
TWO = [
    (0, "2010-04-05 11:59:00", "name:artist, the/one", "finished"),
    (0, "2010-04-05 12:03:00", "name:artist, the/two", "finished"),
]
FIRST, SECOND = 1270468740, 1270468980  # of TWO

FORMS = {
    "lastfm-to-csv": '"Artist, The",Album,Two,"05 Apr 2010 12:03"\n'
    '"Artist, The",Album,One,"05 Apr 2010 11:59"\n',
    "ghan": "uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid\n"
    f'"{SECOND}","05 Apr 2010, 12:03","Artist, The","","Album","","Two",""\n'
    f'"{FIRST}","05 Apr 2010, 11:59","Artist, The","","Album","","One",""\n',
    "lastfmstats": '"Artist";"Album";"AlbumId";"Track";"Date#somebody"\n'
    f'"Artist, The";"Album";"";"One";"{FIRST}000"\n'
    f'"Artist, The";"Album";"";"Two";"{SECOND}000"\n',
    "libre.fm": f'Time,Artist,Track,Album\n{FIRST},"Artist, The",One,Album\n'
    f'{SECOND},"Artist, The",Two,Album\n',
    "iso": "timestamp\tartist\ttitle\talbum\n2010-04-05T11:59Z\tArtist, The\tOne\tAlbum\n"
    "2010-04-05 12:03\tArtist, The\tTwo\tAlbum\n",
    "maloja": json.dumps(
        {
            "maloja": {"export_time": 1},
            "scrobbles": [
                {
                    "time": time,
                    "track": {
                        "artists": ["Artist", "The"],
                        "title": title,
                        "album": {"artists": ["Artist"], "albumtitle": "Album"},
                        "length": None,
                    },
                    "duration": None,
                    "origin": "client:x",
                }
                for time, title in ((FIRST, "One"), (SECOND, "Two"))
            ],
        },
        indent=1,
    ),
    "lastfmstats json": json.dumps(
        {
            "username": "somebody",
            "scrobbles": [
                {"track": title, "artist": "Artist, The", "album": "Album", "date": time * 1000}
                for time, title in ((FIRST, "One"), (SECOND, "Two"))
            ],
        }
    ),
    "pano": "".join(
        json.dumps(
            {
                "timeHuman": "x",
                "timeMs": time * 1000,
                "artist": "Artist, The",
                "track": title,
                "album": "Album",
                "event": "scrobble",
            }
        )
        + "\n"
        for time, title in ((FIRST, "One"), (SECOND, "Two"))
    ),
    "json list": json.dumps(
        [
            {"date": f"{time}", "artist": "Artist, The", "track": title, "album": "Album"}
            for time, title in ((FIRST, "One"), (SECOND, "Two"))
        ]
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig"])
def test_every_form_gives_the_same_dataset(tmp_path: Path, form: str, mark: str) -> None:
    source = tmp_path / "scrobbles.csv"
    source.write_text(FORMS[form], encoding=mark)
    receipt, dataset = ingested("scrobbles", source)
    assert (receipt.read, receipt.kept) == (2, 2)
    assert plays(dataset) == TWO
    assert dataset.tracks["album"].to_pylist() == ["Album", "Album"]
    assert dataset.listeners["uri"].to_pylist() == ["listener:1"]


def test_ids_and_lengths_are_taken(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    source.write_text(
        "timeMs,artist,artist_mbid,track,track_mbid,durationMs\n"
        f"{FIRST}000,A,{MBID},One,{MBID.upper()},200000\n"
        f"{SECOND}000,A,,Two,,\n"
    )
    _, dataset = ingested("scrobbles", source)
    one, two = dataset.tracks.to_pylist()
    assert one["uri"] == f"https://musicbrainz.org/recording/{MBID}"
    assert one["artist_uri"] == f"https://musicbrainz.org/artist/{MBID}"
    assert (one["recording"], one["duration_ms"]) == (MBID, 200_000)
    assert (two["recording"], two["duration_ms"], two["artist_uri"]) == (None, None, None)


def test_of_one_minute_the_last_in_the_file_is_the_oldest(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    rows = [f"A,B,{title},05 Apr 2010 11:59\n" for title in ("Third", "Second", "First")]
    source.write_text("".join(rows))
    _, dataset = ingested("scrobbles", source)
    assert [uri for _, _, uri, _ in plays(dataset)] == [
        *("name:a/first", "name:a/second", "name:a/third")
    ]


def test_skips_are_told_by_what_follows_only_if_asked(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    times = (0, 29, 59, 2000)
    source.write_text("uts,artist,track\n" + "".join(f"{FIRST + t},A,{t}\n" for t in times))
    ingest("scrobbles", source, tmp_path / "d", settings={"skip_seconds": 30})
    assert [(row[0], row[3]) for row in plays(Dataset.open(tmp_path / "d"))] == [
        *((0, "skipped"), (0, "finished"), (0, "finished"), (1, "finished"))
    ]


def test_rows_of_tables_that_are_dropped_have_their_reasons(tmp_path: Path) -> None:
    source = tmp_path / "x.csv"
    rows = [
        f'{FIRST},"45"" Grave",One,scrobble',
        f'{FIRST},"45 Grave,One,scrobble',
        f'{FIRST},"45" Grave,One,scrobble',
        f"{FIRST},A,One",
        "soon,A,One,scrobble",
        "31 Feb 2010 11:59,A,One,scrobble",
        "01 Foo 2010 11:59,A,One,scrobble",
        ",A,One,scrobble",
        "0,A,One,scrobble",
        f"{FIRST}99999,A,One,scrobble",
        f"{FIRST},,One,scrobble",
        f"{FIRST},A,,scrobble",
        f"{FIRST},A,One,love",
        f'{FIRST},"45"" GRAVE",one,',
        "",
    ]
    source.write_text("uts,artist,track,event\n" + "\n".join(rows))
    receipt, dataset = ingested("scrobbles", source)
    assert (receipt.read, receipt.kept) == (14, 1)
    assert dataset.tracks["artist"].to_pylist() == ['45" Grave']
    assert receipt.dropped == {
        "quotes that do not close": 2,
        "wrong number of columns": 1,
        "no time": 4,
        "time out of 1970 to 2200": 2,
        "no artist": 1,
        "no title": 1,
        "not a scrobble": 1,
        "duplicate": 1,
    }


def test_rows_of_json_that_are_dropped_have_their_reasons(tmp_path: Path) -> None:
    good: dict[str, Any] = {"time": FIRST, "track": {"artists": ["A"], "title": "One"}}
    rows: list[Any] = [
        good,
        {**good, "track": {"artists": [], "title": "One"}},
        {**good, "track": None},
        {**good, "time": None},
        {**good, "time": [1]},
        {**good, "track": {"artists": [5], "title": "One"}},
        7,
    ]
    source = tmp_path / "x.json"
    source.write_text(json.dumps({"scrobbles": rows}))
    receipt, _ = ingested("scrobbles", source)
    assert (receipt.read, receipt.kept) == (7, 1)
    assert receipt.dropped == {
        "no artist": 2,
        "no time": 1,
        "invalid field time": 1,
        "invalid field track.artists[]": 1,
        "not an object": 1,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing to keep"),
        ("a,b\n1,2\n", "has no columns of time, artist and track"),
        ('{"scrobbles": [{"time": 1}', "ends early: the JSON is cut off"),
        ('{"scrobbles": 5}', "scrobbles"),
        ('{"other": []}', "nothing to keep"),
        ("[{", "ends early: the JSON is cut off"),
    ],
)
def test_files_that_are_none_of_these_leave_nothing(
    tmp_path: Path, text: str, message: str
) -> None:
    source = tmp_path / "x.csv"
    source.write_text(text)
    with pytest.raises(DataError, match=message):
        ingest("scrobbles", source, tmp_path / "d")
    assert not (tmp_path / "d").exists()
