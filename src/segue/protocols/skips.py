"""Protocol `skips`: tracks that a session plays later, ranked against those it skips later."""

from __future__ import annotations

import numpy as np

from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.errors import DataError
from segue.numeric.arrays import Bools, Int64, offsets_of
from segue.numeric.ragged import Ragged
from segue.protocols.base import Split, Test
from segue.protocols.next_track import MOST_SESSIONS, TEST_SHARE, SessionProtocol
from segue.protocols.session_split import SessionRows, drawn, halve

SHORTEST = 4
"""Listens of a session that is cut in two."""


class SkipProtocol(SessionProtocol):
    """A session is cut at its middle: the first half is shown, the tracks of the second are ranked.

    Those that were played are the truth, those that were skipped or disliked are against it. What
    the first half had is left out, and of a track that comes again in the second its first listen
    there counts. Needs one of each. Outcomes that are not known are neither.
    """

    name = "skips"
    description = "rank what a session plays later above what it skips later"
    n = 10
    held_out_by = "next"

    def split(self, dataset: Dataset, seed: int) -> Split:
        """Hold out what `next` holds out and ask of at most 20,000 sessions."""
        heard = SessionRows.of(dataset)
        halves = halve(dataset, heard, TEST_SHARE, seed)
        later = _Later.of(heard)
        which, notes = drawn(halves.tested[later.usable[halves.tested]], MOST_SESSIONS, seed)
        test = _test(dataset, heard, later, which, (*halves.notes, *notes))
        return Split(dataset.narrowed(listens=halves.keep), test)

    def every(self, dataset: Dataset, seed: int) -> Test:
        """Make a query of every session that plays and skips new tracks in its second half."""
        heard = SessionRows.of(dataset)
        later = _Later.of(heard)
        return _test(dataset, heard, later, np.flatnonzero(later.usable), ())

    def metrics(self, n: int) -> tuple[str, ...]:
        return (
            *("auc", "rank_played", "rank_skipped"),
            *(f"skip_mrr@{n}", f"hr@{n}", f"recall@{n}", f"delta_hr@{n}"),
        )

    def asked(self, n: int) -> str:
        return f"places in rankings of the full catalog, and of the first {n}"

    def headline(self, n: int) -> tuple[str, ...]:
        return f"delta_hr@{n}", "auc", f"skip_mrr@{n}"


class _Later:
    """Listens of the second halves that are ranked."""

    def __init__(self, cuts: Int64, played: Bools, against: Bools, usable: Bools) -> None:
        self.cuts, self.played, self.against, self.usable = cuts, played, against, usable

    @classmethod
    def of(cls, heard: SessionRows) -> _Later:
        sessions = heard.sessions
        lengths = np.diff(sessions.offsets)
        cuts = lengths // 2
        new = heard.first & (heard.position >= cuts[sessions.owners])
        good = np.isin(sessions.outcomes, [int(Outcome.FINISHED), int(Outcome.PARTIAL)])
        played, against = new & good, new & heard.negative
        both = (heard.last(played) >= 0) & (heard.last(against) >= 0)
        return cls(cuts, played, against, both & (lengths >= SHORTEST))


def _test(
    dataset: Dataset, heard: SessionRows, later: _Later, which: Int64, notes: tuple[str, ...]
) -> Test:
    if not len(which):
        raise DataError(
            f"has no session of {SHORTEST} listens to test on that plays and skips new tracks in "
            "its second half",
            where=dataset.path,
            do="the protocol skips needs sessions with outcomes",
        )
    shown = later.cuts[which]
    return Test(
        queries=heard.queries(which, shown),
        truth=_rows(heard, later.played, which),
        slices=heard.slices(which, shown),
        sources=which,
        notes=notes,
        listeners=heard.sessions.listeners[which],
        against=_rows(heard, later.against, which),
    )


def _rows(heard: SessionRows, mask: Bools, which: Int64) -> Ragged:
    """Tracks of the listens of a mask in some sessions, rising in each."""
    query = np.full(len(heard.sessions), -1, np.int64)
    query[which] = np.arange(len(which))
    owners = query[heard.sessions.owners]
    at = np.flatnonzero(mask & (owners >= 0))
    at = at[np.lexsort((heard.sessions.tracks[at], owners[at]))]
    counts = np.bincount(owners[at], minlength=len(which))
    return Ragged(offsets_of(counts), heard.sessions.tracks[at])
