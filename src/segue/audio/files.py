"""The sound file of a track."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class AudioFile(NamedTuple):
    """Where the sound of a track is."""

    track: int
    """Row in the catalog."""
    path: Path
    sha256: str
    """Of the file's bytes, as hex: what features are kept under."""
