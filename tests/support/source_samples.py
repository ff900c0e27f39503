"""A small, sound source of every format that is read from files, as bytes."""

from __future__ import annotations

import io
import json
import plistlib

import pyarrow as pa
import pyarrow.parquet as pq
from support.look_alikes import LFM_1K, mssd_log, mssd_row
from support.reader_cases import playlist, slice_text
from support.spotify_exports import play

MBID = "8f3471b5-7e6a-48da-86a9-c1c07a0f47ae"
START = 1_600_000_000
TITLES = ("Jóga", '"45" Grave', "Three, or more", "四", "Jóga", "Six")


def _lines(*rows: str) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def _parquet() -> bytes:
    columns = {
        "listener": ["a"] * 6,
        "track": list(TITLES),
        "time": [START + 100 * i for i in range(6)],
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def _listenbrainz(place: int, title: str) -> str:
    info = {"duration_ms": 200_000, "duration_played": 20 * place}
    about = {"artist_name": "Björk", "track_name": title, "additional_info": info}
    about["mbid_mapping"] = {"recording_mbid": MBID} if place == 3 else None
    return json.dumps({"listened_at": START + 100 * place, "track_metadata": about})


def _quoted(*values: object) -> str:
    return ",".join('"' + str(value).replace('"', '""') + '"' for value in values)


_APPLE = (
    *("Song Name", "Album Name", "End Reason Type", "Event Start Timestamp", "Event Type"),
    "Play Duration Milliseconds",
)
_TRACKS = {
    str(i): {"Track ID": i, "Name": title, "Artist": "Björk", "Play Count": i, "Skip Count": 1}
    for i, title in enumerate(TITLES)
}
_ITEMS = [{"Track ID": i} for i in range(6)]

SAMPLES: dict[str, dict[str, bytes]] = {
    "mpd": {
        "mpd.slice.0-999.json": slice_text(playlist(0, "a", "b"), playlist(1, "b")).encode(),
    },
    "mssd": {
        "log_0_20180715_000000000000.csv": mssd_log(
            [mssd_row("s", i + 1, 6, f"t{i}") for i in range(6)]
        ).encode(),
    },
    "lfm-1k": {
        LFM_1K: _lines(
            *(
                f"user_1\t2009-05-04T23:0{i}:57Z\t{MBID}\tBjörk\t\t{title}"
                for i, title in enumerate(TITLES)
            )
        )
    },
    "lfm-2b": {
        "listening-events.tsv": _lines(
            "user_id\ttrack_id\talbum_id\ttimestamp",
            *(f"1\t{i}\t9\t2020-01-01 00:0{i}:00" for i in range(6)),
        ),
        "tracks.tsv": _lines("track_id\tartist_name\ttrack_name", "0\tBjörk\tJóga"),
    },
    "taste-profile": {
        "train_triplets.txt": _lines(*(f"u{i // 3}\ts{i}\t{i + 1}" for i in range(6)))
    },
    "spotify-history": {
        "Streaming_History_Audio_2023_0.json": json.dumps(
            [play(f"10:0{i}:00", 50, title) for i, title in enumerate(TITLES)]
        ).encode()
    },
    "scrobbler-log": {
        ".scrobbler.log": _lines(
            "#AUDIOSCROBBLER/1.1",
            "#TZ/UTC",
            *(
                f"Björk\tAlbum\t{title}\t1\t200\t{'LS'[i % 2]}\t{START + 100 * i}\t{MBID}"
                for i, title in enumerate(TITLES)
            ),
        )
    },
    "listenbrainz": {
        "9.jsonl": _lines(*(_listenbrainz(i, title) for i, title in enumerate(TITLES))),
        "feedback.jsonl": _lines(json.dumps({"recording_mbid": MBID, "score": -1})),
    },
    "scrobbles": {
        "scrobbles.csv": _lines(
            "uts,artist,album,track",
            *(_quoted(START + 100 * i, "Björk", "", title) for i, title in enumerate(TITLES)),
        )
    },
    "youtube-music": {
        "watch-history.json": json.dumps(
            [
                {
                    "header": "YouTube Music",
                    "title": f"Watched {title}",
                    "titleUrl": "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
                    "subtitles": [{"name": "Björk - Topic"}],
                    "time": f"2023-02-01T10:0{i}:00.123Z",
                }
                for i, title in enumerate(TITLES)
            ]
        ).encode()
    },
    "apple-music": {
        "Apple Music Play Activity.csv": _lines(
            ",".join(_APPLE),
            *(
                _quoted(title, "Album", "TRACK_SKIPPED_FORWARDS", time, "PLAY_END", 20_000 * i)
                for i, title in enumerate(TITLES)
                for time in [f"2023-02-01T10:0{i}:00.123Z"]
            ),
        ),
        "Apple Music Library Tracks.json": json.dumps(
            [{"Title": title, "Artist": "Björk", "Album": "Album"} for title in TITLES]
        ).encode(),
    },
    "itunes": {
        "Library.xml": plistlib.dumps(
            {"Tracks": _TRACKS, "Playlists": [{"Name": "P", "Playlist Items": _ITEMS}]},
            sort_keys=False,
        )
    },
    "tidal": {
        "streaming.csv": _lines(
            "a preamble",
            "artist_name,track_title,entry_date,time_zone",
            *(
                _quoted("Björk", title, f"05/06/2021 10:0{i}", "Europe/Paris")
                for i, title in enumerate(TITLES)
            ),
        )
    },
    "rekordbox": {
        "rekordbox.xml": (
            "<DJ_PLAYLISTS><COLLECTION>"
            + "".join(
                f'<TRACK TrackID="{i}" Name="T{i}" Artist="Björk" PlayCount="{i}"/>'
                for i in range(6)
            )
            + '</COLLECTION><PLAYLISTS><NODE Type="0"><NODE Type="1" Name="P"><TRACK Key="1"/>'
            "</NODE></NODE></PLAYLISTS></DJ_PLAYLISTS>"
        ).encode()
    },
    "traktor": {
        "collection.nml": (
            "<NML><COLLECTION>"
            + "".join(
                f'<ENTRY TITLE="T{i}" ARTIST="Björk"><LOCATION DIR="/:m/:" FILE="{i}" VOLUME="HD"/>'
                f'<INFO PLAYCOUNT="{i}" PLAYTIME="{i}00"/></ENTRY>'
                for i in range(6)
            )
            + '</COLLECTION><PLAYLISTS><NODE TYPE="PLAYLIST" NAME="P"><PLAYLIST><ENTRY>'
            '<PRIMARYKEY TYPE="TRACK" KEY="HD/:m/:1"/></ENTRY></PLAYLIST></NODE></PLAYLISTS></NML>'
        ).encode()
    },
    "m3u": {
        "list.m3u": _lines(
            "#EXTM3U", *(f"#EXTINF:{i},Björk - {t}\nmusic/{t}.mp3" for i, t in enumerate(TITLES))
        )
    },
    "xspf": {
        "list.xspf": (
            '<playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>'
            + "".join(
                f"<track><title>T{i}</title><creator>Björk</creator><duration>{i}000</duration>"
                f"<location>music/{i}.mp3</location></track>"
                for i in range(6)
            )
            + "</trackList></playlist>"
        ).encode()
    },
    "jspf": {
        "list.jspf": json.dumps(
            {
                "playlist": {
                    "title": "P",
                    "track": [{"title": title, "creator": "Björk"} for title in TITLES],
                }
            }
        ).encode()
    },
    "csv": {
        "plays.csv": _lines(
            "listener,track,time,ms_played",
            *(_quoted("a", title, START + 100 * i, 1000 * i) for i, title in enumerate(TITLES)),
        )
    },
    "parquet": {"plays.parquet": _parquet()},
}
"""Content of each file by its name, by format."""
