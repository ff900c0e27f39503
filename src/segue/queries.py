"""What is asked and what is answered: queries in, slates out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from segue.data.schema import Outcome, is_negative
from segue.errors import UsageError
from segue.numeric.arrays import Float32, Int32, Int64, indices, offsets_of
from segue.numeric.ragged import Ragged

MAX_TITLE = 200
"""Characters of a title that is asked for; longer ones are an error, not a guess."""
MAX_HISTORY = 10_000
"""Tracks in one query's history."""
MAX_PAST = 1000
"""Tracks in one query's past."""


@dataclass(frozen=True)
class Query:
    """What is known when somebody asks.

    Attributes:
        tracks: history, oldest first: URIs for `segue.recommend`, catalog rows for a
            `Recommender`.
        outcomes: how each of `tracks` ended; empty = unknown.
        title: of the playlist to continue.
        bans: tracks that must not be answered, as `tracks`. The history never is, either.
        past: what the listener heard in earlier sessions, oldest first, without what was skipped
            or disliked, as `tracks`. Unlike the history it may be answered.
    """

    tracks: Sequence[Any] = ()
    outcomes: Sequence[Outcome] = ()
    title: str | None = None
    bans: Sequence[Any] = ()
    past: Sequence[Any] = ()


@dataclass(frozen=True)
class Queries:
    """A batch of queries in columns, the unit of work.

    Attributes:
        offsets: history of query q is ``tracks[offsets[q]:offsets[q + 1]]``. (queries + 1,)
        tracks: histories end to end, repeats included. int32
        outcomes: numbers of `Outcome`, one for each of `tracks`. int8
        titles: one for each query.
        ban_offsets, bans: bans of each query, laid out like the histories.
        past_spans, past: the past of query q is ``past[past_spans[q, 0]:past_spans[q, 1]]``.
            (queries, 2) int64, (listens,) int32. Queries of one listener share what they have in
            common: a past that grows is not written down again for each session.
    """

    offsets: Int64
    tracks: Int32
    outcomes: npt.NDArray[np.int8]
    titles: Sequence[str | None]
    ban_offsets: Int64
    bans: Int32
    past_spans: Int64 = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    past: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        if not len(self.past):  # also where it is left out
            object.__setattr__(self, "past_spans", np.zeros((len(self), 2), np.int64))

    @classmethod
    def of(cls, queries: Sequence[Query]) -> Queries:
        """Lay out a batch.

        Raises:
            UsageError: outcomes do not match the tracks, a title, history or past is too long, or
                a track is no number of 32 bits.
        """
        outcomes: list[int] = []
        for q, query in enumerate(queries):
            if query.outcomes and len(query.outcomes) != len(query.tracks):
                raise UsageError(
                    f"{len(query.outcomes)} outcomes for {len(query.tracks)} tracks",
                    where=f"query {q}",
                )
            for what, some, most in (
                ("history", query.tracks, MAX_HISTORY),
                ("past", query.past, MAX_PAST),
            ):
                if len(some) > most:
                    raise UsageError(
                        f"{what} of {len(some)} tracks, the limit is {most}",
                        where=f"query {q}",
                        do="give the latest",
                    )
            if query.title is not None and len(query.title) > MAX_TITLE:
                raise UsageError(
                    f"title of {len(query.title)} characters, the limit is {MAX_TITLE}",
                    where=f"query {q}",
                    do="shorten it",
                )
            outcomes.extend(query.outcomes or [Outcome.UNKNOWN] * len(query.tracks))
        offsets, tracks = _columns([query.tracks for query in queries])
        ban_offsets, bans = _columns([query.bans for query in queries])
        past_offsets, past = _columns([query.past for query in queries])
        return cls(
            offsets,
            tracks,
            np.array(outcomes, np.int8),
            [query.title for query in queries],
            ban_offsets,
            bans,
            np.stack([past_offsets[:-1], past_offsets[1:]], axis=1),
            past,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, at: slice) -> Queries:
        """Some of the queries (step 1 only)."""
        first, last, _ = at.indices(len(self))
        t0, t1 = self.offsets[first], self.offsets[last]
        b0, b1 = self.ban_offsets[first], self.ban_offsets[last]
        spans = self.past_spans[first:last]
        held = spans[spans[:, 0] < spans[:, 1]]
        p0, p1 = (held[:, 0].min(), held[:, 1].max()) if len(held) else (0, 0)
        return Queries(
            self.offsets[first : last + 1] - t0,
            self.tracks[t0:t1],
            self.outcomes[t0:t1],
            self.titles[first:last],
            self.ban_offsets[first : last + 1] - b0,
            self.bans[b0:b1],
            np.clip(spans - p0, 0, p1 - p0),
            self.past[p0:p1],
        )

    def take(self, rows: Int64) -> Queries:
        """Queries of these numbers, in this order. The past is shared."""
        rows = np.asarray(rows, np.int64)
        lengths = np.diff(self.offsets)[rows]
        tracks = indices(self.offsets[rows], lengths)
        bans = Ragged(self.ban_offsets, self.bans).take(rows)
        return Queries(
            offsets_of(lengths),
            self.tracks[tracks],
            self.outcomes[tracks],
            [self.titles[row] for row in rows.tolist()],
            bans.offsets,
            bans.values,
            self.past_spans[rows],
            self.past,
        )

    @property
    def history(self) -> Ragged:
        """The tracks of each query's history, oldest first."""
        return Ragged(self.offsets, self.tracks)

    @property
    def skipped_mask(self) -> npt.NDArray[np.bool_]:
        """Which tracks of the histories were skipped or disliked. (tracks,)"""
        return is_negative(self.outcomes)

    def liked(self) -> Ragged:
        """Histories without what was skipped or disliked."""
        return self.history.where(~self.skipped_mask)

    def excluded(self) -> Ragged:
        """What each query must not be answered: history and bans, sorted, without repeats."""
        owners = [self.history.owners(), Ragged(self.ban_offsets, self.bans).owners()]
        tracks = np.concatenate([self.tracks, self.bans])
        return Ragged.of_pairs(np.concatenate(owners), tracks, len(self))


def _columns(lists: Sequence[Sequence[int]]) -> tuple[Int64, Int32]:
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(some) for some in lists], out=offsets[1:])
    try:
        return offsets, np.array([t for some in lists for t in some], np.int32)
    except OverflowError as error:
        raise UsageError("a query names a track beyond every catalog") from error
    except (TypeError, ValueError) as error:
        raise UsageError(
            "a query names a track that is no row of the catalog",
            do="give URIs to segue.recommend, rows to a recommender",
        ) from error


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One part of a track's score.

    Attributes:
        kind: "track" (one of the history), "title" (a word of the title), "popularity", "feature"
            (what the second stage saw, see `docs/reference/features.md`), or "rest" (what the other
            parts do not say).
        what: catalog row of the track, the word, the name of the feature, or None.
        amount: the part's share in the score; all reasons of a track add up to its score.
    """

    kind: Literal["track", "title", "popularity", "feature", "rest"]
    what: int | str | None
    amount: float


@dataclass(frozen=True)
class Slate:
    """The answer to one query, best first.

    Attributes:
        tracks: catalog rows. (n,) int32
        scores: the model's. As a recommender ranks they fall; a list that the list stage has
            reordered has them in its own order. (n,) float32
        served_by: the model that ranked it; "popularity" where the model named by the bundle
            knew nothing about the query.
    """

    tracks: Int32
    scores: Float32
    served_by: str


@dataclass(frozen=True)
class Slates:
    """Answers to a batch, in columns. Rows shorter than the longest are padded with track -1.

    Attributes:
        tracks: (queries, n) int32
        scores: (queries, n) float32, NaN where padded.
        counts: length of each slate. (queries,)
        served_by: one for each query.
    """

    tracks: Int32
    scores: Float32
    counts: Int64
    served_by: Sequence[str]

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, q: int) -> Slate:
        n = self.counts[q]
        return Slate(self.tracks[q, :n], self.scores[q, :n], self.served_by[q])

    def __iter__(self) -> Iterator[Slate]:
        return (self[q] for q in range(len(self)))
