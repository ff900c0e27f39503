"""LARP: continues playlists of tracks without plays, from audio and captions (`larp`).

Salganik, Liu, Ma, Kang and Chua, "LARP: Language Audio Relational Pre-training for Cold-Start
Playlist Continuation" (KDD 2024). Training makes an audio encoder and a text encoder agree on
each track (WTC), on tracks of a playlist (TTC) and on playlists and their tracks (TPC): see
`larp.losses`, `larp.network` and `larp.training`. Inference needs none of these:

    e_s = mean of the encoders' vectors of track s      the content of every track
    e_p = mean of e_s over the tracks of the query, or the output of `larp.pooling`
    score(p, s) = q(e_p) · v(e_s)                       q and v by the head (`larp.heads.base`)

`docs/development/papers/larp.md` separates published parts from ours.
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
from segue.models.larp.encoders.contract import Encoder, encoders_of
from segue.models.larp.fit import ItemsByEncoder, needed, train_encoders
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
    """Content of all tracks, aligned by playlists, and a head that ranks by it."""

    name: ClassVar[str] = "larp"
    Config = LARPConfig
    config: LARPConfig
    content: Float32
    """e_s; zeros for unknown content. (tracks, d)"""
    length: float
    """Mean length of e_s of tracks that all encoders know."""
    encoder_arrays: dict[str, dict[str, npt.NDArray[Any]]]
    """Arrays of each encoder; empty for frozen encoders."""
    pooling: Pooling | None
    """Aggregator of a query's tracks; None: the mean."""
    top: Head
    encoder_vectors: dict[str, tuple[Int64, Float32]]
    """After `fit`: rows of the known tracks and their vectors of length 1, by encoder."""
    held: Int64 | None
    """After `fit`: tracks that all stages held out."""
    lists: Int64 | None
    """After `fit`: rows of its plays that all stages held out."""

    def __init__(self, /, **settings: Any) -> None:
        super().__init__(**settings)
        self.encoders: dict[str, Encoder] = encoders_of(self.config)
        stages = self.config.stages
        if not self.encoders:
            raise ConfigError("neither sound nor text is known", where="LarpConfig")
        if list(stages) != sorted(set(stages), key=("wtc", "ttc", "tpc").index):
            raise ConfigError(
                f"stages are {', '.join(stages)}",
                where="LarpConfig",
                do='name each once, in the order "wtc", "ttc", "tpc"',
            )
        if len(self.encoders) == 1 and "wtc" in stages:
            raise ConfigError(
                'stage "wtc" needs two sides',
                where="LarpConfig.stages",
                do='take "ttc" and "tpc", or another side',
            )
        trained = [name for name, side in self.encoders.items() if side.trainable]
        if len(self.encoders) > 1 and not stages:
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

    @property
    def extras(self) -> frozenset[str]:
        config = self.config
        conditions = {
            "audio": config.sound != "none",
            "text": config.text == "minilm",
            "larp": "clap" in config.sound or "bert" in config.text,
            "deep": bool(config.stages) or config.top in ("dropoutnet", "clcrec"),
        }
        return frozenset(extra for extra, needed in conditions.items() if needed)

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        if self.config.stages:
            needed(self.encoders)  # report a missing requirement before hours of audio analysis
        known = self._known(dataset, run)
        self.encoder_arrays, self.pooling = {}, None
        self.held = self.lists = None
        if self.config.stages:
            trained = train_encoders(self.encoders, known, dataset, self.config, run)
            vectors, self.held, self.lists = trained.vectors, trained.held, trained.lists
            self.encoder_arrays, self.pooling = trained.arrays, trained.pooling
        else:
            vectors = {name: _stacked(items) for name, (_, items) in known.items()}
        self.encoder_vectors = {name: (rows, vectors[name]) for name, (rows, _) in known.items()}
        content, known_counts = self._mean(self.encoder_vectors, len(self.catalog))
        whole = np.linalg.norm(content[known_counts == len(self.encoders)], axis=1)
        self.length = float(np.float32(whole.mean()))  # float32, as in a bundle
        self.content = self._evened(content, known_counts)
        self._learn_top(plays, run)

    def _learn_top(self, plays: Any, run: TrainingOptions) -> None:
        """Train the head on the content, with early stopping by held-out tracks."""
        top = HEADS[self.config.top]
        if top is Nearest and self.lists is not None:
            # The encoders' training moved tracks of its playlists closer than those of new ones.
            plays = plays[self.lists]
        self.top = top.learn(self.content, plays, self._top_settings, run.part("top"), self.held)
        self.vectors = self._tracks(self.content)

    def with_top(self, top: str, plays: Any, run: TrainingOptions) -> LARP:
        """A model with the same content and another head; call it right after `fit`."""
        other = copy.copy(self)
        other.config = msgspec.structs.replace(self.config, top=top)
        other._learn_top(plays, run)
        return other

    def _known(self, dataset: Dataset, run: TrainingOptions) -> ItemsByEncoder:
        """Rows of the known tracks and their items, by encoder.

        Raises:
            DataError: an encoder knows no track.
        """
        known: ItemsByEncoder = {}
        if "text" in self.encoders:  # first, because errors show at once
            known["text"] = self._read(self.catalog.table)
            if not len(known["text"][0]):
                raise DataError(
                    "no track has a title, an artist or an album",
                    where=dataset.path,
                    do='take text = "none"' if len(self.encoders) > 1 else "give tracks titles",
                )
        if "sound" in self.encoders:
            sounds = audio_features.extracted(dataset, self.sound, run)
            known["sound"] = (
                sounds.tracks.astype(np.int64),
                self.encoders["sound"].items(sounds.arrays),
            )
        return {name: known[name] for name in self.encoders}

    def _read(self, tracks: pa.Table) -> tuple[Int64, Arrays]:
        """Rows of the tracks with captions, and their items."""
        caption_texts = captions(tracks, self.config.template)
        rows = np.flatnonzero([caption is not None for caption in caption_texts])
        return rows, self.encoders["text"].items([caption_texts[row] for row in rows])

    # Content

    def _mean(
        self, encoder_vectors: Mapping[str, tuple[Int64, Float32]], count: int
    ) -> tuple[Float32, Int64]:
        """Mean over encoders, zeros for unknown tracks; and the number of encoders that know each.

        Args:
            encoder_vectors: rows and their vectors of length 1, by encoder.
            count: number of tracks.
        """
        width = next(iter(encoder_vectors.values()))[1].shape[1]
        content, known_counts = np.zeros((count, width), np.float32), np.zeros(count, np.int64)
        for rows, vectors in encoder_vectors.values():
            content[rows] += vectors / np.float32(len(self.encoders))
            known_counts[rows] += 1
        return content, known_counts

    def _evened(self, content: Float32, known_counts: Int64) -> Float32:
        """e_s of `_mean`, rescaled for tracks that only one encoder knows."""
        few = (known_counts > 0) & (known_counts < len(self.encoders))
        content[few] *= np.float32(self.length * len(self.encoders))
        return content

    def _tracks(self, content: Float32) -> Float32:
        """v(e_s); zeros for unknown content."""
        vectors = self.top.tracks(content)
        vectors[~content.any(axis=1)] = 0
        return vectors

    def _placed(self, sounds: Arrays, tracks: pa.Table) -> Float32:
        """Content of new tracks, for `with_tracks`."""
        known: ItemsByEncoder = {}
        if "sound" in self.encoders:
            known["sound"] = np.arange(len(tracks)), self.encoders["sound"].items(sounds)
        if "text" in self.encoders:
            known["text"] = self._read(tracks)
        encoder_vectors = {}
        for name, (rows, items) in known.items():
            if self.config.stages:
                side, d = self.encoders[name], self.config.dimensions
                encoder_vectors[name] = rows, units(side.embed(self.encoder_arrays[name], items, d))
            else:
                encoder_vectors[name] = rows, _stacked(items) if len(rows) else self.content[:0]
        return self._evened(*self._mean(encoder_vectors, len(tracks)))

    @property
    def placed_by(self) -> int:
        """Dimensions of content."""
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
        """Whether an aggregator makes queries; other heads were trained on means."""
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
        """Addend of each track of a history to e_p. (seeds, d)"""
        if self._pools:
            assert self.pooling is not None
            return self.pooling.parts(self.content[seeds])
        return self.content[seeds] / np.float32(max(1, len(seeds)))

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """The part of each history track; only the sum for trained heads."""
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
            [
                Reason("track", int(seed), float(part))
                for seed, part in zip(seeds, track_parts, strict=True)
            ]
            for track_parts in parts.T
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
        parts = {**self.encoder_arrays, "top": self.top.arrays}
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
        self.encoder_arrays, self.pooling = {}, None
        if "tpc" in config.stages and "mean" not in (config.aggregator, config.pooling):
            self.pooling = Pooling.restore(
                tensors, "pooling.", config.aggregator, len(self.encoders), c, config.seeds
            )
        if self.config.stages:
            self.encoder_arrays = {
                name: side.restore(tensors, f"{name}.", self.config.dimensions)
                for name, side in self.encoders.items()
            }


def _stacked(items: Arrays) -> Float32:
    """Vectors of a frozen encoder, scaled to length 1. (n, numbers)"""
    return units(np.stack([items[i] for i in range(len(items))]))
