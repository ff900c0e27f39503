"""Adding tracks to a trained bundle: the work of ``segue add``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segue.audio.extractors import SOUNDS, Extractor
from segue.audio.features import Analysis, Features, folder_of
from segue.audio.files import AudioFile, FileCheck, FileInfo
from segue.audio.inspect_file import FileAnalysis
from segue.audio.workers import Limits
from segue.catalog.catalog import Catalog
from segue.data.ingestion.sources import find
from segue.data.readers.audio import READER, AudioTrack, scan, without_doubles
from segue.data.receipt import Receipt
from segue.data.schema import TABLES
from segue.errors import BundleError, UsageError
from segue.system.files import refuse_inside, shown
from segue.system.mismatch import mismatch_in
from segue.system.progress import task

if TYPE_CHECKING:
    from segue.bundle import Bundle

_MB = 1e6
_MANIFEST = "manifest.json"


class Added(msgspec.Struct, frozen=True):
    """Output of ``segue add --json``.

    Attributes:
        bundle: path of the written bundle.
        read: number of sound files read: ``read = added + sum(dropped.values())``.
        added: number of new tracks.
        dropped: number of other files, by reason.
        tracks: number of tracks in the bundle now.
        notes: number of unreadable folder entries, and of links that segue did not follow.
    """

    bundle: str
    read: int
    added: int
    dropped: dict[str, int]
    tracks: int
    notes: dict[str, int]


@dataclass(frozen=True)
class FeatureExtraction:
    """Extracts the model's audio features from new sound files; the cache key is their content.

    Attributes:
        extractor: the model's extractor; None: the model reads no audio.
        longest_minutes: maximum length of a file.
    """

    extractor: Extractor | None
    longest_minutes: float

    @property
    def look(self) -> Callable[[Path], FileInfo]:
        """Checks a file and extracts its features; work for `segue.audio.workers.run_files`."""
        look = FileCheck(self.longest_minutes)
        if self.extractor is None:
            return look
        return FileAnalysis(look, self._analysis(self.extractor), folder_of(self.extractor))

    def features(self, files: Sequence[AudioTrack]) -> Sequence[npt.NDArray[Any]] | Features:
        """Features of the files, in the form that `ContentModel.place` takes."""
        if self.extractor is None:
            return [np.zeros(0, np.float32)] * len(files)
        audio_files = [AudioFile(i, Path(f.file), f.looked.sha256) for i, f in enumerate(files)]
        return Features(audio_files, {}, self._analysis(self.extractor), folder_of(self.extractor))

    def _analysis(self, extractor: Extractor) -> Analysis:
        return Analysis(extractor, self.longest_minutes)


def add(
    path: Path, sources: Sequence[Path], *, out: Path | None = None, progress: bool = False
) -> Added:
    """Add sound files to the item space of a bundle as tracks without plays.

    The model predicts the vector of a track from its sound and its artist, without new training.
    Files are dropped that are not readable sound, or whose track the bundle has: under its uri, or
    as the same recording (`segue.catalog.recordings.Recordings`).

    Args:
        path: folder of the bundle.
        sources: sound files, or folders, which are searched with their subfolders.
        out: bundle to write; None replaces `path` atomically.
        progress: show progress on stderr.

    Returns:
        The counts of added and dropped files.

    Raises:
        UsageError: no source.
        BundleError: `path` is no bundle, its model reads no audio, or it was replaced meanwhile.
        DataError: a source is missing, holds no sound files, or lies in the bundle that is
            replaced; or `out` cannot be written.
    """
    if not sources:
        raise UsageError("no source", do=f"name {READER.files}")
    extractor = _extractor_of(path)
    before = _manifest(path)
    limits = Limits()
    extraction = FeatureExtraction(extractor, limits.duration_minutes)
    receipt = Receipt(format="audio", unit=READER.unit)
    with ExitStack() as stack:
        inputs = find(list(sources), READER.wanted, READER.files, stack, receipt.notes)
        refuse_inside(out or path, [one.path for one in inputs])
        # The bundle loads while the workers extract features.
        loading = stack.enter_context(ThreadPoolExecutor(1)).submit(_load, path, out or path)
        total = sum(one.size for one in inputs) / _MB
        advance = stack.enter_context(task("listening", total, "MB", show=progress))

        def tick(size: float) -> None:
            if loading.done():
                loading.result()  # raises if loading failed
            advance(size / _MB)

        scanned = scan(inputs, limits, receipt, tick, extraction.look, progress=progress)
        bundle = loading.result()
    files = _new(
        without_doubles(scanned, receipt, known=lambda uri: False), bundle.catalog, receipt
    )
    table = table_of(files)
    vectors = bundle.recommender.place(extraction.features(files), table)
    has_vector = vectors.any(axis=1)
    _drop(receipt, "nothing to place it by", int((~has_vector).sum()))
    table = table.filter(pa.array(has_vector))
    if len(table):
        bundle.recommender = bundle.recommender.with_tracks(table, vectors[has_vector])
    if _manifest(path) != before:
        raise BundleError("was replaced while files were listened to", where=path, do="add again")
    if len(table) or out:
        bundle.save(out or path)
    return Added(
        shown(out or path),
        receipt.read,
        receipt.kept,
        receipt.dropped,
        len(bundle.catalog),
        receipt.notes,
    )


class _ManifestHead(msgspec.Struct):
    """The part of a manifest that names the model's extractor."""

    recommender: str
    config: dict[str, object]
    extractor: str | None = None


def _extractor_of(path: Path) -> Extractor | None:
    """Extractor of a bundle's model, read before the bundle loads; None: the model reads no audio.

    Raises:
        BundleError: `path` is no bundle, its model places no new tracks, or it was trained with
            another version of its extractor.
    """
    where, manifest = path / _MANIFEST, _manifest(path)
    try:
        head = msgspec.json.decode(manifest, type=_ManifestHead)
    except msgspec.ValidationError as error:
        wrong = mismatch_in(manifest, _ManifestHead)
        raise BundleError(f"is not the manifest of a bundle ({wrong})", where=where) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"is not the manifest of a bundle ({error})", where=where) from error
    sound = head.config.get("sound")
    larp = head.config.get("larp")
    if sound == "larp" and isinstance(larp, dict):
        sound = larp.get("sound")
    if not isinstance(sound, str):
        raise BundleError(
            f"holds {head.recommender}, which places no new tracks",
            where=path,
            do="train the recipe audio",
        )
    extractor = SOUNDS.get(sound)
    if extractor is not None and head.extractor not in (None, extractor.name):
        raise BundleError(
            f"learned from what {head.extractor} hears, this segue hears by {extractor.name}",
            where=path,
            do="train it again, or use the segue that it was trained with",
        )
    return extractor


def _manifest(path: Path) -> bytes:
    file = path / _MANIFEST
    if not file.is_file():
        raise BundleError("is not a bundle (no manifest.json)", where=path)
    return file.read_bytes()


def _load(path: Path, out: Path) -> Bundle:
    # Imported here: the import takes as long as one file.
    from segue.bundle import Bundle

    Bundle.refuse_place(out)
    return Bundle.load(path)


def _new(files: list[AudioTrack], catalog: Catalog, receipt: Receipt) -> list[AudioTrack]:
    """Files whose tracks the catalog lacks; the receipt counts the others as dropped."""
    from segue.catalog.recordings import Recordings

    known = set(catalog.table["uri"].filter(_among(catalog, "uri", files)).to_pylist())
    new = [file for file in files if file.uri not in known]
    _drop(receipt, "there already", len(files) - len(new))
    # Compare only candidates: tracks with the recording id, or about the length, of a new one.
    like = catalog.table.filter(pc.or_(_among(catalog, "recording", new), _as_long(catalog, new)))
    tracks = Catalog.of(table_of(new), np.zeros(len(new), np.int32)).table
    both = Catalog(pa.concat_tables([like, tracks]))
    rows = np.arange(len(both), dtype=np.int32)
    first = Recordings(both, rows[: len(like)]).first_of_each(rows[len(like) :])
    _drop(receipt, "a recording that is there already", len(new) - len(first))
    return [new[i] for i in first]


def _among(catalog: Catalog, column: str, files: Sequence[AudioTrack]) -> pa.ChunkedArray:
    """Mask of the catalog's tracks whose value in this column one of the files has, too."""
    values = pa.array([getattr(file.track, column) for file in files], pa.string())
    return pc.is_in(catalog.table[column], value_set=values.drop_null())


def _as_long(catalog: Catalog, files: Sequence[AudioTrack]) -> pa.Array:
    """Mask of the catalog's tracks that are about as long as one of the files."""
    from segue.catalog.recordings import SAME_DURATION_MS

    durations = [file.track.duration_ms for file in files]
    sorted_durations = np.sort(
        np.array([-np.inf, np.inf, *(x for x in durations if x is not None)])
    )
    catalog_durations = catalog.table["duration_ms"].cast("double").fill_null(np.nan).to_numpy()
    after = np.searchsorted(sorted_durations, catalog_durations).clip(1, len(sorted_durations) - 1)
    difference = np.minimum(
        sorted_durations[after] - catalog_durations, catalog_durations - sorted_durations[after - 1]
    )
    return pa.array(difference <= SAME_DURATION_MS)


def table_of(files: Sequence[AudioTrack]) -> pa.Table:
    """The tracks of files, as rows of the table `tracks`."""
    return pa.Table.from_pylist([file.track._asdict() for file in files], TABLES["tracks"])


def _drop(receipt: Receipt, reason: str, n: int) -> None:
    """Move n files of the receipt from kept to dropped."""
    if n:
        receipt.kept -= n
        receipt.dropped[reason] = receipt.dropped.get(reason, 0) + n
