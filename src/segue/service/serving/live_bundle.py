"""The served bundle: loaded, verified, warm and immutable; a swap replaces it."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from segue.bundle import MANIFEST, Bundle
from segue.catalog.catalog import Catalog
from segue.data.schema import Outcome
from segue.errors import BundleError, UsageError
from segue.models.base.recommender import Recommender
from segue.numeric.arrays import Float32
from segue.queries import Query
from segue.reranking.list_stage import continue_playlist
from segue.service.serving.fallback import FallbackLevel, fallback_chain

scoring = threading.Lock()
"""Lock of model computations: not every threading layer allows two parallel loops at once."""
_CANARY = 20
"""Number of tracks of a canary query."""


class TakesNone(UsageError):
    """A bundle whose model takes no new tracks."""

    def __init__(self, recommender: Recommender) -> None:
        super().__init__(
            f"the bundle holds {recommender.name}, which takes in no new tracks",
            do="serve a bundle of audio, larp, wrmf or two-stage",
        )


@dataclass(frozen=True, eq=False)
class LiveBundle:
    """One bundle with its uploads and its fallback chain.

    Attributes:
        path: folder of the bundle.
        bundle: the bundle with uploaded tracks.
        name: unique name of the bundle.
        trained: number of tracks before the uploads, which come last.
        seconds: time of one query on each level, measured while warming.
    """

    path: Path
    bundle: Bundle
    name: str
    trained: int
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> LiveBundle:
        """Read, verify and warm a bundle.

        Raises:
            BundleError: it is no complete bundle, or answers a canary query wrongly.
        """
        seal = hashlib.sha256()
        bundle = Bundle.load(path)
        seal.update((path / MANIFEST).read_bytes())
        made = bundle.manifest
        live = cls(path, bundle, f"{made.recipe}-{seal.hexdigest()[:10]}", len(bundle.catalog))
        if not live.trained:
            raise BundleError("has no tracks", where=path)
        live.seconds.update(live.warmed())  # not a copy, which would be cold
        return live

    def with_tracks(self, tracks: pa.Table, vectors: Float32) -> LiveBundle:
        """This bundle with more tracks, which have no plays.

        Args:
            tracks: rows of the table `tracks`.
            vectors: vectors in the space of the bundle's model. (tracks, factors)

        Raises:
            TakesNone: the bundle's model takes no new tracks.
        """
        if self.recommender.item_vectors is None:
            raise TakesNone(self.recommender)
        more = self.recommender.with_tracks(tracks, vectors)
        bundle = Bundle(more, self.bundle.manifest, self.bundle.learned)
        return replace(self, bundle=bundle)

    @property
    def version(self) -> str:
        """Version in every reply: name of the bundle, and the number of uploads, if any."""
        uploads = len(self.catalog) - self.trained
        return f"{self.name}.{uploads}" if uploads else self.name

    @property
    def catalog(self) -> Catalog:
        return self.bundle.catalog

    @property
    def recommender(self) -> Recommender:
        return self.bundle.recommender

    @cached_property
    def levels(self) -> list[FallbackLevel]:
        """The fallback chain, best level first."""
        return fallback_chain(self.recommender)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each uri."""
        return {uri: row for row, uri in enumerate(self.catalog.uris)}

    @cached_property
    def artists(self) -> dict[str, list[int]]:
        """Cache of `of_artist`, by name or uri."""
        return {}

    def of_artist(self, name: str) -> list[int]:
        """Rows of an artist by name or uri; empty for an unknown artist."""
        rows = self.artists.get(name)
        if rows is None:
            try:
                rows = self.catalog.names.of_artist(name)
            except UsageError:
                rows = []
            if len(self.artists) < 10_000:
                self.artists[name] = rows
        return rows

    def warmed(self) -> dict[str, float]:
        """Run canary queries on every level, which also compiles the kernels.

        Returns:
            seconds of one query, by level.

        Raises:
            BundleError: an answer breaks the contract of `Recommender`.
        """
        _ = self.rows
        self.catalog.keep_song_keys()
        seconds: dict[str, float] = {}
        for level in self.levels:
            for query in self._canaries():
                for again in (False, True):
                    start = time.perf_counter()
                    self._try(level, query)
                    if again:
                        took = time.perf_counter() - start
                        seconds[level.name] = max(took, seconds.get(level.name, 0.0))
        return seconds

    def _canaries(self) -> list[Query]:
        size = len(self.catalog)
        popular = np.argsort(-self.catalog.plays, kind="stable")[:_CANARY].tolist()
        spread = np.linspace(0, size - 1, min(size, _CANARY)).astype(int).tolist()
        skipped = [Outcome.FINISHED, Outcome.SKIPPED] * (len(popular) // 2)
        return [
            Query(title="summer rock"),
            Query(tracks=popular[:1]),
            Query(tracks=spread),
            Query(tracks=popular[: len(skipped)], outcomes=skipped),
            Query(past=spread, bans=popular[:5]),
        ]

    def _try(self, level: FallbackLevel, query: Query) -> None:
        asked = level.reads(query)
        with scoring:
            slate = continue_playlist(level.recommender, asked, _CANARY)
            reasons = level.recommender.explain(asked, slate.tracks)
        never = {*asked.tracks, *asked.bans}
        left = level.tracks - len(never)
        tracks = slate.tracks.tolist()
        sound = (
            len(tracks) == len(set(tracks)) == len(reasons) == min(_CANARY, left)
            and never.isdisjoint(tracks)
            and np.isfinite(slate.scores).all()
        )
        if not sound:
            raise BundleError(
                f"a canary query was answered wrongly by {level.name}",
                where=self.path,
                do="train again",
            )

    @cached_property
    def map(self) -> Float32 | None:
        """Position of each track on the map, from 0 to 1; None for a model without vectors. (n, 2)

        The positions are ranks of the first two principal components of the tracks' vectors.
        """
        vectors = self.recommender.item_vectors
        return None if vectors is None else flat(vectors)


def flat(vectors: Float32) -> Float32:
    """Ranks of the vectors' directions along their first two principal components. (n, 2)"""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.maximum(lengths, 1e-12)
    directions = units[(lengths > 0).ravel()]
    if not len(directions):
        return np.full((len(vectors), 2), 0.5, np.float32)
    mean = directions.mean(axis=0)
    spread = (directions - mean).T @ (directions - mean)
    _, axes = np.linalg.eigh(spread.astype(np.float64))
    axes = axes[:, ::-1][:, :2]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]][: axes.shape[1]] + 1e-300)
    places = (units - mean) @ axes.astype(np.float32)
    shares = np.argsort(np.argsort(places, axis=0, kind="stable"), axis=0) / max(1, len(places) - 1)
    out: Float32 = shares.astype(np.float32)
    return out
