"""The ladder: who answers when the best model cannot, or has no time to.

two-stage → the first stage → content → title → popularity. A bundle without two stages begins with
its own model. A rung is passed over when it knows nothing of what is asked, when it would take
longer than there is time, or when it fails; the reply says so. The last one always answers.
"""

from __future__ import annotations

from typing import NamedTuple

from segue.data.schema import Outcome
from segue.models.base.recommender import POPULARITY, RECOMMENDERS, Recommender
from segue.queries import Query


class FallbackLevel(NamedTuple):
    """One step of the ladder.

    Attributes:
        name: that replies and metrics give.
        recommender: that answers. Its catalog is the first rows of the bundle's.
    """

    name: str
    recommender: Recommender

    @property
    def tracks(self) -> int:
        """That it knows."""
        return len(self.recommender.catalog)

    def reads(self, query: Query) -> Query:
        """The query without tracks that this rung has not."""
        if self.tracks > max([*query.tracks, *query.bans, *query.past], default=-1):
            return query
        n = self.tracks
        outcomes = query.outcomes or [Outcome.UNKNOWN] * len(query.tracks)
        heard = [
            (track, ended) for track, ended in zip(query.tracks, outcomes, strict=True) if track < n
        ]
        return Query(
            tracks=[track for track, _ in heard],
            outcomes=[ended for _, ended in heard],
            title=query.title,
            bans=[track for track in query.bans if track < n],
            past=[track for track in query.past if track < n],
        )


def ladder_of(recommender: Recommender) -> list[FallbackLevel]:
    """The rungs of a bundle, best first."""
    rungs = [FallbackLevel(recommender.name, recommender)]
    if recommender.name == POPULARITY:
        return rungs
    parts = recommender.fallbacks()
    rungs += [FallbackLevel(name, part) for name, part in parts.items() if name != "title"]
    if recommender.name != "content":
        rungs.append(_plain("content", recommender))
    if "title" in parts:
        rungs.append(FallbackLevel("title", parts["title"]))
    return [*rungs, _plain(POPULARITY, recommender)]


def _plain(name: str, recommender: Recommender) -> FallbackLevel:
    """A model that needs nothing but the catalog."""
    plain = RECOMMENDERS[name]()
    plain.catalog = recommender.catalog
    return FallbackLevel(name, plain)
