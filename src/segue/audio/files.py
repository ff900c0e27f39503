"""Sound files of tracks, and their properties without decoding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from segue.audio.decode import LONGEST_MINUTES, probe
from segue.audio.tags import Tags, read_tags
from segue.system.files import sha256

SUFFIXES = ("flac", "mp3", "ogg", "oga", "opus", "m4a", "m4b", "aac", "wav", "aif", "aiff")
"""Suffixes of sound files."""


class AudioFile(NamedTuple):
    """The sound file of a track."""

    track: int
    """Row in the catalog."""
    path: Path
    sha256: str
    """Hash of the file in hex, the cache key of its features."""


class FileInfo(NamedTuple):
    """Properties of a sound file, read without decoding."""

    tags: Tags
    sha256: str
    duration_ms: int | None
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class FileCheck:
    """Reads the properties of a file; work for `segue.audio.workers.run_files`."""

    longest_minutes: float = LONGEST_MINUTES

    def __call__(self, path: Path) -> FileInfo:
        """Raises AudioError or OSError if the file is no sound."""
        duration_ms, sample_rate, channels = probe(path, self.longest_minutes)
        return FileInfo(read_tags(path), sha256(path), duration_ms, sample_rate, channels)
