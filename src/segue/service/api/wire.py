"""Requests and replies of the HTTP interface; the source of the OpenAPI description.

Paths in errors (``$.tracks[2]``) use the names of these fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from segue.operations.answers import NamedTrack
from segue.queries import MAX_TITLE

MOST_TRACKS = 500
MOST_HISTORY = 1000
MOST_BANS = 1000
MOST_EVENTS = 1000
MOST_PLAYLIST = 10_000
MOST_LETTERS = 500
"""Maximum length of a uri or an artist; PostgreSQL's indexes hold no longer ones."""

_END = r"$(?!\n)"
"""End of a pattern: Python's $ alone matches before a last newline, too."""
_TEXT = rf"^[^\x00-\x1f\x7f]*{_END}"
Uri = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MOST_LETTERS,
        pattern=_TEXT,
        description="uri of a track",
        examples=["spotify:track:0UaMYEvWZi0ZqiDOoHU3YI"],
    ),
]
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=rf"^[!-~]+{_END}",
        description="an id that the client chooses: printable ASCII without spaces",
        examples=["ada"],
    ),
]
Title = Annotated[
    str, Meta(max_length=MAX_TITLE, pattern=_TEXT, examples=["sunday morning coffee"])
]
Artist = Annotated[
    str, Meta(min_length=1, max_length=MOST_LETTERS, pattern=_TEXT, examples=["Mozart"])
]
Count = Annotated[int, Meta(ge=1, le=MOST_TRACKS, description="maximum number of tracks")]
Share = Annotated[float, Meta(ge=0, le=1)]
Places = Annotated[int, Meta(ge=0, le=MOST_TRACKS)]
Ended = Literal["finished", "partial", "skipped", "disliked", "unknown"]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request of a client."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A reply of the service."""


class Spacing(Request, frozen=True, kw_only=True):
    """Minimum distance between tracks of one artist or album."""

    artist: Annotated[Places, Meta(description="no artist repeats within so many places")] = 0
    album: Annotated[Places, Meta(description="no album repeats within so many places")] = 0


class Bans(Request, frozen=True, kw_only=True):
    """Tracks and artists to leave out."""

    tracks: Annotated[list[Uri], Meta(max_length=MOST_BANS)] = []
    artists: Annotated[
        list[Artist], Meta(max_length=MOST_BANS, description="full names, or uris")
    ] = []


class ListOptions(Request, frozen=True, kw_only=True):
    """Options of every request for a list."""

    n: Count = 20
    bans: Bans = Bans()
    spacing: Spacing = Spacing()
    adventure: Annotated[
        Share, Meta(description="0: the safest list; 1: the rarest tracks that still fit")
    ] = 0.0
    one_recording: Annotated[
        bool, Meta(description="list each recording once, even under several uris")
    ] = True
    listener: Annotated[
        Name | None,
        Meta(description="listener whose feedback counts: bans, earlier plays, the session"),
    ] = None
    session: Annotated[
        Name | None,
        Meta(description="session of the listener; its feedback precedes the sent tracks"),
    ] = None


class ContinueRequest(ListOptions, frozen=True, kw_only=True):
    """A playlist to continue: its tracks, its title, or both."""

    tracks: Annotated[
        list[Uri], Meta(max_length=MOST_HISTORY, description="tracks of the playlist, in order")
    ] = []
    skipped: Annotated[
        list[Uri], Meta(max_length=MOST_HISTORY, description="tracks skipped after those")
    ] = []
    title: Title | None = None


class Listen(Request, frozen=True, kw_only=True):
    """A played track and its outcome."""

    track: Uri
    outcome: Ended = "unknown"


class NextRequest(ListOptions, frozen=True, kw_only=True):
    """A session to continue."""

    listens: Annotated[
        list[Listen],
        Meta(max_length=MOST_HISTORY, description="listens of the session, oldest first"),
    ] = []


Why = Literal["knows nothing", "over budget", "failed"]


class FilteredResponse(Response, frozen=True, kw_only=True):
    """A fallback level that gave no recommendations."""

    level: str = msgspec.field(name="rung")
    why: Why


class ContinueResponse(Response, frozen=True, kw_only=True):
    """A list of tracks."""

    version: Annotated[str, Meta(description="version of the bundle that ranked it")]
    served_by: Annotated[str, Meta(description="model that ranked it")]
    level: Annotated[str, Meta(description="fallback level of this model")] = msgspec.field(
        name="rung"
    )
    passed: Annotated[list[FilteredResponse], Meta(description="better levels that did not answer")]
    personal: Annotated[
        bool, Meta(description="whether the listener's feedback counted; false if the log is down")
    ]
    simulated: Annotated[bool, Meta(description="whether the tracks come from a simulated world")]
    unknown: Annotated[
        list[str], Meta(description="tracks and artists that the bundle does not know")
    ]
    tracks: Annotated[list[NamedTrack], Meta(description="best first")]


class Track(Response, frozen=True, kw_only=True):
    """A track of the catalog."""

    uri: str
    title: str | None
    artist: str | None
    album: str | None
    duration_ms: int | None
    plays: Annotated[int, Meta(description="number of playlists and listeners with it in training")]
    playable: Annotated[bool, Meta(description="whether the service has its sound")]


class SearchResponse(Response, frozen=True, kw_only=True):
    """Results of a search."""

    version: str
    tracks: list[Track]


class UploadResponse(Response, frozen=True, kw_only=True):
    """An uploaded track."""

    version: str
    new: Annotated[bool, Meta(description="false if the catalog has this recording")]
    vector_source: Annotated[
        Literal["audio", "text"] | None,
        Meta(description="source of its vector: sound, or artist; null for a known track"),
    ] = msgspec.field(name="door")
    track: Track


class FeedbackEvent(Request, frozen=True, kw_only=True, tag_field="kind"):
    """An action of a listener."""

    at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="time of its begin; null: time of arrival"),
    ] = None


class Play(FeedbackEvent, frozen=True, kw_only=True, tag="play"):
    """A play, to the end or in part."""

    track: Uri
    outcome: Annotated[
        Literal["finished", "partial"] | None,
        Meta(description="null: segue derives it from `ms_played`"),
    ] = None
    ms_played: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class Skip(FeedbackEvent, frozen=True, kw_only=True, tag="skip"):
    """A skip to the next track."""

    track: Uri
    ms_played: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class Like(FeedbackEvent, frozen=True, kw_only=True, tag="like"):
    """A like."""

    track: Uri


class Unlike(FeedbackEvent, frozen=True, kw_only=True, tag="unlike"):
    """End of a like."""

    track: Uri


class Ban(FeedbackEvent, frozen=True, kw_only=True, tag="ban"):
    """A ban of a track."""

    track: Uri


class Unban(FeedbackEvent, frozen=True, kw_only=True, tag="unban"):
    """End of a ban."""

    track: Uri


class BanArtist(FeedbackEvent, frozen=True, kw_only=True, tag="ban_artist"):
    """A ban of an artist."""

    artist: Artist


class UnbanArtist(FeedbackEvent, frozen=True, kw_only=True, tag="unban_artist"):
    """End of a ban of an artist."""

    artist: Artist


Event = Play | Skip | Like | Unlike | Ban | Unban | BanArtist | UnbanArtist


class FeedbackRequest(Request, frozen=True, kw_only=True):
    """Actions of a listener, in order. The log stores all of them or none."""

    key: Annotated[
        Name, Meta(description="idempotency key: the log stores a repeated request once")
    ]
    listener: Name
    session: Name
    events: Annotated[list[Event], Meta(min_length=1, max_length=MOST_EVENTS)]


class StoredResponse(Response, frozen=True, kw_only=True):
    """Confirmation that the feedback is on disk."""

    stored: Annotated[int, Meta(description="number of new events; 0 for a repeated key")]
    duplicate: bool


class PlaylistRequest(Request, frozen=True, kw_only=True):
    """A playlist to save."""

    title: Title = ""
    tracks: Annotated[list[Uri], Meta(max_length=MOST_PLAYLIST)] = []
    listener: Annotated[Name | None, Meta(description="owner of the playlist")] = None


class PlaylistChange(Request, frozen=True, kw_only=True):
    """New content of a playlist."""

    title: Title = ""
    tracks: Annotated[list[Uri], Meta(max_length=MOST_PLAYLIST)] = []
    version: Annotated[
        int,
        Meta(ge=1, le=2**31 - 1, description="version that the client read; a newer version stays"),
    ]


class PlaylistResponse(Response, frozen=True, kw_only=True):
    """A playlist."""

    id: str
    listener: str | None
    title: str
    tracks: list[str]
    version: int
    created: datetime
    changed: datetime


class Playlists(Response, frozen=True, kw_only=True):
    """A page of playlists, newest first."""

    playlists: list[PlaylistResponse]
    after: Annotated[
        str | None, Meta(description="value of `after` for the next page; null at the end")
    ]


class BundleRequest(Request, frozen=True, kw_only=True):
    """Bundle to serve from now on."""

    path: Annotated[
        Annotated[str, Meta(min_length=1, max_length=4000, pattern=_TEXT)] | None,
        Meta(description="folder on the machine of the service; null: reload the bundle"),
    ] = None
    rollback: Annotated[bool, Meta(description="return to the previous bundle")] = False


class BundleState(Response, frozen=True, kw_only=True):
    """The served bundle."""

    version: str
    previous: Annotated[str | None, Meta(description="version that a rollback returns to")]
    recipe: str
    trained_at: str
    tracks: int
    levels: list[str] = msgspec.field(name="rungs")


class Live(Response, frozen=True, kw_only=True):
    """The process runs."""

    status: Literal["live"] = "live"


class ReadyResponse(Response, frozen=True, kw_only=True):
    """State of the service."""

    status: Annotated[
        Literal["ready", "degraded"],
        Meta(description="degraded: the service answers, but a part of it fails"),
    ]
    version: str
    levels: list[str] = msgspec.field(name="rungs")
    log: Annotated[str, Meta(description='"ok", or the reason why the log is down')]
    trained_at: str
    uploads: int
