"""Extras: libraries that only some of the work needs, what each extra is for, and how to get it.

Nothing is imported to find out what is there.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import NamedTuple

from segue.errors import ConfigError


class Library(NamedTuple):
    """A library that an extra brings."""

    name: str
    """For people."""
    module: str
    """What is imported."""
    packages: tuple[str, ...]
    """Distributions that hold it; more than one where builds have different names."""

    @property
    def there(self) -> bool:
        """Whether Python finds it."""
        try:
            return find_spec(self.module) is not None
        except ValueError:  # loaded without a specification, as a stand-in may be
            return True

    @property
    def version(self) -> str | None:
        """The installed version; None if there is none."""
        from importlib import metadata  # slower to load than all the rest

        for package in self.packages:
            try:
                return metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return None


class Extra(NamedTuple):
    """An extra of the package."""

    purpose: str
    """What it is for, in one line."""
    libraries: tuple[Library, ...]

    def missing(self) -> list[Library]:
        """Libraries that are not there."""
        return [library for library in self.libraries if not library.there]

    @property
    def there(self) -> bool:
        """Whether all of it is there."""
        return not self.missing()


def _library(name: str, module: str | None = None, *packages: str) -> Library:
    return Library(name, module or name, packages or (name,))


_TOKENIZERS = _library("tokenizers")
_TORCH = _library("torch")

EXTRAS: dict[str, Extra] = {
    "report": Extra(
        "reports and plots (segue evaluate --report, --plot)", (_library("matplotlib"),)
    ),
    "deep": Extra(
        "training the models with neural networks (answering does not need it)", (_TORCH,)
    ),
    "gpu": Extra("the same training on a GPU", (_TORCH,)),
    "audio": Extra(
        "reading sound files and training audio models",
        (
            _library("PyAV", "av", "av"),
            _library("scikit-learn", "sklearn", "scikit-learn"),
            _library("tinytag"),
        ),
    ),
    "ranker": Extra(
        "training the recipe two-stage (answering does not need it)",
        (_library("XGBoost", "xgboost", "xgboost-cpu", "xgboost"),),
    ),
    "text": Extra("captions by the pretrained sentence encoder (text = minilm)", (_TOKENIZERS,)),
    "larp": Extra(
        "LARP with encoders of full size (sound = clap, text = bert), together with deep",
        (_TOKENIZERS, _library("transformers")),
    ),
    "tune": Extra(
        "searching the settings of a recipe (segue tune)", (_library("Optuna", "optuna", "optuna"),)
    ),
    "service": Extra(
        "answers over HTTP with a page (segue serve), and reading its feedback log",
        (
            _library("FastAPI", "fastapi", "fastapi"),
            _library("Jinja2", "jinja2", "jinja2"),
            _library("prometheus-client", "prometheus_client"),
            _library("python-multipart", "python_multipart"),
            _library("SQLAlchemy", "sqlalchemy", "sqlalchemy"),
            _library("uvicorn"),
        ),
    ),
    "postgres": Extra(
        "a feedback log in PostgreSQL instead of an SQLite file", (_library("psycopg"),)
    ),
}
"""Every extra but `all`, which is all of them without `gpu`."""


def install(extra: str) -> str:
    """The command that installs an extra; for torch, whose builds differ, those for this system."""
    if extra == "deep" and sys.platform == "linux":
        cpu = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
        return f"{cpu} (or, for an NVIDIA GPU: {install('gpu')})"
    return f"pip install 'segue[{extra}]'"


def needs(
    what: str,
    extra: str,
    library: str | None = None,
    *,
    where: object = None,
    cause: ImportError | None = None,
) -> ConfigError:
    """The error of work that needs an extra: ``X needs Y; pip install 'segue[extra]'``.

    Args:
        what: the work.
        extra: its name.
        library: which of the extra's libraries, by its name for people; else all that are missing.
        where: as of every error.
        cause: what importing it raised, which is told where the library is there all the same.
    """
    libraries = EXTRAS[extra].libraries
    wanted = [one for one in libraries if one.name == library] if library else list(libraries)
    absent = [one for one in wanted if not one.there]
    names = ", ".join(one.name for one in absent or wanted)
    told = f", which does not load ({cause})" if cause and not absent else ""
    return ConfigError(f"{what} needs {names}{told}", where=where, do=install(extra))


def require(what: str, extra: str, *, where: object = None) -> None:
    """Find out before long work whether an extra is there.

    Raises:
        ConfigError: it is not.
    """
    if not EXTRAS[extra].there:
        raise needs(what, extra, where=where)
