"""The bundle that answers: loaded, verified, warm, and never changed. Another one replaces it."""

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
from segue.service.serving.fallback import FallbackLevel, ladder_of

scoring = threading.Lock()
"""Held while a model computes: not every system lets two threads into its parallel loops."""
_CANARY = 20
"""Tracks that each canary query asks for."""


class TakesNone(UsageError):
    """A bundle whose model takes in no further tracks."""

    def __init__(self, recommender: Recommender) -> None:
        super().__init__(
            f"the bundle holds {recommender.name}, which takes in no new tracks",
            do="serve a bundle of audio, larp, wrmf or two-stage",
        )


@dataclass(frozen=True, eq=False)
class LiveBundle:
    """One bundle as it answers.

    Attributes:
        path: of the bundle.
        bundle: with tracks that were uploaded.
        name: of the bundle; another one has another.
        trained: tracks that the bundle came with; those after them were uploaded.
        seconds: that each rung took for one answer when it was warmed.
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
            BundleError: it is no whole bundle, or does not answer as it should.
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
        """The same with further tracks, which nobody has played.

        Args:
            tracks: of the schema of `tracks`.
            vectors: in the space of the bundle's model. (tracks, factors)

        Raises:
            TakesNone: the bundle's model takes in no tracks.
        """
        if self.recommender.item_vectors is None:
            raise TakesNone(self.recommender)
        more = self.recommender.with_tracks(tracks, vectors)
        bundle = Bundle(more, self.bundle.manifest, self.bundle.learned)
        return replace(self, bundle=bundle)

    @property
    def version(self) -> str:
        """Names it in every answer: the bundle, and how many tracks were uploaded, if any."""
        uploads = len(self.catalog) - self.trained
        return f"{self.name}.{uploads}" if uploads else self.name

    @property
    def catalog(self) -> Catalog:
        return self.bundle.catalog

    @property
    def recommender(self) -> Recommender:
        return self.bundle.recommender

    @cached_property
    def rungs(self) -> list[FallbackLevel]:
        """Of the ladder, best first."""
        return ladder_of(self.recommender)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each uri."""
        return {uri: row for row, uri in enumerate(self.catalog.uris)}

    @cached_property
    def artists(self) -> dict[str, list[int]]:
        """Rows of the artists that were asked for, by name or uri."""
        return {}

    def of_artist(self, name: str) -> list[int]:
        """Rows of an artist; none where nobody is called so."""
        found = self.artists.get(name)
        if found is None:
            try:
                found = self.catalog.names.of_artist(name)
            except UsageError:
                found = []
            if len(self.artists) < 10_000:
                self.artists[name] = found
        return found

    def warmed(self) -> dict[str, float]:
        """Ask every rung what it must be able to answer; compiled code is ready after that.

        Returns:
            seconds that an answer took, by rung.

        Raises:
            BundleError: an answer is not what the contract says.
        """
        _ = self.rows
        seconds: dict[str, float] = {}
        for rung in self.rungs:
            for query in self._canaries():
                for again in (False, True):
                    start = time.perf_counter()
                    self._try(rung, query)
                    if again:
                        took = time.perf_counter() - start
                        seconds[rung.name] = max(took, seconds.get(rung.name, 0.0))
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

    def _try(self, rung: FallbackLevel, query: Query) -> None:
        asked = rung.reads(query)
        with scoring:
            slate = continue_playlist(rung.recommender, asked, _CANARY)
            reasons = rung.recommender.explain(asked, slate.tracks)
        never = {*asked.tracks, *asked.bans}
        left = rung.tracks - len(never)
        tracks = slate.tracks.tolist()
        sound = (
            len(tracks) == len(set(tracks)) == len(reasons) == min(_CANARY, left)
            and never.isdisjoint(tracks)
            and np.isfinite(slate.scores).all()
        )
        if not sound:
            raise BundleError(
                f"a canary query was answered wrongly by {rung.name}",
                where=self.path,
                do="train again",
            )

    @cached_property
    def map(self) -> Float32 | None:
        """Where each track stands on the map: two numbers from 0 to 1. (tracks, 2)

        The first two principal components of the tracks' vectors, each as a share of those below.
        None where the model has no vectors.
        """
        vectors = self.recommender.item_vectors
        return None if vectors is None else flat(vectors)


def flat(vectors: Float32) -> Float32:
    """Vectors on a plane: their directions' first two principal components, ranked. (n, 2)"""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    ways = vectors / np.maximum(lengths, 1e-12)
    some = ways[(lengths > 0).ravel()]
    if not len(some):
        return np.full((len(vectors), 2), 0.5, np.float32)
    mean = some.mean(axis=0)
    spread = (some - mean).T @ (some - mean)
    _, axes = np.linalg.eigh(spread.astype(np.float64))
    axes = axes[:, ::-1][:, :2]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]][: axes.shape[1]] + 1e-300)
    places = (ways - mean) @ axes.astype(np.float32)
    shares = np.argsort(np.argsort(places, axis=0, kind="stable"), axis=0) / max(1, len(places) - 1)
    out: Float32 = shares.astype(np.float32)
    return out
