"""New tracks for a bundle that is trained already: what ``segue add`` does."""

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
    """What ``segue add --json`` prints.

    Attributes:
        bundle: where it was written.
        read: sound files that were looked at: ``read = added + sum(dropped.values())``.
        added: those that are tracks now.
        dropped: the others, by reason.
        tracks: of the bundle.
        notes: what in folders could not be looked at, and links that were not followed.
    """

    bundle: str
    read: int
    added: int
    dropped: dict[str, int]
    tracks: int
    notes: dict[str, int]


@dataclass(frozen=True)
class FeatureExtraction:
    """What a model hears of sound files that have just arrived; it is kept by their content.

    Attributes:
        extractor: of what it hears; None: nothing.
        longest_minutes: of a file.
    """

    extractor: Extractor | None
    longest_minutes: float

    @property
    def look(self) -> Callable[[Path], FileInfo]:
        """Looks at a file and hears it in one go; work for `segue.audio.workers.run_files`."""
        look = FileCheck(self.longest_minutes)
        if self.extractor is None:
            return look
        return FileAnalysis(look, self._analysis(self.extractor), folder_of(self.extractor))

    def features(self, files: Sequence[AudioTrack]) -> Sequence[npt.NDArray[Any]] | Features:
        """What was heard of files, as `ContentModel.place` takes it."""
        if self.extractor is None:
            return [np.zeros(0, np.float32)] * len(files)
        heard = [AudioFile(i, Path(f.file), f.looked.sha256) for i, f in enumerate(files)]
        return Features(heard, {}, self._analysis(self.extractor), folder_of(self.extractor))

    def _analysis(self, extractor: Extractor) -> Analysis:
        return Analysis(extractor, self.longest_minutes)


def add(
    path: Path, sources: Sequence[Path], *, out: Path | None = None, progress: bool = False
) -> Added:
    """Place sound files in the item space of a bundle as tracks that nobody has played.

    The bundle is not trained again: it places a track by its sound and its artist, as it learned
    to. A file is left out that is no readable sound, or whose track the bundle has: by its uri, or
    as the same recording (`segue.reranking.recordings.Recordings`).

    Args:
        path: of the bundle.
        sources: sound files, and folders with all below them.
        out: bundle to write; None replaces `path`, which is the old one or the new one at every
            moment.
        progress: show progress on stderr.

    Returns:
        What became of every file.

    Raises:
        UsageError: no source.
        BundleError: not a bundle, one that does not hear, or one that was replaced meanwhile.
        DataError: a source is missing, holds no sound files, or lies in the bundle that is
            replaced; or `out` cannot be written.
    """
    if not sources:
        raise UsageError("no source", do=f"name {READER.files}")
    extractor = _heard_by(path)
    before = _manifest(path)
    limits = Limits()
    ears = FeatureExtraction(extractor, limits.duration_minutes)
    receipt = Receipt(format="audio", unit=READER.unit)
    with ExitStack() as stack:
        inputs = find(list(sources), READER.wanted, READER.files, stack, receipt.notes)
        refuse_inside(out or path, [one.path for one in inputs])
        # The bundle loads while files are listened to.
        loading = stack.enter_context(ThreadPoolExecutor(1)).submit(_load, path, out or path)
        total = sum(one.size for one in inputs) / _MB
        advance = stack.enter_context(task("listening", total, "MB", show=progress))

        def tick(size: float) -> None:
            if loading.done():
                loading.result()  # raises, if it could not be loaded
            advance(size / _MB)

        found = scan(inputs, limits, receipt, tick, ears.look, progress=progress)
        bundle = loading.result()
    files = _new(without_doubles(found, receipt, known=lambda uri: False), bundle.catalog, receipt)
    table = table_of(files)
    vectors = bundle.recommender.place(ears.features(files), table)
    placed = vectors.any(axis=1)
    _drop(receipt, "nothing to place it by", int((~placed).sum()))
    table = table.filter(pa.array(placed))
    if len(table):
        bundle.recommender = bundle.recommender.with_tracks(table, vectors[placed])
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


class _Heard(msgspec.Struct):
    """The part of a manifest that tells what its model hears."""

    recommender: str
    config: dict[str, object]
    extractor: str | None = None


def _heard_by(path: Path) -> Extractor | None:
    """What the model of a bundle hears, before all of it is loaded; None: nothing.

    Raises:
        BundleError: not a bundle, one whose model places no tracks, or one that learned from what
            another version of its extractor hears.
    """
    where, manifest = path / _MANIFEST, _manifest(path)
    try:
        heard = msgspec.json.decode(manifest, type=_Heard)
    except msgspec.ValidationError as error:
        wrong = mismatch_in(manifest, _Heard)
        raise BundleError(f"is not the manifest of a bundle ({wrong})", where=where) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"is not the manifest of a bundle ({error})", where=where) from error
    sound = heard.config.get("sound")
    larp = heard.config.get("larp")
    if sound == "larp" and isinstance(larp, dict):
        sound = larp.get("sound")
    if not isinstance(sound, str):
        raise BundleError(
            f"holds {heard.recommender}, which places no new tracks",
            where=path,
            do="train the recipe audio",
        )
    extractor = SOUNDS.get(sound)
    if extractor is not None and heard.extractor not in (None, extractor.name):
        raise BundleError(
            f"learned from what {heard.extractor} hears, this segue hears by {extractor.name}",
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
    # Here, because it takes as long as to listen to a file.
    from segue.bundle import Bundle

    Bundle.refuse_place(out)
    return Bundle.load(path)


def _new(files: list[AudioTrack], catalog: Catalog, receipt: Receipt) -> list[AudioTrack]:
    """Files whose tracks the catalog does not have; the others are counted as dropped."""
    from segue.reranking.recordings import Recordings

    known = set(catalog.table["uri"].filter(_among(catalog, "uri", files)).to_pylist())
    new = [file for file in files if file.uri not in known]
    _drop(receipt, "there already", len(files) - len(new))
    # Only what may be the same recording is looked at closely: by its id, or as long as a new one.
    like = catalog.table.filter(pc.or_(_among(catalog, "recording", new), _as_long(catalog, new)))
    tracks = Catalog.of(table_of(new), np.zeros(len(new), np.int32)).table
    both = Catalog(pa.concat_tables([like, tracks]))
    rows = np.arange(len(both), dtype=np.int32)
    first = Recordings(both, rows[: len(like)]).first_of_each(rows[len(like) :])
    _drop(receipt, "a recording that is there already", len(new) - len(first))
    return [new[i] for i in first]


def _among(catalog: Catalog, column: str, files: Sequence[AudioTrack]) -> pa.ChunkedArray:
    """Which tracks of the catalog have in this column what one of the files has."""
    values = pa.array([getattr(file.track, column) for file in files], pa.string())
    return pc.is_in(catalog.table[column], value_set=values.drop_null())


def _as_long(catalog: Catalog, files: Sequence[AudioTrack]) -> pa.Array:
    """Which tracks of the catalog are about as long as one of the files."""
    from segue.reranking.recordings import SAME_DURATION_MS

    known = [file.track.duration_ms for file in files]
    lengths = np.sort(np.array([-np.inf, np.inf, *(x for x in known if x is not None)]))
    wanted = catalog.table["duration_ms"].cast("double").fill_null(np.nan).to_numpy()
    after = np.searchsorted(lengths, wanted).clip(1, len(lengths) - 1)
    apart = np.minimum(lengths[after] - wanted, wanted - lengths[after - 1])
    return pa.array(apart <= SAME_DURATION_MS)


def table_of(files: Sequence[AudioTrack]) -> pa.Table:
    """The tracks of files, as rows of the table `tracks`."""
    return pa.Table.from_pylist([file.track._asdict() for file in files], TABLES["tracks"])


def _drop(receipt: Receipt, reason: str, n: int) -> None:
    """Count files that were kept so far as dropped."""
    if n:
        receipt.kept -= n
        receipt.dropped[reason] = receipt.dropped.get(reason, 0) + n
