"""Last.fm 1K users: a play a row, ``userid-timestamp-artid-artname-traid-traname.tsv``."""

from __future__ import annotations

from contextlib import ExitStack

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.drop_reasons import sift
from segue.data.ingestion.limits import Input
from segue.data.ingestion.playlists import name_uri
from segue.data.ingestion.sessions import Listens
from segue.data.ingestion.table_rows import Names, track_rows
from segue.data.ingestion.timestamps import iso_times
from segue.data.outcomes import NextPlayRule
from segue.data.readers.csv import batches

_COLUMNS = ["userid", "timestamp", "artid", "artname", "traid", "traname"]
_MBID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def _mbids(ids: pa.Array) -> pa.Array:
    """MusicBrainz ids, null where the text is none. (rows,)"""
    return pc.utf8_lower(pc.if_else(pc.match_substring_regex(ids, _MBID), ids, None))


def _uris(mbids: pa.Array, artists: pa.Array, titles: pa.Array) -> pa.Array:
    """Uri of each track: of its recording, else of its names; null without either. (rows,)"""
    known = pc.binary_join_element_wise("https://musicbrainz.org/recording/", mbids, "")
    if not known.null_count:
        return known
    pairs = zip(known.to_pylist(), artists.to_pylist(), titles.to_pylist(), strict=True)
    return pa.array(
        [
            uri or (name_uri(artist, title) if artist and title else None)
            for uri, artist, title in pairs
        ],
        pa.string(),
    )


def _add(batch: pa.RecordBatch, listeners: Names, listens: Listens, reading: Reading) -> None:
    mbids = _mbids(batch["traid"])
    uris = _uris(mbids, batch["artname"], batch["traname"])
    times = iso_times(batch["timestamp"])
    reasons = {
        "no userid": batch["userid"].is_null(),
        "timestamp is not a time": times.is_null(),
        "no traid, and not both artname and traname": uris.is_null(),
    }
    if not (good := sift(reading, reasons)).any():
        return
    artists = pc.binary_join_element_wise(
        "https://musicbrainz.org/artist/", _mbids(batch["artid"]), ""
    )
    about = {
        "title": batch["traname"],
        "artist": batch["artname"],
        "artist_uri": artists,
        "recording": mbids,
    }
    kept = pa.array(good)
    about = {name: column.filter(kept) for name, column in about.items()}
    listens.add(
        {
            "listener": listeners.of(batch["userid"].filter(kept)),
            "track": track_rows(reading.writer, uris.filter(kept), about),
            "time": times.filter(kept).to_numpy(),
        }
    )


def _read(sources: list[Input], reading: Reading) -> None:
    listeners = Names()
    with ExitStack() as stack:
        listens = Listens(reading, stack, ["listener", "track", "time"], newest_first=True)
        for source in sources:
            parse = pacsv.ParseOptions(delimiter="\t", quote_char=False)
            for batch in batches(source, reading, _COLUMNS, _COLUMNS, parse):
                _add(batch, listeners, listens, reading)
        listens.write(list(listeners.numbers))


READER = Reader(
    description="Last.fm 1K users: userid-timestamp-artid-artname-traid-traname.tsv",
    files="LFM-1K files (userid-timestamp-*.tsv, plain, .gz, .bz2 or .zst)",
    unit="rows",
    wanted=lambda path: path.rpartition("/")[2].startswith("userid-timestamp-") and ".tsv" in path,
    read=_read,
    Settings=NextPlayRule,
)
