"""Uploaded sound files: the service adds each to the live bundle as a new track."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from segue.audio.decode import AudioError, Excerpt, decode
from segue.audio.extractors import SOUNDS
from segue.audio.files import FileInfo
from segue.audio.tags import named_by_file
from segue.audio.workers import Limits, run_files
from segue.catalog.catalog import Catalog
from segue.catalog.matching import artists_of
from segue.catalog.recordings import Recordings
from segue.data.readers.audio import AudioTrack
from segue.data.schema import TABLES
from segue.models.audio.examples import Artists
from segue.numeric.arrays import Float32
from segue.operations.add_tracks import FeatureExtraction, table_of
from segue.service.serving.limits import ServiceSettings
from segue.service.serving.live_bundle import LiveBundle, TakesNone, scoring
from segue.service.storage.store import Upload

VectorSource = Literal["audio", "text"]
_RATE = 22_050
_NOBODY = np.zeros(1, np.int32)
_LOG = logging.getLogger("segue.service")


class UnreadableUpload(Exception):
    """A file that is no sound, or takes too much work; the message says why."""


def listen(live: LiveBundle, path: Path, settings: ServiceSettings) -> AudioTrack:
    """Check a file and extract the features of the bundle's model.

    Raises:
        UnreadableUpload: it is no sound that can be read within the limits.
    """
    extraction = _extraction(live, settings)
    work = (
        extraction.look
        if extraction.extractor
        else _Played(extraction.look, extraction.longest_minutes)
    )
    ((_, looked),) = run_files(work, [path], limits=_limits(settings))
    if isinstance(looked, AudioError):
        raise UnreadableUpload(looked.reason)
    return AudioTrack(f"upload:{looked.sha256}", str(path), looked)


def again(live: LiveBundle, uploads: Sequence[Upload], settings: ServiceSettings) -> LiveBundle:
    """Add earlier uploads to a bundle; a cache has their features.

    Raises:
        TakesNone: the bundle's model takes no new tracks.
    """
    files: dict[int, AudioTrack] = {}
    paths = [Path(one.file) for one in uploads]
    for index, looked in run_files(
        _extraction(live, settings).look, paths, limits=_limits(settings)
    ):
        if isinstance(looked, AudioError):
            _LOG.warning("%s: %s", uploads[index].file, looked.reason)
        else:
            files[index] = AudioTrack(uploads[index].uri, uploads[index].file, looked)
    order = sorted(files)
    more, _ = place(
        live, [files[i] for i in order], [dict(uploads[i].row) for i in order], settings
    )
    return more


@dataclass(frozen=True)
class _Played:
    """Checks a file and decodes its middle: an undecodable file is no track."""

    look: Callable[[Path], FileInfo]
    longest_minutes: float

    def __call__(self, path: Path) -> FileInfo:
        decode(path, _RATE, Excerpt(), self.longest_minutes)
        return self.look(path)


def _limits(settings: ServiceSettings) -> Limits:
    return Limits(duration_minutes=settings.upload_minutes, seconds=settings.upload_seconds)


def _extraction(live: LiveBundle, settings: ServiceSettings) -> FeatureExtraction:
    return FeatureExtraction(SOUNDS.get(live.recommender.sound or "none"), settings.upload_minutes)


def row_of(live: LiveBundle, file: AudioTrack, labels: dict[str, str]) -> dict[str, Any]:
    """The track of a file, from its tags and the sender's labels.

    A known artist gets the catalog's spelling.

    Args:
        said: title, artist and album of the sender; and as `file`, the sender's file name, which
            gives the title if nothing else does: the stored file has a name of the service.
    """
    row: dict[str, Any] = table_of([file]).to_pylist()[0]
    if row["title"] == named_by_file(Path(file.file)).title:
        file_labels = named_by_file(Path(labels.get("file", "").replace("\\", "/")))
        row |= {"title": file_labels.title, "artist": row["artist"] or file_labels.artist}
    row |= {name: labels[name] for name in ("title", "artist", "album") if labels.get(name)}
    if row["artist"] and (artist_rows := live.of_artist(row["artist"])):
        row["artist"] = live.catalog[artist_rows[0]]["artist"] or row["artist"]
    return row


def known(live: LiveBundle, row: dict[str, Any]) -> int | None:
    """Row of this recording in the catalog, see `Recordings`; None: it is new."""
    at = live.rows.get(row["uri"])
    if at is not None or not row["artist"]:
        return at
    rows = np.array(live.of_artist(row["artist"]), np.int32)
    new = Catalog.of(_table([row]), _NOBODY).table
    both = Catalog(pa.concat_tables([live.catalog.table.take(rows), new]))
    last = np.array([len(rows)], np.int32)
    for place, candidate in enumerate(rows):
        if not len(Recordings(both, [place]).first_of_each(last)):
            return int(candidate)
    return None


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), TABLES["tracks"])


def place(
    live: LiveBundle,
    files: Sequence[AudioTrack],
    rows: Sequence[dict[str, Any]],
    settings: ServiceSettings,
) -> tuple[LiveBundle, list[VectorSource | None]]:
    """Add files to a bundle as tracks.

    A model that reads audio predicts the vector from the sound. Else the vector is the mean of the
    artist's other tracks.

    Args:
        files: checked files.
        rows: a row of the table `tracks` for each.

    Returns:
        The new bundle, and the source of each vector; None: the file has no vector.

    Raises:
        TakesNone: the bundle's model takes no new tracks.
    """
    table = _table(rows)
    with scoring:
        vectors, sources = _vectors(live, files, table, settings)
    has_vector = np.array([source is not None for source in sources], np.bool_)
    if has_vector.any():
        live = live.with_tracks(table.filter(pa.array(has_vector)), vectors[has_vector])
    return live, sources


def _vectors(
    live: LiveBundle, files: Sequence[AudioTrack], table: pa.Table, settings: ServiceSettings
) -> tuple[Float32, list[VectorSource | None]]:
    """Vectors of tracks, and the source of each vector."""
    catalog, model = live.catalog, live.recommender
    if model.item_vectors is None:
        raise TakesNone(model)
    artists = Artists(catalog.artists, catalog.plays > 0, model.item_vectors)
    artist_input = artists.beside(artists_of(catalog, table))
    vectors: Float32 = artist_input[:, :-1].copy()
    sources: list[VectorSource | None] = [
        "text" if known else None for known in artist_input[:, -1]
    ]
    if model.sound is not None:
        predicted = model.place(_extraction(live, settings).features(files), table)
        for row in np.flatnonzero(predicted.any(axis=1)):
            vectors[row] = predicted[row]
            sources[row] = "audio" if model.sound != "none" else "text"
    return vectors, sources
