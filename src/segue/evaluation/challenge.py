"""Protocol `challenge`: the ten playlist types of the RecSys Challenge 2018, from any dataset."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
from numba import njit

from segue.answers import MAX_TITLE, Int32, Int64, Queries
from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.errors import DataError
from segue.evaluation.protocols import TITLE_ONLY, Protocol, Split, Test

MIN_TRUTH = 5
"""A playlist is used for a type only if it has at least this many tracks beyond the seeds."""
MOST_PER_TYPE = 1000
"""Playlists of each type, as in the challenge ..."""
SHARE_PER_TYPE = 60
"""... but not more than one in this many of the dataset's: all ten leave 5/6 of it alone."""


@dataclass(frozen=True)
class ChallengeType:
    """What a query of one type shows of its playlist.

    Attributes:
        name: label of its slice.
        title: whether the title is shown.
        seeds: how many tracks are shown.
        random: whether these are drawn from the whole playlist instead of its start.
    """

    name: str
    title: bool
    seeds: int
    random: bool = False


TYPES = (
    ChallengeType(TITLE_ONLY, True, 0),
    ChallengeType("title + first 1", True, 1),
    ChallengeType("title + first 5", True, 5),
    ChallengeType("first 5", False, 5),
    ChallengeType("title + first 10", True, 10),
    ChallengeType("first 10", False, 10),
    ChallengeType("title + first 25", True, 25),
    ChallengeType("title + random 25", True, 25, random=True),
    ChallengeType("title + first 100", True, 100),
    ChallengeType("title + random 100", True, 100, random=True),
)
"""In the order of the challenge."""

_UNUSED = -1


@njit(cache=True)
def _first_occurrences(entries, offsets, tracks):  # type: ignore[no-untyped-def]
    """Which entries hold a track that their playlist did not have before. (entries,)"""
    first = np.empty(len(entries), np.bool_)
    seen_in = np.full(tracks, -1, np.int64)
    for p in range(len(offsets) - 1):
        for i in range(offsets[p], offsets[p + 1]):
            first[i] = seen_in[entries[i]] != p
            seen_in[entries[i]] = p
    return first


@dataclass(frozen=True)
class _Rows:
    """Playlists without repeats: a track stays where it first occurs."""

    first: npt.NDArray[np.bool_]
    """Which entries are a first occurrence. (entries,)"""
    offsets: Int64
    """Start of each playlist among these, plus the end. (playlists + 1,)"""
    tracks: Int32
    titles: list[str | None]
    """None where the title is blank."""
    titled: npt.NDArray[np.bool_]
    """Where it is not. (playlists,)"""

    @classmethod
    def of(cls, dataset: Dataset) -> _Rows:
        first = _first_occurrences(dataset.entries, dataset.offsets, dataset.track_count)
        titles = [t[:MAX_TITLE] if t and t.strip() else None for t in dataset.titles]
        titled = np.array([title is not None for title in titles], np.bool_)
        offsets = np.concatenate([[0], np.cumsum(first)])[dataset.offsets]
        return cls(first, offsets, dataset.entries[first], titles, titled)

    def fit(self, kind: ChallengeType) -> npt.NDArray[np.bool_]:
        """Playlists that a type can be made of. (playlists,)"""
        fits: npt.NDArray[np.bool_] = np.diff(self.offsets) >= kind.seeds + MIN_TRUTH
        if kind.title:
            fits &= self.titled
        return fits


class Challenge(Protocol):
    """Ten types of playlists, from a title alone to 100 tracks; the rest of each is the truth."""

    name = "challenge"
    description = "continue playlists of ten types, from a title alone to 100 tracks"

    def split(self, dataset: Dataset, seed: int) -> Split:
        """Draw min(1000, playlists // 60) playlists of each type and hide their other tracks.

        The seeds stay in training, as the challenge's do: each playlist of the test is there with
        exactly the tracks that its query shows.
        """
        rows = _Rows.of(dataset)
        rng = np.random.default_rng([seed, 0])
        size = min(MOST_PER_TYPE, max(1, dataset.playlist_count // SHARE_PER_TYPE))
        drawn = np.full(dataset.playlist_count, _UNUSED, np.int8)
        order = rng.permutation(dataset.playlist_count)
        # Long playlists are rare and fit every type, so the types that need them draw first.
        by_length = sorted(enumerate(TYPES), key=lambda item: -item[1].seeds)
        for _, group in groupby(by_length, key=lambda item: item[1].seeds):
            kinds = list(group)
            for i, (number, kind) in enumerate(kinds):
                free = order[(rows.fit(kind) & (drawn == _UNUSED))[order]]
                # Types of one length share what there is.
                share = -(-len(free) // (len(kinds) - i))
                drawn[free[: min(size, share)]] = number
        test, shown = _make(rows, drawn, rng, dataset)
        keep = np.ones(len(dataset.entries), np.bool_)
        keep[drawn[dataset.entry_playlists] != _UNUSED] = False
        keep[np.flatnonzero(rows.first)[shown]] = True
        return Split(_keeping(dataset, keep), test)

    def every(self, dataset: Dataset, seed: int) -> Test:
        """Make a query of every playlist of at least 5 distinct tracks.

        Playlists that fit the same types go round these types in a drawn order.
        """
        rows = _Rows.of(dataset)
        rng = np.random.default_rng([seed, 1])
        order = rng.permutation(dataset.playlist_count)
        possible = np.stack([rows.fit(kind) for kind in TYPES], axis=1)
        drawn = np.full(dataset.playlist_count, _UNUSED, np.int8)
        for fits in np.unique(possible, axis=0):
            alike = order[(possible[order] == fits).all(axis=1)]
            if fits.any():
                drawn[alike] = np.resize(np.flatnonzero(fits), len(alike))
        return _make(rows, drawn, rng, dataset)[0]


def _keeping(dataset: Dataset, keep: npt.NDArray[np.bool_]) -> Dataset:
    """The dataset with some of its entries, which may themselves be some of all."""
    if dataset.kept_entries is not None:
        everything = np.zeros(len(dataset.kept_entries), np.bool_)
        everything[np.flatnonzero(dataset.kept_entries)[keep]] = True
        keep = everything
    return dataset.keeping(entries=keep, listens=dataset.kept_listens)


def _make(
    rows: _Rows, drawn: npt.NDArray[np.int8], rng: np.random.Generator, dataset: Dataset
) -> tuple[Test, Int64]:
    """Queries for the playlists that drew a type, type after type; and which of `rows.tracks`
    they show.

    Raises:
        DataError: no playlist drew a type.
    """
    if not (drawn != _UNUSED).any():
        raise DataError(
            f"has no playlist of {MIN_TRUTH} distinct tracks with a title, "
            f"nor one of {MIN_TRUTH + 5} without",
            where=dataset.path,
            do="the protocol challenge needs playlists",
        )
    playlists = np.concatenate([np.flatnonzero(drawn == t) for t in range(len(TYPES))])
    kinds = [TYPES[t] for t in drawn[playlists]]
    shown: list[Int64] = []
    hidden: list[Int32] = []
    for playlist, kind in zip(playlists, kinds, strict=True):
        start, end = rows.offsets[playlist], rows.offsets[playlist + 1]
        at = np.arange(start, end)
        # Drawn tracks keep the playlist's order.
        chosen = np.zeros(len(at), np.bool_)
        if kind.random:
            chosen[rng.choice(len(at), kind.seeds, replace=False)] = True
        else:
            chosen[: kind.seeds] = True
        shown.append(at[chosen])
        hidden.append(np.sort(rows.tracks[at[~chosen]]))
    show = np.concatenate(shown)
    seeds = rows.tracks[show]
    queries = Queries(
        _ends([len(some) for some in shown]),
        seeds,
        np.full(len(seeds), int(Outcome.UNKNOWN), np.int8),
        [
            rows.titles[playlist] if kind.title else None
            for playlist, kind in zip(playlists, kinds, strict=True)
        ],
        np.zeros(len(playlists) + 1, np.int64),
        np.zeros(0, np.int32),
    )
    present = {kind.name for kind in kinds}
    notes = [
        f"no playlist for the type {kind.name!r}" for kind in TYPES if kind.name not in present
    ]
    test = Test(
        queries,
        _ends([len(some) for some in hidden]),
        np.concatenate(hidden),
        np.array([kind.name for kind in kinds]),
        playlists.astype(np.int32),
        tuple(notes),
    )
    return test, show


def _ends(lengths: list[int]) -> Int64:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
