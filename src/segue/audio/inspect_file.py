"""A look at a file that has just arrived, and what is heard in it, in one go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segue.audio.features import Analysis, features_of
from segue.audio.files import FileCheck, FileInfo


@dataclass(frozen=True)
class FileAnalysis:
    """Looks at a file and keeps its features; work for `segue.audio.workers.run_files`."""

    look: FileCheck
    analysis: Analysis
    folder: Path

    def __call__(self, path: Path) -> FileInfo:
        """Raises AudioError or OSError where it is not sound."""
        looked = self.look(path)
        features_of(path, looked.sha256, self.analysis, self.folder)
        return looked
