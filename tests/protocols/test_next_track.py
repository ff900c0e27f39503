"""Protocols of sessions: what is shown, what is asked, what training may see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.session_worlds import (
    FINISHED,
    SKIPPED,
    Session,
    plain,
    random_sessions,
    write_sessions,
)

from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.data.sessions import Sessions
from segue.errors import DataError
from segue.protocols import next_track
from segue.protocols.base import PROTOCOLS, Split, Test
from segue.protocols.fingerprints import learned_hashes, session_hashes
from segue.protocols.session_split import SessionRows, halve

NAMES = ["next", "next-last", "next-sampled", "skips"]
BY_SESSION = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_sessions(tmp_path_factory.mktemp("sessions") / "d", random_sessions())


def part(offsets: np.ndarray, values: np.ndarray, q: int) -> list[int]:
    return values[offsets[q] : offsets[q + 1]].tolist()


def history(test: Test, q: int) -> list[int]:
    return part(test.queries.offsets, test.queries.tracks, q)


def truth(test: Test, q: int) -> list[int]:
    return test.truth.row(q).tolist()


def against(test: Test, q: int) -> list[int]:
    assert test.against is not None
    return test.against.row(q).tolist()


def past(test: Test, q: int) -> list[int]:
    first, last = test.queries.past_spans[q]
    return test.queries.past[first:last].tolist()


def learned(split: Split) -> list[tuple[int, ...]]:
    """The training side: the listens of each session that are left."""
    listens = split.train.listens.select(["session", "track", "outcome"]).to_pylist()
    return sorted(tuple(row.values()) for row in listens)


def test_next_asks_for_the_last_track_that_is_new_and_not_skipped(tmp_path: Path) -> None:
    dataset = write_sessions(
        tmp_path / "d",
        [
            (0, 0, plain(1, 2, 3)),
            (0, 100, plain(4, -5, 6, 4, -7)),  # 6 is the last; 4 came before, 7 is skipped
            (1, 100, plain(8, -9)),  # nothing after the first is played
            (1, 200, plain(3)),  # a session of one track
            (2, 300, plain(-1, -2)),
            (2, 400, [(1, SKIPPED), (2, int(Outcome.UNKNOWN))]),  # unknown is not negative
        ],
    )
    test = PROTOCOLS["next"].every(dataset, 0)
    assert test.sources.tolist() == [0, 1, 5]
    assert [history(test, q) for q in range(3)] == [[1, 2], [4, 5], [1]]
    assert [truth(test, q) for q in range(3)] == [[3], [6], [2]]
    assert test.queries.outcomes.tolist() == [FINISHED] * 3 + [SKIPPED] * 2
    assert test.slices.tolist() == ["after no skip", "after a skip", "after a skip"]
    assert test.listeners is not None
    assert test.listeners.tolist() == [0, 0, 2]


def test_skips_cuts_a_session_at_its_middle(tmp_path: Path) -> None:
    unknown = (9, int(Outcome.UNKNOWN))
    dataset = write_sessions(
        tmp_path / "d",
        [
            (0, 0, plain(1, -2, 3, -4, 5, -6, 6, 2, -3)),  # 4 shown; then 5 played, 6 skipped
            (0, 50, plain(1, 2, 3)),  # too short
            (0, 100, plain(1, 2, -3, -4)),  # nothing played later
            (0, 150, plain(1, 2, 3, 4)),  # nothing skipped later
            (0, 200, [*plain(7, 8), unknown, *plain(-5, 4, 3)]),  # unknown in the first half
            (0, 300, [*plain(1, 2), unknown, *plain(-5)]),  # unknown is not played
        ],
    )
    test = PROTOCOLS["skips"].every(dataset, 0)
    assert test.sources.tolist() == [0, 4]
    assert [history(test, q) for q in range(2)] == [[1, 2, 3, 4], [7, 8, 9]]
    assert [truth(test, q) for q in range(2)] == [[5], [3, 4]]
    assert [against(test, q) for q in range(2)] == [[6], [5]]
    assert test.slices.tolist() == ["after a skip", "after no skip"]


def test_the_past_is_what_was_not_skipped_in_earlier_sessions(tmp_path: Path) -> None:
    dataset = write_sessions(
        tmp_path / "d",
        [
            (0, 500, plain(1, 2)),  # written first, heard last
            (0, 100, plain(3, -4, 5)),
            (0, 300, plain(3, 6)),
            (1, 50, plain(7, 8)),
        ],
    )
    test = PROTOCOLS["next"].every(dataset, 0)
    assert [past(test, q) for q in range(4)] == [[3, 5, 3, 6], [], [3, 5], []]


def test_the_past_is_the_latest_thousand(tmp_path: Path) -> None:
    sessions: list[Session] = [
        (0, 1000 * s, plain(*(int(t) for t in np.arange(300) % 40))) for s in range(5)
    ]
    test = PROTOCOLS["next"].every(write_sessions(tmp_path / "d", sessions), 0)
    assert np.diff(test.queries.past_spans).ravel().tolist() == [0, 300, 600, 900, 1000]
    assert past(test, 4)[-300:] == (np.arange(300) % 40).tolist()


@BY_SESSION
@pytest.mark.parametrize("everything", [False, True])
def test_no_answer_is_in_its_history(name: str, everything: bool, world: Dataset) -> None:
    how = PROTOCOLS[name]
    test = how.every(world, 0) if everything else how.split(world, 0).test
    assert len(test) > 10
    for q in range(len(test)):
        shown = set(history(test, q))
        assert shown
        assert len(truth(test, q)) == 1 or name == "skips"
        assert shown.isdisjoint(truth(test, q))
        if name == "skips":
            assert shown.isdisjoint(against(test, q))
            assert set(truth(test, q)).isdisjoint(against(test, q))


@pytest.mark.parametrize("name", ["next", "skips"])
def test_training_ends_where_the_test_begins(name: str, world: Dataset) -> None:
    split = PROTOCOLS[name].split(world, 0)
    starts = Sessions.of(world).starts[split.test.sources]
    times = split.train.listens["time"].cast("int64").to_numpy()
    assert times.max() < starts.min()
    every = Sessions.of(world).starts
    assert (every >= starts.min()).mean() == pytest.approx(0.1, abs=0.01)
    assert len(times) == (world.listens["time"].cast("int64").to_numpy() < starts.min()).sum()
    assert "training has what was heard before" in split.test.notes[0]


def test_next_and_skips_leave_the_same_to_training(world: Dataset) -> None:
    assert learned(PROTOCOLS["next"].split(world, 0)) == learned(PROTOCOLS["skips"].split(world, 0))


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1000),
    change=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 4)), min_size=1, max_size=9),
)
def test_nothing_from_the_split_on_changes_training(
    seed: int, change: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("leak")
    sessions = random_sessions(60, 6, seed=seed)

    def training(name: str) -> tuple[Dataset, set[int]]:
        dataset = write_sessions(path / name, sessions)
        halves = halve(dataset, SessionRows.of(dataset), 0.1, 0)
        return dataset.narrowed(listens=halves.keep), set(halves.tested.tolist())

    before, tested = training("before")
    cut = min(sessions[s][1] or 0 for s in tested)
    for s, (listener, start, listens) in enumerate(sessions):
        assert start is not None
        other = [change[i % len(change)] if start + i >= cut else x for i, x in enumerate(listens)]
        sessions[s] = (listener, start, other)
    after, _ = training("after")
    assert before.listens.equals(after.listens)
    assert (before.plays() != after.plays()).nnz == 0


def test_a_session_across_the_split_is_cut(tmp_path: Path) -> None:
    sessions: list[Session] = [(0, 100 * i, plain(1, 2, 3)) for i in range(9)]
    sessions += [(1, 898, plain(4, 5, 6, 7)), (2, 900, plain(8, 9))]
    split = PROTOCOLS["next"].split(write_sessions(tmp_path / "d", sessions), 0)
    assert split.test.sources.tolist() == [10]
    assert [row[1] for row in learned(split) if row[0] == 9] == [4, 5]


def test_sessions_without_times_are_drawn_and_it_is_said(tmp_path: Path) -> None:
    dataset = write_sessions(tmp_path / "d", random_sessions(200, timed=False))
    one, again, other = (PROTOCOLS["next"].split(dataset, seed) for seed in (0, 0, 1))
    assert 10 <= len(one.test) <= 20
    assert learned(one) == learned(again)
    assert set(one.test.sources.tolist()) != set(other.test.sources.tolist())
    tested = set(one.test.sources.tolist())
    assert not tested & {row[0] for row in learned(one)}
    assert "no times" in one.test.notes[0]


def test_listens_without_a_time_are_on_neither_side(tmp_path: Path) -> None:
    sessions: list[Session] = [(0, 100 * i, plain(1, 2, 3)) for i in range(20)]
    sessions.append((1, None, plain(4, 5)))
    split = PROTOCOLS["next"].split(write_sessions(tmp_path / "d", sessions), 0)
    assert not {4, 5} & {row[1] for row in learned(split)}
    assert "2 listens without a time are on neither side" in split.test.notes


def test_next_last_cuts_every_session_at_its_target(tmp_path: Path) -> None:
    sessions: list[Session] = [
        (0, 0, plain(1, 2, 3, -4)),
        (0, 10, plain(5, -6)),
        (1, 20, plain(7, 8)),
    ]
    split = PROTOCOLS["next-last"].split(write_sessions(tmp_path / "d", sessions), 0)
    assert [row[:2] for row in learned(split)] == [(0, 1), (0, 2), (1, 5), (1, 6), (2, 7)]
    assert [truth(split.test, q) for q in range(2)] == [[3], [8]]
    assert "later than those of the test" in split.test.notes[0]


def test_next_sampled_draws_candidates_and_says_so(world: Dataset) -> None:
    split = PROTOCOLS["next-sampled"].split(world, 0)
    assert split.test.candidates is not None
    assert split.test.candidates.shape == (-(-len(split.test) // 128), 40)
    assert "sampled" in split.test.notes[0]
    assert "not be compared" in split.test.notes[0]
    assert learned(split) == learned(PROTOCOLS["next-last"].split(world, 0))


def test_many_sessions_are_drawn(world: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_track, "MOST_SESSIONS", 20)
    whole = PROTOCOLS["next-last"].every(world, 0)
    test = PROTOCOLS["next-last"].split(world, 0).test
    assert len(test) == 20
    assert test.sources.tolist() == sorted(set(test.sources.tolist()))
    assert test.sources.max() > len(whole) // 2 > test.sources.min()
    assert f"20 of {len(whole)} sessions that can be asked were drawn" in test.notes


@BY_SESSION
def test_a_dataset_without_sessions_to_ask_is_an_error(name: str, tmp_path: Path) -> None:
    sessions: list[Session] = [(0, 10 * i, plain(1, -2)) for i in range(20)]
    dataset = write_sessions(tmp_path / "d", sessions)
    for split in (PROTOCOLS[name].split, PROTOCOLS[name].every):
        with pytest.raises(DataError, match=f"no session.*protocol {name} needs sessions"):
            split(dataset, 0)


# Hashes of what was learned


def test_a_session_has_the_same_hash_in_any_dataset(tmp_path: Path) -> None:
    one = write_sessions(tmp_path / "a", [(0, 5, plain(1, 2)), (1, 9, plain(3, -4))])
    # Another catalog size, other listeners, other outcomes.
    two = write_sessions(
        tmp_path / "b", [(0, 9, plain(-3, 4)), (2, 5, plain(1, 2)), (3, 5, plain(2, 1))], 50
    )
    first, second = session_hashes(one).tolist(), session_hashes(two).tolist()
    assert first == [second[1], second[0]]
    assert len({*first, *second}) == 3
    assert set(first) <= set(learned_hashes(one).tolist())


def test_another_time_or_end_is_another_session(tmp_path: Path) -> None:
    sessions: list[Session] = [(0, 5, plain(1, 2)), (0, 6, plain(1, 2)), (1, 5, plain(1, 2, 3))]
    assert len(set(session_hashes(write_sessions(tmp_path / "d", sessions)).tolist())) == 3


def test_short_sessions_without_a_time_are_nobodys(tmp_path: Path) -> None:
    sessions: list[Session] = [(0, None, plain(1, 2)), (1, None, plain(1, 2, 3, 4, 5))]
    hashes = session_hashes(write_sessions(tmp_path / "d", sessions))
    assert hashes[0] == 0
    assert hashes[1] != 0
