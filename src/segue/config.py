"""Settings of recommenders and of rules, and what is said of wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self

import msgspec
import numpy as np

from segue.errors import ConfigError
from segue.system.mismatch import Mismatch, mismatch_of

_LARGEST = float(np.finfo(np.float32).max)
_NEAR = 0.7
"""How much alike two names are, by difflib, that may be meant for each other."""


@dataclass(frozen=True)
class Search:
    """Values of a setting that `segue tune` searches; stands beside its `Meta`.

    Attributes:
        low, high: bounds of a number, both included.
        log: whether its order of magnitude matters rather than its value.
        choices: the values of a setting that is no range.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the space."""
        return value in self.choices if self.choices else bool(self.low <= value <= self.high)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings: ``name: Annotated[type, Meta(bounds, description)] = default``."""

    @classmethod
    def make(cls, settings: Mapping[str, Any]) -> Self:
        """Settings checked against the fields.

        Settings of settings are a mapping, and what it leaves out stays as it is by default here.

        Raises:
            ConfigError: an unknown setting, or a value of a wrong type or out of bounds.
        """
        whole = _completed(cls, settings)
        try:
            made = msgspec.convert(whole, cls)
        except msgspec.ValidationError as error:
            raise _refusal(cls, mismatch_of(whole, cls)) from error
        _refuse_too_large(made, cls.__name__)
        return made


def respelled(name: str) -> str:
    """A setting's name with the spelling of its fields: ``regularization`` is accepted, too."""
    return str(name).replace("regularization", "regularisation")


def _respelled(kind: type[Config], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the names that `kind` has."""
    names = [field.name for field in msgspec.structs.fields(kind)]
    found: dict[str, Any] = {}
    for given, value in settings.items():
        name = given if given in names or respelled(given) not in names else respelled(given)
        if name in found:
            raise ConfigError(f"{name} is given twice", where=kind.__name__, do="give it once")
        found[name] = value
    return found


def _completed(kind: type[Config], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose inner ones have the defaults that `kind` gives them."""
    whole = _respelled(kind, settings)
    for field in msgspec.structs.fields(kind):
        given = whole.get(field.name)
        if isinstance(field.default, Config) and isinstance(given, Mapping):
            inner = type(field.default)
            defaults = msgspec.structs.asdict(field.default)
            whole[field.name] = _completed(inner, defaults | _respelled(inner, given))
    return whole


def _refusal(kind: type[Config], wrong: Mismatch) -> ConfigError:
    """What is wrong with settings, as people say it; of an unknown one also what there is."""
    names = list(wrong.path[:1])
    for step in wrong.path[1:]:
        names.append(f"[{step}]" if isinstance(step, int) else f".{step}")
    path = "".join(map(str, names))
    for name in wrong.path:
        inner = {field.name: field.default for field in msgspec.structs.fields(kind)}.get(str(name))
        if isinstance(inner, Config):
            kind = type(inner)
    if wrong.name is None or wrong.kind != "unknown":
        what = wrong.what.replace("an object", "a table")  # as TOML calls it
        return ConfigError(
            f"{path}: {what}" if path else what,
            where=kind.__name__,
            do=wrong.remedy,
        )
    outer = f"{path}." if path else ""
    known = [field.name for field in msgspec.structs.fields(kind)]
    near = get_close_matches(wrong.name, known, 1, _NEAR)
    if near:
        do = f"the nearest is {outer}{near[0]}"
    else:
        do = f"settings are: {', '.join(known) or 'none'}"
    return ConfigError(f"unknown setting {outer}{wrong.name}", where=kind.__name__, do=do)


def _refuse_too_large(settings: Config, where: str) -> None:
    for name, value in msgspec.structs.asdict(settings).items():
        if isinstance(value, Config):
            _refuse_too_large(value, f"{where}.{name}")
        elif isinstance(value, float) and not abs(value) <= _LARGEST:
            raise ConfigError(
                f"{name} is {value}", where=where, do="give a number that float32 holds"
            )
