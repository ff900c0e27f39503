"""What a reader is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from segue.config import Config
from segue.data.dataset import Dataset
from segue.data.ingestion.limits import Input, Tick
from segue.data.outcomes import OutcomeRule
from segue.data.receipt import Receipt
from segue.data.writer import DatasetWriter
from segue.errors import DataError
from segue.system.mismatch import CUT_OFF, NOT_UTF8, Content, json_fault, mismatch_in


@dataclass
class Reading:
    """One ingest under way: where rows go, and where they are counted."""

    writer: DatasetWriter
    receipt: Receipt
    columns: Mapping[str, str]
    """Column of each role, as the user mapped them (tables only)."""
    tick: Tick
    """Call with packed bytes read."""
    progress: bool
    """Whether to report on stderr."""
    settings: Config
    """Of this ingest: of the kind that the format takes."""
    base: Dataset | None = None
    """What the new dataset starts with; the reader writes it, too."""

    @property
    def rule(self) -> OutcomeRule:
        """How outcomes are derived, for formats whose settings are such a rule."""
        return cast(OutcomeRule, self.settings)

    def note(self, what: str, n: int = 1) -> None:
        """Count something that is not a row of the receipt."""
        self.receipt.note(what, n)


@dataclass(frozen=True)
class Reader:
    """A format that can be ingested."""

    description: str
    """One line for people."""
    files: str
    """What its files are called, for messages."""
    unit: str
    """What its receipt counts."""
    wanted: Callable[[str], bool]
    """Whether a path in a folder or zip is a file of this format."""
    read: Callable[[list[Input], Reading], None]
    plays: bool = True
    """Whether its files tell what was played, or put in playlists."""
    mapped: bool = False
    """Whether it takes a column mapping."""
    Settings: type[Config] | None = None
    """Rule of outcomes, where its files hold evidence of them; limits, where they hold sound."""
    database: Callable[[str], Input] | None = None
    """From the address of a database to what is read, where a source may be one."""
    extends: bool = False
    """Whether it can be read into what another dataset holds."""


def reason(row: bytes | msgspec.Raw, kind: Any) -> str:
    """Why a row is dropped that is not of its kind: which field, without the numbers of entries,
    so that reasons are few.

    >>> reason(b'{"tracks": [{"track_uri": 5}]}', Playlist)
    'invalid field tracks[].track_uri'
    """
    found = mismatch_in(row, kind)
    names = "".join("[]" if isinstance(step, int) else f".{step}" for step in found.path)
    if found.kind == "json":
        return "not JSON"
    if found.kind == "missing":
        return f"missing field {f'{names}.{found.name}'.removeprefix('.')}"
    return f"invalid field {names.removeprefix('.')}" if names else "not an object"


def json_error(error: Exception, source: Input, content: Content, kind: Any) -> DataError:
    """The one line for content that is not JSON, ends early, or is JSON of something else.

    Args:
        error: one of `JSON_ERRORS`, which decoding raised.
        source: of the content.
        content: that was decoded.
        kind: as what it was decoded.
    """
    other = "check that it is of this format"
    if isinstance(error, RecursionError):
        return DataError("nests too deep", where=source)
    if isinstance(error, msgspec.ValidationError):
        found = mismatch_in(content, kind)
        if found.kind != "json":
            return DataError(str(found), where=source, do=other)
    fault = json_fault(content)
    if fault == CUT_OFF:
        return DataError("ends early: the JSON is cut off", where=source, do="get it again")
    if fault == NOT_UTF8:
        return DataError(fault, where=source, do="get it again")
    detail = "" if isinstance(error, msgspec.ValidationError) else f" ({error})"
    return DataError(f"is not JSON{detail}", where=source, do=other)


JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding JSON can raise."""
