"""Which column of a table plays which role, and its values as the dataset wants them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segue.data.ingestion.limits import Input
from segue.data.ingestion.timestamps import OUTSIDE, times
from segue.data.schema import TABLES, Outcome
from segue.errors import UsageError

_TRACK_ROLES = {
    column.name: "natural" if pa.types.is_integer(column.type) else "text"
    for column in TABLES["tracks"]
    if column.name != "uri"
}

PLAYLIST_ROLES = {
    "playlist": "text",
    "playlist_title": "text",
    "position": "number",
    "track": "text",
    **_TRACK_ROLES,
}
"""Roles of a table of playlists, with the kind of their values."""

LISTEN_ROLES = {
    "listener": "text",
    "session": "text",
    "position": "number",
    "time": "time",
    "track": "text",
    "outcome": "outcome",
    "plays": "count",
    "ms_played": "natural",
    **_TRACK_ROLES,
}
"""Roles of a table of listens, with the kind of their values."""

_RANGES = {"number": (-(2**62), 2**62), "natural": (0, 2**31 - 1), "count": (1, 2**31 - 1)}
_WHOLE = r"^\s*[+-]?[0-9]{1,18}(\.0*)?\s*$"
_PLAIN = {pa.string_view(): pa.string(), pa.float16(): pa.float32()}
"""Types that Arrow computes little with, and what they are read as."""


@dataclass(frozen=True)
class Roles:
    """The column of every role that is there."""

    owner: str
    """``playlist`` or ``listener``: what the rows belong to."""
    columns: dict[str, str]

    @property
    def kinds(self) -> Mapping[str, str]:
        """Kind of every role's values."""
        return PLAYLIST_ROLES if self.owner == "playlist" else LISTEN_ROLES


def _shown(name: str) -> str:
    """A column's name in a message, in quotes where it would not be one word."""
    return name if re.fullmatch(r"\S+", name) and "," not in name else repr(name)


def map_columns(source: Input, names: Sequence[str], given: Mapping[str, str]) -> Roles:
    """Decide which column plays which role.

    A role whose name is a column's maps by itself; what is given goes before that.

    Args:
        source: for messages.
        names: columns that the file has.
        given: column by role.

    Raises:
        UsageError: an unknown role, a column that is not there, or no way to tell what rows are.
    """
    columns_text = f"its columns are {', '.join(map(_shown, names))}"
    owners = [owner for owner in ("playlist", "listener") if owner in given] or [
        owner for owner in ("playlist", "listener") if owner in names
    ]
    if len(owners) != 1:
        what = "both a playlist and a listener" if owners else "neither a playlist nor a listener"
        raise UsageError(
            f"{what} column is mapped; {columns_text}",
            where=source,
            do="map one: playlist=COLUMN or listener=COLUMN",
        )
    owner = owners[0]
    roles = PLAYLIST_ROLES if owner == "playlist" else LISTEN_ROLES
    for role, column in given.items():
        if role not in roles:
            raise UsageError(
                f"a table of {owner}s has no role {role!r}", do=f"use one of {', '.join(roles)}"
            )
        if column not in names:
            raise UsageError(f"has no column {column!r}; {columns_text}", where=source)
    columns = {role: given.get(role, role) for role in roles if role in given or role in names}
    if "track" not in columns:
        raise UsageError(
            f"no column is mapped to the role track; {columns_text}",
            where=source,
            do="map track=COLUMN",
        )
    for column in columns.values():
        if list(names).count(column) > 1:
            raise UsageError(f"has the column {column!r} twice", where=source, do="rename one")
    return Roles(owner, columns)


def _text(values: pa.Array) -> pa.Array | None:
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_null(kind) or _is_string(kind):
        text = values.cast(pa.string())
        return pc.if_else(pc.equal(text, ""), None, text)
    return None


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _whole(values: pa.Array) -> pa.Array | None:
    """Whole numbers; null where there is none."""
    kind = values.type
    if pa.types.is_floating(kind):
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 2.0**62))
        return pc.if_else(whole, values, None).cast(pa.int64(), safe=False)
    if pa.types.is_uint64(kind):
        values = pc.if_else(pc.less(values, pa.scalar(2**62, pa.uint64())), values, None)
    if pa.types.is_integer(kind):
        return values.cast(pa.int64())
    if (text := _text(values)) is None:
        return None
    digits = pc.utf8_ltrim(
        pc.replace_substring_regex(pc.utf8_trim_whitespace(text), r"\.0*$", ""), "+"
    )
    return pc.if_else(pc.match_substring_regex(text, _WHOLE), digits, None).cast(pa.int64())


def _outcome(values: pa.Array) -> pa.Array | None:
    """Numbers of Outcome, from names or numbers; null where there is none."""
    if not _is_string(values.type):
        whole = _whole(values)
        known = whole is not None and pc.is_in(whole, pa.array([int(o) for o in Outcome]))
        return None if whole is None else pc.if_else(known, whole, None)
    names = pa.array([o.name.lower() for o in Outcome] + [str(int(o)) for o in Outcome])
    text = pc.replace_substring_regex(
        pc.utf8_trim_whitespace(_text(values)), r"^([0-9])\.0*$", r"\1"
    )
    place = pc.index_in(pc.utf8_lower(text), names)
    return pc.if_else(pc.less(place, len(Outcome)), place, pc.subtract(place, len(Outcome)))


def convert(
    values: pa.Array, kind: str, role: str, source: Input
) -> tuple[pa.Array, dict[str, npt.NDArray[np.bool_]]]:
    """Values of one column for its role.

    Args:
        values: one batch of the column.
        kind: of the role.
        role: for messages.
        source: for messages.

    Returns:
        Text or int64, null where there is nothing, (rows,); and by reason which rows hold
        something that does not fit, (rows,).

    Raises:
        UsageError: no value of the column's type could fit.
    """
    if pa.types.is_dictionary(values.type):
        words = values.dictionary
        values = words.cast(_PLAIN.get(words.type, words.type)).take(values.indices)
    plain = _PLAIN.get(values.type)
    if plain:
        values = values.cast(plain)
    outside = None
    if kind == "time":
        converted, outside = times(values) or (None, None)
    else:
        read: Any = {"text": _text, "outcome": _outcome}.get(kind, _whole)
        converted = read(values)
    if converted is None:
        raise UsageError(
            f"a column of type {values.type} cannot be the {role}", where=source, do="map another"
        )
    if kind in _RANGES:
        low, high = _RANGES[kind]
        fits = pc.and_(pc.greater_equal(converted, low), pc.less_equal(converted, high))
        converted = pc.if_else(fits, converted, None)
    there = pc.is_valid(values)
    if pa.types.is_floating(values.type):
        there = pc.and_(there, pc.invert(pc.is_nan(values).fill_null(True)))
    if _is_string(values.type):
        there = pc.and_(there, pc.not_equal(values, "").fill_null(False))
    reasons = {} if outside is None else {OUTSIDE: outside}
    reasons[f"wrong value in {role}"] = pc.and_(there, pc.is_null(converted))
    return converted, {
        reason: rows.to_numpy(zero_copy_only=False) for reason, rows in reasons.items()
    }
