"""Sound files that arrive while the service runs: each becomes a track that can be recommended."""

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
from segue.data.readers.audio import AudioTrack
from segue.data.schema import TABLES
from segue.models.audio.examples import Artists
from segue.numeric.arrays import Float32
from segue.operations.add_tracks import FeatureExtraction, table_of
from segue.reranking.recordings import Recordings
from segue.service.serving.limits import ServiceSettings
from segue.service.serving.live_bundle import LiveBundle, TakesNone, scoring
from segue.service.storage.store import Upload

Door = Literal["audio", "text"]
_RATE = 22_050
_NOBODY = np.zeros(1, np.int32)
_LOG = logging.getLogger("segue.service")


class UnreadableUpload(Exception):
    """A file that is no sound, or costs too much; the text says why."""


def listen(live: LiveBundle, path: Path, settings: ServiceSettings) -> AudioTrack:
    """Look at a file, and hear what the bundle's model hears.

    Raises:
        UnreadableUpload: it is no sound that can be read within the limits.
    """
    ears = _ears(live, settings)
    work = ears.look if ears.extractor else _Played(ears.look, ears.longest_minutes)
    ((_, looked),) = run_files(work, [path], limits=_limits(settings))
    if isinstance(looked, AudioError):
        raise UnreadableUpload(looked.reason)
    return AudioTrack(f"upload:{looked.sha256}", str(path), looked)


def again(live: LiveBundle, kept: Sequence[Upload], settings: ServiceSettings) -> LiveBundle:
    """Take in files that were uploaded before; what was heard of them is kept by their content.

    Raises:
        TakesNone: the bundle's model takes in no tracks.
    """
    files: dict[int, AudioTrack] = {}
    paths = [Path(one.file) for one in kept]
    for at, looked in run_files(_ears(live, settings).look, paths, limits=_limits(settings)):
        if isinstance(looked, AudioError):
            _LOG.warning("%s: %s", kept[at].file, looked.reason)
        else:
            files[at] = AudioTrack(kept[at].uri, kept[at].file, looked)
    order = sorted(files)
    more, _ = place(live, [files[i] for i in order], [dict(kept[i].row) for i in order], settings)
    return more


@dataclass(frozen=True)
class _Played:
    """Looks at a file and plays its middle to nobody: what cannot be played is no track."""

    look: Callable[[Path], FileInfo]
    longest_minutes: float

    def __call__(self, path: Path) -> FileInfo:
        decode(path, _RATE, Excerpt(), self.longest_minutes)
        return self.look(path)


def _limits(settings: ServiceSettings) -> Limits:
    return Limits(duration_minutes=settings.upload_minutes, seconds=settings.upload_seconds)


def _ears(live: LiveBundle, settings: ServiceSettings) -> FeatureExtraction:
    return FeatureExtraction(SOUNDS.get(live.recommender.sound or "none"), settings.upload_minutes)


def row_of(live: LiveBundle, found: AudioTrack, said: dict[str, str]) -> dict[str, Any]:
    """The track that a file is: its tags, and what who sent it says.

    An artist whom the catalog knows is called as there.

    Args:
        said: title, artist and album; and the name that the file was sent by, as `file`: it tells
            the title where nothing else does, for here the file has a name of the service's own.
    """
    row: dict[str, Any] = table_of([found]).to_pylist()[0]
    if row["title"] == named_by_file(Path(found.file)).title:
        sent = named_by_file(Path(said.get("file", "").replace("\\", "/")))
        row |= {"title": sent.title, "artist": row["artist"] or sent.artist}
    row |= {name: said[name] for name in ("title", "artist", "album") if said.get(name)}
    if row["artist"] and (known := live.of_artist(row["artist"])):
        row["artist"] = live.catalog[known[0]]["artist"] or row["artist"]
    return row


def known(live: LiveBundle, row: dict[str, Any]) -> int | None:
    """The track of the catalog that is this recording already, see `Recordings`."""
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
) -> tuple[LiveBundle, list[Door | None]]:
    """Take files in as tracks.

    A track is placed by its sound where the model has an audio door and hears it, else by its
    artist: at the mean of the artist's other tracks.

    Args:
        files: that were looked at.
        rows: of the table `tracks`, one for each.

    Returns:
        What answers from now on, and what told the place of each; None: nothing did.

    Raises:
        TakesNone: the bundle's model takes in no tracks.
    """
    table = _table(rows)
    with scoring:
        vectors, doors = _vectors(live, files, table, settings)
    placed = np.array([door is not None for door in doors], np.bool_)
    if placed.any():
        live = live.with_tracks(table.filter(pa.array(placed)), vectors[placed])
    return live, doors


def _vectors(
    live: LiveBundle, files: Sequence[AudioTrack], table: pa.Table, settings: ServiceSettings
) -> tuple[Float32, list[Door | None]]:
    """Of tracks, and through which door they came."""
    catalog, model = live.catalog, live.recommender
    if model.item_vectors is None:
        raise TakesNone(model)
    artists = Artists(catalog.artists, catalog.plays > 0, model.item_vectors)
    beside = artists.beside(artists_of(catalog, table))
    vectors: Float32 = beside[:, :-1].copy()
    doors: list[Door | None] = ["text" if told else None for told in beside[:, -1]]
    if model.sound is not None:
        heard = model.place(_ears(live, settings).features(files), table)
        for at in np.flatnonzero(heard.any(axis=1)):
            vectors[at] = heard[at]
            doors[at] = "audio" if model.sound != "none" else "text"
    return vectors, doors
