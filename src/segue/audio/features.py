"""Features of sound files, each computed once: kept on disk by the file's hash and the extractor.

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
    """What a worker does with a file: decode the excerpt, extract the features."""

    extractor: Extractor
    longest_minutes: float

    def __call__(self, path: Path) -> Array:
        """The features of a file.

        Raises:
            AudioError: it cannot be used.
        """
        wanted = self.extractor
        return wanted(decode(path, wanted.rate, wanted.excerpt, self.longest_minutes).samples)


@dataclass(frozen=True)
class _Hashed:
    """The same with the file's SHA-256 of now, which may not be the one it was ingested with."""

    analysis: Analysis

    def __call__(self, path: Path) -> tuple[str, Array]:
        """Raises AudioError or OSError where the file cannot be used."""
        return sha256_of(path), self.analysis(path)


def folder_of(extractor: Extractor, cache: Path | None = None) -> Path:
    """Where the features by an extractor are kept, below `cache_folder()` by default."""
    return (cache or cache_folder()) / "features" / extractor.name


def features_of(path: Path, sha256: str, analysis: Analysis, folder: Path) -> Array:
    """The features of one file: as they were kept, or computed now and kept.

    Args:
        path: of the file.
        sha256: of its content.
        analysis: how features are made.
        folder: of the entries (`folder_of`).

    Raises:
        AudioError: the file cannot be used.
        DataError: the entry cannot be written.
    """
    entry = entry_of(folder, sha256)
    kept = read_entry(entry)
    if kept is None:
        kept = analysis(path)
        write_entry(entry, kept)
    return kept


class Features:
    """Features of many files, read from the cache when they are asked for.

    Args:
        files: those that have features.
        failed: how many files have none, by reason.
        analysis: how features are made, of entries that turn out to be damaged.
        folder: of the entries of this extractor.
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
        """What the extractor made of the i-th file; a damaged entry is computed again.

        Raises:
            AudioError: that does not work any more.
            DataError: the entry cannot be written.
        """
        file = self.files[i]
        entry = entry_of(self._folder, file.sha256)
        kept = read_entry(entry)
        if kept is None:
            kept = self._analysis(file.path)
            if sha256_of(file.path) != file.sha256:
                raise AudioError(_CHANGED, file.path)
            write_entry(entry, kept)
        return kept

    def load(self, rows: Sequence[int] | NDArray[np.integer[Any]], frames: int = 0) -> Array:
        """Features of several files as one array.

        Args:
            rows: places in these features.
            frames: that each gets: later ones are left out, missing ones are zeros. 0 is as many
                as the longest has.

        Returns:
            (rows, frames, values), or (rows, values) where a clip is one vector.

        Raises:
            AudioError, DataError: as for one.
        """
        found = [self[int(i)] for i in rows]
        if not found or found[0].ndim == 1:
            return np.array(found)
        count = frames or max(map(len, found))
        out = np.zeros((len(found), count, found[0].shape[1]), found[0].dtype)
        for place, one in zip(out, found, strict=True):
            place[: len(one)] = one[:count]
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
    """Features of files: those not in the cache are computed now, in processes.

    What is computed is kept at once, so work that is interrupted goes on where it stopped. A file
    that is there twice is heard once. Bad files are counted, and tried again the next time.

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
    heard = [file for file in files if file.sha256 not in reasons]
    return Features(heard, dict(sorted(failed.items())), analysis, folder)
