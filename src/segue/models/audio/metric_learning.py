"""Metric learning to rank: tracks that sound alike where people play both (`audio-mlr`).

McFee and Lanckriet 2010 ("Metric Learning to Rank"), as van den Oord et al. 2013 compare with. A
linear map L makes a distance of sounds, d(i, j) = |L x_i − L x_j|², such that tracks that the same
people play are nearer than others. With their AUC loss the largest violation of each pair is found
on its own, so that what is minimised is

    mean over i, j in N(i), k not in N(i) of  max(0, 1 + d(i, j) − d(i, k))  +  reg |L|²/2

N(i) are the tracks with the highest cosine of their columns of plays. Learned by Adam;
k is drawn. The score of a track is its mean similarity to the tracks heard:

    score(j) = −mean_i d(i, j) + const = 2 (mean_i L x_i) · L x_j − |L x_j|²

a product of vectors with a bias; a track without sound comes after all others, by popularity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp
from msgspec import Meta

from segue.audio.bag_of_words import Bag
from segue.config import Config, Search
from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.models.base import audio_features
from segue.models.base.audio_features import levels
from segue.models.base.cold_start import ContentModel
from segue.models.base.net_plays import query_counts
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import EmbeddingModel
from segue.nn.items import Arrays, Subset
from segue.numeric.arrays import Float32, Int32, Int64
from segue.numeric.tensors import expect
from segue.queries import Queries, Query, Reason
from segue.system.progress import task


class AudioMLRConfig(Config, frozen=True):
    """Settings of `audio-mlr`."""

    sound: Annotated[Literal["bag-of-words", "musicnn"], Meta(description="what is heard")] = (
        "bag-of-words"
    )
    factors: Annotated[
        int, Meta(ge=1, le=4096, description="rows of L"), Search(16, 256, log=True)
    ] = 64
    neighbours: Annotated[
        int,
        Meta(ge=1, description="tracks that are to be near each track"),
        Search(3, 50, log=True),
    ] = 10
    epochs: Annotated[int, Meta(ge=1, description="passes over the tracks")] = 30
    batch: Annotated[int, Meta(ge=1, description="tracks in a step")] = 64
    negatives: Annotated[
        int, Meta(ge=1, description="other tracks drawn for a step"), Search(64, 1024, log=True)
    ] = 256
    learning_rate: Annotated[
        float, Meta(gt=0, description="size of a step"), Search(3e-4, 0.03, log=True)
    ] = 0.003
    regularisation: Annotated[
        float, Meta(ge=0, description="pull of L to zero"), Search(1e-6, 0.01, log=True)
    ] = 1e-4


class AudioMLR(EmbeddingModel, ContentModel):
    """``score(j) = 2 u · v_j − |v_j|²``, u the mean of the history's v."""

    name: ClassVar[str] = "audio-mlr"
    Config = AudioMLRConfig
    config: AudioMLRConfig
    shift: Float32
    size: Float32
    metric: Float32
    """L, transposed. (inputs, factors)"""

    @property
    def sound(self) -> str:
        sound: str = self.config.sound
        return sound

    @property
    def extras(self) -> frozenset[str]:
        return frozenset({"audio"})

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        sounds = audio_features.extracted(dataset, self.sound, run)
        at = np.flatnonzero(self.catalog.plays[sounds.tracks] > 0)
        if not len(at):
            raise DataError(
                "no track that was played has audio",
                where=dataset.path,
                do="segue ingest audio --add finds tracks by uri, or by artist and title",
            )
        arrays = sounds.arrays
        if self.sound == "bag-of-words":
            self.bag = Bag.learn(Subset(arrays, at), run.seed)
            arrays = [self.bag(arrays[i]) for i in range(len(arrays))]
        inputs = levels(Subset(arrays, at), alike=self.sound == "bag-of-words")
        self.shift, self.size = inputs["shift"], inputs["scale"]
        x = self._inputs(arrays)
        near = _neighbours(plays[:, sounds.tracks[at]], self.config.neighbours)
        self.metric = self._learn(x[at], near, run)
        self.vectors = np.zeros((len(self.catalog), self.metric.shape[1]), np.float32)
        self.vectors[sounds.tracks] = x @ self.metric

    def _learn(self, x: Float32, near: Int64, run: TrainingOptions) -> Float32:
        """L by Adam. x: (tracks, inputs); near: (tracks, neighbours), -1 where there are fewer."""
        config, rng = self.config, np.random.default_rng([run.seed, 4])
        inputs = x.shape[1]
        spread = np.sqrt(np.square(x - x.mean(axis=0)).sum(axis=1).mean())
        start = rng.standard_normal((inputs, min(config.factors, inputs)), np.float32)
        metric = start / np.float32(max(spread, 1e-6) * np.sqrt(start.shape[1]))
        first, second = np.zeros_like(metric), np.zeros_like(metric)
        step = 0
        with task("fitting audio-mlr", config.epochs, "epochs", show=run.progress) as advance:
            for _ in range(config.epochs):
                order = rng.permutation(np.flatnonzero(near[:, 0] >= 0))
                for start_at in range(0, len(order), config.batch):
                    some = order[start_at : start_at + config.batch]
                    others = rng.integers(len(x), size=config.negatives)
                    slope = _slope(x, metric, some, near[some], others)
                    slope += np.float32(config.regularisation) * metric
                    step += 1
                    first += 0.1 * (slope - first)
                    second += 0.001 * (np.square(slope) - second)
                    size = np.sqrt(second / (1 - 0.999**step)) + 1e-8
                    metric -= config.learning_rate / (1 - 0.9**step) * first / size
                advance(1)
        return metric.astype(np.float32)

    def _inputs(self, sounds: Arrays) -> Float32:
        x = np.stack([np.asarray(sounds[i], np.float32) for i in range(len(sounds))])
        scaled: Float32 = (x - self.shift) * self.size
        return scaled

    def _placed(self, sounds: Arrays, tracks: pa.Table) -> Float32:
        return self._inputs(sounds) @ self.metric

    # Answers

    @property
    def heard(self) -> npt.NDArray[np.bool_]:
        """Which tracks have a sound. (tracks,)"""
        some: npt.NDArray[np.bool_] = np.abs(self.vectors).max(axis=1, initial=0) > 0
        return some

    @property
    def bias(self) -> Float32:
        """−|v|²; below all scores where there is no sound, by popularity. (tracks,)"""
        squares = np.square(self.vectors).sum(axis=1)
        least = -3 * squares.max(initial=0) - 1
        silent = least - 1 / (1 + self.catalog.plays.astype(np.float32))
        bias: Float32 = np.where(self.heard, -squares, silent).astype(np.float32)
        return bias

    def _means(self, queries: Queries) -> sp.csr_matrix:
        """Share of each track of a history among those with a sound. (queries, tracks)"""
        counts = query_counts(queries, len(self.vectors), skips=False)
        counts.data = self.heard[counts.indices].astype(np.float32)
        counts.eliminate_zeros()
        counts.data /= np.repeat(np.diff(counts.indptr), np.diff(counts.indptr))
        return counts

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        some: npt.NDArray[np.bool_] = np.diff(self._means(queries).indptr) > 0
        return some

    def query_vectors(self, queries: Queries) -> Float32:
        vectors: Float32 = (2 * (self._means(queries) @ self.vectors)).astype(np.float32)
        return vectors

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        means = self._means(Queries.of([query]))
        own = self.vectors[means.indices].astype(np.float64) * means.data[:, None]
        parts = 2 * self.vectors[tracks] @ own.T
        bias = self.bias
        return [
            [
                Reason("track", int(j), float(part))
                for j, part in zip(means.indices, row, strict=True)
            ]
            + [Reason("rest", None, float(bias[t]))]
            for t, row in zip(tracks, parts, strict=True)
        ]

    # Bundles

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors: dict[str, npt.NDArray[Any]] = {
            "vectors": self.vectors,
            "metric": self.metric,
            "shift": self.shift,
            "size": self.size,
        }
        if self.bag is not None:
            tensors |= {f"bag.{name}": tensor for name, tensor in self.bag.tensors().items()}
        return tensors

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        self.metric = expect(tensors, "metric", np.float32, None, None)
        inputs, factors = self.metric.shape
        self.vectors = expect(tensors, "vectors", np.float32, len(self.catalog), factors)
        self.shift = expect(tensors, "shift", np.float32, inputs)
        self.size = expect(tensors, "size", np.float32, inputs)
        self.bag = None
        if self.sound == "bag-of-words":
            self.bag = Bag.restore(tensors, "bag.", inputs)


def _neighbours(plays: Any, count: int) -> Int64:
    """The tracks with the highest cosines of their columns, -1 for none. (tracks, count)"""
    columns = sp.csc_matrix(plays, copy=True)
    columns.data = np.ones_like(columns.data)
    lengths = np.sqrt(np.maximum(np.diff(columns.indptr), 1))
    unit = (columns @ sp.diags_array(1 / lengths)).tocsc()
    out = np.full((unit.shape[1], count), -1, np.int64)
    for start in range(0, unit.shape[1], 256):
        cosines = (unit[:, start : start + 256].T @ unit).toarray()
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = 0
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        some = np.where(cosines[rows[:, None], best] > 0, best, -1)
        out[start + rows, : some.shape[1]] = some
    return out


def _slope(x: Float32, metric: Float32, some: Int64, near: Int64, others: Int64) -> Float32:
    """Gradient of the mean hinge of a step by L.

    Args:
        x: (tracks, inputs); metric: (inputs, factors).
        some: the i of the step; near: their neighbours j, or -1; others: the k, the same for all.
    """
    there = near >= 0
    apart = x[some][:, None] - x[near]  # (i, j, inputs)
    far = x[some][:, None] - x[others]
    close, away = apart @ metric, far @ metric
    d = np.square(close).sum(axis=2)
    e = np.square(away).sum(axis=2)
    valid = there[:, :, None] & (near[:, :, None] != others) & (some[:, None, None] != others)
    active = ((1 + d[:, :, None] - e[:, None]) > 0) & valid
    share = active / max(1, np.count_nonzero(valid))
    pulls, pushes = share.sum(axis=2), share.sum(axis=1)
    size = x.shape[1]
    slope: Float32 = 2 * (
        apart.reshape(-1, size).T @ (close * pulls[..., None]).reshape(-1, metric.shape[1])
        - far.reshape(-1, size).T @ (away * pushes[..., None]).reshape(-1, metric.shape[1])
    )
    return slope.astype(np.float32)
