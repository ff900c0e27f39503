"""Locates the mismatch between a value and its type.

msgspec detects a mismatch; this module finds its path and reason again from the type, so that
messages do not depend on the wording of a version of msgspec.
"""

from __future__ import annotations

import codecs
import datetime
import json
import operator
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import inspect

Path = tuple[str | int, ...]
Content = bytes | bytearray | memoryview | msgspec.Raw


class Mismatch(NamedTuple):
    """The first fault of a value. ``str(mismatch)`` gives it in one line."""

    path: Path
    """Field names and indexes down to the fault; empty for the whole value."""
    kind: Literal["missing", "unknown", "choice", "value", "json"]
    what: str
    """The fault, without the path."""
    name: str | None = None
    """Name of the missing or unknown field."""
    choices: tuple[Any, ...] = ()
    """The valid values, if they are a fixed set."""

    @property
    def where(self) -> str:
        """The path as JSONPath: ``$.tracks[2].uri``."""
        return "$" + "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in self.path)

    @property
    def remedy(self) -> str | None:
        """The valid values in words; None if they are no fixed set."""
        return f"it may be {', '.join(map(repr, self.choices))}" if self.choices else None

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.path else self.what
        return f"{line}; {self.remedy}" if self.choices else line


def mismatch_of(value: Any, kind: Any) -> Mismatch:
    """First fault of a value that msgspec refused as `kind`.

    Args:
        value: mappings, lists, texts, numbers and None, as decoded from JSON or TOML.
        kind: the expected type.
    """
    return next(_wrong(value, _form(kind), ()), Mismatch((), "value", "is not of this form"))


def mismatch_in(content: Content, kind: Any) -> Mismatch:
    """First fault of JSON text; invalid JSON anywhere comes first."""
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Mismatch((), "json", "is not valid JSON")
    return mismatch_of(value, kind)


@lru_cache(maxsize=64)
def _form(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


CUT_OFF = "is cut off"
NOT_UTF8 = "is not UTF-8"
_UNENDED = re.compile(r'\s*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+\\?|[\w.+\\-]{0,5})', re.DOTALL)
"""The rest of a value that a file ends in: a string, or letters of a word, number or escape."""


def json_fault(content: Content) -> str | None:
    """Fault of invalid JSON text: `CUT_OFF`, `NOT_UTF8`, or None for another."""
    try:
        text, _ = codecs.utf_8_decode(content, "strict", False)  # may end in the middle of a letter
    except UnicodeDecodeError as error:
        # A JSON error before the bad byte goes first.
        return NOT_UTF8 if json_fault(content[: error.start]) == CUT_OFF and error.start else None
    text = text.lstrip()
    if not text:
        return CUT_OFF
    try:
        json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        if error.pos and _UNENDED.fullmatch(text, error.pos):
            return CUT_OFF
    except (ValueError, RecursionError):  # numbers and depths that Python gives up on
        pass
    return None


_NAMES = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.StrType: "text",
    inspect.NoneType: "nothing",
    inspect.DateTimeType: "a time",
    inspect.StructType: "an object",
    inspect.DictType: "an object",
    inspect.ListType: "a list",
    inspect.VarTupleType: "a list",
    inspect.TupleType: "a list",
    inspect.LiteralType: "one of a few values",
}
"""Display names of the types in settings, manifests, sources and requests."""


def named(value: Any) -> str:
    """Display name of a decoded value's type."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple | set):
        return "a list"
    return type(value).__name__


def _plain(form: inspect.Type) -> inspect.Type:
    while isinstance(form, inspect.Metadata):
        form = form.type
    return form


def _wrong(value: Any, form: inspect.Type, path: Path) -> Iterator[Mismatch]:
    """All faults of a value, in order."""
    form = _plain(form)
    if isinstance(form, inspect.UnionType):
        yield from _of_union(value, form, path)
    elif isinstance(form, inspect.LiteralType):
        if not any(value == one and type(value) is type(one) for one in form.values):
            choices = tuple(form.values)
            yield Mismatch(path, "choice", f"unknown value {value!r}", choices=choices)
    elif type(form) in _NAMES:
        if _fits(value, form):
            yield from _inside(value, form, path)
        else:
            what = f"expected {_NAMES[type(form)]}, got {named(value)}"
            yield Mismatch(path, "value", what)


def _fits(value: Any, form: inspect.Type) -> bool:
    """Whether a value is of a type's kind, whatever its content."""
    if isinstance(form, inspect.FloatType):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(form, inspect.IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(form, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(form, inspect.StrType):
        return isinstance(value, str)
    if isinstance(form, inspect.NoneType):
        return value is None
    if isinstance(form, inspect.DateTimeType):
        return isinstance(value, str | datetime.datetime)
    if isinstance(form, inspect.StructType):
        return isinstance(value, Mapping | form.cls)
    if isinstance(form, inspect.DictType):
        return isinstance(value, Mapping)
    return isinstance(value, list | tuple | set)


def _of_union(value: Any, form: inspect.UnionType, path: Path) -> Iterator[Mismatch]:
    members = [_plain(one) for one in form.types]
    tagged = [one for one in members if isinstance(one, inspect.StructType) and one.tag_field]
    if tagged and isinstance(value, Mapping):
        field = tagged[0].tag_field
        assert field is not None
        if field not in value:
            yield Mismatch(path, "missing", f"missing field {field}", field)
            return
        chosen = [one for one in tagged if one.tag == value[field]]
        if not chosen:
            tags = tuple(one.tag for one in tagged)
            what = f"unknown value {value[field]!r}"
            yield Mismatch((*path, field), "choice", what, choices=tags)
            return
        yield from _wrong(value, chosen[0], path)
        return
    fitting = [
        one for one in members if not isinstance(one, inspect.LiteralType) and _fits(value, one)
    ]
    mismatches = [list(_wrong(value, one, path)) for one in fitting]
    if any(not wrong for wrong in mismatches):
        return
    if mismatches:
        yield from mismatches[0]
        return
    literals = [one for one in members if isinstance(one, inspect.LiteralType)]
    if literals and isinstance(value, str | int):
        yield from _wrong(value, literals[0], path)
        return
    names = " or ".join(dict.fromkeys(_NAMES.get(type(one), "something else") for one in members))
    yield Mismatch(path, "value", f"expected {names}, got {named(value)}")


def _inside(value: Any, form: inspect.Type, path: Path) -> Iterator[Mismatch]:
    """Faults in the content of a value of the right kind."""
    if isinstance(form, inspect.IntType | inspect.FloatType):
        yield from _bounds(value, form, path)
    elif isinstance(form, inspect.StrType):
        yield from _length(len(value), "text", form, path)
        if form.pattern is not None and not re.search(form.pattern, value):
            yield Mismatch(path, "value", f"expected text that matches {form.pattern}")
    elif isinstance(form, inspect.DateTimeType):
        try:
            time = msgspec.convert(value, datetime.datetime)
        except msgspec.ValidationError:
            yield Mismatch(path, "value", "expected a time as 2026-01-31T12:00:00Z")
        else:
            if form.tz and time.tzinfo is None:
                what = "expected a time with its zone, as 2026-01-31T12:00:00Z"
                yield Mismatch(path, "value", what)
    elif isinstance(form, inspect.ListType | inspect.VarTupleType):
        yield from _length(len(value), "a list", form, path)
        for i, one in enumerate(value):
            yield from _wrong(one, form.item_type, (*path, i))
    elif isinstance(form, inspect.TupleType):
        if len(value) != len(form.item_types):
            yield Mismatch(path, "value", f"expected a list of length {len(form.item_types)}")
        for i, (one, kind) in enumerate(zip(value, form.item_types, strict=False)):
            yield from _wrong(one, kind, (*path, i))
    elif isinstance(form, inspect.DictType):
        yield from _length(len(value), "an object", form, path)
        for name, one in value.items():
            yield from _wrong(name, form.key_type, path)
            yield from _wrong(one, form.value_type, (*path, str(name)))
    elif isinstance(form, inspect.StructType) and isinstance(value, Mapping):
        yield from _fields(value, form, path)


def _fields(value: Mapping[str, Any], form: inspect.StructType, path: Path) -> Iterator[Mismatch]:
    """Faults of present fields in order, then missing fields."""
    fields = {field.encode_name: field for field in form.fields}
    for name, one in value.items():
        if name in fields:
            yield from _wrong(one, fields[name].type, (*path, name))
        elif form.forbid_unknown_fields and name != form.tag_field:
            yield Mismatch(path, "unknown", f"unknown field {name}", name)
    for name, field in fields.items():
        if field.required and name not in value:
            yield Mismatch(path, "missing", f"missing field {name}", name)


_BOUNDS = (
    ("gt", ">", operator.gt),
    ("ge", ">=", operator.ge),
    ("lt", "<", operator.lt),
    ("le", "<=", operator.le),
)


def _bounds(
    value: float, form: inspect.IntType | inspect.FloatType, path: Path
) -> Iterator[Mismatch]:
    name = _NAMES[type(form)]
    for attribute, sign, good in _BOUNDS:
        bound = getattr(form, attribute)
        if bound is not None and not good(value, bound):
            shown = f"{bound:.15g}" if isinstance(bound, float) else bound
            yield Mismatch(path, "value", f"expected {name} {sign} {shown}")


def _length(length: int, name: str, form: Any, path: Path) -> Iterator[Mismatch]:
    if form.min_length is not None and length < form.min_length:
        yield Mismatch(path, "value", f"expected {name} of length >= {form.min_length}")
    if form.max_length is not None and length > form.max_length:
        yield Mismatch(path, "value", f"expected {name} of length <= {form.max_length}")
