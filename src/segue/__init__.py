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
    from segue._api import add_tracks, evaluate, load, recommend, save, similar, train, tune
    from segue.bundle import Bundle
    from segue.catalog.catalog import Catalog
    from segue.data.dataset import Dataset
    from segue.data.ingestion.ingest import ingest
    from segue.data.receipt import Receipt
    from segue.data.schema import Outcome
    from segue.errors import (
        BundleError,
        ConfigError,
        DataError,
        NotFittedError,
        SegueError,
        UsageError,
    )
    from segue.evaluation.evaluate import Evaluation
    from segue.models.audio.metric_learning import AudioMLR
    from segue.models.audio.model import Audio
    from segue.models.base.recommender import Recommender
    from segue.models.bpr.model import BPR
    from segue.models.content import Content
    from segue.models.knn import ItemKNN, UserKNN
    from segue.models.larp.model import LARP
    from segue.models.personal import Personal
    from segue.models.playlist_cnn.model import PlaylistCNN
    from segue.models.popularity import Popularity
    from segue.models.sequential.model import BERT4Rec, Caser, GRU4Rec, SASRec
    from segue.models.title.model import Title
    from segue.models.two_stage.model import TwoStage
    from segue.models.wrmf.model import WRMF
    from segue.operations.answers import RecommendationBatch, Recommendations
    from segue.queries import Queries, Query, Reason, Slate, Slates
    from segue.recipe import Recipe, load_recipe
    from segue.reranking.list_stage import ListStage, continue_playlist

__all__ = [
    "BPR",
    "LARP",
    "WRMF",
    "Audio",
    "AudioMLR",
    "BERT4Rec",
    "Bundle",
    "BundleError",
    "Caser",
    "Catalog",
    "ConfigError",
    "Content",
    "DataError",
    "Dataset",
    "Evaluation",
    "GRU4Rec",
    "ItemKNN",
    "ListStage",
    "NotFittedError",
    "Outcome",
    "Personal",
    "PlaylistCNN",
    "Popularity",
    "Queries",
    "Query",
    "Reason",
    "Receipt",
    "Recipe",
    "RecommendationBatch",
    "Recommendations",
    "Recommender",
    "SASRec",
    "SegueError",
    "Slate",
    "Slates",
    "Title",
    "TwoStage",
    "UsageError",
    "UserKNN",
    "__version__",
    "add_tracks",
    "continue_playlist",
    "evaluate",
    "ingest",
    "load",
    "load_recipe",
    "recommend",
    "save",
    "similar",
    "train",
    "tune",
]

_HOME = {
    "Audio": "models.audio.model",
    "AudioMLR": "models.audio.metric_learning",
    "BERT4Rec": "models.sequential.model",
    "BPR": "models.bpr.model",
    "Bundle": "bundle",
    "BundleError": "errors",
    "Caser": "models.sequential.model",
    "Catalog": "catalog.catalog",
    "ConfigError": "errors",
    "Content": "models.content",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "Evaluation": "evaluation.evaluate",
    "GRU4Rec": "models.sequential.model",
    "ItemKNN": "models.knn",
    "LARP": "models.larp.model",
    "ListStage": "reranking.list_stage",
    "NotFittedError": "errors",
    "Outcome": "data.schema",
    "Personal": "models.personal",
    "PlaylistCNN": "models.playlist_cnn.model",
    "Popularity": "models.popularity",
    "Queries": "queries",
    "Query": "queries",
    "Reason": "queries",
    "Receipt": "data.receipt",
    "Recipe": "recipe",
    "RecommendationBatch": "operations.answers",
    "Recommendations": "operations.answers",
    "Recommender": "models.base.recommender",
    "SASRec": "models.sequential.model",
    "SegueError": "errors",
    "Slate": "queries",
    "Slates": "queries",
    "Title": "models.title.model",
    "TwoStage": "models.two_stage.model",
    "UsageError": "errors",
    "UserKNN": "models.knn",
    "WRMF": "models.wrmf.model",
    "add_tracks": "_api",
    "continue_playlist": "reranking.list_stage",
    "evaluate": "_api",
    "ingest": "data.ingestion.ingest",
    "load": "_api",
    "load_recipe": "recipe",
    "recommend": "_api",
    "save": "_api",
    "similar": "_api",
    "train": "_api",
    "tune": "_api",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"segue.{_HOME[name]}"), name)
    raise AttributeError(f"module 'segue' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
