"""The tables of a dataset, column by column.

`docs/reference/dataset.md` says the same for people.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

DATASET_FORMAT = "segue-dataset"
DATASET_VERSION = 1


class Outcome(enum.IntEnum):
    """How a listen ended. Stored as its number."""

    UNKNOWN = 0
    FINISHED = 1
    PARTIAL = 2
    SKIPPED = 3
    DISLIKED = 4


NEGATIVE = (Outcome.SKIPPED, Outcome.DISLIKED)
"""Outcomes that do not speak for a track."""


def is_negative(outcomes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which outcomes, given as numbers, are `NEGATIVE`."""
    return np.isin(outcomes, [int(outcome) for outcome in NEGATIVE])


class Flag(enum.IntFlag):
    """What a source says of a play, as bits of the column ``flags``."""

    SKIP_1 = 1
    """MSSD: played very briefly."""
    SKIP_2 = 2
    """MSSD: played briefly."""
    SKIP_3 = 4
    """MSSD: most of it played, then left."""
    NOT_SKIPPED = 8
    """MSSD: played to its end."""
    SAID_SKIPPED = 16
    """Spotify: ``skipped`` is true. Scrobbler log: rated ``S``."""
    SAID_NOT_SKIPPED = 32
    """Spotify: ``skipped`` is false; neither bit where it is null. Scrobbler log: rated ``L``."""
    SHUFFLE = 64
    OFFLINE = 128
    INCOGNITO = 256
    LIKED = 512
    """ListenBrainz: the listener loves the recording."""
    DISLIKED = 1024
    """ListenBrainz: the listener hates the recording."""


def _column(name: str, kind: pa.DataType, what: str, *, required: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=not required, metadata={"description": what})


_TIME = pa.timestamp("ms", tz="UTC")

TABLES: dict[str, pa.Schema] = {
    "tracks": pa.schema(
        [
            _column("uri", pa.string(), "what the outside calls the track; unique", required=True),
            _column("title", pa.string(), "name of the track"),
            _column("artist", pa.string(), "name of the (first) artist"),
            _column("artist_uri", pa.string(), "outside name of the artist"),
            _column("album", pa.string(), "name of the album"),
            _column("album_uri", pa.string(), "outside name of the album"),
            _column("duration_ms", pa.int32(), "length in milliseconds"),
            _column("recording", pa.string(), "MusicBrainz recording id or ISRC, where known"),
        ]
    ),
    "playlists": pa.schema(
        [
            _column("uri", pa.string(), "what the outside calls the playlist", required=True),
            _column("title", pa.string(), "name of the playlist"),
            _column("description", pa.string(), "what its maker wrote about it"),
            _column("followers", pa.int32(), "how many follow it"),
            _column("modified_at", _TIME, "when it was last changed"),
        ]
    ),
    "playlist_tracks": pa.schema(
        [
            _column("playlist", pa.int32(), "row in playlists; never falls", required=True),
            _column("position", pa.int32(), "place in the playlist, from 0", required=True),
            _column("track", pa.int32(), "row in tracks", required=True),
        ]
    ),
    "listeners": pa.schema(
        [_column("uri", pa.string(), "what the outside calls the listener; unique", required=True)]
    ),
    "listens": pa.schema(
        [
            _column("listener", pa.int32(), "row in listeners; never falls", required=True),
            _column("session", pa.int32(), "number of the session; null for mere play counts"),
            _column("position", pa.int32(), "place in the session, from 0"),
            _column("track", pa.int32(), "row in tracks", required=True),
            _column("time", _TIME, "when it began"),
            _column("outcome", pa.int8(), "how it ended: a number of Outcome", required=True),
            _column("plays", pa.int32(), "how many plays the row stands for", required=True),
            _column("ms_played", pa.int32(), "milliseconds played"),
            _column("reason_start", pa.string(), "why it began, in the words of the source"),
            _column("reason_end", pa.string(), "why it ended, in the words of the source"),
            _column("flags", pa.int32(), "what else the source says: bits of Flag"),
        ]
    ),
    "audio": pa.schema(
        [
            _column("track", pa.int32(), "row in tracks; rises, so none is twice", required=True),
            _column("file", pa.string(), "path; a relative one is in the dataset", required=True),
            _column("sha256", pa.string(), "SHA-256 of the file's bytes, as hex", required=True),
            _column("duration_ms", pa.int32(), "length in milliseconds"),
            _column("sample_rate", pa.int32(), "samples a second"),
            _column("channels", pa.int32(), "channels"),
        ]
    ),
}
"""Schema of every table, by name. A table's file is ``{name}.parquet``."""

REQUIRED_TABLES = ("tracks", "playlists", "playlist_tracks")
"""Tables that every dataset has, if empty. The others are there when their data is."""

ADDED = {("listens", "reason_start"), ("listens", "reason_end"), ("listens", "flags")}
"""Columns that datasets of before may lack: they are null there."""
