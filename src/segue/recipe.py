"""Recipes: TOML files that name a recommender and its settings.

A recipe::

    description = "one line"
    recommender = "wrmf"

    [config]
    factors = 128
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from segue.config import Config, respelled
from segue.errors import ConfigError, UsageError
from segue.models.base.recommender import RECOMMENDERS, Recommender
from segue.system.files import shown
from segue.system.mismatch import mismatch_of

_TOML_ERRORS = (ValueError, RecursionError)
"""What reading TOML can raise; numbers of thousands of digits are one ValueError."""
_SHIPPED = resources.files("segue") / "recipes"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a recipe file may hold."""

    recommender: str
    config: dict[str, Any] = {}
    description: str = ""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A named recommender with its settings, checked.

    Attributes:
        name: of the shipped recipe, or the file's name without its ending.
        recommender: a key of `segue.models.base.recommender.RECOMMENDERS`.
        settings: those that the recipe and its overrides give; the rest have their defaults.
        description: one line.
    """

    name: str
    recommender: str
    settings: Mapping[str, Any]
    description: str = ""

    def make(self) -> Recommender:
        """The recommender, not yet trained."""
        return RECOMMENDERS[self.recommender](**self.settings)

    def changed(self, settings: Mapping[str, Any]) -> Recipe:
        """The recipe with other settings; a dot in a name leads into a table.

        Raises:
            ConfigError: a setting is unknown or out of bounds.
        """
        recipe = msgspec.structs.replace(
            self, settings=_changed(dict(self.settings), settings.items())
        )
        recipe.make()
        return recipe


def shipped() -> list[str]:
    """Names of the recipes that come with segue, sorted."""
    return sorted(
        file.name.removesuffix(".toml")
        for file in _SHIPPED.iterdir()
        if file.name.endswith(".toml")
    )


class SettingInfo(msgspec.Struct, frozen=True):
    """A setting of a recipe.

    Attributes:
        name: dotted where it is in a table (``wrmf.factors``).
        values: what it may be: a type with its bounds, or the values themselves.
        default: of the recommender.
        value: of the recipe.
        description: what it means.
    """

    name: str
    values: str
    default: Any
    value: Any
    description: str

    @staticmethod
    def shown(value: Any) -> str:
        """A value as TOML has it."""
        return "none" if value is None else _toml(msgspec.to_builtins(value))


def settings_of(recipe: Recipe) -> list[SettingInfo]:
    """Every setting of a recipe, those of inner tables too."""
    made = recipe.make()
    return _settings(type(made.config)(), made.config, "")


def _settings(default: Config, config: Config, outer: str) -> list[SettingInfo]:
    found = []
    hints = get_type_hints(type(config), include_extras=True)
    for field in msgspec.structs.fields(type(config)):
        value, normal = getattr(config, field.name), getattr(default, field.name)
        if isinstance(value, Config):
            found += _settings(normal, value, f"{outer}{field.name}.")
            continue
        name, kind = f"{outer}{field.name}", hints[field.name]
        descriptions = [note.description for note in _notes(kind) if note.description]
        found.append(SettingInfo(name, _values(kind), normal, value, " ".join(descriptions)))
    return found


def _notes(kind: Any) -> list[msgspec.Meta]:
    """Bounds and descriptions of an annotated type."""
    extras = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    return [extra for extra in extras if isinstance(extra, msgspec.Meta)]


def _values(kind: Any) -> str:
    """What a setting may be, for people: ``whole number from 1 to 4096``."""
    notes = _notes(kind)
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join("none" if one is NoneType else _values(one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return f"list of {_values(get_args(kind)[0])}"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    bounds = ((n.ge, n.gt, n.le, n.lt) for n in notes)
    words = ("from", "above", "to", "below")
    kinds = [
        f"{word} {bound:g}"
        for of_note in bounds
        for word, bound in zip(words, of_note, strict=True)
        if bound is not None
    ]
    return " ".join([names.get(kind, "table"), *kinds])


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name, or one from a file.

    Args:
        name_or_path: ``wrmf``, or ``my/wrmf.toml``.
        overrides: ``key=value`` with the value in TOML; a bare word stands for itself, and a dot
            in the key leads into a table.

    Raises:
        UsageError: no such recipe, or an override is not ``key=value``.
        ConfigError: the file is not a recipe, or a setting is unknown or out of bounds.
    """
    text, name = _read(name_or_path)
    try:
        given = tomllib.loads(text)
    except _TOML_ERRORS as error:
        raise ConfigError(f"is not a recipe ({error})", where=name_or_path) from error
    try:
        raw = msgspec.convert(given, _File)
    except msgspec.ValidationError as error:
        wrong = str(mismatch_of(given, _File)).replace("an object", "a table")
        raise ConfigError(f"is not a recipe ({wrong})", where=name_or_path) from error
    if raw.recommender not in RECOMMENDERS:
        raise ConfigError(
            f"names the recommender {raw.recommender!r}",
            where=name_or_path,
            do=f"recommenders are: {', '.join(sorted(RECOMMENDERS))}",
        )
    recipe = Recipe(
        name=name,
        recommender=raw.recommender,
        settings=_changed(raw.config, map(parse_override, overrides)),
        description=raw.description,
    )
    recipe.make()  # a wrong setting is an error here, before anything is read or trained
    return recipe


def changed(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """A recipe with some settings replaced; a dotted name (``wrmf.factors``) is in a table."""
    return msgspec.structs.replace(
        recipe, settings=_changed(dict(recipe.settings), settings.items())
    )


def toml_of(recipe: Recipe) -> str:
    """The text of a recipe file."""
    lines = [
        f"description = {json.dumps(recipe.description, ensure_ascii=False)}",
        f'recommender = "{recipe.recommender}"',
        "",
        "[config]",
    ]
    tables = {name: value for name, value in recipe.settings.items() if isinstance(value, Mapping)}
    lines += [
        f"{name} = {_toml(value)}" for name, value in recipe.settings.items() if name not in tables
    ]
    for name, table in tables.items():
        lines += ["", f"[config.{name}]", *(f"{key} = {_toml(v)}" for key, v in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A value of TOML; those of recipes are numbers, text, truth values, lists and tables."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _read(name_or_path: str) -> tuple[str, str]:
    """Text and name of a recipe."""
    if name_or_path in shipped():
        return (_SHIPPED / f"{name_or_path}.toml").read_text(encoding="utf-8"), name_or_path
    path = Path(name_or_path)
    if path.suffix != ".toml":
        raise UsageError(
            f"no recipe {name_or_path!r}",
            do=f"give a .toml file or one of: {', '.join(shipped())}",
        )
    try:
        return path.read_text(encoding="utf-8"), path.stem
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"cannot read the recipe ({what})", where=path) from error


def _changed(settings: dict[str, Any], overrides: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Settings with some of them, or of their tables, replaced: ``wrmf.factors`` is in ``wrmf``."""
    changed = dict(settings)
    for key, value in overrides:
        outer, dot, inner = key.partition(".")
        # Both spellings are one setting: the override replaces what the recipe gives by the other.
        outer = next((name for name in changed if respelled(name) == respelled(outer)), outer)
        if dot:
            table = changed.get(outer)
            value = _changed(table if isinstance(table, dict) else {}, [(inner, value)])
        changed[outer] = value
    return changed


_WORD = re.compile(r"[A-Za-z][\w-]*")


def parse_override(text: str) -> tuple[str, Any]:
    """``factors=64`` as a setting.

    Raises:
        UsageError: it is not ``key=value`` with a TOML value or a bare word.
    """
    key, sign, value = shown(text).partition("=")
    key, value = key.strip(), value.strip()
    if not sign or not key or not value:
        raise UsageError(f"{text!r} is not key=value", where="--set")
    try:
        table = tomllib.loads(f"value = {value}")
    except _TOML_ERRORS:
        table = {}
    if set(table) == {"value"}:
        return key, table["value"]
    if _WORD.fullmatch(value):
        return key, value
    raise UsageError(
        f"{value!r} is not a TOML value", where=f"--set {key}", do='text goes in quotes: "..."'
    )
