"""What goes wrong, in one line: what happened, where, and what to do about it."""

from __future__ import annotations


class SegueError(Exception):
    """An error that a person can act on.

    Args:
        what: what happened, without a full stop.
        where: the file, row or field (``slice.json: $.playlists[3].pid``), or None.
        do: what to do about it, or None.

    ``str(error)`` is one line, ``where: what; do``.
    """

    def __init__(self, what: str, *, where: object = None, do: str | None = None) -> None:
        self.what, self.where, self.do = what, where, do
        line = f"{where}: {what}" if where is not None else what
        if do:
            line += f"; {do}"
        super().__init__(" ".join(line.split()))


class DataError(SegueError):
    """A source file or a dataset is not what it has to be."""


class BundleError(SegueError):
    """A bundle is damaged, of another format, or does not fit what is asked of it."""


class ConfigError(SegueError):
    """A recipe or a setting is wrong."""


class UsageError(SegueError):
    """The command or call cannot be meant like this (exit status 2 on the command line)."""


class AmbiguousTrackError(UsageError):
    """Words that may mean several tracks.

    Args:
        candidates: their rows in the catalog, the most played first.
    """

    def __init__(self, what: str, *, do: str | None, candidates: list[int]) -> None:
        super().__init__(what, do=do)
        self.candidates = candidates


class NotFittedError(UsageError):
    """A model answers, explains or is saved before it is trained."""
