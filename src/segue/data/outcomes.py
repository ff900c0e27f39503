"""How a listen ended, derived from what the source says of it.

The evidence stays in the table listens, so that outcomes can be derived again by other settings
(``segue outcomes``). `docs/results/outcomes.md` gives the reasons for the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta

from segue.config import Config
from segue.data.dataset import Int32, Int64
from segue.data.schema import Flag, Outcome
from segue.data.sessions import UNTIMED

Bool = npt.NDArray[np.bool_]
Outcomes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Evidence:
    """What is known of some listens, whole listeners in the order of the table listens."""

    listener: Int32
    session: Int32
    """-1 for a listen of no session. (rows,)"""
    time: Int64
    """When it began, in milliseconds since 1970, or `UNTIMED`. (rows,)"""
    ms_played: Int32
    """-1 where it is not known. (rows,)"""
    longest_ms: Int32
    """The longest that its track was ever played, -1 where that is not known. (rows,)"""
    flags: Int32
    """Bits of `Flag`. (rows,)"""
    reason_start: pa.Array
    reason_end: pa.Array
    length_ms: Int32 | None = None
    """Length of its track, -1 where that is not known. (rows,)"""

    @classmethod
    def of(cls, listens: pa.Table, longest: Int32, lengths: Int32 | None = None) -> Self:
        """Evidence of rows of the table listens.

        Args:
            listens: the columns of evidence.
            longest: of every track in the catalog, as `longest_plays` gives it.
            lengths: of every track in the catalog, -1 where that is not known. (tracks,)
        """

        def numbers(column: str, absent: int) -> npt.NDArray[np.int32]:
            filled: npt.NDArray[np.int32] = listens[column].fill_null(absent).to_numpy()
            return filled

        return cls(
            listener=listens["listener"].to_numpy(),
            session=numbers("session", -1),
            time=listens["time"].cast("int64").fill_null(UNTIMED).to_numpy(),
            ms_played=numbers("ms_played", -1),
            longest_ms=longest[listens["track"].to_numpy()],
            flags=numbers("flags", 0),
            reason_start=listens["reason_start"],
            reason_end=listens["reason_end"],
            length_ms=None if lengths is None else lengths[listens["track"].to_numpy()],
        )

    def __len__(self) -> int:
        return len(self.listener)

    def has(self, flag: Flag) -> Bool:
        """Which rows have one of these bits. (rows,)"""
        there: Bool = (self.flags & int(flag)) != 0
        return there

    def ended(self, *reasons: str) -> Bool:
        """Which rows ended for one of these reasons. (rows,)"""
        found = pc.is_in(self.reason_end, value_set=pa.array(reasons, self.reason_end.type))
        return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)

    def most(self, share: float) -> Bool:
        """Which rows were played for this share of their track: of its length, else of the longest
        play of it. (rows,)"""
        whole = self.longest_ms
        if self.length_ms is not None:
            whole = np.where(self.length_ms > 0, self.length_ms, whole)
        played: Bool = (self.ms_played >= 0) & (self.ms_played >= share * whole)
        return played

    @property
    def next_follows(self) -> Bool:
        """Which rows have another after them in the same session. (rows,)"""
        same = np.zeros(len(self), np.bool_)
        same[:-1] = (np.diff(self.session) == 0) & (np.diff(self.listener) == 0)
        return same & (self.session >= 0)


_LONGEST_TRACK_MS = 4 * 3_600_000


def longest_plays(listens: pa.Table, tracks: int) -> Int32:
    """The longest that each track was ever played, -1 where that is not known. (tracks,) int32

    Args:
        listens: the columns track and ms_played.
        tracks: rows of the catalog.
    """
    longest = np.full(tracks, -1, np.int32)
    played = possible_lengths(listens["ms_played"].fill_null(-1).to_numpy())
    np.maximum.at(longest, listens["track"].to_numpy(), played)
    return longest


def possible_lengths(ms_played: Int32) -> Int32:
    """Times played that may be the length of a track; -1 for others: a play of days is a mistake
    of its source, and would make all other plays of the track seem short. (rows,)"""
    return np.where(ms_played <= _LONGEST_TRACK_MS, ms_played, np.int32(-1))


class OutcomeRule(Config, frozen=True):
    """From evidence to outcomes. This one knows nothing; `RULES` has those of the formats."""

    fixed: ClassVar[tuple[str, ...]] = ()
    """Settings that decide which rows are read, so that they cannot be changed afterwards."""

    @property
    def gap(self) -> float | None:
        """Minutes of silence that end a session; None where the source has sessions."""
        return getattr(self, "gap_minutes", None)

    def derive(self, evidence: Evidence) -> Outcomes:
        """Number of the `Outcome` of each row. (rows,) int8"""
        return np.full(len(evidence), int(Outcome.UNKNOWN), np.int8)


_Gap = Annotated[
    float, Meta(gt=0, le=10_080, description="minutes without music that end a session")
]


class SpotifyRule(OutcomeRule, frozen=True):
    """Streaming history of Spotify, extended or short.

    Finished is what ended by itself. A play that the listener left for something else is skipped
    if it was short. Other ends of a short play (the back button, closing the app, another device)
    say nothing of the track. Where there is no reason, its length has to do: a play is finished
    if it lasted most of the track.
    """

    fixed: ClassVar[tuple[str, ...]] = ("incognito",)

    gap_minutes: _Gap = 30.0
    skip_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="a play left before this is short")
    ] = 30.0
    finished_share: Annotated[
        float,
        Meta(gt=0, le=1, description="share of a track that is most of it, where no reason is"),
    ] = 0.9
    incognito: Annotated[bool, Meta(description="keep the plays of private sessions")] = False

    def derive(self, evidence: Evidence) -> Outcomes:
        """Number of the `Outcome` of each row. (rows,) int8"""
        short = evidence.ms_played < self.skip_seconds * 1000
        most = evidence.ms_played >= self.finished_share * evidence.longest_ms
        silent = np.asarray(evidence.reason_end.is_null())
        outcome = np.full(len(evidence), int(Outcome.PARTIAL), np.int8)
        outcome[short] = Outcome.UNKNOWN
        outcome[short & (silent | evidence.ended(*SPOTIFY_LEFT))] = Outcome.SKIPPED
        outcome[evidence.ended("trackdone") | (silent & most & ~short)] = Outcome.FINISHED
        return outcome


SPOTIFY_LEFT = ("fwdbtn", "endplay", "clickrow", "clickside", "popup", "playbtn", "uriopen")
"""Reasons of Spotify that a listener who wants something else makes."""


class MssdRule(OutcomeRule, frozen=True):
    """Music Streaming Sessions Dataset: how long it was played, in four steps."""

    skip: Annotated[
        int,
        Meta(ge=1, le=3, description="a play is skipped if skip_1 ... up to this one is true"),
    ] = 2

    def derive(self, evidence: Evidence) -> Outcomes:
        """Number of the `Outcome` of each row. (rows,) int8"""
        steps = (Flag.SKIP_1, Flag.SKIP_2, Flag.SKIP_3)
        outcome = np.full(len(evidence), int(Outcome.UNKNOWN), np.int8)
        outcome[evidence.has(Flag.NOT_SKIPPED)] = Outcome.FINISHED
        for step in reversed(steps):
            by_choice = step in steps[: self.skip]
            outcome[evidence.has(step)] = Outcome.SKIPPED if by_choice else Outcome.PARTIAL
        return outcome


class NextPlayRule(OutcomeRule, frozen=True):
    """Sources that only say when a play began: it is skipped if the next one begins soon.

    The last play of a session is unknown, any other was played.
    """

    gap_minutes: _Gap = 30.0
    skip_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="a play is skipped if the next begins within this")
    ] = 30.0

    def derive(self, evidence: Evidence) -> Outcomes:
        """Number of the `Outcome` of each row. (rows,) int8"""
        outcome = np.full(len(evidence), int(Outcome.UNKNOWN), np.int8)
        follows = np.flatnonzero(evidence.next_follows)
        after = evidence.time[follows + 1] - evidence.time[follows]
        skipped = after < self.skip_seconds * 1000
        outcome[follows] = np.where(skipped, Outcome.SKIPPED, Outcome.FINISHED)
        return outcome


class ScrobblerLogRule(OutcomeRule, frozen=True):
    """Scrobbler logs, where the player says which plays were skipped.

    ``L`` (played for half its length at least) is finished, ``S`` is skipped.
    """

    gap_minutes: _Gap = 30.0

    def derive(self, evidence: Evidence) -> Outcomes:
        """Number of the `Outcome` of each row. (rows,) int8"""
        outcome = np.full(len(evidence), int(Outcome.UNKNOWN), np.int8)
        outcome[evidence.has(Flag.SAID_NOT_SKIPPED)] = Outcome.FINISHED
        outcome[evidence.has(Flag.SAID_SKIPPED)] = Outcome.SKIPPED
        return outcome


class ScrobbleRule(OutcomeRule, frozen=True):
    """Scrobbles: what was played for half its length, so that all are finished.

    Where programs scrobble as soon as a play begins, `skip_seconds` tells skips by what comes next.
    """

    gap_minutes: _Gap = 30.0
    skip_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="a play is skipped if the next begins within this")
    ] = 0.0

    def derive(self, evidence: Evidence) -> Outcomes:
        """Number of the `Outcome` of each row. (rows,) int8"""
        outcome = np.full(len(evidence), int(Outcome.FINISHED), np.int8)
        follows = np.flatnonzero(evidence.next_follows)
        after = evidence.time[follows + 1] - evidence.time[follows]
        outcome[follows[after < self.skip_seconds * 1000]] = Outcome.SKIPPED
        return outcome


class ListenBrainzRule(OutcomeRule, frozen=True):
    """Listens of ListenBrainz: finished, except where it is known how long they were played.

    All plays of a recording that the listener hates are disliked.
    """

    gap_minutes: _Gap = 30.0
    skip_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="a play left before this is skipped")
    ] = 30.0
    finished_share: Annotated[
        float, Meta(gt=0, le=1, description="share of a track that is most of it")
    ] = 0.9

    def derive(self, evidence: Evidence) -> Outcomes:
        """Number of the `Outcome` of each row. (rows,) int8"""
        left = (evidence.ms_played >= 0) & ~evidence.most(self.finished_share)
        outcome = np.full(len(evidence), int(Outcome.FINISHED), np.int8)
        outcome[left] = Outcome.PARTIAL
        outcome[left & (evidence.ms_played < self.skip_seconds * 1000)] = Outcome.SKIPPED
        outcome[evidence.has(Flag.DISLIKED)] = Outcome.DISLIKED
        return outcome


class AppleMusicRule(OutcomeRule, frozen=True):
    """Apple Music's Play Activity: as `SpotifyRule`, in the words of Apple.

    A play that the listener left for another is skipped if it was short, or if it is not known how
    long it was. What the listener banned is disliked.
    """

    gap_minutes: _Gap = 30.0
    skip_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="a play left before this is short")
    ] = 30.0
    finished_share: Annotated[
        float,
        Meta(gt=0, le=1, description="share of a track that is most of it, where no reason is"),
    ] = 0.9

    def derive(self, evidence: Evidence) -> Outcomes:
        """Number of the `Outcome` of each row. (rows,) int8"""
        untimed = evidence.ms_played < 0
        short = ~untimed & (evidence.ms_played < self.skip_seconds * 1000)
        silent = np.asarray(evidence.reason_end.is_null()) | evidence.ended("NOT_APPLICABLE")
        left = evidence.ended(*APPLE_LEFT)
        outcome = np.full(len(evidence), int(Outcome.PARTIAL), np.int8)
        outcome[untimed | short] = Outcome.UNKNOWN
        outcome[(left & (untimed | short)) | (silent & short)] = Outcome.SKIPPED
        most = evidence.most(self.finished_share) & ~short
        outcome[evidence.ended("NATURAL_END_OF_TRACK") | (silent & most)] = Outcome.FINISHED
        outcome[evidence.ended("TRACK_BANNED")] = Outcome.DISLIKED
        return outcome


APPLE_LEFT = ("TRACK_SKIPPED_FORWARDS", "MANUALLY_SELECTED_PLAYBACK_OF_A_DIFF_ITEM", "QUICK_PLAY")
"""Reasons of Apple Music that a listener who wants something else makes."""


class FeedbackRule(OutcomeRule, frozen=True):
    """Feedback log of a service, where plays and skips are told apart: only a play that does not
    say how it ended is judged, by its length."""

    finished_share: Annotated[
        float,
        Meta(gt=0, le=1, description="share of a track that is most of it, where nothing is said"),
    ] = 0.9

    def ended(self, ms_played: int | None, duration_ms: int | None) -> Outcome:
        """How a play ended, `UNKNOWN` where it or its track has no length."""
        if ms_played is None or not duration_ms:
            return Outcome.UNKNOWN
        most = ms_played >= self.finished_share * duration_ms
        return Outcome.FINISHED if most else Outcome.PARTIAL


class TableRule(OutcomeRule, frozen=True):
    """Tables whose columns are mapped.

    Outcomes are those of their column. Without one they come from how long a track was played, as
    in `ListenBrainzRule`, but where that is not known they are unknown. Without a column for the
    session, sessions are cut at silences.
    """

    gap_minutes: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=10_080,
                description="minutes without music that end a session, 0: no sessions",
            ),
        ]
        | None
    ) = None
    """None: `GAP_MINUTES` where there are times and no column for the session."""
    skip_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="a play left before this is skipped")
    ] = 30.0
    finished_share: Annotated[
        float, Meta(gt=0, le=1, description="share of a track that is most of it")
    ] = 0.9

    @property
    def gap(self) -> float | None:
        """Minutes of silence that end a session; None where nothing cuts them."""
        return self.gap_minutes or None

    def derive(self, evidence: Evidence) -> Outcomes:
        """Number of the `Outcome` of each row. (rows,) int8"""
        left = ~evidence.most(self.finished_share)
        outcome = np.full(len(evidence), int(Outcome.FINISHED), np.int8)
        outcome[left] = Outcome.PARTIAL
        outcome[left & (evidence.ms_played < self.skip_seconds * 1000)] = Outcome.SKIPPED
        outcome[evidence.ms_played < 0] = Outcome.UNKNOWN
        return outcome


GAP_MINUTES = 30.0
"""Silence that ends a session where nothing else is said."""


RULES: dict[str, type[OutcomeRule]] = {
    "spotify-history": SpotifyRule,
    "mssd": MssdRule,
    "lfm-1k": NextPlayRule,
    "lfm-2b": NextPlayRule,
    "scrobbler-log": ScrobblerLogRule,
    "listenbrainz": ListenBrainzRule,
    "scrobbles": ScrobbleRule,
    "youtube-music": NextPlayRule,
    "apple-music": AppleMusicRule,
    "tidal": ScrobbleRule,
    "csv": TableRule,
    "parquet": TableRule,
}
"""Rule of each format that has evidence."""
