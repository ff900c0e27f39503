"""A trained recommender on disk: manifest.json, model.safetensors, catalog.arrow.

Nothing in a bundle is code. Loading checks the SHA-256 of every file, the shape and type of every
tensor and that floats are finite, before anything is used.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import safetensors.numpy
from safetensors import SafetensorError

from segue import __version__
from segue.catalog.catalog import CATALOG_SCHEMA, Catalog
from segue.errors import BundleError, DataError
from segue.models.base.recommender import RECOMMENDERS, Recommender
from segue.numeric.tensors import sane
from segue.system.files import recover, refuse_unwritable, replacing_folder, sha256
from segue.system.mismatch import mismatch_of

BUNDLE_FORMAT = "segue-bundle"
BUNDLE_VERSION = 1
MANIFEST = "manifest.json"
_TENSORS = "model.safetensors"
_CATALOG = "catalog.arrow"
_LEARNED = "learned.safetensors"
_FILES = (_TENSORS, _CATALOG, _LEARNED)
_BLANK = "0" * 64
_LIBRARIES = ("numpy", "scipy", "numba", "pyarrow", "safetensors")


class Holdout(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows training left out."""

    protocol: str
    seed: int


class Manifest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Content of manifest.json."""

    format: str = BUNDLE_FORMAT
    version: int = BUNDLE_VERSION
    recommender: str
    recipe: str
    config: dict[str, Any]
    seed: int
    holdout: Holdout | None
    """None: it learned from every row."""
    dataset: str
    """Fingerprint of the dataset it learned from."""
    simulated: bool
    """True where it learned from a simulated world."""
    trained_at: str
    """UTC, ISO 8601."""
    extractor: str | None = None
    """Name of the extractor that made the sounds it learned from; None: it hears nothing."""
    metrics: dict[str, float] = {}
    libraries: dict[str, str] = {}
    files: dict[str, str] = {}
    """SHA-256 of every other file."""
    seal: str = ""
    """SHA-256 of the manifest itself, with zeros in this place; empty: not sealed."""


def libraries() -> dict[str, str]:
    """Versions of what a result may depend on."""
    from importlib.metadata import version

    own = {"python": platform.python_version(), "segue": __version__}
    return own | {name: version(name) for name in _LIBRARIES}


class TrainingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What training cost and learned from.

    Attributes:
        seconds: wall time, holding out and fitting.
        peak_rss_mb: the most memory that the process has held so far, in MB (10^6 bytes); NaN
            where the system does not tell.
        metrics: what was learned from: "playlists" and "listeners" that have plays, "tracks" that
            occur, "pairs" of a playlist or listener with a track.
    """

    seconds: float
    peak_rss_mb: float
    metrics: dict[str, float]


class Bundle:
    """A trained model: a recommender with where it came from.

    Attributes:
        recommender: ready to answer.
        manifest: what it is and learned from.
        report: what training cost; None for a bundle that was loaded.
        learned: hashes of the playlists, listeners and sessions it learned from, sorted
            (see `segue.protocols.fingerprints`). (rows,) uint64
    """

    def __init__(
        self, recommender: Recommender, manifest: Manifest, learned: npt.NDArray[np.uint64]
    ) -> None:
        self.recommender, self.manifest, self.learned = recommender, manifest, learned
        self.report: TrainingReport | None = None

    def __repr__(self) -> str:
        manifest = self.manifest
        held = manifest.holdout
        holdout = f", holdout {held.protocol!r}" if held else ""
        simulated = ", simulated" if manifest.simulated else ""
        return (
            f"Bundle({manifest.recipe!r}, {len(self.catalog):,} tracks, "
            f"seed {manifest.seed}{holdout}{simulated})"
        )

    @property
    def catalog(self) -> Catalog:
        """The tracks it knows."""
        return self.recommender.catalog

    @staticmethod
    def refuse_place(path: Path | str) -> None:
        """Find out before training whether a bundle can be saved there.

        Raises:
            DataError: `path` is something else, or cannot be written.
        """
        refuse_unwritable(Path(path), MANIFEST)

    def save(self, path: Path | str) -> None:
        """Write the bundle; `path` holds the previous one or all of this one at every moment.

        Raises:
            BundleError: a tensor holds values that are not finite or too large.
            DataError: `path` is something else, or cannot be written.
        """
        tensors = {name: np.ascontiguousarray(t) for name, t in self.recommender.tensors().items()}
        for name, tensor in tensors.items():
            if not sane(tensor):
                raise BundleError(
                    "training gave values that are not finite",
                    where=f"tensor {name}",
                    do="lower the learning rate or raise the regularisation",
                )
        with replacing_folder(Path(path), MANIFEST) as folder:
            try:
                safetensors.numpy.save_file(tensors, folder / _TENSORS)
                safetensors.numpy.save_file({"learned": self.learned}, folder / _LEARNED)
            except SafetensorError as error:
                raise DataError(f"cannot be written ({error})", where=path) from error
            table = self.catalog.table
            with (
                (folder / _CATALOG).open("wb") as sink,
                pa.ipc.new_file(
                    sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
                ) as writer,
            ):
                writer.write_table(table)
            for name in (_TENSORS, _LEARNED):  # which safetensors lets only their owner read
                shutil.copymode(folder / _CATALOG, folder / name)
            self.manifest.files = {name: sha256(folder / name) for name in _FILES}
            self.manifest.seal = _BLANK
            text = msgspec.json.format(msgspec.json.encode(self.manifest), indent=2)
            self.manifest.seal = hashlib.sha256(text).hexdigest()
            (folder / MANIFEST).write_bytes(_reseal(text, _BLANK, self.manifest.seal))

    @classmethod
    def load(cls, path: Path | str) -> Bundle:
        """Read and verify a bundle.

        Raises:
            BundleError: not a bundle, of a newer format, damaged, or not what it says it is.
        """
        path = Path(path)
        recover(path)
        manifest = _read_manifest(path / MANIFEST)
        with ThreadPoolExecutor(1) as pool:  # files are hashed while the model's modules load
            verified = pool.submit(_verify, path, manifest)
            kind = RECOMMENDERS.get(manifest.recommender)
            verified.result()
        if kind is None:
            raise BundleError(
                f"names the recommender {manifest.recommender!r}, which this segue does not have",
                where=path / MANIFEST,
            )
        try:
            recommender = kind(**manifest.config)
            recommender.catalog = _read_catalog(path / _CATALOG)
            recommender.restore(_read_tensors(path / _TENSORS))
            learned = _read_tensors(path / _LEARNED).get("learned")
        except BundleError as error:
            raise BundleError(error.what, where=f"{path}: {error.where}", do=error.do) from error
        if learned is None or learned.dtype != np.uint64:
            raise BundleError("holds no list of what was learned from", where=path / _LEARNED)
        return cls(recommender, manifest, learned)


def _verify(path: Path, manifest: Manifest) -> None:
    for name in _FILES:
        file = path / name
        if not file.is_file():
            raise BundleError("is missing", where=file, do="train again")
        if sha256(file) != manifest.files.get(name):
            raise BundleError(
                "does not match its SHA-256 in the manifest: the file was changed or damaged",
                where=file,
                do="train again or copy the bundle again",
            )


def _read_catalog(path: Path) -> Catalog:
    try:
        with path.open("rb") as source, pa.ipc.open_file(source) as reader:
            table = reader.read_all()
        table.validate(full=True)
        if table.schema.names == CATALOG_SCHEMA.names:
            return Catalog(table)
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: nulls where none may be
        raise BundleError(f"is not a readable catalog ({error})", where=path) from error
    raise BundleError(f"has columns {table.schema.names}", where=path)


def _read_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        return safetensors.numpy.load_file(path)
    except (SafetensorError, AttributeError, TypeError) as error:  # the last: types numpy lacks
        raise BundleError(f"is not a readable safetensors file ({error})", where=path) from error


def _reseal(text: bytes, old: str, new: str) -> bytes:
    """The manifest with another seal, which is its last field."""
    return new.join(text.decode().rsplit(old, 1)).encode()


def _read_manifest(path: Path) -> Manifest:
    if not path.is_file():
        raise BundleError(
            "is not a bundle (no manifest.json)", where=path.parent, do="make one with segue train"
        )
    text = path.read_bytes()
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"is not valid JSON ({error})", where=path) from error
    if not isinstance(raw, dict) or raw.get("format") != BUNDLE_FORMAT:
        raise BundleError("is not the manifest of a segue bundle", where=path)
    number = raw.get("version")
    if isinstance(number, int) and not 1 <= number <= BUNDLE_VERSION:
        raise BundleError(
            f"has format {number}, this segue reads up to {BUNDLE_VERSION}",
            where=path,
            do="use a newer segue",
        )
    try:
        manifest = msgspec.convert(raw, Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(str(mismatch_of(raw, Manifest)), where=path) from error
    seal = manifest.seal
    if seal and hashlib.sha256(_reseal(text, seal, _BLANK)).hexdigest() != seal:
        raise BundleError(
            "does not match its own SHA-256: it was changed or damaged",
            where=path,
            do="train again or copy the bundle again",
        )
    return manifest
