"""Input and output types of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from segue.data.schema import Outcome


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An action of a listener."""

    kind: Literal["play", "skip", "like", "unlike", "ban", "unban"]
    track: str | None = None
    """uri"""
    artist: str | None = None
    """Name or uri of an artist, for ban and unban."""
    outcome: Literal["finished", "partial"] | None = None
    """Outcome of a play."""
    ms_played: int | None = None
    at: datetime | None = None
    """Time of its begin; None: time of arrival."""


class PersonalData(msgspec.Struct, frozen=True, kw_only=True):
    """Feedback of one listener."""

    tracks: Sequence[str]
    """Tracks of the session in order, from the latest `MAX_HISTORY` events at most."""
    outcomes: Sequence[Outcome]
    past: Sequence[str]
    """The latest `MAX_PAST` plays of other sessions without dislike, oldest first."""
    banned_tracks: Sequence[str]
    banned_artists: Sequence[str]
    liked: Sequence[str]


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded sound file and its track."""

    uri: str
    file: str
    row: Mapping[str, Any]
    """Row of the table tracks."""
