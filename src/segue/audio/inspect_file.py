"""Properties and features of a new file in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segue.audio.features import Analysis, features_of
from segue.audio.files import FileCheck, FileInfo


@dataclass(frozen=True)
class FileAnalysis:
    """Reads properties and caches features of a file; work for `workers.run_files`."""

    look: FileCheck
    analysis: Analysis
    folder: Path

    def __call__(self, path: Path) -> FileInfo:
        """Raises AudioError or OSError if the file is no sound."""
        looked = self.look(path)
        features_of(path, looked.sha256, self.analysis, self.folder)
        return looked
