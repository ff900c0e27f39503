"""Answers with names: which of many reasons are printed."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from segue.asking import Answer, NamedReason, NamedTrack, brief


def answer(*amounts: float, rest: float | None = None) -> Answer:
    reasons = [NamedReason("feature", f"f{i}", None, a) for i, a in enumerate(amounts)]
    if rest is not None:
        reasons.append(NamedReason("rest", None, None, rest))
    reasons.sort(key=lambda reason: -reason.amount)
    return Answer("m", 0, False, [NamedTrack(3, "u", None, None, None, None, 1.0, reasons)])


def shown(answered: Answer, most: int) -> list[tuple[str, float]]:
    return [(r.what or r.kind, r.amount) for r in brief(answered, most).tracks[0].reasons]


def test_the_largest_are_kept_for_and_against_and_the_others_are_the_rest() -> None:
    many = answer(0.5, -3, 2, 0.25, -0.125)
    assert shown(many, 2) == [("f2", 2), ("f1", -3), ("rest", 0.625)]
    assert shown(many, 3) == [("f2", 2), ("f0", 0.5), ("f1", -3), ("rest", 0.125)]


def test_the_models_own_rest_is_in_the_rest() -> None:
    assert shown(answer(4, 2, 1, rest=8), 2) == [("f0", 4), ("f1", 2), ("rest", 9)]


def test_few_reasons_are_left_alone() -> None:
    few = answer(2, -1, rest=5)
    assert brief(few, 2) == few
    assert brief(answer(), 2) == answer()


@given(st.lists(st.floats(-1e6, 1e6), max_size=30), st.integers(1, 9))
def test_parts_still_add_up(amounts: list[float], most: int) -> None:
    parts = shown(answer(*amounts, rest=1.5), most)
    assert len(parts) <= most + 1
    assert math.isclose(
        math.fsum(amount for _, amount in parts), math.fsum([*amounts, 1.5]), abs_tol=1e-6
    )
