"""LARP: tracks and playlists that nobody has played, from sound and captions (`larp`).

Salganik, Liu, Ma, Kang and Chua, "LARP: Language Audio Relational Pre-training for Cold-Start
Playlist Continuation" (KDD 2024). A side that hears and a side that reads are trained to agree on
each track (WTC), on tracks of a playlist (TTC) and on playlists and their tracks (TPC); losses in
`larp.losses`, networks in `larp.network`, stages in `larp.training`. Answering needs none of these:

    e_s = mean of what the sides tell of track s        the content of every track
    e_p = mean of e_s over the tracks of the query, or what `larp.pooling` makes of them
    score(p, s) = q(e_p) · v(e_s)                       q and v by the top (`larp.heads.base`)

`docs/development/papers/larp.md` says what is published and what is ours.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from segue.data.dataset import Dataset
from segue.errors import ConfigError, DataError
from segue.models.base import audio_features
from segue.models.base.cold_start import ContentModel
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import EmbeddingModel
from segue.models.larp.config import LARPConfig
from segue.models.larp.encoders.contract import Encoder, sides_of
from segue.models.larp.fit import ItemsByEncoder, learn_sides, needed
from segue.models.larp.heads.base import HEADS, Head
from segue.models.larp.heads.nearest import Nearest
from segue.models.larp.pooling import Pooling
from segue.nn.items import Arrays
from segue.numeric.arrays import Float32, Int32, Int64
from segue.numeric.ragged import Ragged
from segue.numeric.tensors import expect
from segue.numeric.vectors import units
from segue.queries import Queries, Query, Reason
from segue.retrieval.topk import Best
from segue.text.captions import captions


class LARP(EmbeddingModel, ContentModel):
    """Content of all tracks, aligned by playlists, and a top that answers from it."""

    name: ClassVar[str] = "larp"
    Config = LARPConfig
    config: LARPConfig
    content: Float32
    """e_s; zeros where nothing is known. (tracks, d)"""
    length: float
    """Mean length of e_s where all sides know a track."""
    learned: dict[str, dict[str, npt.NDArray[Any]]]
    """Arrays of each side; none where sides are taken as they are."""
    pooling: Pooling | None
    """What makes a query of its tracks; None: the mean."""
    top: Head
    told: dict[str, tuple[Int64, Float32]]
    """After `fit`: by side, rows of the tracks that it knows and their vectors of length 1."""
    held: Int64 | None
    """After `fit`: tracks that no stage has learned from."""
    lists: Int64 | None
    """After `fit`: rows of its plays that no stage has learned from."""

    def __init__(self, /, **settings: Any) -> None:
        super().__init__(**settings)
        self.sides: dict[str, Encoder] = sides_of(self.config)
        stages = self.config.stages
        if not self.sides:
            raise ConfigError("neither sound nor text is known", where="LarpConfig")
        if list(stages) != sorted(set(stages), key=("wtc", "ttc", "tpc").index):
            raise ConfigError(
                f"stages are {', '.join(stages)}",
                where="LarpConfig",
                do='name each once, in the order "wtc", "ttc", "tpc"',
            )
        if len(self.sides) == 1 and "wtc" in stages:
            raise ConfigError(
                'stage "wtc" needs two sides',
                where="LarpConfig.stages",
                do='take "ttc" and "tpc", or another side',
            )
        trained = [name for name, side in self.sides.items() if side.trainable]
        if len(self.sides) > 1 and not stages:
            raise ConfigError(
                "nothing brings the two sides together",
                where="LarpConfig.stages",
                do="name a stage, or take one side",
            )
        if trained and not stages:
            raise ConfigError(
                f"nothing trains the side of {trained[0]}",
                where="LarpConfig.stages",
                do='name a stage, or take "musicnn" and "minilm", which are trained already',
            )

    @property
    def sound(self) -> str:
        return self.config.sound

    @property
    def _top_settings(self) -> Any:
        return getattr(self.config, self.config.top, None)

    # Training

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        if self.config.stages:
            needed(self.sides)  # what is missing is said before hours of listening
        known = self._known(dataset, run)
        self.learned, self.pooling = {}, None
        self.held = self.lists = None
        if self.config.stages:
            found = learn_sides(self.sides, known, dataset, self.config, run)
            vectors, self.held, self.lists = found.vectors, found.held, found.lists
            self.learned, self.pooling = found.arrays, found.pooling
        else:
            vectors = {name: _stacked(items) for name, (_, items) in known.items()}
        self.told = {name: (rows, vectors[name]) for name, (rows, _) in known.items()}
        content, sides = self._mean(self.told, len(self.catalog))
        whole = np.linalg.norm(content[sides == len(self.sides)], axis=1)
        self.length = float(np.float32(whole.mean()))  # as a bundle keeps it
        self.content = self._evened(content, sides)
        self._learn_top(plays, run)

    def _learn_top(self, plays: Any, run: TrainingOptions) -> None:
        """Let a top learn from the content; held tracks tell when it has."""
        top = HEADS[self.config.top]
        if top is Nearest and self.lists is not None:
            # Tracks of playlists that content has learned from lie nearer than those of new ones.
            plays = plays[self.lists]
        self.top = top.learn(self.content, plays, self._top_settings, run.part("top"), self.held)
        self.vectors = self._tracks(self.content)

    def with_top(self, top: str, plays: Any, run: TrainingOptions) -> LARP:
        """The same content, answered from by another top, right after `fit`."""
        other = copy.copy(self)
        other.config = msgspec.structs.replace(self.config, top=top)
        other._learn_top(plays, run)
        return other

    def _known(self, dataset: Dataset, run: TrainingOptions) -> ItemsByEncoder:
        """Rows of the tracks that each side knows, and their items.

        Raises:
            DataError: a side knows of no track.
        """
        known: ItemsByEncoder = {}
        if "text" in self.sides:  # first: what is wrong is found in no time
            known["text"] = self._read(self.catalog.table)
            if not len(known["text"][0]):
                raise DataError(
                    "no track has a title, an artist or an album",
                    where=dataset.path,
                    do='take text = "none"' if len(self.sides) > 1 else "give tracks titles",
                )
        if "sound" in self.sides:
            sounds = audio_features.extracted(dataset, self.sound, run)
            known["sound"] = (
                sounds.tracks.astype(np.int64),
                self.sides["sound"].items(sounds.arrays),
            )
        return {name: known[name] for name in self.sides}

    def _read(self, tracks: pa.Table) -> tuple[Int64, Arrays]:
        """Rows of the tracks that have captions, and their items."""
        told = captions(tracks, self.config.template)
        rows = np.flatnonzero([caption is not None for caption in told])
        return rows, self.sides["text"].items([told[row] for row in rows])

    # Content

    def _mean(self, told: Mapping[str, tuple[Int64, Float32]], count: int) -> tuple[Float32, Int64]:
        """Mean over all sides, one that does not know a track giving zeros; and how many do.

        Args:
            told: by side, rows and their vectors of length 1.
            count: tracks.
        """
        width = next(iter(told.values()))[1].shape[1]
        content, sides = np.zeros((count, width), np.float32), np.zeros(count, np.int64)
        for rows, vectors in told.values():
            content[rows] += vectors / np.float32(len(self.sides))
            sides[rows] += 1
        return content, sides

    def _evened(self, content: Float32, sides: Int64) -> Float32:
        """e_s of `_mean`: where one side alone knows a track, as long as of both."""
        few = (sides > 0) & (sides < len(self.sides))
        content[few] *= np.float32(self.length * len(self.sides))
        return content

    def _tracks(self, content: Float32) -> Float32:
        """v(e_s); zeros where nothing is known."""
        vectors = self.top.tracks(content)
        vectors[~content.any(axis=1)] = 0
        return vectors

    def _placed(self, sounds: Arrays, tracks: pa.Table) -> Float32:
        """Content of new tracks, from which `with_tracks` makes the rest."""
        known: ItemsByEncoder = {}
        if "sound" in self.sides:
            known["sound"] = np.arange(len(tracks)), self.sides["sound"].items(sounds)
        if "text" in self.sides:
            known["text"] = self._read(tracks)
        told = {}
        for name, (rows, items) in known.items():
            if self.config.stages:
                side, d = self.sides[name], self.config.dimensions
                told[name] = rows, units(side.embed(self.learned[name], items, d))
            else:
                told[name] = rows, _stacked(items) if len(rows) else self.content[:0]
        return self._evened(*self._mean(told, len(tracks)))

    @property
    def placed_by(self) -> int:
        """Numbers of content."""
        return int(self.content.shape[1])

    def _extend(self, tracks: int) -> None:
        super()._extend(tracks)
        zeros = np.zeros((tracks, self.content.shape[1]), np.float32)
        self.content = np.concatenate([self.content, zeros])

    def _place(self, tracks: Int32, vectors: Float32) -> None:
        self.content = self.content.copy()
        self.content[tracks] = vectors
        self.vectors[tracks] = self._tracks(vectors)

    # Answers

    def _known_seeds(self, queries: Queries) -> Ragged:
        """Tracks of the histories whose content is known."""
        liked = queries.liked()
        return liked.where(np.any(self.content[liked.values], axis=1))

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        known: npt.NDArray[np.bool_] = self._known_seeds(queries).lengths() > 0
        return known

    @property
    def _pools(self) -> bool:
        """Whether an aggregator makes queries; other tops have learned from means."""
        return self.pooling is not None and self.config.top == "item-knn"

    def query_vectors(self, queries: Queries) -> Float32:
        seeds = self._known_seeds(queries)
        counts = seeds.lengths()
        if self._pools:
            vectors = np.zeros((len(queries), self.content.shape[1]), np.float32)
            for q in np.flatnonzero(counts).tolist():  # alone: a batch changes no answer
                vectors[q] = self._parts(seeds.row(q)).sum(axis=0)
            return vectors
        weights = np.repeat(1 / np.maximum(counts, 1), counts).astype(np.float32)
        shape = (len(queries), len(self.content))
        rows = sp.csr_matrix((weights, seeds.values, seeds.offsets), shape)
        return self.top.queries(np.asarray(rows @ self.content, np.float32))

    def top_n(self, queries: Queries, excluded: Ragged, n: int) -> Best:
        if isinstance(self.top, Nearest):
            return self.top.best(self.vectors, self._known_seeds(queries), excluded, n)
        return super().top_n(queries, excluded, n)

    def rank_of(self, queries: Queries, excluded: Ragged, targets: Ragged) -> Int64:
        if isinstance(self.top, Nearest):
            return self.top.ranks(self.vectors, self._known_seeds(queries), excluded, targets)
        return super().rank_of(queries, excluded, targets)

    def score_candidates(self, queries: Queries, candidates: Ragged) -> Float32:
        if isinstance(self.top, Nearest):
            return self.top.values(self.vectors, self._known_seeds(queries), candidates)
        return super().score_candidates(queries, candidates)

    def _parts(self, seeds: Int32) -> Float32:
        """What each track of a history adds to e_p. (seeds, d)"""
        if self._pools:
            assert self.pooling is not None
            return self.pooling.parts(self.content[seeds])
        return self.content[seeds] / np.float32(max(1, len(seeds)))

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """Each track of the history's part; of tops that learn only their sum."""
        queries = Queries.of([query])
        seeds = self._known_seeds(queries).values
        if isinstance(self.top, Nearest):
            parts = self.top.parts(self.vectors, seeds, tracks).T
        elif self.config.top == "item-knn":
            parts = self._parts(seeds) @ self.vectors[tracks].T
        else:
            vectors = self.query_vectors(queries)
            scores = self._products(vectors, Ragged.of_lists([tracks]))
            return [[Reason("rest", None, float(score))] for score in scores]
        return [
            [Reason("track", int(seed), float(part)) for seed, part in zip(seeds, own, strict=True)]
            for own in parts.T
        ]

    # Bundles

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors: dict[str, npt.NDArray[Any]] = {
            "content": self.content,
            "vectors": self.vectors,
            "length": np.array([self.length], np.float32),
        }
        if self.pooling is not None:
            tensors |= self.pooling.tensors("pooling.")
        parts = {**self.learned, "top": self.top.arrays}
        for prefix, part in parts.items():
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in part.items()}
        return tensors

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        count = len(self.catalog)
        width = self.config.dimensions if self.config.stages else None
        self.content = expect(tensors, "content", np.float32, count, width)
        c = self.content.shape[1]
        self.top = HEADS[self.config.top].restore(tensors, "top.", c, self._top_settings)
        self.vectors = expect(tensors, "vectors", np.float32, count, self.top.outputs(c))
        self.length = float(expect(tensors, "length", np.float32, 1)[0])
        config = self.config
        self.learned, self.pooling = {}, None
        if "tpc" in config.stages and "mean" not in (config.aggregator, config.pooling):
            self.pooling = Pooling.restore(
                tensors, "pooling.", config.aggregator, len(self.sides), c, config.seeds
            )
        if self.config.stages:
            self.learned = {
                name: side.restore(tensors, f"{name}.", self.config.dimensions)
                for name, side in self.sides.items()
            }


def _stacked(items: Arrays) -> Float32:
    """Items that are vectors already, of length 1. (n, numbers)"""
    return units(np.stack([items[i] for i in range(len(items))]))
