"""The ten playlist types: what is shown, what is hidden, what stays in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.evaluation_worlds import plain_tracks, write_dataset, write_world

from segue.data.dataset import Dataset
from segue.errors import DataError, UsageError
from segue.protocols.base import PROTOCOLS, Test, find_protocol
from segue.protocols.fingerprints import learned_hashes
from segue.protocols.playlist_cuts import MIN_TRUTH, TYPES

CHALLENGE = PROTOCOLS["challenge"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_world(tmp_path_factory.mktemp("challenge") / "world")


def history(test: Test, q: int) -> list[int]:
    return test.queries.tracks[test.queries.offsets[q] : test.queries.offsets[q + 1]].tolist()


def truth(test: Test, q: int) -> list[int]:
    return test.truth.row(q).tolist()


def entries(dataset: Dataset, playlist: int) -> list[int]:
    return dataset.entries[dataset.offsets[playlist] : dataset.offsets[playlist + 1]].tolist()


def test_types_are_those_of_the_challenge() -> None:
    assert [(k.title, k.seeds, k.random) for k in TYPES] == [
        (True, 0, False),
        (True, 1, False),
        (True, 5, False),
        (False, 5, False),
        (True, 10, False),
        (False, 10, False),
        (True, 25, False),
        (True, 25, True),
        (True, 100, False),
        (True, 100, True),
    ]


@pytest.mark.parametrize("everything", [False, True])
def test_each_query_shows_what_its_type_says(world: Dataset, everything: bool) -> None:
    test = CHALLENGE.every(world, 3) if everything else CHALLENGE.split(world, 3).test
    kinds = {kind.name: kind for kind in TYPES}
    assert set(test.slices.tolist()) == set(kinds)
    reordered = 0
    for q in range(len(test)):
        kind, playlist = kinds[test.slices[q]], int(test.sources[q])
        distinct = list(dict.fromkeys(entries(world, playlist)))
        shown = history(test, q)
        assert len(shown) == kind.seeds
        assert test.queries.titles[q] == (world.titles[playlist] if kind.title else None)
        assert not kind.title or test.queries.titles[q]
        assert shown == [t for t in distinct if t in set(shown)]
        if kind.random:
            reordered += shown != distinct[: kind.seeds]
        else:
            assert shown == distinct[: kind.seeds]
        assert truth(test, q) == sorted(set(distinct) - set(shown))
        assert len(truth(test, q)) >= MIN_TRUTH
    assert reordered > 0


def test_each_type_has_one_in_sixty_and_no_playlist_is_used_twice(world: Dataset) -> None:
    test = CHALLENGE.split(world, 0).test
    counts = dict(zip(*np.unique(test.slices, return_counts=True), strict=True))
    assert counts == {kind.name: 10 for kind in TYPES}
    assert len(set(test.sources.tolist())) == len(test) == 100


def test_training_keeps_what_is_shown_and_nothing_that_is_hidden(world: Dataset) -> None:
    split = CHALLENGE.split(world, 0)
    shown = {int(p): history(split.test, q) for q, p in enumerate(split.test.sources)}
    for playlist in range(world.playlist_count):
        expected = shown.get(playlist, entries(world, playlist))
        assert entries(split.train, playlist) == expected
    assert split.train.titles == world.titles


def test_splitting_a_view_leaves_out_what_the_view_leaves_out(world: Dataset) -> None:
    first = CHALLENGE.split(world, 0)
    second = CHALLENGE.split(first.train, 1)
    assert len(second.train.entries) == len(first.train.entries) - len(
        second.test.truth.values
    ) - sum(
        len(entries(first.train, p)) - len(set(entries(first.train, p)))
        for p in second.test.sources.tolist()
    )
    for q, playlist in enumerate(second.test.sources.tolist()):
        assert entries(second.train, playlist) == history(second.test, q)


def test_split_is_a_function_of_rows_and_seed(world: Dataset, tmp_path: Path) -> None:
    one, same = (CHALLENGE.split(d, 5).test for d in (world, write_world(tmp_path / "again")))
    other = CHALLENGE.split(world, 6).test
    for column in ("sources", "slices"):
        assert np.array_equal(getattr(one, column), getattr(same, column))
    assert one.truth.keys().tolist() == same.truth.keys().tolist()
    assert np.array_equal(one.queries.tracks, same.queries.tracks)
    assert set(one.sources.tolist()) != set(other.sources.tolist())


def test_every_playlist_of_five_tracks_becomes_one_query(world: Dataset) -> None:
    test = CHALLENGE.every(world, 0)
    usable = [
        p
        for p in range(world.playlist_count)
        if len(set(entries(world, p))) >= MIN_TRUTH + (0 if world.titles[p] else 5)
    ]
    assert sorted(test.sources.tolist()) == usable
    counts = np.unique(test.slices, return_counts=True)[1]
    assert counts.min() > 0


def test_repeats_count_where_they_first_occur(tmp_path: Path) -> None:
    lists = [[7, 7, 8, 7, 1, 2, 3, 4, 5, 8]] * 60
    dataset = write_dataset(tmp_path / "d", lists, ["x"] * 60, plain_tracks(10))
    test = CHALLENGE.split(dataset, 0).test
    q = test.slices.tolist().index("title + first 1")
    assert history(test, q) == [7]
    assert truth(test, q) == [1, 2, 3, 4, 5, 8]


def test_missing_types_are_noted(tmp_path: Path) -> None:
    lists = [list(range(12))] * 80
    dataset = write_dataset(tmp_path / "d", lists, [None, " "] * 40, plain_tracks(12))
    test = CHALLENGE.split(dataset, 0).test
    assert set(test.slices.tolist()) == {"first 5"}
    assert len(test.notes) == 9
    assert "no playlist for the type 'title only'" in test.notes


def test_scarce_long_playlists_are_shared_by_the_types_that_need_them(tmp_path: Path) -> None:
    lists = [list(range(110))] * 3 + [list(range(6))] * 297
    dataset = write_dataset(tmp_path / "d", lists, ["x"] * 300, plain_tracks(110))
    slices = CHALLENGE.split(dataset, 0).test.slices.tolist()
    assert slices.count("title + first 100") == 2
    assert slices.count("title + random 100") == 1
    assert slices.count("title + first 25") == 0
    assert slices.count("title only") == 5


def test_dataset_without_playlists_to_continue_is_an_error(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", [[0, 1], [2, 3, 4, 5, 6]], ["x", None], plain_tracks(9))
    for make in (CHALLENGE.split, CHALLENGE.every):
        with pytest.raises(DataError, match="has no playlist of 5 distinct tracks"):
            make(dataset, 0)
    empty = write_dataset(tmp_path / "e", [], [], plain_tracks(2))
    with pytest.raises(DataError, match="has no playlist"):
        CHALLENGE.split(empty, 0)


def test_unknown_protocol_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no protocol is called 'chalenge'; protocols are:"):
        find_protocol("chalenge")


# Content hashes


def test_hashes_do_not_depend_on_row_numbers(tmp_path: Path) -> None:
    tracks = plain_tracks(6)
    lists = [[0, 1, 2], [3, 4], [], [5]]
    one = write_dataset(tmp_path / "one", lists, [None] * 4, tracks)
    mirrored = [[5 - t for t in some] for some in reversed(lists)]
    other = write_dataset(tmp_path / "other", mirrored, [None] * 4, tracks[::-1])
    assert len(learned_hashes(one)) == 3
    assert np.array_equal(learned_hashes(one), learned_hashes(other))


def test_hashes_depend_on_every_track_and_on_the_order(tmp_path: Path) -> None:
    lists = [[0, 1, 2], [0, 2, 1], [0, 1], [0, 1, 3], [0, 0, 1], [1, 0], [0], [1]]
    dataset = write_dataset(tmp_path / "d", lists, [None] * len(lists), plain_tracks(4))
    hashes = learned_hashes(dataset)
    assert len(hashes) == len(lists)
    assert (np.diff(hashes.astype(object)) > 0).all()


def test_hashes_stay_what_saved_bundles_hold(tmp_path: Path) -> None:
    dataset = write_dataset(
        tmp_path / "d",
        [[0, 1], [1, 0]],
        [None] * 2,
        [{"uri": "spotify:track:a"}, {"uri": "Sigur Rós"}],
        listens={"listener": [0], "track": [1], "outcome": [1], "plays": [3]},
    )
    assert [f"{h:016x}" for h in learned_hashes(dataset).tolist()] == [
        "ab2f065a139c7618",
        "c1afb6f39794cc10",
        "c89695f3d1ad8012",
    ]


def test_hashes_are_of_the_rows_that_training_sees(world: Dataset) -> None:
    split = CHALLENGE.split(world, 0)
    full, seen = learned_hashes(world), learned_hashes(split.train)
    untouched = world.playlist_count - len(split.test)
    assert np.isin(seen, full).sum() == untouched


def test_listeners_are_hashed_by_their_plays_in_any_order(tmp_path: Path) -> None:
    def hashes(name: str, rows: list[tuple[int, int, int, int]]) -> set[int]:
        columns = dict(
            zip(("listener", "track", "outcome", "plays"), zip(*rows, strict=True), strict=True)
        )
        dataset = write_dataset(tmp_path / name, [], [], plain_tracks(5), listens=columns)
        return set(learned_hashes(dataset).tolist())

    base = hashes("a", [(0, 1, 1, 1), (0, 2, 1, 1), (1, 3, 0, 4)])
    assert len(base) == 2
    assert hashes("b", [(0, 3, 0, 4), (1, 2, 1, 1), (1, 1, 1, 1)]) == base
    assert len(hashes("c", [(0, 1, 1, 1), (0, 2, 3, 1), (1, 3, 0, 4)]) & base) == 1
    assert len(hashes("d", [(0, 1, 1, 1), (0, 2, 1, 1), (1, 3, 0, 5)]) & base) == 1
