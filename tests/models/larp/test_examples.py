"""Which tracks LARP puts together, and which playlists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.models.larp.examples import PlaylistSets, TrainingExamples

LISTS = [[3, 1, 4, 1], [2], [5, 4, 3, 2, 0], []]
"""Of 7 tracks; the last one is in none."""


def playlists(lists: list[list[int]], count: int) -> PlaylistSets:
    owners = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    return PlaylistSets.of(owners, np.array([t for one in lists for t in one], np.int64), count)


def test_repeats_and_playlists_of_one_track_are_left_out():
    some = playlists(LISTS, 7)
    assert len(some) == 2
    assert some.tracks.tolist() == [3, 1, 4, 5, 4, 3, 2, 0]
    assert some.offsets.tolist() == [0, 3, 8]
    assert (np.diff(some.starts) > 0).tolist() == [True, True, True, True, True, True, False]


def test_partners_are_other_tracks_of_a_playlist_all_of_them_at_times():
    some, rng = playlists(LISTS, 7), np.random.default_rng(0)
    tracks = np.full(4000, 3)
    mine, other = some.partners(tracks, rng)
    assert (some.tracks[mine] == 3).all()
    assert (some.owners[mine] == some.owners[other]).all()
    found, counts = np.unique(some.tracks[other], return_counts=True)
    assert found.tolist() == [0, 1, 2, 4, 5]
    # Either playlist half of the time; in each, any other track.
    shares = dict(zip(found.tolist(), counts / 4000, strict=True))
    assert shares == pytest.approx({0: 1 / 8, 1: 1 / 4, 2: 1 / 8, 4: 3 / 8, 5: 1 / 8}, abs=0.03)


def test_seeds_are_the_other_tracks_of_the_playlist_as_many_as_wanted():
    some, rng = playlists(LISTS, 7), np.random.default_rng(0)
    entries = np.array([0, 5])  # track 3 in the first playlist, and in the second
    seeds = some.seeds(entries, 3, rng, ordered=False)
    assert sorted(seeds.tracks[0][seeds.valid[0]].tolist()) == [1, 4]
    drawn = {
        tuple(sorted(some.seeds(entries, 3, rng, ordered=False).tracks[1].tolist()))
        for _ in range(100)
    }
    assert drawn == {(0, 2, 4), (0, 2, 5), (0, 4, 5), (2, 4, 5)}


def test_ordered_seeds_are_those_right_before():
    some, rng = playlists(LISTS, 7), np.random.default_rng(0)
    seeds = some.seeds(np.array([0, 2, 5, 7]), 2, rng, ordered=True)
    told = [row[valid].tolist() for row, valid in zip(*seeds, strict=True)]
    assert told == [[1, 4], [3, 1], [5, 4], [3, 2]]  # the first track has those after it


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=6),
    st.integers(1, 12),
    st.booleans(),
    st.integers(0, 5),
)
def test_no_draw_has_the_track_itself_or_one_of_another_playlist(lists, most, ordered, seed):
    some, rng = playlists(lists, 10), np.random.default_rng(seed)
    tracks = np.flatnonzero(np.diff(some.starts))
    if not len(tracks):
        return
    mine, other = some.partners(tracks, rng)
    assert (some.tracks[mine] == tracks).all()
    assert (some.tracks[other] != tracks).all()
    assert (some.owners[mine] == some.owners[other]).all()
    seeds = some.seeds(mine, most, rng, ordered=ordered)
    for entry, row, valid in zip(mine, *seeds, strict=True):
        p = some.owners[entry]
        whole = some.tracks[some.offsets[p] : some.offsets[p + 1]].tolist()
        chosen = row[valid].tolist()
        assert len(set(chosen)) == len(chosen) > 0
        assert set(chosen) <= set(whole) - {some.tracks[entry]}
        if not ordered:
            assert len(chosen) == min(most, len(whole) - 1)


def test_inside_says_which_tracks_a_playlist_has():
    found = playlists(LISTS, 7).inside(np.array([1, 0, 1]), np.array([5, 1, 3]), 7)
    assert found.tolist() == [[True, False, True], [False, True, True], [True, False, True]]


def test_some_of_the_material_has_what_is_left_of_the_playlists():
    items = (np.arange(7)[:, None],)
    material = TrainingExamples(np.arange(10, 17, dtype=np.int32), items, playlists(LISTS, 7))
    lists = [[3, 1, 4, 1], [2], [5, 4, 3, 2, 0]]
    owners = np.repeat(np.arange(3), [len(one) for one in lists])
    some = material.only(np.array([2, 3, 4]), owners, np.array([t for one in lists for t in one]))
    assert some.tracks.tolist() == [12, 13, 14]
    assert [some.items[0][i].tolist() for i in range(3)] == [[2], [3], [4]]
    assert some.playlists.tracks.tolist() == [1, 2, 2, 1, 0]
