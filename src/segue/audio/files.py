"""Sound files of tracks, and their properties without decoding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from segue.audio.decode import LONGEST_MINUTES, probe
from segue.audio.tags import Tags, read_tags
from segue.system.files import sha256

SUFFIXES = ("flac", "mp3", "ogg", "oga", "opus", "m4a", "m4b", "aac", "wav", "aif", "aiff")
"""Suffixes of sound files."""


_UNKNOWN_SIZE = 0xFFFFFFFF
"""Size in a WAV that was written before its end was known."""
_OGG_PAGE, _OGG_END = 65_307, 4
"""Bytes of a page at most; the bit of the last page."""


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
    cut: bool = False
    """Whether the file ends before its end as it says itself."""


def ends_early(path: Path) -> bool:
    """Whether a WAV, AIFF or Ogg file is shorter than it says; False for other formats.

    WAV and AIFF say how long they are; the last page of Ogg says that it is the last.
    """
    with path.open("rb") as file:
        head = file.read(8)
        size = file.seek(0, 2)
        if head[:4] in (b"RIFF", b"FORM"):
            order: Literal["little", "big"] = "little" if head[:4] == b"RIFF" else "big"
            claimed = int.from_bytes(head[4:], order)
            return claimed != _UNKNOWN_SIZE and 8 + claimed > size + 1
        if head[:4] != b"OggS":
            return False
        file.seek(max(0, size - _OGG_PAGE))
        tail = file.read()
        last = tail.rfind(b"OggS")
        return last < 0 or len(tail) < last + 6 or not tail[last + 5] & _OGG_END


@dataclass(frozen=True)
class FileCheck:
    """Reads the properties of a file; work for `segue.audio.workers.run_files`."""

    longest_minutes: float = LONGEST_MINUTES

    def __call__(self, path: Path) -> FileInfo:
        """Raises AudioError or OSError if the file is no sound."""
        duration_ms, sample_rate, channels = probe(path, self.longest_minutes)
        facts = (duration_ms, sample_rate, channels, ends_early(path))
        return FileInfo(read_tags(path), sha256(path), *facts)
