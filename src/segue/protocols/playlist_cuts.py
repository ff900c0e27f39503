"""The ten playlist types of the RecSys Challenge 2018: queries and truth cut from playlists.

Sheet: Zamani et al. 2019 (arXiv 1810.01520), section 2.2. The protocol `challenge` tests on them,
and the second stage of `two-stage` learns from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
from numba import njit

from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.numeric.arrays import Int32, Int64, offsets_of
from segue.numeric.ragged import Ragged
from segue.queries import MAX_TITLE, Queries

MIN_TRUTH = 5
"""A playlist is used for a type only if it has at least this many tracks beyond the seeds."""
UNUSED = -1
"""Type of a playlist that drew none."""


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
    ChallengeType("title only", True, 0),
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
class PlaylistRows:
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
    def of(cls, dataset: Dataset) -> PlaylistRows:
        first = _first_occurrences(dataset.entries, dataset.offsets, dataset.track_count)
        titles = [t[:MAX_TITLE] if t and t.strip() else None for t in dataset.titles]
        titled = np.array([title is not None for title in titles], np.bool_)
        offsets = offsets_of(first)[dataset.offsets]
        return cls(first, offsets, dataset.entries[first], titles, titled)

    def fit(self, kind: ChallengeType) -> npt.NDArray[np.bool_]:
        """Playlists that a type can be made of. (playlists,)"""
        fits: npt.NDArray[np.bool_] = np.diff(self.offsets) >= kind.seeds + MIN_TRUTH
        if kind.title:
            fits &= self.titled
        return fits


def draw_types(
    rows: PlaylistRows,
    order: Int64,
    size: int,
    types: tuple[ChallengeType, ...] = TYPES,
) -> npt.NDArray[np.int8]:
    """Which type each playlist plays: its place in `TYPES`, or `UNUSED`. (playlists,)

    Args:
        rows: all playlists.
        order: playlists that may be used, the first ones first.
        size: most playlists of a type.
        types: that may be drawn.
    """
    drawn = np.full(len(rows.titles), UNUSED, np.int8)
    # Long playlists are rare and fit every type, so the types that need them draw first.
    by_length = sorted(
        ((TYPES.index(kind), kind) for kind in types), key=lambda item: -item[1].seeds
    )
    for _, group in groupby(by_length, key=lambda item: item[1].seeds):
        kinds = list(group)
        for i, (number, kind) in enumerate(kinds):
            free = order[(rows.fit(kind) & (drawn == UNUSED))[order]]
            # Types of one length share what there is.
            share = -(-len(free) // (len(kinds) - i))
            drawn[free[: min(size, share)]] = number
    return drawn


@dataclass(frozen=True)
class Cuts:
    """Playlists parted into what is shown and what is hidden.

    Attributes:
        queries: seeds, and titles where the type shows them.
        truth: hidden tracks, as in `segue.protocols.base.Test`.
        kinds: type of each query.
        playlists: row of the playlist that each query was made of. (queries,)
        shown: which of ``rows.tracks`` are seeds.
    """

    queries: Queries
    truth: Ragged
    kinds: list[ChallengeType]
    playlists: Int32
    shown: Int64


def cut(rows: PlaylistRows, drawn: npt.NDArray[np.int8], rng: np.random.Generator) -> Cuts:
    """Queries for the playlists that drew a type, type after type. At least one did."""
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
        offsets_of([len(some) for some in shown]),
        seeds,
        np.full(len(seeds), int(Outcome.UNKNOWN), np.int8),
        [
            rows.titles[playlist] if kind.title else None
            for playlist, kind in zip(playlists, kinds, strict=True)
        ],
        np.zeros(len(playlists) + 1, np.int64),
        np.zeros(0, np.int32),
    )
    return Cuts(
        queries,
        Ragged.of_lists(hidden),
        kinds,
        playlists.astype(np.int32),
        show,
    )
