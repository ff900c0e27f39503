"""Protocol `cold`: tracks that nobody has played, ranked for those who will play them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from segue.answers import MAX_HISTORY, Int32, Int64, Queries
from segue.catalog import Catalog
from segue.data.dataset import Dataset
from segue.data.schema import Outcome, is_negative
from segue.errors import DataError
from segue.evaluation.matching import artist_codes, match_tracks
from segue.evaluation.protocols import Protocol, Split, Test
from segue.runs import Bools, latest, offsets_of

COLD_SHARE = 0.1
"""Of the tracks that could be cold ..."""
LEAST_COLD = 20
"""... but at least so many, and never more than half of them."""
MOST_QUERIES = 10_000
"""Queries of a held-out part."""
CUTOFF = 20
HEARD_ARTIST, NEW_ARTISTS = "of an artist heard before", "of other artists"


class Cold(Protocol):
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
        found = np.stack([match_tracks(dataset.tracks, catalog) for catalog in catalogs])
        plays = _Plays.of(dataset)
        counts = [
            c.plays[rows] if len(c) else rows for c, rows in zip(catalogs, found, strict=True)
        ]
        cold = (found >= 0).all(axis=0) & (np.stack(counts) == 0).all(axis=0)
        if not cold.any():
            raise DataError(
                "no track that every bundle has is without plays in all of them",
                where=dataset.path,
                do="give each bundle the new files with segue add",
            )
        lacking = plays.had & (found < 0).any(axis=0)
        notes = [f"{int(lacking.sum()):,} played tracks that a bundle lacks are left out"]
        which = np.flatnonzero(plays.askable(cold))
        return _test(dataset, plays, cold, which, tuple(notes if lacking.any() else []))

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
        could &= np.isin(np.arange(len(could)), dataset.audio["track"].to_numpy())
    among = np.flatnonzero(could)
    size = min(max(LEAST_COLD, round(COLD_SHARE * len(among))), len(among) // 2)
    if not size:
        raise DataError(
            "has no tracks to hold out that somebody played"
            + (" and that have audio" if len(dataset.audio) else ""),
            where=dataset.path,
            do="the protocol cold needs playlists or listens",
        )
    cold = np.zeros(len(could), np.bool_)
    cold[np.random.default_rng([seed, 0]).choice(among, size, replace=False)] = True
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
    pairs = np.unique(owners[right] << 32 | plays.tracks[right])
    truth = (pairs & 0xFFFFFFFF).astype(np.int32)
    truth_offsets = np.searchsorted(pairs, np.arange(len(which) + 1) << 32).astype(np.int64)
    only = np.flatnonzero(cold).astype(np.int32)
    note = (
        f"only the {len(only):,} cold tracks are ranked, so figures must not be compared with "
        "those of the full catalog"
    )
    return Test(
        queries=Queries(
            offsets,
            tracks,
            plays.outcomes[shown][late],
            [None] * len(which),
            np.zeros(len(which) + 1, np.int64),
            np.zeros(0, np.int32),
        ),
        truth_offsets=truth_offsets,
        truth=truth,
        slices=_slices(dataset, offsets, tracks, truth_offsets, truth),
        sources=which,
        notes=(note, *notes),
        only=only,
    )


def _slices(
    dataset: Dataset, offsets: Int64, tracks: Int32, truth_offsets: Int64, truth: Int32
) -> npt.NDArray[np.str_]:
    """Whether an artist of the truth is in the query, as a label. (queries,)"""
    artists = artist_codes(dataset.tracks).astype(np.int64)

    def named(ends: Int64, some: Int32) -> Int64:
        codes = artists[some]
        owner = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        return np.where(codes < 0, -1, owner << 32 | codes)

    wanted = named(truth_offsets, truth)
    known = (wanted >= 0) & np.isin(wanted, named(offsets, tracks))
    some = np.diff(offsets_of(known)[truth_offsets]) > 0
    labels: npt.NDArray[np.str_] = np.where(some, HEARD_ARTIST, NEW_ARTISTS)
    return labels
