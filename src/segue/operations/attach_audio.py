"""Attaching sound files to the tracks of a dataset: the work of ``segue ingest audio --add``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segue.audio.workers import Limits
from segue.catalog.catalog import Catalog
from segue.catalog.matching import match_tracks
from segue.data.dataset import DATASET_FILE, Dataset, Int32
from segue.data.ingestion.ingest import inputs_of, refuse_nothing
from segue.data.readers.audio import AudioTrack, scan, without_doubles, write_audio
from segue.data.receipt import Receipt
from segue.data.schema import TABLES
from segue.data.writer import writing_dataset
from segue.system.files import refuse_unwritable


def attach_audio(
    sources: Sequence[Path],
    path: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Receipt:
    """Attach sound files to the tracks of a dataset, in place, all or nothing.

    A file belongs to the track that had it before (by path, else by content), else to the track of
    its uri, recording, or artist and title. A file without such a track becomes a new one. Tags
    fill the empty cells of a track; nothing else changes.

    Args:
        sources: folders and files.
        path: dataset folder.
        settings: settings of `Limits`.
        progress: show progress on stderr.

    Returns:
        The receipt of all files; its notes count the matches by rule.

    Raises:
        UsageError: no source.
        DataError: `path` is no dataset, or the sources hold no sound. The dataset is unchanged.
    """
    limits = Limits.make(settings or {})
    dataset = Dataset.open(path)
    refuse_unwritable(path, DATASET_FILE)
    with ExitStack() as stack:
        inputs, receipt, tick = inputs_of("audio", sources, limits, "adding audio", stack, progress)
        scanned = scan(inputs, limits, receipt, tick, progress=progress)
    uris = set(dataset.tracks["uri"].to_pylist())
    files = without_doubles(scanned, receipt, known=uris.__contains__)
    refuse_nothing(receipt)
    rows = _rows(files, dataset, receipt)
    with writing_dataset(path) as writer:
        writer.copy(dataset, without=["tracks", "audio"])
        tracks = _tracks(dataset.tracks, files, rows)
        writer.add("tracks", {name: tracks[name].combine_chunks() for name in tracks.column_names})
        write_audio(writer, rows.tolist(), files, before=_untouched(dataset, rows))
        writer.finish([*dataset.info.sources, receipt], simulated=dataset.info.simulated)
    return receipt


def _rows(files: Sequence[AudioTrack], dataset: Dataset, receipt: Receipt) -> Int32:
    """Row of each file's track; files without a track get new rows after the last."""
    attached = dataset.audio_files()
    names = Catalog.of(dataset.tracks, np.zeros(dataset.track_count, np.int32))
    rows = np.full(len(files), -1, np.int32)
    taken: set[int] = set()

    def claim(how: str, track_rows: Iterable[int | None]) -> None:
        for at, row in enumerate(track_rows):
            if rows[at] < 0 and row is not None and row >= 0 and row not in taken:
                rows[at] = row
                taken.add(row)
                receipt.notes[how] = receipt.notes.get(how, 0) + 1

    by_path = {str(one.path.absolute()): one.track for one in attached}
    claim("attached before", [by_path.get(one.file) for one in files])
    by_content = {one.sha256: one.track for one in attached}
    claim("attached before", [by_content.get(one.looked.sha256) for one in files])
    by_uri = {uri: row for row, uri in enumerate(dataset.tracks["uri"].to_pylist())}
    claim("matched by uri", [by_uri.get(one.uri) for one in files])
    by_recording = _single(dataset.tracks["recording"].to_pylist())
    claim("matched by recording", [by_recording.get(_plain(one.track.recording)) for one in files])
    tracks = [(one.uri, one.track.artist, one.track.title) for one in files]
    columns = zip(*tracks, strict=True)
    table = pa.table([pa.array(c, pa.string()) for c in columns], names=["uri", "artist", "title"])
    claim("matched by artist and title", match_tracks(table, names).tolist())
    new = rows < 0
    rows[new] = dataset.track_count + np.arange(int(new.sum()))
    receipt.notes["new tracks"] = int(new.sum())
    return rows


def _plain(recording: str | None) -> str:
    return (recording or "").lower()


def _single(recordings: Sequence[str | None]) -> dict[str, int]:
    """Row of each recording id that belongs to one track only."""
    counts = Counter(map(_plain, recordings))
    return {
        _plain(recording): row
        for row, recording in enumerate(recordings)
        if recording and counts[_plain(recording)] == 1
    }


def _tracks(tracks: pa.Table, files: Sequence[AudioTrack], rows: Int32) -> pa.Table:
    """The table of tracks with the new tracks, its empty cells filled from tags."""
    size = max(len(tracks), int(rows.max(initial=-1)) + 1)
    file_rows = np.full(size, -1)
    file_rows[rows] = np.arange(len(files))
    file_index = pa.array(file_rows, mask=file_rows < 0)
    columns = {}
    for number, column in enumerate(TABLES["tracks"]):
        tag_values = pa.array([one.track[number] for one in files], column.type).take(file_index)
        values = tracks[column.name].combine_chunks()
        values = pa.concat_arrays([values, pa.nulls(size - len(values), column.type)])
        columns[column.name] = pc.coalesce(values, tag_values)
    return pa.table(columns, schema=TABLES["tracks"])


def _untouched(dataset: Dataset, rows: Int32) -> pa.Table:
    """The rows of the table audio whose tracks get no new file."""
    again = pc.is_in(dataset.audio["track"], value_set=pa.array(rows))
    return dataset.audio.filter(pc.invert(again))
