"""What a store is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from segue.data.schema import Outcome


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a listener did."""

    kind: Literal["play", "skip", "like", "unlike", "ban", "unban"]
    track: str | None = None
    """uri"""
    artist: str | None = None
    """Name or uri, of a ban or unban that is about an artist."""
    outcome: Literal["finished", "partial"] | None = None
    """Of a play."""
    ms_played: int | None = None
    at: datetime | None = None
    """When it began; None = when it came."""


class PersonalData(msgspec.Struct, frozen=True, kw_only=True):
    """What the log knows of a listener."""

    tracks: Sequence[str]
    """Of the session, in order: the latest `MAX_HISTORY` events at most."""
    outcomes: Sequence[Outcome]
    past: Sequence[str]
    """Played in other sessions and not disliked there, oldest first, the latest `MAX_PAST`."""
    banned_tracks: Sequence[str]
    banned_artists: Sequence[str]
    liked: Sequence[str]


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A sound file that became a track."""

    uri: str
    file: str
    row: Mapping[str, Any]
    """Of the table tracks."""
