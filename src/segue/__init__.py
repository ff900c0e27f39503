"""Segue: music recommendation that learns from what people play and skip.

The names below are the public surface. Each is imported when it is first used, so that
``import segue`` and ``segue --help`` cost nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
"""Of this package. The build, the command line, bundles and the service take it from here."""

# Set before any OpenMP library loads: its threads otherwise wait in a loop, and on a busy machine
# take the processor from the very thread that they wait for. A short loop is worth it: training
# with torch has thousands of pauses of a few microseconds (measured: half as fast again on a quiet
# machine, a fifth slower on a busy one; a long loop is up to ten times slower there).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
import_module("segue.system.compile_cache").keep_compiled()  # before Numba loads

if TYPE_CHECKING:
    from segue.bundle import Bundle
    from segue.catalog.catalog import Catalog
    from segue.data.dataset import Dataset
    from segue.data.ingestion.ingest import ingest
    from segue.data.receipt import Receipt
    from segue.data.schema import Outcome
    from segue.errors import SegueError
    from segue.models.base.recommender import Recommender
    from segue.operations.train import train
    from segue.queries import Queries, Query, Reason, Slate, Slates
    from segue.recipe import Recipe, load_recipe
    from segue.reranking.list_stage import ListStage, continue_playlist

__all__ = [
    "Bundle",
    "Catalog",
    "Dataset",
    "ListStage",
    "Outcome",
    "Queries",
    "Query",
    "Reason",
    "Receipt",
    "Recipe",
    "Recommender",
    "SegueError",
    "Slate",
    "Slates",
    "__version__",
    "continue_playlist",
    "ingest",
    "load_recipe",
    "train",
]

_HOME = {
    "Bundle": "bundle",
    "Catalog": "catalog.catalog",
    "Dataset": "data.dataset",
    "ListStage": "reranking.list_stage",
    "Outcome": "data.schema",
    "Queries": "queries",
    "Query": "queries",
    "Reason": "queries",
    "Receipt": "data.receipt",
    "Recipe": "recipe",
    "Recommender": "models.base.recommender",
    "SegueError": "errors",
    "Slate": "queries",
    "Slates": "queries",
    "continue_playlist": "reranking.list_stage",
    "ingest": "data.ingestion.ingest",
    "load_recipe": "recipe",
    "train": "operations.train",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"segue.{_HOME[name]}"), name)
    raise AttributeError(f"module 'segue' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
