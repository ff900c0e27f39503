"""Settings of recommenders and of rules, and what is said of wrong ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

import msgspec
import numpy as np

from segue.errors import ConfigError

_LARGEST = float(np.finfo(np.float32).max)


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
    """What msgspec says of settings, as people say it, with the settings there are."""
    message, _, path = message.partition(" - at ")
    names = path.strip("`$").strip(".").split(".") if path else []
    unknown = re.search("unknown field `(.*)`", message)
    for name in names:
        inner = {field.name: field.default for field in msgspec.structs.fields(kind)}.get(name)
        if isinstance(inner, Config):
            kind = type(inner)
    if unknown:
        what = f"unknown setting {'.'.join([*names, unknown[1]])}"
    else:
        plain = re.sub("`(.*?)`", lambda word: _PLAIN.get(word[1], word[1]), message)
        what = f"{'.'.join(names)}: {plain[:1].lower()}{plain[1:]}"
    known = ", ".join(field.name for field in msgspec.structs.fields(kind)) or "none"
    return ConfigError(what, where=kind.__name__, do=f"settings are: {known}")


def _refuse_too_large(settings: Config, where: str) -> None:
    for name, value in msgspec.structs.asdict(settings).items():
        if isinstance(value, Config):
            _refuse_too_large(value, f"{where}.{name}")
        elif isinstance(value, float) and not abs(value) <= _LARGEST:
            raise ConfigError(
                f"{name} is {value}", where=where, do="give a number that float32 holds"
            )
