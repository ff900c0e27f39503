"""Small datasets and bundles for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segue.bundle import Bundle, Holdout, Manifest
from segue.config import Config
from segue.data.dataset import Dataset
from segue.data.writer import writing_dataset
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import ScoringModel
from segue.models.popularity import Popularity
from segue.numeric.arrays import Float32, Int32
from segue.protocols.base import PROTOCOLS
from segue.protocols.fingerprints import learned_hashes
from segue.queries import Queries, Query, Reason


def spotify_uri(number: int) -> str:
    """A uri of the official form."""
    return f"spotify:track:{number:022d}"


def write_dataset(
    path: Path,
    playlists: Sequence[Sequence[int]],
    titles: Sequence[str | None],
    tracks: Sequence[Mapping[str, Any]],
    listens: Mapping[str, Any] | None = None,
    simulated: bool = False,
) -> Dataset:
    """A dataset of given rows; `tracks` are rows of the table tracks."""
    with writing_dataset(path) as writer:
        columns = {key for track in tracks for key in track}
        writer.add("tracks", {c: [track.get(c) for track in tracks] for c in sorted(columns)})
        writer.add_playlists(
            {"uri": [f"playlist:{p}" for p in range(len(playlists))], "title": list(titles)},
            [len(some) for some in playlists],
            [track for some in playlists for track in some],
        )
        if listens:
            listeners = max(listens["listener"]) + 1
            writer.add("listeners", {"uri": [f"listener:{i}" for i in range(listeners)]})
            writer.add("listens", listens)
        writer.finish([], simulated=simulated)
    return Dataset.open(path)


def plain_tracks(count: int, artists: int = 50) -> list[dict[str, Any]]:
    """Tracks with every name that counts."""
    return [
        {
            "uri": spotify_uri(t),
            "title": f"Title {t}",
            "artist": f"Artist {t % artists}",
            "artist_uri": f"spotify:artist:{t % artists:022d}",
        }
        for t in range(count)
    ]


def write_world(
    path: Path,
    playlists: int = 600,
    tracks: int = 900,
    seed: int = 0,
    longest: int = 160,
    simulated: bool = False,
) -> Dataset:
    """Playlists of one genre each, of lengths up to `longest`; some repeat a track."""
    rng = np.random.default_rng(seed)
    genres = 6
    lists, titles = [], []
    for p in range(playlists):
        genre = int(rng.integers(genres))
        own = np.arange(genre, tracks, genres)
        weight = 1 / np.arange(1, len(own) + 1)
        length = int(min(len(own), 3 + longest * rng.random() ** 2))
        some = rng.choice(own, length, replace=False, p=weight / weight.sum()).tolist()
        if p % 5 == 0:
            some.insert(length // 2, some[0])
        lists.append(some)
        titles.append(None if p % 9 == 0 else f"genre {genre}")
    return write_dataset(path, lists, titles, plain_tracks(tracks), simulated=simulated)


class SameGenreConfig(Config, frozen=True):
    """No settings."""


class SameGenre(ScoringModel):
    """Popular tracks of the genres of the history; enough to beat popularity."""

    Config = SameGenreConfig

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        pass

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return np.diff(queries.offsets) > 0

    def scores(self, queries: Queries) -> Float32:
        plays = self.catalog.plays.astype(np.float32)
        genre = np.arange(len(plays)) % 6
        out = np.tile(plays / 1000, (len(queries), 1)).astype(np.float32)
        for q in range(len(queries)):
            history = queries.tracks[queries.offsets[q] : queries.offsets[q + 1]]
            out[q] += np.isin(genre, genre[history])
        return out

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        return [[] for _ in tracks]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        pass


SameGenre.name = "same-genre"  # given late, so that it is not registered as one of the product


def train_bundle(
    dataset: Dataset,
    holdout: Holdout | None = None,
    kind: type[ScoringModel] = Popularity,
) -> Bundle:
    """What ``segue train [--holdout]`` makes."""
    train = dataset
    if holdout:
        train = PROTOCOLS[holdout.protocol].split(dataset, holdout.seed).train
    manifest = Manifest(
        recommender=kind.name,
        recipe=kind.name,
        config={},
        seed=0,
        holdout=holdout,
        dataset=dataset.info.fingerprint,
        simulated=dataset.info.simulated,
        trained_at="2026-01-01T00:00:00Z",
    )
    return Bundle(kind().fit(train), manifest, learned_hashes(train))


HELD = Holdout(protocol="challenge", seed=0)


class Oracle(Popularity):
    """Ranks a hidden list first."""

    hidden: Any = ()

    def scores(self, queries: Queries) -> Any:
        out = np.zeros((len(queries), len(self.catalog)), np.float32)
        out[:, list(self.hidden)] = 1 + np.arange(len(self.hidden), dtype=np.float32)[::-1]
        return out


Oracle.name = "oracle"


def oracle_bundle(dataset: Dataset, holdout: Holdout, best: list[int]) -> Bundle:
    """A bundle whose model ranks `best` first, in this order."""
    bundle = train_bundle(dataset, holdout)
    oracle = Oracle()
    oracle.catalog, oracle.hidden = bundle.catalog, best
    bundle.recommender = oracle
    return bundle
