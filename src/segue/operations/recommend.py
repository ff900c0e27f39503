"""Queries from the words of a user, and the long-term history of a listener."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from segue.catalog.catalog import Catalog
from segue.data.schema import Outcome
from segue.errors import UsageError
from segue.queries import MAX_PAST, Query

if TYPE_CHECKING:
    from segue.data.dataset import Dataset


def query_of(
    catalog: Catalog,
    *,
    tracks: Sequence[str] = (),
    skipped: Sequence[str] = (),
    title: str | None = None,
    bans: Sequence[str] = (),
    banned_artists: Sequence[str] = (),
    past: Sequence[int] = (),
    seeds: Sequence[int] = (),
    find: Callable[[str], int] | None = None,
) -> Query:
    """Build a query from text: each track is a uri, or words of its title and artist.

    Args:
        catalog: catalog of the bundle.
        tracks: played tracks, oldest first.
        skipped: tracks skipped after those.
        title: title of the playlist.
        bans: tracks to leave out.
        banned_artists: names or uris of artists to leave out.
        past: catalog rows of plays in earlier sessions, from `long_term_history`.
        seeds: catalog rows of a playlist, before `tracks`.
        find: catalog row of a track from its text; None: as `TrackSearch.find`.

    Raises:
        UsageError: a track or artist is unknown or ambiguous, or there is nothing to go by.
    """
    if not tracks and not seeds and not skipped and not past and not (title and title.strip()):
        raise UsageError("nothing to go by", do="give a track or a title")
    find = find or (lambda text: catalog.names.find(text).row)
    played, passed, banned = (list(map(find, texts)) for texts in (tracks, skipped, bans))
    for name in banned_artists:
        banned += catalog.names.of_artist(name)
    return Query(
        tracks=[*seeds, *played, *passed],
        outcomes=[Outcome.FINISHED] * (len(seeds) + len(played)) + [Outcome.SKIPPED] * len(passed),
        title=title,
        bans=banned,
        past=past,
    )


def long_term_history(dataset: Dataset, catalog: Catalog) -> list[int]:
    """Plays of a dataset's one listener in all sessions, as `Query.past`.

    Returns the latest `MAX_PAST` plays as catalog rows, oldest first. Skipped and disliked tracks
    and tracks outside the catalog do not count.

    Raises:
        UsageError: the dataset has no listener, or several.
    """
    from segue.catalog.matching import match_tracks
    from segue.data.sessions import Sessions

    if dataset.listener_count != 1:
        raise UsageError(
            f"has {dataset.listener_count:,} listeners",
            where=dataset.path,
            do="a past is that of one",
        )
    sessions = Sessions.of(dataset)
    plays = sessions.tracks[~sessions.negative]
    session_starts = sessions.starts[sessions.owners[~sessions.negative]]
    rows = match_tracks(dataset.tracks, catalog)[plays[np.argsort(session_starts, kind="stable")]]
    history: list[int] = rows[rows >= 0][-MAX_PAST:].tolist()
    return history
