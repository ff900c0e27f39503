"""What listeners heard, as protocols cut it: sessions, and what came before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from segue.data.dataset import Dataset
from segue.data.sessions import UNTIMED, Sessions
from segue.numeric.arrays import Bools, Int64, indices, offsets_of
from segue.numeric.ragged import pair_keys
from segue.queries import MAX_PAST, Queries


@dataclass(frozen=True)
class SessionRows:
    """The sessions of a dataset, and of each of their listens what protocols ask about."""

    sessions: Sessions
    negative: Bools
    """Whether it ended in a skip or a dislike. (listens,)"""
    first: Bools
    """Whether its session did not have its track before. (listens,)"""
    position: Int64
    """From 0 in its session. (listens,)"""

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Those of the rows that the dataset keeps."""
        sessions = Sessions.of(dataset)
        owners = sessions.owners
        first = np.zeros(len(owners), np.bool_)
        first[np.unique(pair_keys(owners, sessions.tracks), return_index=True)[1]] = True
        position = np.arange(len(owners)) - sessions.offsets[owners]
        return cls(sessions, sessions.negative, first, position)

    def last(self, wanted: Bools) -> Int64:
        """Position of the last wanted listen of each session, -1 where there is none."""
        found = np.full(len(self.sessions), -1, np.int64)
        if len(wanted):
            at = np.where(wanted, self.position, -1)
            found[:] = np.maximum.reduceat(at, self.sessions.offsets[:-1])
        return found

    def queries(self, which: Int64, shown: Int64) -> Queries:
        """A query of each of some sessions: its first listens, and the past.

        Args:
            which: sessions.
            shown: how many listens each shows. (queries,)
        """
        at = indices(self.sessions.offsets[which], shown)
        spans, past = self.sessions.pasts(MAX_PAST)
        return Queries(
            offsets_of(shown),
            self.sessions.tracks[at],
            self.sessions.outcomes[at],
            [None] * len(which),
            np.zeros(len(which) + 1, np.int64),
            np.zeros(0, np.int32),
            spans[which],
            past,
        )

    def slices(self, which: Int64, shown: Int64) -> npt.NDArray[np.str_]:
        """Whether what a query shows holds a negative, as a label. (queries,)"""
        skips = offsets_of(self.negative)
        starts = self.sessions.offsets[which]
        after: npt.NDArray[np.str_] = np.where(
            skips[starts + shown] > skips[starts], AFTER_SKIP, AFTER_NO_SKIP
        )
        return after


AFTER_SKIP, AFTER_NO_SKIP = "after a skip", "after no skip"


@dataclass(frozen=True)
class Halves:
    """Two sides of the sessions."""

    tested: Int64
    """Sessions that are not in training, rising."""
    keep: Bools
    """Which listens of the dataset are in training."""
    notes: tuple[str, ...]


def halve(dataset: Dataset, heard: SessionRows, share: float, seed: int) -> Halves:
    """Hold out about `share` of the sessions: those from a time T on.

    Training keeps the listens before T, of sessions that go on after T too; so nothing that
    happens at T or later can change it. Where no time tells sessions apart, they are drawn.
    """
    sessions = heard.sessions
    timed = sessions.starts[sessions.starts != UNTIMED]
    moments, counts = np.unique(timed, return_counts=True)
    if len(moments) < 2:
        rng = np.random.default_rng([seed, 0])
        size = max(1, round(share * len(sessions)))
        tested = np.sort(rng.permutation(len(sessions))[:size])
        keep = np.ones(len(dataset.listens), np.bool_)
        keep[sessions.rows[np.isin(sessions.owners, tested)]] = False
        note = "sessions have no times, so those of the test are drawn and may precede training"
        return Halves(tested, keep, (note,))
    after = counts[::-1].cumsum()[::-1] / len(timed)
    cut = moments[1 + np.argmin(np.abs(after[1:] - share))]
    times = dataset.listens["time"].cast("int64").fill_null(UNTIMED).to_numpy()
    keep = (times != UNTIMED) & (times < cut)
    when = np.datetime64(int(cut), "ms").astype("datetime64[s]")
    notes = [f"training has what was heard before {when} UTC, the test begins there"]
    if untimed := int((times == UNTIMED).sum()):
        notes.append(f"{untimed:,} listens without a time are on neither side")
    return Halves(np.flatnonzero(sessions.starts >= cut), keep, tuple(notes))


def drawn(usable: Int64, most: int, seed: int) -> tuple[Int64, tuple[str, ...]]:
    """At most so many of some sessions, in order; and what is to be said of it."""
    if len(usable) <= most:
        return usable, ()
    rng = np.random.default_rng([seed, 1])
    some = np.sort(rng.choice(usable, most, replace=False))
    return some, (f"{most:,} of {len(usable):,} sessions that can be asked were drawn",)
