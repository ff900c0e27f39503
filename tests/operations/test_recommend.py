"""Answers with names: which of many reasons are printed; what a listener's dataset says of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.evaluation_worlds import train_bundle
from support.session_worlds import plain, write_sessions

from segue.cli import run
from segue.errors import UsageError
from segue.models.personal import Personal
from segue.models.popularity import Popularity
from segue.operations.answers import brief
from segue.operations.recommend import long_term_history
from segue.queries import MAX_PAST, Reason


def reasons(*amounts: float, rest: float | None = None) -> list[Reason]:
    some = [Reason("feature", f"f{i}", a) for i, a in enumerate(amounts)]
    if rest is not None:
        some.append(Reason("rest", None, rest))
    return sorted(some, key=lambda reason: -reason.amount)


def shown(some: list[Reason], most: int) -> list[tuple[str, float]]:
    return [(str(r.what or r.kind), r.amount) for r in brief(some, most)]


def test_the_largest_are_kept_for_and_against_and_the_others_are_the_rest() -> None:
    many = reasons(0.5, -3, 2, 0.25, -0.125)
    assert shown(many, 2) == [("f2", 2), ("f1", -3), ("rest", 0.625)]
    assert shown(many, 3) == [("f2", 2), ("f0", 0.5), ("f1", -3), ("rest", 0.125)]


def test_the_models_own_rest_is_in_the_rest() -> None:
    assert shown(reasons(4, 2, 1, rest=8), 2) == [("f0", 4), ("f1", 2), ("rest", 9)]


def test_few_reasons_are_left_alone() -> None:
    few = reasons(2, -1, rest=5)
    assert brief(few, 2) == few
    assert brief([], 2) == []


@given(st.lists(st.floats(-1e6, 1e6), max_size=30), st.integers(1, 9))
def test_parts_still_add_up(amounts: list[float], most: int) -> None:
    parts = shown(reasons(*amounts, rest=1.5), most)
    assert len(parts) <= most + 1
    assert math.isclose(
        math.fsum(amount for _, amount in parts), math.fsum([*amounts, 1.5]), abs_tol=1e-6
    )


def test_the_past_is_what_was_played_oldest_first_and_known_to_the_catalog(tmp_path: Path) -> None:
    learned = write_sessions(tmp_path / "a", [(0, 0, plain(0, 1, 2, 3, 4, 5))], tracks=6)
    own = write_sessions(
        tmp_path / "b", [(0, 2000, plain(4, -3, 30, 4)), (0, 1000, plain(2, -1, 5))]
    )
    assert long_term_history(own, train_bundle(learned).catalog) == [2, 5, 4, 4]


def test_the_past_is_the_latest_that_a_query_may_have(tmp_path: Path) -> None:
    many = [(0, 100 * s, plain(*range(40))) for s in range(MAX_PAST // 40 + 1)]
    own = write_sessions(tmp_path / "d", [(0, 0, plain(0, 0)), *many])
    past = long_term_history(own, train_bundle(own).catalog)
    assert len(past) == MAX_PAST
    assert past[-3:] == [37, 38, 39]


def test_a_past_of_unknown_tracks_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = write_sessions(tmp_path / "a", [(0, 0, plain(0, 1, 2))], tracks=3)
    write_sessions(tmp_path / "b", [(0, 0, plain(7, 8))])
    train_bundle(learned).save(tmp_path / "bundle")
    asked = ["continue", str(tmp_path / "bundle"), "--past", str(tmp_path / "b")]
    assert run([*asked, "--track", "Title 1"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "past" in line]
    assert line.endswith("b: nothing of this past is in the catalog: --past changes nothing")


def test_a_past_is_that_of_one_listener(tmp_path: Path) -> None:
    two = write_sessions(tmp_path / "d", [(0, 0, plain(0, 1)), (1, 0, plain(2, 3))])
    with pytest.raises(UsageError, match="d: has 2 listeners; a past is that of one"):
        long_term_history(two, train_bundle(two).catalog)


def test_continue_answers_from_the_past_alone_and_beside_a_track(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_sessions(tmp_path / "d", [(0, 0, plain(7, 8, 9)), (0, 100, plain(9, 7))])
    train_bundle(own, None, Personal).save(tmp_path / "b")
    asked = ["continue", str(tmp_path / "b"), "--past", str(tmp_path / "d"), "--format", "csv"]
    uris = own.tracks["uri"].to_pylist()

    def answered(*further: str) -> list[str]:
        assert run([*asked, *further]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        return [next(uri for uri in uris if f"{uri}," in line) for line in lines]

    assert answered("-n", "3") == [uris[9], uris[7], uris[8]]
    assert answered("-n", "2", "--track", uris[9]) == [uris[7], uris[8]]


def test_a_past_that_the_model_does_not_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_sessions(tmp_path / "d", [(0, 0, plain(7, 8, 9))])
    for kind in (Popularity, Personal):
        train_bundle(own, None, kind).save(tmp_path / kind.name)
        assert run(["continue", str(tmp_path / kind.name), "--past", str(tmp_path / "d")]) == 0
        said = "does not read the past: --past changes nothing" in capsys.readouterr().err
        assert said == (kind is Popularity)
