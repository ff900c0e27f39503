"""What the events of a session say of its tracks: listens with outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from segue.data.outcomes import FeedbackRule
from segue.data.schema import Outcome

PLAYED = ("play", "skip")
"""Kinds of events that are listens of their own."""
STANDING = ("like", "unlike", "ban", "unban")
"""Kinds of events that hold until they are undone."""


class TrackFeedback(NamedTuple):
    """An event, as the log has it."""

    kind: str
    track: str | None
    """None where it is about an artist."""
    outcome: str | None = None
    ms_played: int | None = None
    duration_ms: int | None = None
    """Length of the track."""


def heard(
    events: Sequence[TrackFeedback], rule: FeedbackRule
) -> tuple[list[tuple[int, Outcome]], Counter[str]]:
    """Listens of one session.

    A play ended as it says, else as the rule makes of its length; a skip is skipped. Listens of a
    track that is banned at the end of the session are disliked; one that was not played becomes a
    listen of its own where it was banned. So does, as finished, a track that was only liked.

    Args:
        events: of the session, in order.
        rule: for plays that do not say how they ended.

    Returns:
        Place in `events` and outcome of every listen, in order; and how many events say nothing
        of a listen, by reason.
    """
    played = {event.track for event in events if event.kind in PLAYED}
    standing, dropped = _standing(events)
    listens = []
    for place, event in enumerate(events):
        banned = standing["ban"].get(event.track)
        if event.kind in PLAYED:
            outcome = Outcome.DISLIKED if banned is not None else _ended(event, rule)
            listens.append((place, outcome))
        elif banned == place and event.track not in played:
            listens.append((place, Outcome.DISLIKED))
        elif standing["like"].get(event.track) == place:
            if event.track in played or banned is not None:
                dropped["like of a track that has a listen"] += 1
            else:
                listens.append((place, Outcome.FINISHED))
    return listens, dropped


def _ended(event: TrackFeedback, rule: FeedbackRule) -> Outcome:
    if event.kind == "skip":
        return Outcome.SKIPPED
    if event.outcome is not None:
        return Outcome[event.outcome.upper()]
    return rule.ended(event.ms_played, event.duration_ms)


def _standing(
    events: Sequence[TrackFeedback],
) -> tuple[dict[str, dict[str | None, int]], Counter[str]]:
    """Where each like and ban was said that stands at the end, and what does not count."""
    standing: dict[str, dict[str | None, int]] = {"like": {}, "ban": {}}
    dropped: Counter[str] = Counter()
    for place, event in enumerate(events):
        if event.kind in PLAYED:
            continue
        said = standing[event.kind.removeprefix("un")]
        if event.track is None:
            dropped["about an artist"] += 1
        elif event.kind in standing and event.track in said:
            dropped["said before"] += 1
        elif event.kind in standing:
            said[event.track] = place
        elif said.pop(event.track, None) is not None:
            dropped["undone in its session"] += 2
        else:
            dropped["undoes what another session said"] += 1
    return standing, dropped
