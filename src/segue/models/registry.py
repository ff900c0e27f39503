"""Which module has which recommender, and the registry that imports it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TypeVar

Kind = TypeVar("Kind")

HOMES = {
    "audio": "segue.models.audio.model",
    "audio-mlr": "segue.models.audio.metric_learning",
    "bert4rec": "segue.models.sequential.model",
    "bpr": "segue.models.bpr.model",
    "caser": "segue.models.sequential.model",
    "content": "segue.models.content",
    "gru4rec": "segue.models.sequential.model",
    "item-knn": "segue.models.knn",
    "larp": "segue.models.larp.model",
    "personal": "segue.models.personal",
    "playlist-cnn": "segue.models.playlist_cnn.model",
    "popularity": "segue.models.popularity",
    "sasrec": "segue.models.sequential.model",
    "title": "segue.models.title.model",
    "two-stage": "segue.models.two_stage.model",
    "user-knn": "segue.models.knn",
    "wrmf": "segue.models.wrmf.model",
}


class Registry(Mapping[str, Kind]):
    """Classes by name. The module of one is imported when it is asked for: a bundle needs one, and
    to load all takes as long as to answer.

    Args:
        homes: module of each; classes of other modules are there once they are defined.
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = homes
        self._defined: dict[str, Kind] = {}

    def define(self, name: str, kind: Kind) -> None:
        """Take in a class; its module does this while it is imported."""
        self._defined[name] = kind

    def __getitem__(self, name: str) -> Kind:
        if name not in self._defined:
            import_module(self._homes[name])
        return self._defined[name]

    def __contains__(self, name: object) -> bool:
        return name in self._defined or name in self._homes

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._homes, *self._defined}))

    def __len__(self) -> int:
        return len({*self._homes, *self._defined})
