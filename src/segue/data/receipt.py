"""What a dataset's folder says of itself: its receipt and its versions."""

from __future__ import annotations

from typing import Any

import msgspec


class Receipt(msgspec.Struct, kw_only=True):
    """What became of every row of a source: ``read = kept + sum(dropped.values())``."""

    format: str
    unit: str
    """What is counted ("playlists", "plays")."""
    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = {}
    files: list[str] = []
    notes: dict[str, int] = {}
    """Counts that are not of rows (tracks without an album, unusual values)."""
    settings: dict[str, Any] = {}
    """Settings of the outcome rule, where the format has one."""

    def drop(self, reason: str, n: int = 1) -> None:
        """Count `n` rows as read and dropped."""
        self.read += n
        self.dropped[reason] = self.dropped.get(reason, 0) + n

    def keep(self, n: int = 1) -> None:
        """Count `n` rows as read and kept."""
        self.read += n
        self.kept += n

    def note(self, what: str, n: int = 1) -> None:
        """Count something that is no row."""
        self.notes[what] = self.notes.get(what, 0) + n

    def adds_up(self) -> bool:
        """Whether every row is accounted for."""
        return self.read == self.kept + sum(self.dropped.values())


class DatasetInfo(msgspec.Struct, kw_only=True):
    """Content of dataset.json."""

    format: str
    version: int
    simulated: bool
    """True where a simulated world made the rows."""
    fingerprint: str
    """Hash over the content of all tables."""
    sources: list[Receipt]
    rows: dict[str, int]
    """Rows of each table."""
