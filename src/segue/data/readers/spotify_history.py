"""What a person gets who asks Spotify for their streaming history, extended or of one year.

Who they are and where (user name, address, country, device) is never kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Annotated, cast

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Meta, Struct

from segue.data.ingestion.contract import JSON_ERRORS, Reader, Reading, json_error, reason
from segue.data.ingestion.json_arrays import entries
from segue.data.ingestion.limits import Input
from segue.data.ingestion.playlists import TrackRow, name_uri
from segue.data.ingestion.sessions import Listens
from segue.data.ingestion.timestamps import iso_time
from segue.data.outcomes import SpotifyRule
from segue.data.schema import Flag

_BATCH = 1 << 16
_COLUMNS = ("listener", "track", "time", "ms_played", "reason_start", "reason_end", "flags")
_FILE = re.compile(
    r"(?:endsong|Streaming_?History(?:_\w+)?)[ _\d().-]*\.json(?:\.gz|\.zst)?$", re.IGNORECASE
)
_OTHER = re.compile("podcast|audiobook|video", re.IGNORECASE)

_Ms = Annotated[int, Meta(ge=0, le=2**31 - 1)] | None


class _Play(Struct, kw_only=True):
    """A play in either export; the short one has `endTime` and what follows."""

    ts: str | None = None
    ms_played: _Ms = None
    title: str | None = msgspec.field(default=None, name="master_metadata_track_name")
    artist: str | None = msgspec.field(default=None, name="master_metadata_album_artist_name")
    album: str | None = msgspec.field(default=None, name="master_metadata_album_album_name")
    uri: str | None = msgspec.field(default=None, name="spotify_track_uri")
    episode: object = msgspec.field(default=None, name="spotify_episode_uri")
    audiobook: object = msgspec.field(default=None, name="audiobook_uri")
    reason_start: str | None = None
    reason_end: str | None = None
    shuffle: object = None
    skipped: object = None
    offline: object = None
    incognito: object = msgspec.field(default=None, name="incognito_mode")
    short_ts: str | None = msgspec.field(default=None, name="endTime")
    short_ms: _Ms = msgspec.field(default=None, name="msPlayed")
    short_title: str | None = msgspec.field(default=None, name="trackName")
    short_artist: str | None = msgspec.field(default=None, name="artistName")
    podcast: object = msgspec.field(default=None, name="podcastName")


_play = msgspec.json.Decoder(_Play)


class _Dropped(Exception):
    """A play that is not kept; the text is the reason that is counted."""


def _ended(play: _Play) -> int:
    """When it ended, in milliseconds since 1970."""
    name = "ts" if play.ts is not None else "endTime"
    text = play.ts if play.ts is not None else play.short_ts
    if text is None:
        raise _Dropped("no time")
    ended = iso_time(text)
    if ended is None:
        raise _Dropped(f"invalid field {name}")
    return ended


def _ms(play: _Play) -> int:
    """How long it was heard."""
    ms = play.ms_played if play.ms_played is not None else play.short_ms
    if ms is None:
        raise _Dropped("no milliseconds played")
    return ms


def _track(play: _Play) -> TrackRow:
    title, artist = play.title or play.short_title, play.artist or play.short_artist
    if (play.uri or "").startswith("spotify:episode:"):
        raise _Dropped("podcast")
    if play.uri:
        return TrackRow(play.uri, title or None, artist or None, album=play.album or None)
    if play.episode or play.podcast:
        raise _Dropped("podcast")
    if play.audiobook:
        raise _Dropped("audiobook")
    if not title or not artist or (title, artist) == ("Unknown Track", "Unknown Artist"):
        raise _Dropped("no track")
    return TrackRow(name_uri(artist, title), title, artist, album=play.album or None)


def _flags(play: _Play) -> int:
    said = {True: Flag.SAID_SKIPPED, False: Flag.SAID_NOT_SKIPPED}
    flags = said[play.skipped] if isinstance(play.skipped, bool) else Flag(0)
    for value, flag in (
        (play.shuffle, Flag.SHUFFLE),
        (play.offline, Flag.OFFLINE),
        (play.incognito, Flag.INCOGNITO),
    ):
        if value is True:
            flags |= flag
    return int(flags)


_Row = tuple[TrackRow, int, int, str | None, str | None, int]


def _row(entry: bytes, incognito: bool) -> _Row:
    """Track, start, milliseconds played, reasons and flags."""
    play = _play.decode(entry)
    track, ended, ms = _track(play), _ended(play), _ms(play)
    if play.incognito is True and not incognito:
        raise _Dropped("private session")
    return track, ended - ms, ms, play.reason_start or None, play.reason_end or None, _flags(play)


def _rows(source: Input, reading: Reading, incognito: bool) -> Iterator[_Row]:
    """Plays of a file that are kept."""
    other = _OTHER.search(source.name.rpartition("/")[2])
    for entry in entries(source, reading.tick):
        try:
            if other:
                raise _Dropped(other[0].lower())
            try:
                yield _row(entry, incognito)
            except msgspec.ValidationError:
                raise _Dropped(reason(entry, _Play)) from None
        except _Dropped as dropped:
            reading.receipt.drop(str(dropped))
        except JSON_ERRORS as error:
            raise json_error(error, source, entry, _Play) from error


def _owner(source: Input) -> tuple[str, str]:
    """What makes files those of one listener: the zip, or the folder."""
    return str(source.root), "" if source.member else source.name.rpartition("/")[0]


def _read(sources: list[Input], reading: Reading) -> None:
    rule = cast(SpotifyRule, reading.rule)
    owners: dict[tuple[str, str], int] = {}
    with ExitStack() as stack:
        listens = Listens(reading, stack, _COLUMNS)
        for source in sources:
            listener = owners.setdefault(_owner(source), len(owners))
            rows = _rows(source, reading, rule.incognito)
            while batch := list(islice(rows, _BATCH)):
                tracks, times, played, starts, ends, flags = zip(*batch, strict=True)
                uris = [track.uri for track in tracks]
                about = [track[1:] for track in tracks]
                listens.add(
                    {
                        "listener": np.full(len(batch), listener, np.int32),
                        "track": np.array(
                            reading.writer.track_ids(uris, about.__getitem__), np.int32
                        ),
                        "time": np.array(times, np.int64),
                        "ms_played": np.array(played, np.int32),
                        "reason_start": listens.reasons(pa.array(starts, pa.string())),
                        "reason_end": listens.reasons(pa.array(ends, pa.string())),
                        "flags": np.array(flags, np.int32),
                    }
                )
        listens.write([f"listener:{number + 1}" for number in range(len(owners))])


READER = Reader(
    description="Spotify streaming history, extended or short: the zip, its folder, or files",
    files="Spotify streaming history (Streaming_History_*.json, endsong_*.json, "
    "StreamingHistory*.json)",
    unit="plays",
    wanted=lambda path: _FILE.match(path.rpartition("/")[2]) is not None,
    read=_read,
    Settings=SpotifyRule,
)
