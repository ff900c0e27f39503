"""LFM-2b: listening events by number of user and track, and a table of the tracks.

Schedl et al.: LFM-2b: A Dataset of Enriched Music Listening Events for Recommender Systems
Research and Fairness Analysis, CHIIR 2022.
"""

from __future__ import annotations

import re
from contextlib import ExitStack

import pyarrow as pa
import pyarrow.csv as pacsv

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.drop_reasons import aside, sift
from segue.data.ingestion.header_tables import by_kind
from segue.data.ingestion.limits import Input
from segue.data.ingestion.sessions import Listens
from segue.data.ingestion.table_rows import Names
from segue.data.ingestion.timestamps import iso_times
from segue.data.ingestion.track_details import DescribedTracks
from segue.data.outcomes import NextPlayRule
from segue.data.readers.csv import batches

_FILE = re.compile(r"(?:^|/)(?:listening[-_]events[^/]*|tracks)\.tsv(?:\.gz|\.bz2|\.zst)?$")

_EVENTS = ["user_id", "track_id", "timestamp"]
_TRACKS = {"track_name": "title", "artist_name": "artist"}


def _parse() -> pacsv.ParseOptions:
    return pacsv.ParseOptions(delimiter="\t", quote_char=False)


def _add(
    batch: pa.RecordBatch,
    listeners: Names,
    tracks: DescribedTracks,
    listens: Listens,
    reading: Reading,
) -> None:
    times = iso_times(batch["timestamp"])
    reasons = {
        "no user_id": batch["user_id"].is_null(),
        "no track_id": batch["track_id"].is_null(),
        "timestamp is not a time": times.is_null(),
    }
    if not (good := sift(reading, reasons)).any():
        return
    kept = pa.array(good)
    listens.add(
        {
            "listener": listeners.of(batch["user_id"].filter(kept)),
            "track": tracks.rows(batch["track_id"].filter(kept)),
            "time": times.filter(kept).to_numpy(),
        }
    )


def _describe(source: Input, reading: Reading, tracks: DescribedTracks) -> None:
    with aside(reading, "the table of tracks") as beside:
        for batch in batches(source, beside, None, ["track_id", *_TRACKS], _parse()):
            batch = batch.filter(batch["track_id"].is_valid())
            about = {column: batch[name] for name, column in _TRACKS.items()}
            reading.note("tracks with names", tracks.describe(batch["track_id"], about))


def _read(sources: list[Input], reading: Reading) -> None:
    files = by_kind(
        sources, "\t", {"listening events": _EVENTS, "a table of tracks": ["track_id", *_TRACKS]}
    )
    listeners, tracks = Names(), DescribedTracks(list(_TRACKS.values()))
    with ExitStack() as stack:
        listens = Listens(reading, stack, ["listener", "track", "time"])
        for source in files["listening events"]:
            for batch in batches(source, reading, None, _EVENTS, _parse()):
                _add(batch, listeners, tracks, listens, reading)
        for source in files["a table of tracks"]:
            _describe(source, reading, tracks)
        tracks.write(reading.writer, "lfm-2b:track:")
        listens.write([f"lfm-2b:user:{user}" for user in listeners.numbers])


READER = Reader(
    description="LFM-2b: listening-events.tsv.bz2, with tracks.tsv.bz2 for names",
    files="LFM-2b files (listening-events.tsv and tracks.tsv, plain, .gz, .bz2 or .zst)",
    unit="rows",
    wanted=lambda path: _FILE.search(path) is not None,
    read=_read,
    Settings=NextPlayRule,
)
