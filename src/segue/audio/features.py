"""Features of sound files: computed once, and cached on disk by file hash and extractor.

Below the cache folder, ``features/EXTRACTOR/ab/abcd….npy`` is what that extractor made of the file
whose SHA-256 is ``abcd…``: an array in numpy's format and, behind it, the CRC-32 of all before. So
a file that moves keeps its features, a file that changes loses them, and a new version of an
extractor leaves the features of all others as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.audio.decode import AudioError, decode
from segue.audio.extractors import Extractor
from segue.audio.files import AudioFile
from segue.audio.workers import Limits, run_files
from segue.system.feature_cache import (
    Array,
    cache_folder,
    entry_of,
    read_entry,
    whole,
    write_entry,
)
from segue.system.files import sha256 as sha256_of
from segue.system.progress import task

Int32 = NDArray[np.int32]

_CHANGED = "changed since it was ingested"


@dataclass(frozen=True)
class Analysis:
    """Work on one file: decode the excerpt, extract the features."""

    extractor: Extractor
    longest_minutes: float

    def __call__(self, path: Path) -> Array:
        """The features of a file.

        Raises:
            AudioError: it cannot be used.
        """
        extractor = self.extractor
        sound = decode(path, extractor.rate, extractor.excerpt, self.longest_minutes)
        return extractor(sound.samples)


@dataclass(frozen=True)
class _Hashed:
    """`Analysis` with the present SHA-256 of the file, which may have changed since its ingest."""

    analysis: Analysis

    def __call__(self, path: Path) -> tuple[str, Array]:
        """Raises AudioError or OSError where the file cannot be used."""
        return sha256_of(path), self.analysis(path)


def folder_of(extractor: Extractor, cache: Path | None = None) -> Path:
    """Folder of an extractor's features, below `cache_folder()` by default."""
    return (cache or cache_folder()) / "features" / extractor.name


def features_of(path: Path, sha256: str, analysis: Analysis, folder: Path) -> Array:
    """The features of one file, from the cache or computed and cached.

    Args:
        path: path of the file.
        sha256: hash of its content.
        analysis: computes features.
        folder: folder of the entries (`folder_of`).

    Raises:
        AudioError: the file cannot be used.
        DataError: the entry cannot be written.
    """
    entry = entry_of(folder, sha256)
    features = read_entry(entry)
    if features is None:
        features = analysis(path)
        write_entry(entry, features)
    return features


class Features:
    """Features of many files, which each access reads from the cache.

    Args:
        files: files with features.
        failed: number of files without features, by reason.
        analysis: computes the features of damaged entries.
        folder: folder of the extractor's entries.
    """

    def __init__(
        self, files: Sequence[AudioFile], failed: dict[str, int], analysis: Analysis, folder: Path
    ) -> None:
        self.files = list(files)
        self.tracks: Int32 = np.array([file.track for file in files], np.int32)
        """Rows in the catalog, in the order of the files."""
        self.failed = failed
        self._analysis = analysis
        self._folder = folder

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Array:
        """Features of the i-th file, computed again if the entry is damaged.

        Raises:
            AudioError: the file is not readable any more.
            DataError: the entry cannot be written.
        """
        file = self.files[i]
        entry = entry_of(self._folder, file.sha256)
        features = read_entry(entry)
        if features is None:
            features = self._analysis(file.path)
            if sha256_of(file.path) != file.sha256:
                raise AudioError(_CHANGED, file.path)
            write_entry(entry, features)
        return features

    def load(self, rows: Sequence[int] | NDArray[np.integer[Any]], frames: int = 0) -> Array:
        """Features of several files as one array.

        Args:
            rows: positions in these features.
            frames: number of frames of each: later ones are dropped, missing ones are zeros. 0: the
                length of the longest.

        Returns:
            (rows, frames, values), or (rows, values) where a clip is one vector.

        Raises:
            AudioError, DataError: as for one.
        """
        arrays = [self[int(i)] for i in rows]
        if not arrays or arrays[0].ndim == 1:
            return np.array(arrays)
        count = frames or max(map(len, arrays))
        out = np.zeros((len(arrays), count, arrays[0].shape[1]), arrays[0].dtype)
        for row, one in zip(out, arrays, strict=True):
            row[: len(one)] = one[:count]
        return out


def extract(
    files: Sequence[AudioFile],
    extractor: Extractor,
    *,
    cache: Path | None = None,
    workers: int | None = None,
    limits: Limits | None = None,
    progress: bool = False,
) -> Features:
    """Features of files; processes compute those that the cache lacks.

    The cache stores each result at once, so interrupted work resumes. Equal files cost one
    computation. Bad files are counted, and tried again the next time.

    Args:
        cache: folder; `cache_folder()` by default.
        workers: processes; one a core by default.
        limits: on each file; `Limits()` by default.
        progress: shows rate and time left on stderr.

    Raises:
        DataError: the cache cannot be written; a hash is none; an extractor lacks what it needs.
        ConfigError: as `segue.audio.workers.run_files`.
    """
    limits = limits or Limits()
    folder = folder_of(extractor, cache)
    analysis = Analysis(extractor, limits.duration_minutes)
    first_of = {file.sha256: file for file in reversed(files)}
    missing = [
        file
        for file in files
        if first_of[file.sha256] is file and not whole(entry_of(folder, file.sha256))
    ]
    reasons: dict[str, str] = {}
    what = f"listening ({extractor.name})"
    with task(what, len(missing), "files", show=progress and bool(missing)) as advance:
        paths = [file.path for file in missing]
        for i, result in run_files(_Hashed(analysis), paths, workers=workers, limits=limits):
            sha256 = missing[i].sha256
            if isinstance(result, AudioError):
                reasons[sha256] = result.reason
            elif result[0] != sha256:
                reasons[sha256] = _CHANGED
            else:
                write_entry(entry_of(folder, sha256), result[1])
            advance(1)
    failed = Counter(reasons[file.sha256] for file in files if file.sha256 in reasons)
    readable = [file for file in files if file.sha256 not in reasons]
    return Features(readable, dict(sorted(failed.items())), analysis, folder)
