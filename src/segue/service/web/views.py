"""What the service says, in words that a person reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from segue.data.schema import Outcome
from segue.models.base.recommender import POPULARITY
from segue.operations.answers import NamedReason, NamedTrack
from segue.service.api import wire
from segue.service.serving.service import Service
from segue.service.storage.store import PersonalData

_MOST = 2
"""Reasons that are told of a track."""
_WORTH = 0.05
"""Least share of a reason that is told beside another."""


@dataclass(frozen=True)
class Part:
    """One reason: words, the name they are about, and its share of what speaks for the track."""

    words: str
    name: str
    share: int | None


@dataclass(frozen=True)
class Row:
    """A track of a continuation.

    Attributes:
        move: places up since the order before; 0 where it stands; None: it is new, or there was
            none before.
    """

    place: int
    track: NamedTrack
    parts: list[Part]
    playable: bool
    new: bool
    move: int | None


@dataclass(frozen=True)
class TrackRows:
    """A continuation as it is shown.

    Attributes:
        order: to be sent with an action, so that what it moved can be told.
        left: tracks that were shown before and are not now, with their places before and now
            (None: it is no longer answered).
    """

    shown: list[Row]
    order: str
    left: list[tuple[str, int, int | None]]


def _dashed(label: str) -> str:
    return label.replace(" - ", " – ", 1)


def rows(service: Service, told: wire.ContinueResponse, shown: int, was: str = "") -> TrackRows:
    """The first tracks of an answer, and how they moved.

    Args:
        was: `TrackRows.order` of the answer before; one of another bundle says nothing.
    """
    catalog, sounds = service.bundles.live.catalog, service.uploads.sounds
    before = {at: place for at, place in _order(was, told.version).items() if at < len(catalog)}
    now = {track.index: place for place, track in enumerate(told.tracks, 1)}
    some = [
        Row(
            place,
            track,
            parts(track.reasons),
            track.uri in sounds,
            bool(before) and track.index not in before,
            before[track.index] - place if track.index in before else None,
        )
        for place, track in enumerate(told.tracks[:shown], 1)
    ]
    left = [
        (_dashed(catalog.label(index)), place, now.get(index))
        for index, place in before.items()
        if now.get(index, shown + 1) > shown
    ]
    order = ".".join(str(row.track.index) for row in some)
    return TrackRows(some, f"{told.version}:{order}", left)


def _order(was: str, version: str) -> dict[int, int]:
    """Place of each track in an order that was sent; none where it is of another bundle."""
    of, _, order = was.partition(":")
    same = _bundle(of) == _bundle(version)  # uploads come after its rows, which stay
    indexes = order.split(".") if same else []
    return {int(index): at for at, index in enumerate(indexes, 1) if index.isdecimal()}


def _bundle(version: str) -> str:
    """The part of a version that names the bundle, without its uploads."""
    return version.partition(".")[0]


def parts(reasons: Iterable[NamedReason]) -> list[Part]:
    """What speaks for a track, most first.

    A feature has no share: what it adds are odds, of which the start is no part. Features that
    say the same in words are told once.
    """
    good = sorted((reason for reason in reasons if reason.amount > 0), key=lambda r: -r.amount)
    total = sum(reason.amount for reason in good)
    told = [reason for reason in good if reason.kind != "rest"]
    some = [_part(one, one.amount / total) for one in told if one.amount > _WORTH * total]
    once: dict[tuple[str, str], Part] = {}
    for part in some or [_part(one, one.amount / total) for one in told[:1]]:
        once.setdefault((part.words, part.name), part)
    return list(once.values())[:_MOST]


def _part(reason: NamedReason, share: float) -> Part:
    percent = round(100 * share)
    if reason.kind == "track":
        return Part("", _dashed(reason.what or ""), percent)
    if reason.kind == "title":
        return Part("the title word", f"“{reason.what}”", percent)
    if reason.kind == "popularity":
        return Part("its popularity", "", None)
    return Part(_feature(reason.what or ""), "", None)


_FEATURES = (
    ("same-album", "its album"),
    ("album-heard", "its album"),
    ("same-artist", "its artist"),
    ("artist-heard", "its artist"),
    ("artist-similarity", "similar artists"),
    ("album-similarity", "similar albums"),
    ("place-in-artist", "its place among the artist’s tracks"),
    ("same-title", "playlists of the same title"),
    ("title-", "the title"),
    ("has-title", "the title"),
    ("similarity", "single tracks much like it"),
    ("query-", "the playlist as a whole"),
    ("duration", "its length"),
    ("track-duration", "its length"),
    ("track-popularity", "its popularity"),
    ("artist-popularity", "its artist’s popularity"),
    ("album-popularity", "its album’s popularity"),
    ("track-", "the playlists that have it"),
    ("length-difference", "the playlists that have it"),
    ("seeds", "the kind of playlist"),
    ("user-knn", "similar playlists"),
    ("item-knn", "what it stands beside elsewhere"),
    ("wrmf", "the same listeners"),
    ("blend", "all models together"),
)
"""Beginnings of features' names, as what follows "because of"."""


def _feature(name: str) -> str:
    words = (words for begin, words in _FEATURES if name.startswith(begin))
    return next(words, name.replace("-", " "))


_WHY = {
    "knows nothing": "knew nothing of this",
    "over budget": "would have taken too long",
    "failed": "failed",
}


def served(told: wire.ContinueResponse) -> str:
    """Who answered, in a sentence; said plainly where a better rung did not."""
    by = told.served_by if told.served_by == told.rung else f"{told.served_by} ({told.rung})"
    if not told.passed:
        return f"Answered by {by}."
    rungs: dict[str, list[str]] = {}
    for one in told.passed:
        rungs.setdefault(_WHY[one.why], []).append(one.rung)
    passed = "; ".join(f"{', '.join(some)} {why}" for why, some in rungs.items())
    if told.served_by == POPULARITY:
        return f"Nothing here to go by, so this is what is popular ({passed})."
    return f"Answered by {by}: {passed}."


@dataclass(frozen=True)
class Named:
    """A track by name.

    Attributes:
        known: whether the catalog has it.
    """

    uri: str
    title: str
    artist: str
    playable: bool
    known: bool


def names(service: Service, uris: Iterable[str]) -> list[Named]:
    """Tracks by name; those that the catalog has not by their uri."""
    uris = list(uris)
    return [
        Named(
            row["uri"],
            row["title"] or row["uri"],
            row["artist"] or "",
            row["uri"] in service.uploads.sounds,
            row["uri"] in service.bundles.live.rows,
        )
        for row in service.catalog.rows_of(uris)
    ]


@dataclass(frozen=True)
class Message:
    """What the listener said, that stands."""

    skipped: list[Named]
    banned: list[Named]
    artists: list[str]


def said(service: Service, personal: PersonalData) -> Message:
    """Skips of the session, and bans."""
    ended = zip(personal.tracks, personal.outcomes, strict=True)
    skipped = dict.fromkeys(uri for uri, outcome in ended if outcome == Outcome.SKIPPED)
    return Message(
        names(service, skipped),
        names(service, personal.banned_tracks),
        list(personal.banned_artists),
    )


@dataclass(frozen=True)
class Flash:
    """What was just done, and the action that undoes it."""

    text: str
    undo: str | None = None


_DONE = {
    "skip": ("Skipped {}. What is like it goes down.", None),
    "played": ("Heard {} to its end.", None),
    "ban": ("{} will not come again.", "unban"),
    "unban": ("{} may come again.", None),
    "ban-artist": ("Nothing by {} will come again.", "unban-artist"),
    "unban-artist": ("{} may come again.", None),
    "add": ("Added {}.", "remove"),
    "remove": ("Removed {}.", "add"),
    "rename": ("Renamed.", None),
}


def flash(service: Service, did: str, what: str) -> Flash | None:
    """The last action in words; None for one that shows by itself."""
    if did not in _DONE:
        return None
    text, undo = _DONE[did]
    row = service.bundles.live.rows.get(what)
    if row is None and not did.endswith("artist"):
        return None if "{}" in text else Flash(text)
    name = what if row is None else _dashed(service.bundles.live.catalog.label(row))
    return Flash(text.format(name), f"{undo} {what}" if undo else None)
