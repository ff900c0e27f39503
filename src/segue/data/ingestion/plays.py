"""Plays that come one at a time, from the exports that a person gets of a service or player.

A source (a zip, a folder with all below it, or the folder of a file) is one listener.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from segue.data.ingestion.contract import Reading
from segue.data.ingestion.external_sort import Columns
from segue.data.ingestion.limits import Input
from segue.data.ingestion.playlists import TrackRow, name_uri
from segue.data.ingestion.sessions import Listens
from segue.data.ingestion.timestamps import EARLIEST, LATEST, OUTSIDE

_BATCH = 1 << 14
_MBID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MOST_MS = 2**31 - 1


class Dropped(Exception):
    """A row that is not kept; the text is the reason that is counted."""


class TimedPlay(NamedTuple):
    """A play as a source tells it."""

    track: TrackRow
    time: int
    """When it began, in milliseconds since 1970."""
    ms_played: int = -1
    """-1 where it is not known."""
    reason_end: str | None = None
    flags: int = 0
    """Bits of `Flag`."""


def mbid(text: str | None) -> str | None:
    """A MusicBrainz id in lower case; None where the text is none."""
    return text.strip().lower() if text and _MBID.fullmatch(text.strip()) else None


def length_ms(value: float | None) -> int | None:
    """A track's length in whole milliseconds; None where no track has such a length."""
    return int(value) if value and 1 <= value <= _MOST_MS else None


def named_track(
    artist: str | None,
    title: str | None,
    *,
    album: str | None = None,
    duration_ms: float | None = None,
    recording: str | None = None,
    artist_id: str | None = None,
) -> TrackRow:
    """A track by its MusicBrainz recording, else by its names.

    Args:
        artist, title, album: names; blanks around them do not count.
        duration_ms: left out where no track has such a length.
        recording, artist_id: MusicBrainz ids; other texts are left out.

    Raises:
        Dropped: it has no recording, and not both artist and title.
    """
    artist, title, album = ((text or "").strip() or None for text in (artist, title, album))
    known, by = mbid(recording), mbid(artist_id)
    if known:
        uri = f"https://musicbrainz.org/recording/{known}"
    elif artist and title:
        uri = name_uri(artist, title)
    else:
        raise Dropped("no title" if artist else "no artist")
    return TrackRow(
        uri,
        title,
        artist,
        artist_uri=f"https://musicbrainz.org/artist/{by}" if by else None,
        album=album,
        duration_ms=length_ms(duration_ms),
        recording=known,
    )


def checked_time(ms: float) -> int:
    """A time in milliseconds since 1970, rounded.

    Raises:
        Dropped: it is before 1970, at its very beginning (a clock that was never set), or after
            2200.
    """
    if not EARLIEST < ms < LATEST:
        raise Dropped(OUTSIDE)
    return round(ms)


def owner(source: Input) -> Path:
    """What the files of one listener have in common: the zip, or the folder."""
    return source.root


def read_plays(
    sources: Sequence[Input],
    reading: Reading,
    plays: Callable[[Input], Iterator[TimedPlay]],
    columns: Sequence[str] = (),
    *,
    newest_first: bool = False,
) -> None:
    """Ingest files of plays, in sessions by the gap of the reading's rule.

    Args:
        sources: the files.
        reading: the ingest; its receipt counts the plays that are kept, and duplicates.
        plays: of a file, those to keep; it counts the others.
        columns: that the plays have besides track and time: of ms_played, reason_end and flags.
        newest_first: as in `Listens`.
    """
    owners: dict[Path, int] = {}
    lengths: dict[int, int] = {}
    with ExitStack() as stack:
        spilled = ["listener", "track", "time", *columns]
        listens = Listens(reading, stack, spilled, newest_first=newest_first)
        for source in sources:
            listener = owners.setdefault(owner(source), len(owners))
            in_file = plays(source)
            while batch := list(islice(in_file, _BATCH)):
                rows = _columns(batch, listener, lengths, listens, reading)
                listens.add({name: rows[name] for name in spilled})
        names = [f"listener:{number + 1}" for number in range(len(owners))]
        known = np.full(max(lengths, default=-1) + 1, -1, np.int32)
        known[list(lengths)] = list(lengths.values())
        listens.write(names, known)


def _columns(
    batch: list[TimedPlay],
    listener: int,
    lengths: dict[int, int],
    listens: Listens,
    reading: Reading,
) -> Columns:
    """What `Listens` takes; `lengths` gets that of each track when it first comes."""
    tracks, times, played, ends, flags = zip(*batch, strict=True)
    uris = [track.uri for track in tracks]
    about = [track[1:] for track in tracks]
    ids = reading.writer.track_ids(uris, about.__getitem__)
    for track, number in zip(tracks, ids, strict=True):
        lengths.setdefault(number, track.duration_ms or -1)
    return {
        "listener": np.full(len(batch), listener, np.int32),
        "track": np.array(ids, np.int32),
        "time": np.array(times, np.int64),
        "ms_played": np.array(played, np.int32),
        "reason_end": listens.reasons(pa.array(ends, pa.string())),
        "flags": np.array(flags, np.int32),
    }
