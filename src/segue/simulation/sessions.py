"""Listeners of a simulated world: tastes, sessions in a context, and skips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segue.data.schema import Outcome
from segue.simulation.catalog import (
    MAX_DURATION_MS,
    Float32,
    Int32,
    Int64,
    Music,
    generator,
    mismatch,
)
from segue.simulation.playlists import SESSION, draw_lists, draw_points

SESSION_LENGTHS = (10, 20)

SKIP_INTERCEPT, SKIP_SLOPE = -4.3, 6.0
_DISLIKED = 0.02  # of the skips
_PARTIAL = 0.1  # share of the listens without skip

_PAUSE_MS = 2_000

START_MS = 1_704_067_200_000
"""Start of the world: 2024-01-01 UTC, in milliseconds."""
SPAN_MS = 731 * 86_400_000
"""Length of the world: two years, in milliseconds."""
_SLOT_MS = SESSION_LENGTHS[1] * (MAX_DURATION_MS + _PAUSE_MS)  # no session is longer


def skip_probability(listeners: Float32, sessions: Float32, tracks: Float32) -> Float32:
    """True chance that a listen is skipped (or disliked).

    sigmoid(SKIP_INTERCEPT + SKIP_SLOPE * m), where m is the mean mismatch of the track with the
    listener's taste and with the session's context.

    Args:
        listeners, sessions, tracks: rows of the truth's ``listener_latents``,
            ``session_latents`` and ``track_latents``, one a listen. (n, FACTORS)
    """
    both = (mismatch(listeners, tracks) + mismatch(sessions, tracks)) / np.float32(2)
    odds = np.exp(np.float32(SKIP_INTERCEPT) + np.float32(SKIP_SLOPE) * both)
    chance: Float32 = odds / (1 + odds)
    return chance


@dataclass(frozen=True)
class Listeners:
    """All listeners, and the owner of each session."""

    points: Float32
    """(listeners, FACTORS)"""
    genres: Int32
    """Three genres, the dearest first. (listeners, 3)"""
    owners: Int32
    """Listener of each session, rising. (sessions,)"""
    starts_ms: Int64
    """Start of each session in milliseconds since 1970. (sessions,)"""


def make_listeners(music: Music, seed: int, listeners: int, sessions: int) -> Listeners:
    """Draw listeners, tastes and session times; activity is log-normal (heavy-tailed)."""
    rng = generator(seed, "listeners")
    genres = np.stack([music.draw_genres(rng, listeners) for _ in range(3)], axis=1)
    shares = rng.dirichlet([6, 2, 1], listeners).astype(np.float32)
    activity = np.exp(rng.normal(0, 1.2, listeners))
    counts = rng.multinomial(sessions, activity / activity.sum()) if listeners else np.zeros(0, int)
    owners = np.repeat(np.arange(listeners, dtype=np.int32), counts)
    mean_gap = SPAN_MS / (1 + counts[owners])
    gaps = (rng.standard_exponential(sessions) * mean_gap).astype(np.int64) + _SLOT_MS
    clock = np.cumsum(gaps)
    before = np.cumsum(counts) - counts  # sessions of earlier listeners
    clock -= np.concatenate([[0], clock])[before][owners]
    return Listeners(
        draw_points(music, rng, genres, shares), genres, owners, START_MS + clock - _SLOT_MS
    )


@dataclass(frozen=True)
class SimulatedSessions:
    """A chunk of sessions, with a column for each part of a listen."""

    points: Float32
    """Contexts. (sessions, FACTORS)"""
    genres: Int32
    """Genre of each context. (sessions,)"""
    lengths: Int64
    tracks: Int32
    times_ms: Int64
    outcomes: npt.NDArray[np.int8]
    ms_played: Int32


def draw_sessions(
    music: Music, people: Listeners, seed: int, chunk: int, rows: slice
) -> SimulatedSessions:
    """Chunk number `chunk`: the sessions `rows` of `people.owners`."""
    rng = generator(seed, "sessions", chunk)
    who = people.owners[rows]
    count = len(who)
    favourite = people.genres[who, rng.choice(3, count, p=[0.6, 0.25, 0.15])]
    context = np.where(rng.random(count) < 0.6, favourite, music.draw_genres(rng, count))
    points = draw_points(music, rng, context[:, None], np.ones((count, 1), np.float32))
    lengths = rng.integers(SESSION_LENGTHS[0], SESSION_LENGTHS[1] + 1, count)
    tracks = draw_lists(
        music, rng, SESSION, lengths, points, np.stack([context, favourite], axis=1)
    )
    of = np.repeat(np.arange(count), lengths)
    chance = skip_probability(people.points[who[of]], points[of], music.track_latents[tracks])

    n = len(tracks)
    skipped = rng.random(n, np.float32) < chance
    outcomes = np.where(rng.random(n) < _PARTIAL, Outcome.PARTIAL, Outcome.FINISHED)
    outcomes[skipped] = np.where(
        rng.random(skipped.sum()) < _DISLIKED, Outcome.DISLIKED, Outcome.SKIPPED
    )
    duration = music.durations_ms[tracks]
    partial = outcomes == Outcome.PARTIAL
    played = duration.astype(np.float64)
    played[partial] *= rng.uniform(0.5, 0.95, partial.sum())
    brief = 1_000 + rng.exponential(20_000, skipped.sum())
    played[skipped] = np.minimum(brief, 0.5 * played[skipped])
    ms_played = played.astype(np.int32)

    step = ms_played + rng.integers(0, _PAUSE_MS, n)
    clock = np.cumsum(step, dtype=np.int64) - step
    first = np.cumsum(lengths) - lengths
    times = people.starts_ms[rows][of] + clock - clock[first][of]
    return SimulatedSessions(
        points, context, lengths, tracks, times, outcomes.astype(np.int8), ms_played
    )
