"""The fallback chain: models that answer when the best one cannot, or has no time.

two-stage → the first stage → content → title → popularity. The chain of a bundle without two stages
begins with its model. A query skips a level that knows nothing of it, that would take too long, or
that fails; the reply says so. The last level always answers.
"""

from __future__ import annotations

from typing import NamedTuple

from segue.data.schema import Outcome
from segue.models.base.recommender import POPULARITY, RECOMMENDERS, Recommender
from segue.queries import Query


class FallbackLevel(NamedTuple):
    """One level of the fallback chain.

    Attributes:
        name: name in replies and metrics.
        recommender: model of the level. Its catalog is the first rows of the bundle's.
    """

    name: str
    recommender: Recommender

    @property
    def tracks(self) -> int:
        """Number of tracks in its catalog."""
        return len(self.recommender.catalog)

    def reads(self, query: Query) -> Query:
        """The query without tracks that this level lacks."""
        if self.tracks > max([*query.tracks, *query.bans, *query.past], default=-1):
            return query
        n = self.tracks
        outcomes = query.outcomes or [Outcome.UNKNOWN] * len(query.tracks)
        listens = [
            (track, ended) for track, ended in zip(query.tracks, outcomes, strict=True) if track < n
        ]
        return Query(
            tracks=[track for track, _ in listens],
            outcomes=[ended for _, ended in listens],
            title=query.title,
            bans=[track for track in query.bans if track < n],
            past=[track for track in query.past if track < n],
        )


def fallback_chain(recommender: Recommender) -> list[FallbackLevel]:
    """The fallback levels of a bundle, best first."""
    levels = [FallbackLevel(recommender.name, recommender)]
    if recommender.name == POPULARITY:
        return levels
    submodels = recommender.fallbacks()
    levels += [FallbackLevel(name, part) for name, part in submodels.items() if name != "title"]
    if recommender.name != "content":
        levels.append(_plain("content", recommender))
    if "title" in submodels:
        levels.append(FallbackLevel("title", submodels["title"]))
    return [*levels, _plain(POPULARITY, recommender)]


def _plain(name: str, recommender: Recommender) -> FallbackLevel:
    """Level of a model that needs only the catalog."""
    plain = RECOMMENDERS[name]()
    plain.catalog = recommender.catalog
    return FallbackLevel(name, plain)
