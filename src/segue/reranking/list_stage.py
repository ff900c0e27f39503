"""The list stage: turns a ranking into a list.

It removes duplicates, moves rare tracks forward, and spreads artists and albums. All of it is off
by default and in evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segue.catalog.catalog import Catalog
from segue.catalog.recordings import Recordings
from segue.errors import UsageError
from segue.models.base.recommender import Recommender
from segue.numeric.arrays import Int32
from segue.queries import Queries, Query, Slate

_ROUNDING = 1e-9
"""Tolerance for rounding: 7 % of 100 are 7, also in floats."""


@dataclass(frozen=True)
class ListStage:
    """Rules of a list beyond its ranking.

    Attributes:
        one_recording: answer a recording once, also where the catalog has it under several uris
            (see `Recordings`), and not at all where the history has it.
        artist_spacing: an artist does not come again within this many places.
        album_spacing: an album does not come again within this many places.
        cold_quota: share of the list, from 0 to 1, that nobody played in training, at least. Of
            the k tracks that this makes of a list of n (rounded up), the j-th stands at the place
            n j / k (rounded down, from 1) or before, so that they spread evenly; those with the
            highest scores are taken, and where they come by themselves nothing is changed.
        adventure: how far the list goes from the safe choice, a in 0 to 1. The best
            m = ceil(n (1 + 9 a)) tracks after duplicates come in the order of

                (1 - a) * place by the model + a * place by rarity

            lowest first, ties by the model's place; by rarity the track with the fewest plays in
            training is first, ties again by the model's place. So 0 is the model's order, and 1
            the rarest n of the best 10 n, where tracks that nobody played come before all others.
            Tracks beyond the m follow in the model's order; they come only where spacing or quota
            would else not be kept, which act on this order. Scores stay those of the model.

    Spacing counts from the end of the history, which is what played last. Nothing here shortens a
    list: where every remaining track breaks the spacing, the best of them is taken, and where no
    cold track is left, others fill the list. The quota goes before the spacing.

    Raises:
        UsageError: a spacing is negative, or the quota or the adventure is not from 0 to 1.
    """

    one_recording: bool = False
    artist_spacing: int = 0
    album_spacing: int = 0
    cold_quota: float = 0.0
    adventure: float = 0.0

    def __post_init__(self) -> None:
        for name in ("artist_spacing", "album_spacing"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"{name} is {getattr(self, name)}", do="give 0 (off) or a number of places"
                )
        if not 0 <= self.cold_quota <= 1:
            raise UsageError(f"cold_quota is {self.cold_quota}", do="give a share from 0 to 1")
        if not 0 <= self.adventure <= 1:
            raise UsageError(f"adventure is {self.adventure}", do="give a number from 0 to 1")

    @property
    def spreads(self) -> bool:
        """Whether spacing or quota may move tracks."""
        return bool(self.artist_spacing or self.album_spacing or self.cold_quota)

    def pool(self, n: int) -> int:
        """Number of best tracks that compete for a list of n, before spacing and quota."""
        return math.ceil(n * (1 + 9 * self.adventure) - _ROUNDING)


def continue_playlist(
    recommender: Recommender, query: Query, n: int, stage: ListStage | None = None
) -> Slate:
    """The list for one query: exactly min(n, available tracks after duplicates).

    Places are filled one after the other with the first remaining track, in the order of the
    adventure, that the quota and the spacing allow.
    The recommender ranks deeper until the list is decided, up to the whole catalog.

    Raises:
        UsageError: n is below 1, or the query is malformed.
    """
    return continue_playlists(recommender, [query], [n], [stage or ListStage()])[0]


def continue_playlists(
    recommender: Recommender,
    queries: Sequence[Query],
    ns: Sequence[int],
    stages: Sequence[ListStage],
) -> list[Slate]:
    """The lists for several queries, each as `continue_playlist` gives it alone.

    The recommender ranks them in one batch, as deep as the deepest list among them needs at
    first; only those that are not decided by that are ranked again, deeper.

    Args:
        recommender: ranks the tracks.
        queries, ns, stages: query, number of tracks, and rules of each list.

    Raises:
        UsageError: an n is below 1, or a query is malformed.
    """
    asked = list(zip(queries, ns, stages, strict=True))
    for q, n in enumerate(ns):
        if n < 1:
            raise UsageError(f"n is {n}", where=f"query {q}", do="ask for at least 1 track")
    catalog = recommender.catalog
    lists: dict[int, Slate] = {}
    # Required depth of the ranking for each undecided query.
    asks = {q: stage.pool(n) for q, (_, n, stage) in enumerate(asked)}
    while asks:
        deepest = max(asks.values())
        batch = recommender.recommend(Queries.of([queries[q] for q in asks]), deepest)
        for (q, ask), ranked in zip(list(asks.items()), batch, strict=True):
            while ask <= deepest:
                first = Slate(ranked.tracks[:ask], ranked.scores[:ask], ranked.served_by)
                exhausted = len(first.tracks) < ask or ask >= len(catalog)
                slate = _listed(catalog, *asked[q], first, exhausted)
                if slate:
                    lists[q] = slate
                    del asks[q]
                    break
                asks[q] = ask = min(2 * ask, len(catalog))
    return [lists[q] for q in range(len(asked))]


def _listed(
    catalog: Catalog, query: Query, n: int, stage: ListStage, ranked: Slate, exhausted: bool
) -> Slate | None:
    """The list of n from the best tracks; None if the decision needs more tracks."""
    keep = np.arange(len(ranked.tracks))
    if stage.one_recording:
        keep = Recordings(catalog, query.tracks).first_of_each(ranked.tracks)
    pool = keep[: stage.pool(n)]
    if len(pool) < stage.pool(n) and not exhausted:
        return None
    keep[: len(pool)] = pool[_adventurous(catalog.plays[ranked.tracks[pool]], stage.adventure)]
    if stage.spreads:
        keep = keep[_arranged(catalog, query.tracks, ranked.tracks[keep], n, stage, exhausted)]
    if len(keep) < n and not exhausted:
        return None
    keep = keep[:n]
    return Slate(ranked.tracks[keep], ranked.scores[keep], ranked.served_by)


def _adventurous(plays: npt.NDArray[np.int32], adventure: float) -> npt.NDArray[np.int64]:
    """Positions of tracks, given best first by their plays, in the order of the adventure."""
    place = np.arange(len(plays))
    rarity = np.empty(len(plays), np.int64)
    rarity[np.argsort(plays, kind="stable")] = place
    far = (1 - adventure) * place + adventure * rarity
    return np.argsort(far.round(6), kind="stable")  # rounded, so that ties are ties in floats too


def _arranged(
    catalog: Catalog,
    history: Iterable[int],
    tracks: Int32,
    n: int,
    stage: ListStage,
    exhausted: bool,
) -> npt.NDArray[np.int64]:
    """Positions in `tracks` of the first n places; fewer if the decision needs more tracks."""
    rules = []
    before = np.fromiter(history, np.int64)
    for spacing, columns in (
        (stage.artist_spacing, ("artist_uri", "artist")),
        (stage.album_spacing, ("album_uri", "album")),
    ):
        if spacing:
            codes = catalog.codes(*columns)
            rules.append((codes[tracks], codes[before[-spacing:]].tolist(), spacing))
    cold = catalog.plays[tracks] == 0
    size = min(n, len(tracks)) if exhausted else n
    due = _due(size, stage.cold_quota)
    left = np.ones(len(tracks), np.bool_)
    places: list[int] = []
    while len(places) < min(n, len(tracks)):
        preferred = left & cold if due[len(places)] > cold[places].sum() else left
        if exhausted and not preferred.any():
            preferred = left
        allowed = preferred.copy()
        for codes, recent, spacing in rules:
            allowed &= ~np.isin(codes, [code for code in recent[-spacing:] if code >= 0])
        if not allowed.any():
            if not exhausted:
                break
            allowed = preferred
        place = int(np.argmax(allowed))
        left[place] = False
        places.append(place)
        for codes, recent, _ in rules:
            recent.append(int(codes[place]))
    return np.array(places, np.int64)


def _due(n: int, share: float) -> npt.NDArray[np.int64]:
    """Minimum number of cold tracks down to each place of a list of n. (n,)"""
    count = math.ceil(n * share - _ROUNDING)
    latest = n * np.arange(1, count + 1) // max(1, count)
    return np.searchsorted(latest, np.arange(1, n + 1), side="right")
