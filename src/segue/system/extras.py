"""Extras: optional libraries, their purpose, and the commands that install them.

The checks import nothing.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import NamedTuple

from segue.errors import ConfigError


class Library(NamedTuple):
    """A library that an extra brings."""

    name: str
    """Display name."""
    module: str
    """Name of the module."""
    packages: tuple[str, ...]
    """Its distributions; several if builds have different names."""

    @property
    def installed(self) -> bool:
        """Whether Python finds the module."""
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
    """Purpose in one line."""
    libraries: tuple[Library, ...]

    def missing(self) -> list[Library]:
        """Libraries that are not installed."""
        return [library for library in self.libraries if not library.installed]

    @property
    def installed(self) -> bool:
        """Whether all libraries are installed."""
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
"""Every extra but `all`, which is all others except `gpu`."""


def install(*extras: str) -> str:
    """The command that installs extras; for torch, whose builds differ, those for this system."""
    if "deep" in extras and sys.platform == "linux":
        cpu = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
        if others := [extra for extra in extras if extra != "deep"]:
            return f"{cpu} && {install(*others)}"
        return f"{cpu} (or, for an NVIDIA GPU: {install('gpu')})"
    return f"pip install 'segue[{','.join(extras)}]'"


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
        extra: name of the extra.
        library: display name of one library of the extra; by default all missing ones.
        where: place of the error.
        cause: error of the import, for the message if the library is installed all the same.
    """
    libraries = EXTRAS[extra].libraries
    needed = [one for one in libraries if one.name == library] if library else list(libraries)
    missing = [one for one in needed if not one.installed]
    names = ", ".join(one.name for one in missing or needed)
    reason = f", which does not load ({cause})" if cause and not missing else ""
    return ConfigError(f"{what} needs {names}{reason}", where=where, do=install(extra))


def require(what: str, extra: str, *, where: object = None) -> None:
    """Check before long work that an extra is installed.

    Raises:
        ConfigError: it is not.
    """
    if not EXTRAS[extra].installed:
        raise needs(what, extra, where=where)
