"""Protocols `next`, `next-last` and `next-sampled`: what is heard next in a session."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.numeric.arrays import Int64
from segue.numeric.ragged import Ragged
from segue.protocols.base import GROUP, Protocol, Split, Test
from segue.protocols.fingerprints import UInt64, session_hashes
from segue.protocols.session_split import SessionRows, drawn, halve

TEST_SHARE = 0.1
"""Of the sessions, about, that begin at or after the time that splits them."""
MOST_SESSIONS = 20_000
"""Queries of a held-out part."""
CUTOFFS = (1, 5, 10, 20)
CANDIDATES = 1000
"""Tracks that are drawn to rank the truth among, in the protocol `next-sampled`."""


class SessionProtocol(Protocol):
    """A protocol whose queries are made of sessions."""

    unit = "sessions"

    def hashes(self, dataset: Dataset) -> UInt64:
        return session_hashes(dataset)


class Next(SessionProtocol):
    """The last track that a session has for the first time and does not skip, from all before it.

    Sessions are held out by time.
    """

    name = "next"
    description = "the next track of sessions after a moment, learned from what was heard before it"
    n = 20

    def split(self, dataset: Dataset, seed: int) -> Split:
        """Hold out the latest tenth of the sessions and ask of at most 20,000 of them."""
        heard = SessionRows.of(dataset)
        halves = halve(dataset, heard, TEST_SHARE, seed)
        targets = _targets(heard)
        usable = halves.tested[targets[halves.tested] > 0]
        which, notes = drawn(usable, MOST_SESSIONS, seed)
        test = self._test(dataset, heard, which, targets[which], (*halves.notes, *notes), seed)
        return Split(dataset.narrowed(listens=halves.keep), test)

    def every(self, dataset: Dataset, seed: int) -> Test:
        """Make a query of every session that has a next track."""
        heard = SessionRows.of(dataset)
        targets = _targets(heard)
        which = np.flatnonzero(targets > 0)
        return self._test(dataset, heard, which, targets[which], (), seed)

    def metrics(self, n: int) -> tuple[str, ...]:
        return tuple(
            f"{name}@{k}" for name in ("hr", "ndcg", "mrr", "map") for k in CUTOFFS if k <= n
        )

    def headline(self, n: int) -> tuple[str, ...]:
        k = max(k for k in CUTOFFS if k <= min(n, 10))
        return f"hr@{k}", f"ndcg@{k}", f"mrr@{k}"

    def _test(
        self,
        dataset: Dataset,
        heard: SessionRows,
        which: Int64,
        targets: Int64,
        notes: tuple[str, ...],
        seed: int,
    ) -> Test:
        if not len(which):
            raise DataError(
                "has no session to test on that goes on with a track it has not had and not "
                "skipped",
                where=dataset.path,
                do=f"the protocol {self.name} needs sessions",
            )
        return Test(
            queries=heard.queries(which, targets),
            truth=Ragged(
                np.arange(len(which) + 1),
                heard.sessions.tracks[heard.sessions.offsets[which] + targets],
            ),
            slices=heard.slices(which, targets),
            sources=which,
            notes=notes,
            listeners=heard.sessions.listeners[which],
        )


class NextLast(Next):
    """The same question of every session, as the papers ask it: all of them are in training, too.

    Training keeps of each session what comes before its target.
    """

    name = "next-last"
    description = "the last track of each session, learned from the rest of all of them"

    def split(self, dataset: Dataset, seed: int) -> Split:
        """Hold out the end of each session from its target on; ask of at most 20,000."""
        heard = SessionRows.of(dataset)
        targets = _targets(heard)
        out = (targets > 0)[heard.sessions.owners] & (
            heard.position >= targets[heard.sessions.owners]
        )
        keep = np.ones(len(dataset.listens), np.bool_)
        keep[heard.sessions.rows[out]] = False
        which, notes = drawn(np.flatnonzero(targets > 0), MOST_SESSIONS, seed)
        leak = "training has sessions that are later than those of the test"
        test = self._test(dataset, heard, which, targets[which], (leak, *notes), seed)
        return Split(dataset.narrowed(listens=keep), test)


class NextSampled(NextLast):
    """`next-last`, ranked among the truth and 1,000 drawn tracks as the papers do."""

    name = "next-sampled"
    description = "next-last among the right track and 1,000 drawn ones, to compare with papers"
    held_out_by = "next-last"

    def asked(self, n: int) -> str:
        return f"lists of {n} tracks from a sample of the catalog"

    def _test(
        self,
        dataset: Dataset,
        heard: SessionRows,
        which: Int64,
        targets: Int64,
        notes: tuple[str, ...],
        seed: int,
    ) -> Test:
        test = super()._test(dataset, heard, which, targets, notes, seed)
        rng = np.random.default_rng([seed, 2])
        size = min(CANDIDATES, dataset.track_count)
        groups = range(-(-len(test) // GROUP))
        candidates = np.stack(
            [rng.choice(dataset.track_count, size, replace=False) for _ in groups]
        )
        note = (
            f"sampled: each list ranks the right track among {size:,} drawn ones, so its figures "
            "must not be compared with those of the full catalog"
        )
        return replace(test, notes=(note, *test.notes), candidates=candidates.astype(np.int32))


def _targets(heard: SessionRows) -> Int64:
    """Position of the last listen that is new in its session and not negative; < 1: none."""
    return heard.last(heard.first & ~heard.negative & (heard.position > 0))
