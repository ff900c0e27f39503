"""The ways to place cold tracks that the benchmark `cold` compares, and what it asks beside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.bundle import Bundle, Manifest
from segue.catalog.catalog import Catalog
from segue.config import Config
from segue.data.dataset import Dataset
from segue.evaluation.translate import translate
from segue.models.audio.config import AudioConfig
from segue.models.base import audio_features
from segue.models.base.audio_features import Sounds
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import EmbeddingModel
from segue.models.wrmf.model import WRMF
from segue.numeric.arrays import Float32, Int32
from segue.operations.train import train
from segue.protocols.base import Split
from segue.queries import Queries, Query, Reason
from segue.recipe import load_recipe

Array = npt.NDArray[Any]
LIST, LONG = 20, 100
HALVED = 1000
"""Listeners whose histories are halved, at most."""
_RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0)
AUDIO = ("audio-mlr", "audio-linear", "audio-mlp", "audio-cnn", "audio-cnn-wpe", "audio")


@dataclass
class Setting:
    """What all ways learn from and are asked."""

    dataset: Dataset
    split: Split
    overrides: tuple[str, ...]

    @property
    def cold(self) -> Int32:
        """Rows of the cold tracks, rising."""
        assert self.split.test.only is not None
        return self.split.test.only

    def settings(self, recipe: str) -> list[str]:
        """The overrides that a recipe has a place for."""
        has = set(msgspec.structs.asdict(load_recipe(recipe).make().config))
        return [o for o in self.overrides if o.partition("=")[0] in has]

    def told(self, name: str) -> str:
        """What decides about a row besides data and seed."""
        recipe = name if name in AUDIO else "audio"
        return f"{name} {load_recipe(recipe, self.settings(recipe)).make().config}"

    def sounds(self, sound: str) -> Sounds:
        """What is heard of the tracks."""
        return audio_features.extracted(self.dataset, sound, TrainingOptions(progress=True))

    @cached_property
    def base(self) -> Bundle:
        """The model of plays that all ways start from, on the training side."""
        return self._wrmf(self.split.train)

    @cached_property
    def whole(self) -> Bundle:
        """The same from everything, the test included."""
        return self._wrmf(self.dataset)

    def _wrmf(self, dataset: Dataset) -> Bundle:
        settings = msgspec.structs.asdict(AudioConfig().wrmf)
        return train(msgspec.structs.replace(load_recipe("wrmf"), settings=settings), dataset)[0]

    def bundle(self, recommender: EmbeddingModel) -> Bundle:
        """A recommender as `run_test` takes it."""
        manifest: Manifest = msgspec.structs.replace(
            self.base.manifest, recommender=recommender.name
        )
        return Bundle(recommender, manifest, self.base.learned)

    @cached_property
    def patterns(self) -> Float32:
        """Who plays each track, by the model that knows: unit vectors. (tracks, factors)"""
        return usage(self.whole, self)

    @cached_property
    def halves(self) -> tuple[Queries, list[set[int]]]:
        """Half the tracks of some histories; and what these listeners played besides."""
        test, rng = self.split.test, np.random.default_rng(9)
        queries, besides = [], []
        for q in range(min(HALVED, len(test))):
            history = test.queries.tracks[test.queries.offsets[q] : test.queries.offsets[q + 1]]
            truth = test.truth.row(q)
            heard = np.unique(history)
            shown = rng.choice(heard, max(1, len(heard) // 2), replace=False)
            queries.append(Query(tracks=history[np.isin(history, shown)].tolist()))
            besides.append(set(np.setdiff1d(heard, shown).tolist()) | set(truth.tolist()))
        return Queries.of(queries), besides


# The rows


class GivenConfig(Config, frozen=True):
    """No settings."""


class Given(EmbeddingModel):
    """Vectors and biases from anywhere; a query is the mean of the vectors of its tracks."""

    Config = GivenConfig
    biases: Float32

    @classmethod
    def over(cls, catalog: Catalog, vectors: Array, biases: Array | None = None) -> Given:
        """Vectors of all tracks of a catalog."""
        given = cls()
        given.catalog = catalog
        given.vectors = vectors.astype(np.float32)
        given.biases = np.zeros(len(vectors), np.float32)
        if biases is not None:
            given.biases = biases.astype(np.float32)
        return given

    @property
    def bias(self) -> Float32:
        return self.biases

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return np.diff(queries.offsets) > 0

    def query_vectors(self, queries: Queries) -> Float32:
        liked = queries.liked()
        ones = np.ones(len(liked.values), np.float32)
        shape = (len(queries), len(self.vectors))
        rows = sp.csr_matrix((ones, liked.values, liked.offsets), shape)
        counts = np.maximum(liked.lengths(), 1)[:, None]
        means: Float32 = ((rows @ self.vectors) / counts).astype(np.float32)
        return means

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        raise NotImplementedError

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        raise NotImplementedError

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        raise NotImplementedError

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        raise NotImplementedError


Given.name = "given"  # given late, so that it is not registered as one of the product


def _random(setting: Setting, seed: int) -> Bundle:
    """Random vectors, as in the paper's table."""
    rng = np.random.default_rng(seed)
    return setting.bundle(
        Given.over(setting.base.catalog, rng.normal(size=(setting.dataset.track_count, 64)))
    )


def _artist_popularity(setting: Setting, seed: int) -> Bundle:
    """Mean plays of the artist's tracks that were played."""
    catalog = setting.base.catalog
    known = (catalog.artists >= 0) & (catalog.plays > 0)
    artists = catalog.artists[known]
    count = int(catalog.artists.max(initial=0)) + 1
    sums = np.bincount(artists, catalog.plays[known], minlength=count)
    means = np.append(sums / np.maximum(np.bincount(artists, minlength=count), 1), 0)
    nothing = np.zeros((len(catalog), 1))
    return setting.bundle(Given.over(setting.base.catalog, nothing, means[catalog.artists]))


def _artist_mean(setting: Setting, seed: int) -> Bundle:
    """The mean of the learned vectors of the artist's tracks."""
    recipe = load_recipe("audio", ["sound=none", "tower=mean", "objective=mse"])
    return train(recipe, setting.split.train, seed=seed)[0]


def _metadata(setting: Setting, seed: int) -> Bundle:
    """Words of title, artist and album to the learned vectors, by ridge regression."""
    catalog, base = setting.base.catalog, setting.base.recommender
    assert isinstance(base, WRMF)
    numbers: dict[str, int] = {}
    rows, columns = [], []
    table = catalog.table.select(["title", "artist", "album"]).to_pylist()
    for row, names in enumerate(table):
        words = {
            f"{field} {word}"
            for field, name in names.items()
            for word in re.findall(r"\w+", (name or "").casefold())
        }
        whole = {f"{field}: {name}" for field, name in names.items() if name}
        for word in sorted(words | whole):
            rows.append(row)
            columns.append(numbers.setdefault(word, len(numbers)))
    shape = (len(catalog), len(numbers))
    x = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape)
    played = np.flatnonzero(catalog.plays > 0)
    held = np.random.default_rng(seed).permutation(played)[: max(1, len(played) // 20)]
    learned = np.setdiff1d(played, held)

    def predicted(from_: Array, to: Array, ridge: float) -> Array:
        # In the dual, K + ridge: there are fewer tracks than words, or not many more.
        kernel = (x[from_] @ x[from_].T).toarray()
        kernel[np.diag_indices_from(kernel)] += ridge
        weights = np.linalg.solve(kernel, base.vectors[from_])
        found: Array = (x[to] @ x[from_].T) @ weights
        return found

    errors = [np.square(predicted(learned, held, r) - base.vectors[held]).sum() for r in _RIDGES]
    best = _RIDGES[int(np.argmin(errors))]
    vectors = predicted(played, setting.cold, best).astype(np.float32)
    return setting.bundle(base.placing(setting.cold, vectors))


def _nearest(setting: Setting, seed: int) -> Bundle:
    """Mean cosine of the embedding with those of the tracks heard."""
    sounds = setting.sounds("musicnn")
    arrays = np.stack([np.asarray(sounds.arrays[i]) for i in range(len(sounds.tracks))])
    arrays -= arrays.mean(axis=0)
    vectors = np.zeros((setting.dataset.track_count, arrays.shape[1]), np.float32)
    vectors[sounds.tracks] = arrays / np.maximum(np.linalg.norm(arrays, axis=1), 1e-9)[:, None]
    return setting.bundle(Given.over(setting.base.catalog, vectors))


def _upper(setting: Setting, seed: int) -> Bundle:
    """Learned from everything, the plays that are asked for included."""
    return setting.whole


def _recipe(name: str) -> Callable[[Setting, int], Bundle]:
    def learn(setting: Setting, seed: int) -> Bundle:
        recipe = load_recipe(name, setting.settings(name))
        return train(recipe, setting.split.train, seed=seed, progress=True)[0]

    return learn


ROWS: dict[str, Callable[[Setting, int], Bundle]] = {
    "random": _random,
    "artist popularity": _artist_popularity,
    "artist mean": _artist_mean,
    "metadata": _metadata,
    "nearest sounds": _nearest,
    **{name: _recipe(name) for name in AUDIO},
    "upper bound": _upper,
}
"""In the order of the table."""


# What is asked beside


def usage(bundle: Bundle, setting: Setting) -> Float32:
    """Predicted usage patterns of all tracks, up to a rotation, as unit vectors.

    The paper compares tracks by the cosine of X y, with X the vectors of all listeners; here of
    those of the test. (tracks, factors)
    """
    model: Any = bundle.recommender
    base = getattr(model, "base", model)
    x = base.query_vectors(translate(setting.split.test, setting.dataset, bundle).queries)
    values, turn = np.linalg.eigh(x.T.astype(np.float64) @ x)
    z = (model.vectors @ turn) * np.sqrt(np.maximum(values, 0))
    unit: Float32 = (z / np.maximum(np.linalg.norm(z, axis=1), 1e-12)[:, None]).astype(np.float32)
    return unit


def diversity(bundle: Bundle, setting: Setting) -> dict[str, npt.NDArray[Any]]:
    """Of the 20 cold tracks most similar to each: artists, distances, likeness to the track.

    Distances are those of who really plays the tracks, not what the model believes.
    """
    nothing = {key: np.array(np.nan) for key in ("artists", "apart", "near")}
    cold = setting.cold
    own = usage(bundle, setting)[cold]
    if len(cold) <= LIST or not own.any():
        return nothing
    cosines = own @ own.T
    np.fill_diagonal(cosines, -np.inf)
    lists = cold[np.argsort(-cosines, axis=1, kind="stable")[:, :LIST]]
    artists = [len(np.unique(some)) for some in bundle.catalog.artists[lists]]
    true = setting.patterns[lists]
    pairs = true @ true.swapaxes(1, 2)
    apart = 1 - (pairs.sum(axis=(1, 2)) - LIST) / (LIST * (LIST - 1))
    near = np.einsum("qlf,qf->ql", true, setting.patterns[cold])
    found = {"artists": np.mean(artists), "apart": apart.mean(), "near": near.mean()}
    return {key: np.array(value) for key, value in found.items()}


def places_taken(bundle: Bundle, setting: Setting) -> dict[str, npt.NDArray[Any]]:
    """Share of cold tracks in lists of 100 of the full catalog, and in what was played besides."""
    queries, besides = setting.halves
    lists = bundle.recommender.recommend(queries, LONG).tracks
    cold = set(setting.cold.tolist())
    due = [len(some & cold) / len(some) for some in besides]
    taken = np.isin(lists[lists >= 0], setting.cold).mean()
    return {"taken": np.array(taken), "due": np.array(np.mean(due))}
