"""What a reader is, and what it is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from segue.data.dataset import Dataset, Receipt
from segue.data.outcomes import OutcomeRule
from segue.data.readers._open import Input, Tick
from segue.data.writing import DatasetWriter
from segue.errors import DataError
from segue.settings import Config


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
        """How outcomes are derived."""
        assert isinstance(self.settings, OutcomeRule)
        return self.settings

    def note(self, what: str, n: int = 1) -> None:
        """Count something that is not a row of the receipt."""
        self.receipt.notes[what] = self.receipt.notes.get(what, 0) + n


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


_PATH = re.compile(r" - at `\$\.?(.*)`$")


def reason(error: msgspec.ValidationError) -> str:
    """A reason for dropping a row: which field, without row numbers, so that reasons are few.

    >>> reason(ValidationError("Expected `str`, got `int` - at `$.tracks[7].track_uri`"))
    'invalid field tracks[].track_uri'
    """
    message = str(error)
    found = _PATH.search(message)
    path = re.sub(r"\[[^\]]*\]", "[]", found[1]) if found else ""
    if message.startswith("Object missing required field `"):
        name = message.split("`")[1]
        return f"missing field {path}.{name}" if path else f"missing field {name}"
    return f"invalid field {path}" if path else "not an object"


def json_error(error: Exception, source: Input) -> DataError:
    """The one line for a file that is not JSON, ends early, or is JSON of something else."""
    if isinstance(error, RecursionError):
        return DataError("nests too deep", where=source)
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"is not UTF-8 ({error.reason})", where=source, do="get it again")
    if isinstance(error, msgspec.ValidationError):
        return DataError(str(error), where=source, do="check that it is of this format")
    if "truncated" in str(error):
        return DataError("ends early: the JSON is cut off", where=source, do="get it again")
    return DataError(f"is not JSON ({error})", where=source, do="check that it is of this format")


JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding JSON can raise."""
