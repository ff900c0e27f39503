"""Protocol `cold`: tracks that nobody has played, ranked for those who will play them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from segue.catalog.catalog import Catalog
from segue.data.dataset import Dataset
from segue.data.schema import Outcome, is_negative
from segue.errors import DataError
from segue.numeric.arrays import Bools, Int32, Int64, latest, offsets_of
from segue.numeric.ragged import Ragged
from segue.protocols.base import Protocol, Split, Test
from segue.protocols.unplayed_tracks import (
    MOST_QUERIES,
    audible,
    cold_test,
    draw_cold,
    new_to_all,
)
from segue.queries import MAX_HISTORY, Queries

COLD_SHARE = 0.1
"""Of the tracks that could be cold."""
CUTOFF = 20


class ColdTracks(Protocol):
    """A drawn tenth of the tracks loses all its plays; each listener is asked which of them fit.

    A query shows what a listener (a playlist, where there are no listeners) had of the other
    tracks. The truth is the cold tracks that it played. Only cold tracks are ranked.
    """

    name = "cold"
    description = "rank tracks that nobody has played by who will play them"
    unit = "listeners or playlists"
    n = 500

    def split(self, dataset: Dataset, seed: int) -> Split:
        """Take all plays of the cold tracks away and ask at most 10,000 who had them.

        Tracks keep their rows and their audio. Where the dataset has audio, only tracks with
        audio are cold.
        """
        cold = _drawn(dataset, seed)
        plays = _Plays.of(dataset)
        which, notes = _some(plays.askable(cold), seed)
        train = dataset.narrowed(~cold[dataset.entries], ~cold[dataset.listens["track"].to_numpy()])
        return Split(train, _test(dataset, plays, cold, which, notes))

    def every(self, dataset: Dataset, seed: int) -> Test:
        """The same cold tracks, asked of everybody who had one."""
        cold = _drawn(dataset, seed)
        plays = _Plays.of(dataset)
        return _test(dataset, plays, cold, np.flatnonzero(plays.askable(cold)), ())

    def every_for(self, dataset: Dataset, seed: int, catalogs: Sequence[Catalog]) -> Test:
        """All tracks are cold that every catalog has and none has plays of.

        So bundles that learned from last month are asked about what came out this month, once
        they were given it. Tracks that a catalog lacks are left out, and a note counts them.
        """
        plays = _Plays.of(dataset)
        cold, notes = new_to_all(dataset, catalogs, plays.had)
        return _test(dataset, plays, cold, np.flatnonzero(plays.askable(cold)), notes)

    def metrics(self, n: int) -> tuple[str, ...]:
        k = min(n, CUTOFF)
        return f"map@{n}", "auc", f"recall@{k}", f"ndcg@{k}"

    def headline(self, n: int) -> tuple[str, ...]:
        return f"map@{n}", "auc", f"ndcg@{min(n, CUTOFF)}"

    def asked(self, n: int) -> str:
        return f"lists of {n} tracks from the cold ones alone"


@dataclass(frozen=True)
class _Plays:
    """What listeners had, or playlists where nobody listened; run after run."""

    offsets: Int64
    """(owners + 1,)"""
    tracks: Int32
    """(rows,)"""
    outcomes: npt.NDArray[np.int8]
    """(rows,)"""
    had: Bools
    """Which tracks were played at least once, in `tracks` and elsewhere. (tracks,)"""

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        had = _had(dataset)
        if not len(dataset.listens):
            outcomes = np.full(len(dataset.entries), int(Outcome.UNKNOWN), np.int8)
            return cls(dataset.offsets, dataset.entries, outcomes, had)
        listeners, tracks, outcomes = (
            dataset.listens[name].to_numpy() for name in ("listener", "track", "outcome")
        )
        offsets = np.searchsorted(listeners, np.arange(dataset.listener_count + 1))
        return cls(offsets.astype(np.int64), tracks, outcomes, had)

    @property
    def owners(self) -> Int64:
        """Of each row."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def askable(self, cold: Bools) -> Bools:
        """Which owners played both cold tracks and others. (owners,)"""
        good = ~is_negative(self.outcomes)
        is_cold = cold[self.tracks]
        return self._some(good & is_cold) & self._some(good & ~is_cold)

    def _some(self, rows: Bools) -> Bools:
        some: Bools = np.diff(offsets_of(rows)[self.offsets]) > 0
        return some


def _had(dataset: Dataset) -> Bools:
    """Which tracks a listener played or a playlist has. (tracks,)"""
    had = np.zeros(dataset.track_count, np.bool_)
    had[dataset.entries] = True
    listens = dataset.listens
    had[listens["track"].to_numpy()[~is_negative(listens["outcome"].to_numpy())]] = True
    return had


def _drawn(dataset: Dataset, seed: int) -> Bools:
    """Which tracks are cold.

    Raises:
        DataError: there are fewer than two that could be.
    """
    could = _had(dataset)
    if len(dataset.audio):
        could &= audible(dataset)
    cold = draw_cold(could, COLD_SHARE, seed)
    if not cold.any():
        raise DataError(
            "has no tracks to hold out that somebody played"
            + (" and that have audio" if len(dataset.audio) else ""),
            where=dataset.path,
            do="the protocol cold needs playlists or listens",
        )
    return cold


def _some(askable: Bools, seed: int) -> tuple[Int64, tuple[str, ...]]:
    """At most `MOST_QUERIES` of them, in order; and what is to be said of it."""
    which = np.flatnonzero(askable)
    if len(which) <= MOST_QUERIES:
        return which, ()
    some = np.random.default_rng([seed, 1]).choice(which, MOST_QUERIES, replace=False)
    return np.sort(some), (f"{MOST_QUERIES:,} of {len(which):,} that can be asked were drawn",)


def _test(
    dataset: Dataset, plays: _Plays, cold: Bools, which: Int64, notes: tuple[str, ...]
) -> Test:
    if not len(which):
        raise DataError(
            "has no listener and no playlist with both cold and other tracks",
            where=dataset.path,
            do="the protocol cold asks those",
        )
    query = np.full(len(plays.offsets) - 1, -1)
    query[which] = np.arange(len(which))
    owners = query[plays.owners]
    is_cold = cold[plays.tracks]
    shown = (owners >= 0) & ~is_cold
    ends = offsets_of(np.bincount(owners[shown], minlength=len(which)))
    offsets, late = latest(ends, MAX_HISTORY)
    tracks = plays.tracks[shown][late]
    right = (owners >= 0) & is_cold & ~is_negative(plays.outcomes)
    truth = Ragged.of_pairs(owners[right], plays.tracks[right], len(which))
    queries = Queries(
        offsets,
        tracks,
        plays.outcomes[shown][late],
        [None] * len(which),
        np.zeros(len(which) + 1, np.int64),
        np.zeros(0, np.int32),
    )
    return cold_test(dataset, cold, queries, truth, which, notes)
