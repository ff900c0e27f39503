"""What goes over the wire: requests and replies. The OpenAPI description is made of these.

Names in paths of errors (``$.tracks[2]``) are those of the fields here.
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
"""Of a uri or an artist: PostgreSQL's indexes hold no longer ones."""

_END = r"$(?!\n)"
"""Of a pattern: Python's $ alone stands before a last newline, too."""
_TEXT = rf"^[^\x00-\x1f\x7f]*{_END}"
Uri = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MOST_LETTERS,
        pattern=_TEXT,
        description="what the outside calls a track",
        examples=["spotify:track:0UaMYEvWZi0ZqiDOoHU3YI"],
    ),
]
Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=rf"^[!-~]+{_END}",
        description="an id of your own: printable ASCII without spaces",
        examples=["ada"],
    ),
]
Title = Annotated[
    str, Meta(max_length=MAX_TITLE, pattern=_TEXT, examples=["sunday morning coffee"])
]
Artist = Annotated[
    str, Meta(min_length=1, max_length=MOST_LETTERS, pattern=_TEXT, examples=["Mozart"])
]
Count = Annotated[int, Meta(ge=1, le=MOST_TRACKS, description="how many tracks, at most")]
Share = Annotated[float, Meta(ge=0, le=1)]
Places = Annotated[int, Meta(ge=0, le=MOST_TRACKS)]
Ended = Literal["finished", "partial", "skipped", "disliked", "unknown"]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sends."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What it is answered."""


class Spacing(Request, frozen=True, kw_only=True):
    """How far apart artists and albums stand."""

    artist: Annotated[Places, Meta(description="no artist again within so many places")] = 0
    album: Annotated[Places, Meta(description="no album again within so many places")] = 0


class Bans(Request, frozen=True, kw_only=True):
    """What must not be answered."""

    tracks: Annotated[list[Uri], Meta(max_length=MOST_BANS)] = []
    artists: Annotated[
        list[Artist], Meta(max_length=MOST_BANS, description="whole names, or uris")
    ] = []


class ListOptions(Request, frozen=True, kw_only=True):
    """What every question may say."""

    n: Count = 20
    bans: Bans = Bans()
    spacing: Spacing = Spacing()
    adventure: Annotated[
        Share, Meta(description="0 the safest list, 1 the rarest of what still fits")
    ] = 0.0
    one_recording: Annotated[
        bool, Meta(description="a recording once, whatever uris it goes by")
    ] = True
    listener: Annotated[
        Name | None,
        Meta(description="whose feedback counts: bans, what was heard before, the session"),
    ] = None
    session: Annotated[
        Name | None, Meta(description="of the listener: its feedback comes before what is sent")
    ] = None


class ContinueRequest(ListOptions, frozen=True, kw_only=True):
    """A playlist to continue: its tracks, its title, or both."""

    tracks: Annotated[
        list[Uri], Meta(max_length=MOST_HISTORY, description="of the playlist, in order")
    ] = []
    skipped: Annotated[
        list[Uri], Meta(max_length=MOST_HISTORY, description="what was skipped after that")
    ] = []
    title: Title | None = None


class Listen(Request, frozen=True, kw_only=True):
    """A track that was played, and how that ended."""

    track: Uri
    outcome: Ended = "unknown"


class NextRequest(ListOptions, frozen=True, kw_only=True):
    """A session whose next tracks are asked for."""

    listens: Annotated[
        list[Listen], Meta(max_length=MOST_HISTORY, description="of the session, oldest first")
    ] = []


Why = Literal["knows nothing", "over budget", "failed"]


class FilteredResponse(Response, frozen=True, kw_only=True):
    """A rung of the ladder that did not answer."""

    rung: str
    why: Why


class ContinueResponse(Response, frozen=True, kw_only=True):
    """A list of tracks."""

    version: Annotated[str, Meta(description="the one bundle that it came from")]
    served_by: Annotated[str, Meta(description="the model that ranked it")]
    rung: Annotated[str, Meta(description="of the ladder, that this model stands on")]
    passed: Annotated[list[FilteredResponse], Meta(description="better rungs that did not answer")]
    personal: Annotated[
        bool, Meta(description="whether the listener's feedback counted; false without the log")
    ]
    simulated: Annotated[bool, Meta(description="whether the tracks come from a made-up world")]
    unknown: Annotated[list[str], Meta(description="tracks and artists that it does not know")]
    tracks: Annotated[list[NamedTrack], Meta(description="best first")]


class Track(Response, frozen=True, kw_only=True):
    """A track of the catalog."""

    uri: str
    title: str | None
    artist: str | None
    album: str | None
    duration_ms: int | None
    plays: Annotated[int, Meta(description="playlists and listeners that had it in training")]
    playable: Annotated[bool, Meta(description="whether its sound can be had here")]


class SearchResponse(Response, frozen=True, kw_only=True):
    """What a search found."""

    version: str
    tracks: list[Track]


class UploadResponse(Response, frozen=True, kw_only=True):
    """An uploaded track."""

    version: str
    new: Annotated[bool, Meta(description="false where the catalog had this recording")]
    door: Annotated[
        Literal["audio", "text"] | None,
        Meta(description="what told its place: its sound, or its artist; null if it was there"),
    ]
    track: Track


class FeedbackEvent(Request, frozen=True, kw_only=True, tag_field="kind"):
    """Something that a listener did."""

    at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="when it began; null: when it came"),
    ] = None


class Play(FeedbackEvent, frozen=True, kw_only=True, tag="play"):
    """Heard, to its end or in part."""

    track: Uri
    outcome: Annotated[
        Literal["finished", "partial"] | None, Meta(description="null: by what was played of it")
    ] = None
    ms_played: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class Skip(FeedbackEvent, frozen=True, kw_only=True, tag="skip"):
    """Left for the next one."""

    track: Uri
    ms_played: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class Like(FeedbackEvent, frozen=True, kw_only=True, tag="like"):
    """Said to be good."""

    track: Uri


class Unlike(FeedbackEvent, frozen=True, kw_only=True, tag="unlike"):
    """A like taken back."""

    track: Uri


class Ban(FeedbackEvent, frozen=True, kw_only=True, tag="ban"):
    """Never to come again."""

    track: Uri


class Unban(FeedbackEvent, frozen=True, kw_only=True, tag="unban"):
    """A ban taken back."""

    track: Uri


class BanArtist(FeedbackEvent, frozen=True, kw_only=True, tag="ban_artist"):
    """Never to come again, none of theirs."""

    artist: Artist


class UnbanArtist(FeedbackEvent, frozen=True, kw_only=True, tag="unban_artist"):
    """A ban of an artist taken back."""

    artist: Artist


Event = Play | Skip | Like | Unlike | Ban | Unban | BanArtist | UnbanArtist


class FeedbackRequest(Request, frozen=True, kw_only=True):
    """What a listener did, in order. It is stored whole or not at all."""

    key: Annotated[Name, Meta(description="idempotency key: the same again is stored once")]
    listener: Name
    session: Name
    events: Annotated[list[Event], Meta(min_length=1, max_length=MOST_EVENTS)]


class StoredResponse(Response, frozen=True, kw_only=True):
    """Feedback that is on disk."""

    stored: Annotated[int, Meta(description="events; 0 where the key had come before")]
    duplicate: bool


class PlaylistRequest(Request, frozen=True, kw_only=True):
    """A playlist to keep."""

    title: Title = ""
    tracks: Annotated[list[Uri], Meta(max_length=MOST_PLAYLIST)] = []
    listener: Annotated[Name | None, Meta(description="whose it is")] = None


class PlaylistChange(Request, frozen=True, kw_only=True):
    """What a playlist shall be from now on."""

    title: Title = ""
    tracks: Annotated[list[Uri], Meta(max_length=MOST_PLAYLIST)] = []
    version: Annotated[
        int, Meta(ge=1, le=2**31 - 1, description="that was read; a newer one is not overwritten")
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
    """Some playlists, newest first."""

    playlists: list[PlaylistResponse]
    after: Annotated[
        str | None, Meta(description="ask for the next ones with this; null at the end")
    ]


class BundleRequest(Request, frozen=True, kw_only=True):
    """Which bundle shall answer from now on."""

    path: Annotated[
        Annotated[str, Meta(min_length=1, max_length=4000, pattern=_TEXT)] | None,
        Meta(description="folder on the machine of the service; null: the same again"),
    ] = None
    rollback: Annotated[bool, Meta(description="back to the one before")] = False


class BundleState(Response, frozen=True, kw_only=True):
    """The bundle that answers."""

    version: str
    previous: Annotated[str | None, Meta(description="that rollback goes back to")]
    recipe: str
    trained_at: str
    tracks: int
    rungs: list[str]


class Live(Response, frozen=True, kw_only=True):
    """The process runs."""

    status: Literal["live"] = "live"


class ReadyResponse(Response, frozen=True, kw_only=True):
    """Whether requests can be answered, and how well."""

    status: Annotated[
        Literal["ready", "degraded"],
        Meta(description="degraded: answers go on, but not all that should work does"),
    ]
    version: str
    rungs: list[str]
    log: Annotated[str, Meta(description='"ok", or why feedback is neither stored nor read')]
    trained_at: str
    uploads: int
