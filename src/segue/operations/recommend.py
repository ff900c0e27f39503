"""What people say when they ask, as a query; and what they are answered, with names."""

from __future__ import annotations

from collections.abc import Sequence
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
) -> Query:
    """A query from words: each track is a uri, or words of its title and artist.

    Args:
        catalog: of the bundle that is asked.
        tracks: what was played, oldest first.
        skipped: what was skipped after that.
        title: of the playlist.
        bans: tracks not to be answered.
        banned_artists: names or uris of artists not to be answered.
        past: catalog rows of what was heard in earlier sessions, from `past_of`.

    Raises:
        UsageError: a track or artist is unknown or ambiguous, or there is nothing to go by.
    """
    if not tracks and not skipped and not past and not (title and title.strip()):
        raise UsageError("nothing to go by", do="give a track or a title")
    played = [catalog.find(text) for text in tracks]
    passed = [catalog.find(text) for text in skipped]
    banned = [catalog.find(text) for text in bans]
    for name in banned_artists:
        banned += catalog.of_artist(name)
    return Query(
        tracks=[*played, *passed],
        outcomes=[Outcome.FINISHED] * len(played) + [Outcome.SKIPPED] * len(passed),
        title=title,
        bans=banned,
        past=past,
    )


def past_of(dataset: Dataset, catalog: Catalog) -> list[int]:
    """What the listener of a dataset heard in all sessions, as the past of a query.

    Without what was skipped or disliked, and without tracks that the catalog lacks; the latest
    that a query may have, oldest first, as catalog rows.

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
    heard = sessions.tracks[~sessions.negative]
    begun = sessions.starts[sessions.owners[~sessions.negative]]
    rows = match_tracks(dataset.tracks, catalog)[heard[np.argsort(begun, kind="stable")]]
    past: list[int] = rows[rows >= 0][-MAX_PAST:].tolist()
    return past
