"""Sound files: the one of a track, and what a look at one tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from segue.audio.decode import LONGEST_MINUTES, probe
from segue.audio.tags import Tags, read_tags
from segue.system.files import sha256

SUFFIXES = ("flac", "mp3", "ogg", "oga", "opus", "m4a", "m4b", "aac", "wav", "aif", "aiff")
"""Endings of sound files."""


class AudioFile(NamedTuple):
    """Where the sound of a track is."""

    track: int
    """Row in the catalog."""
    path: Path
    sha256: str
    """Of the file's bytes, as hex: what features are kept under."""


class FileInfo(NamedTuple):
    """What is known of a sound file without decoding it."""

    tags: Tags
    sha256: str
    duration_ms: int | None
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class FileCheck:
    """Looks at one file; work for `segue.audio.workers.run_files`."""

    longest_minutes: float = LONGEST_MINUTES

    def __call__(self, path: Path) -> FileInfo:
        """Raises AudioError or OSError where it is not sound."""
        duration_ms, sample_rate, channels = probe(path, self.longest_minutes)
        return FileInfo(read_tags(path), sha256(path), duration_ms, sample_rate, channels)
