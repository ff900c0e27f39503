"""Answers in words."""

from __future__ import annotations

from segue.operations.answers import NamedReason, NamedTrack


def track(*reasons: NamedReason) -> NamedTrack:
    return NamedTrack(0, "a", "One", "Ann", None, None, 1.0, list(reasons))


def test_a_track_that_was_played_itself_does_not_come_because_of_its_own_name() -> None:
    itself = NamedReason("track", "Ann - One", "a", 3.0)
    other = NamedReason("track", "Bob - Two", "b", 1.0)
    assert track(itself).because == "earlier plays of it 100%"
    assert track(itself, other).because == "earlier plays of it 75%, Bob - Two 25%"
    assert track(other, NamedReason("popularity", None, None, 1.0)).because == (
        "Bob - Two 50%, popularity 50%"
    )
