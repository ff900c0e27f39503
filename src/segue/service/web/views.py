"""Values for the templates, in words for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from segue.data.schema import Outcome
from segue.models.base.recommender import POPULARITY
from segue.operations.answers import PLAYED_BEFORE, NamedReason, NamedTrack
from segue.service.api import wire
from segue.service.serving.service import Service
from segue.service.storage.store import PersonalData

_MOST = 2
"""Maximum number of visible reasons of a track."""
_WORTH = 0.05
"""Minimum share of a second reason."""


@dataclass(frozen=True)
class Part:
    """One reason: words, the name of its subject, and its share of the positive reasons."""

    words: str
    name: str
    share: int | None


@dataclass(frozen=True)
class Row:
    """A track of a continuation.

    Attributes:
        move: places up since the previous order, 0 for none; None: the track is new, or there is
            no previous order.
    """

    place: int
    track: NamedTrack
    parts: list[Part]
    playable: bool
    new: bool
    move: int | None


@dataclass(frozen=True)
class TrackRows:
    """The visible part of a continuation.

    Attributes:
        order: text of the order, which an action sends back to show its effect.
        left: tracks that left the visible part, with their places before and now (None: beyond
            the list).
    """

    shown: list[Row]
    order: str
    left: list[tuple[str, int, int | None]]


def _dashed(label: str) -> str:
    return label.replace(" - ", " – ", 1)


def rows(service: Service, response: wire.ContinueResponse, shown: int, was: str = "") -> TrackRows:
    """The first tracks of a continuation, and their moves.

    Args:
        was: `TrackRows.order` of the previous list; ignored if another bundle made it.
    """
    catalog, sounds = service.bundles.live.catalog, service.uploads.sounds
    before = {at: place for at, place in _order(was, response.version).items() if at < len(catalog)}
    now = {track.index: place for place, track in enumerate(response.tracks, 1)}
    shown_rows = [
        Row(
            place,
            track,
            parts(track.reasons, track.uri),
            track.uri in sounds,
            bool(before) and track.index not in before,
            before[track.index] - place if track.index in before else None,
        )
        for place, track in enumerate(response.tracks[:shown], 1)
    ]
    left = [
        (_dashed(catalog.label(index)), place, now.get(index))
        for index, place in before.items()
        if now.get(index, shown + 1) > shown
    ]
    order = ".".join(str(row.track.index) for row in shown_rows)
    return TrackRows(shown_rows, f"{response.version}:{order}", left)


def _order(was: str, version: str) -> dict[int, int]:
    """Place of each track in a sent order; empty if another bundle made it."""
    of, _, order = was.partition(":")
    same = _bundle(of) == _bundle(version)  # uploads come after the rows of the bundle
    indexes = order.split(".") if same else []
    return {int(index): at for at, index in enumerate(indexes, 1) if index.isdecimal()}


def _bundle(version: str) -> str:
    """The part of a version that names the bundle, without its uploads."""
    return version.partition(".")[0]


def parts(reasons: Iterable[NamedReason], uri: str) -> list[Part]:
    """Positive reasons of a track of this uri, largest first.

    A feature has no share, because it adds to log-odds whose base is no reason. Features with the
    same words appear once.
    """
    good = sorted((reason for reason in reasons if reason.amount > 0), key=lambda r: -r.amount)
    total = sum(reason.amount for reason in good)
    candidates = [reason for reason in good if reason.kind != "rest"]
    large = [
        _part(one, one.amount / total, uri) for one in candidates if one.amount > _WORTH * total
    ]
    unique: dict[tuple[str, str], Part] = {}
    for part in large or [_part(one, one.amount / total, uri) for one in candidates[:1]]:
        unique.setdefault((part.words, part.name), part)
    return list(unique.values())[:_MOST]


def _part(reason: NamedReason, share: float, uri: str) -> Part:
    percent = round(100 * share)
    if reason.uri == uri:
        return Part(PLAYED_BEFORE, "", percent)
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
"""Words that follow "because of", by prefix of the feature's name."""


def _feature(name: str) -> str:
    words = (words for begin, words in _FEATURES if name.startswith(begin))
    return next(words, name.replace("-", " "))


_WHY = {
    "knows nothing": "knew nothing of this",
    "over budget": "would have taken too long",
    "failed": "failed",
}


def served(response: wire.ContinueResponse) -> str:
    """The model that answered, in a sentence, with the better levels that did not."""
    by = (
        response.served_by
        if response.served_by == response.level
        else f"{response.served_by} ({response.level})"
    )
    if not response.passed:
        return f"Answered by {by}."
    by_reason: dict[str, list[str]] = {}
    for one in response.passed:
        by_reason.setdefault(_WHY[one.why], []).append(one.level)
    passed = "; ".join(f"{', '.join(levels)} {why}" for why, levels in by_reason.items())
    if response.served_by == POPULARITY:
        return f"Nothing here to go by, so this is what is popular ({passed})."
    return f"Answered by {by}: {passed}."


@dataclass(frozen=True)
class Named:
    """A track by name.

    Attributes:
        known: whether the catalog has the track.
    """

    uri: str
    title: str
    artist: str
    playable: bool
    known: bool


def names(service: Service, uris: Iterable[str]) -> list[Named]:
    """Tracks by name; an unknown track appears under its uri."""
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
    """Current feedback of a listener."""

    skipped: list[Named]
    banned: list[Named]
    artists: list[str]


def feedback(service: Service, personal: PersonalData) -> Message:
    """Skips of the session, and current bans."""
    ended = zip(personal.tracks, personal.outcomes, strict=True)
    skipped = dict.fromkeys(uri for uri, outcome in ended if outcome == Outcome.SKIPPED)
    return Message(
        names(service, skipped),
        names(service, personal.banned_tracks),
        list(personal.banned_artists),
    )


@dataclass(frozen=True)
class Flash:
    """The last action in words, and the action that undoes it."""

    text: str
    undo: str | None = None


_DONE = {
    "skip": ("Skipped {}. It does not come again here.", None),
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
    """The last action in words; None if its effect is visible anyway."""
    if did not in _DONE:
        return None
    text, undo = _DONE[did]
    row = service.bundles.live.rows.get(what)
    if row is None and not did.endswith("artist"):
        return None if "{}" in text else Flash(text)
    name = what if row is None else _dashed(service.bundles.live.catalog.label(row))
    return Flash(text.format(name), f"{undo} {what}" if undo else None)
