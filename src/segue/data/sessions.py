"""Sessions: the rule that cuts plays at silences, and a dataset's sessions in columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from segue.data.dataset import Dataset, Int32, Int64
from segue.data.schema import is_negative
from segue.numeric.arrays import begins, offsets_of

_MINUTE_MS = 60_000
UNTIMED = np.iinfo(np.int64).min
"""Start of a session whose first listen has no time."""


@dataclass(frozen=True)
class Sessions:
    """The listens that belong to sessions, session after session, oldest first in each.

    Listens of session s are ``offsets[s]:offsets[s + 1]`` of the columns; none is empty.
    """

    offsets: Int64
    """(sessions + 1,)"""
    tracks: Int32
    """(listens,)"""
    outcomes: npt.NDArray[np.int8]
    """Numbers of `Outcome`. (listens,)"""
    rows: Int64
    """Row of each in ``dataset.listens``. (listens,)"""
    listeners: Int32
    """Of each session; never falls. (sessions,)"""
    starts: Int64
    """When each began, in milliseconds since 1970, or `UNTIMED`. (sessions,)"""

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Those of the rows that the dataset keeps."""
        columns = ["listener", "session", "track", "outcome", "time"]
        listens = dataset.listens.select(columns)
        rows = np.flatnonzero(listens["session"].is_valid().to_numpy())
        listens = listens.take(rows)
        listener, session, tracks, outcomes = (
            listens[column].to_numpy() for column in columns[:-1]
        )
        times = listens["time"].cast("int64").fill_null(UNTIMED).to_numpy()
        at = np.flatnonzero(begins(session, listener))
        return cls(
            np.append(at, len(rows)).astype(np.int64),
            tracks,
            outcomes,
            rows,
            listener[at],
            times[at],
        )

    def __len__(self) -> int:
        return len(self.listeners)

    @property
    def owners(self) -> Int64:
        """Session of each listen. (listens,)"""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def negative(self) -> npt.NDArray[np.bool_]:
        """Which listens ended in a skip or a dislike. (listens,)"""
        return is_negative(self.outcomes)

    def pasts(self, most: int) -> tuple[Int64, Int32]:
        """Where the past of each session is in a column of tracks, and the column.

        It has what its listener heard in the sessions that began earlier, without negatives,
        oldest first, the latest `most` at most. (sessions, 2), (listens,)
        """
        count = len(self)
        # Sessions that began at one time, or at none that is known, stay in the dataset's order.
        order = np.lexsort((self.starts, self.listeners))
        rank = np.empty(count, np.int64)
        rank[order] = np.arange(count)
        good = np.flatnonzero(~self.negative)
        owners = rank[self.owners[good]]
        past = self.tracks[good[np.argsort(owners, kind="stable")]]
        before = offsets_of(np.bincount(owners, minlength=count))[:-1]
        change = begins(self.listeners[order])
        start = before[change][np.cumsum(change) - 1]
        spans = np.stack([np.maximum(start, before - most), before], axis=1)
        return spans[rank], past


def cut_at_gaps(listener: Int32, time: Int64, ms_played: Int32, gap_minutes: float) -> Int32:
    """Number of the session of each listen, from 0, rising.

    A session ends where a listener hears nothing for longer than `gap_minutes`, from the end of
    one play (its start, where it is not known how long it was) to the start of the next.

    Args:
        listener, time, ms_played: as in `Evidence`, in order of listener and time. (rows,)

    Returns:
        (rows,)
    """
    silence = np.diff(time) - np.maximum(ms_played[:-1], 0)
    new = (np.diff(listener) != 0) | (silence > gap_minutes * _MINUTE_MS)
    return np.concatenate([[0], np.cumsum(new)])[: len(listener)].astype(np.int32)
