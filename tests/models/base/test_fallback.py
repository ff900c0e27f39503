"""The fallback to popularity, by hand."""

from __future__ import annotations

import numpy as np

from segue.models.base.fallback import PopularityFallback

PLAYS = np.array([3, 7, 7, 0, 1], np.int32)


def some(*tracks: int) -> np.ndarray:
    return np.array(tracks, np.int32)


def test_the_most_played_come_first_and_equal_ones_by_their_index() -> None:
    tracks, scores, count = PopularityFallback(PLAYS).top_n(some(), 3)
    assert tracks.tolist() == [1, 2, 0]
    assert scores.tolist() == [7, 7, 3]
    assert count == 3


def test_what_is_excluded_is_left_out_and_the_rest_is_padded() -> None:
    tracks, scores, count = PopularityFallback(PLAYS).top_n(some(0, 1, 4), 5)
    assert tracks.tolist() == [2, 3, -1, -1, -1]
    assert count == 2
    assert np.isnan(scores[2:]).all()


def test_ranks_are_places_in_the_list_and_the_size_where_excluded() -> None:
    fallback = PopularityFallback(PLAYS)
    assert fallback.rank_of(some(1), some(2, 0, 3, 1)).tolist() == [0, 1, 3, 5]
    assert fallback.rank_of(some(), some(1, 2)).tolist() == [0, 1]  # asking changes nothing
