"""The Million Playlist Dataset: slices of 1,000 playlists in JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from segue.data.ingestion.contract import JSON_ERRORS, Reader, Reading, json_error, reason
from segue.data.ingestion.limits import Input
from segue.data.ingestion.streams import read

_SLICE = re.compile(r"(?:^|/)mpd\.slice\.(\d+)-\d+\.json(?:\.gz|\.zst)?$")

_Natural = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_Text = Annotated[str, Meta(min_length=1)]
_Seconds = Annotated[int, Meta(ge=0, le=2**40)]

# The structs hold no cycles: gc=False keeps the collector from walking 100,000 of them a slice.


class _Track(Struct, gc=False):
    track_uri: _Text
    track_name: str | None = None
    artist_name: str | None = None
    artist_uri: str | None = None
    album_name: str | None = None
    album_uri: str | None = None
    duration_ms: _Natural | None = None


class _Playlist(Struct, gc=False):
    pid: Annotated[int, Meta(ge=0)]
    tracks: list[_Track]
    name: str | None = None
    description: str | None = None
    num_followers: _Natural | None = None
    modified_at: _Seconds | None = None


class _Slice(Struct):
    playlists: list[_Playlist]


class _RawSlice(Struct):
    playlists: list[msgspec.Raw]


_slice = msgspec.json.Decoder(_Slice)
_raw_slice = msgspec.json.Decoder(_RawSlice)
_playlist = msgspec.json.Decoder(_Playlist)


def _one_by_one(content: bytearray, reading: Reading) -> Iterator[_Playlist]:
    for raw in _raw_slice.decode(content).playlists:
        try:
            yield _playlist.decode(raw)
        except msgspec.ValidationError:
            reading.receipt.drop(reason(raw, _Playlist))


def _decode(source: Input, reading: Reading) -> list[_Playlist]:
    """Playlists of a slice; invalid ones are counted and left out."""
    content = read(source, reading.tick)
    try:
        try:
            return _slice.decode(content).playlists
        except msgspec.ValidationError:
            return list(_one_by_one(content, reading))
    except JSON_ERRORS as error:
        raise json_error(error, source, content, _RawSlice) from error


def _keep(playlists: list[_Playlist], seen: set[int], reading: Reading) -> list[_Playlist]:
    """Those that are new and have tracks."""
    kept = []
    for playlist in playlists:
        if playlist.pid in seen:
            reading.receipt.drop("duplicate pid")
        elif not playlist.tracks:
            reading.receipt.drop("no tracks")
        else:
            seen.add(playlist.pid)
            kept.append(playlist)
    reading.receipt.keep(len(kept))
    return kept


def _write(playlists: list[_Playlist], reading: Reading) -> None:
    tracks = [track for playlist in playlists for track in playlist.tracks]

    def describe(i: int) -> tuple[str | int | None, ...]:
        t = tracks[i]
        return (
            t.track_name,
            t.artist_name,
            t.artist_uri,
            t.album_name,
            t.album_uri,
            t.duration_ms,
            None,
        )

    ids = reading.writer.track_ids([track.track_uri for track in tracks], describe)
    reading.writer.add_playlists(
        {
            "uri": [f"mpd:{p.pid}" for p in playlists],
            "title": [p.name for p in playlists],
            "description": [p.description for p in playlists],
            "followers": [p.num_followers for p in playlists],
            "modified_at": [p.modified_at and p.modified_at * 1000 for p in playlists],
        },
        [len(p.tracks) for p in playlists],
        np.array(ids, np.int32),
    )
    reading.note("tracks in playlists", len(tracks))


def _number(source: Input) -> int:
    found = _SLICE.search(source.name)
    return int(found[1]) if found else 0


def _read(sources: list[Input], reading: Reading) -> None:
    seen: set[int] = set()
    for source in sorted(sources, key=_number):
        kept = _keep(_decode(source, reading), seen, reading)
        if kept:
            _write(kept, reading)


READER = Reader(
    description="Million Playlist Dataset: a folder, files or a zip of mpd.slice.*.json[.gz|.zst]",
    files="MPD slices (mpd.slice.*.json, plain, .gz or .zst)",
    unit="playlists",
    wanted=lambda path: _SLICE.search(path) is not None,
    read=_read,
)
