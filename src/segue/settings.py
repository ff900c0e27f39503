"""Settings of recommenders and of rules, and what is said of wrong ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, Self, get_args, get_origin

import msgspec
import numpy as np

from segue.errors import ConfigError

_LARGEST = float(np.finfo(np.float32).max)
_NEAR = 0.7
"""How much alike two names are, by difflib, that may be meant for each other."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings: ``name: Annotated[type, Meta(bounds, description)] = default``."""

    @classmethod
    def make(cls, settings: Mapping[str, Any]) -> Self:
        """Settings checked against the fields.

        Settings of settings are a mapping, and what it leaves out stays as it is by default here.

        Raises:
            ConfigError: an unknown setting, or a value of a wrong type or out of bounds.
        """
        try:
            made = msgspec.convert(_completed(cls, settings), cls)
        except msgspec.ValidationError as error:
            raise _refusal(cls, str(error)) from error
        _refuse_too_large(made, cls.__name__)
        return made


def _completed(kind: type[Config], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose inner ones have the defaults that `kind` gives them."""
    whole = dict(settings)
    for field in msgspec.structs.fields(kind):
        given = whole.get(field.name)
        if isinstance(field.default, Config) and isinstance(given, Mapping):
            defaults = msgspec.structs.asdict(field.default)
            whole[field.name] = _completed(type(field.default), defaults | dict(given))
    return whole


_PLAIN = {
    "object": "a table",
    "array": "a list",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
}


def _refusal(kind: type[Config], message: str) -> ConfigError:
    """What msgspec says of settings, as people say it; of an unknown one also what there is."""
    message, _, path = message.partition(" - at ")
    names = path.strip("`$").strip(".").split(".") if path else []
    unknown = re.search("unknown field `(.*)`", message)
    for name in names:
        inner = {field.name: field.default for field in msgspec.structs.fields(kind)}.get(name)
        if isinstance(inner, Config):
            kind = type(inner)
    if not unknown:
        plain = re.sub("`(.*?)`", lambda word: _PLAIN.get(word[1], word[1]), message)
        return ConfigError(
            f"{'.'.join(names)}: {plain[:1].lower()}{plain[1:]}",
            where=kind.__name__,
            do=_choice(kind, names[-1]) if message.startswith("Invalid enum value") else None,
        )
    what = f"unknown setting {'.'.join([*names, unknown[1]])}"
    known = [field.name for field in msgspec.structs.fields(kind)]
    near = get_close_matches(unknown[1], known, 1, _NEAR)
    if near:
        do = f"the nearest is {'.'.join([*names, *near])}"
    else:
        do = f"settings are: {', '.join(known) or 'none'}"
    return ConfigError(what, where=kind.__name__, do=do)


def _choice(kind: type[Config], name: str) -> str:
    """What a setting with a fixed set of values may be."""
    name = name.partition("[")[0]  # one of a list
    (field,) = (field for field in msgspec.structs.fields(kind) if field.name == name)
    return f"it may be {', '.join(map(repr, _literals(field.type)))}"


def _literals(kind: Any) -> list[Any]:
    """The values of a `Literal`, wherever it is in a type."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return [value for part in get_args(kind) for value in _literals(part)]


def _refuse_too_large(settings: Config, where: str) -> None:
    for name, value in msgspec.structs.asdict(settings).items():
        if isinstance(value, Config):
            _refuse_too_large(value, f"{where}.{name}")
        elif isinstance(value, float) and not abs(value) <= _LARGEST:
            raise ConfigError(
                f"{name} is {value}", where=where, do="give a number that float32 holds"
            )
