"""What a listener comes back to."""

import numpy as np
import pytest

from segue.models.recency import habits, recent_plays


def test_recent_plays_by_hand():
    tracks, plays = recent_plays(np.array([7, 3, 7, 7], np.int32), half_life=1.0)
    assert tracks.tolist() == [3, 7]
    assert plays.tolist() == [0.25, 1 + 0.5 + 0.125]


def test_what_followed_the_last_track_counts_most():
    past = np.array([1, 2, 3, 9, 1, 4], np.int32)
    tracks, plays = habits(past, np.array([5, 1], np.int32), half_life=1e6)
    worth = dict(zip(tracks.tolist(), plays.tolist(), strict=True))
    # After track 1 came 2, 3, 9 the first time and 4 the second; track 5 is not in the past.
    expected = {1: 2, 2: 1 + 30, 3: 1 + 15, 4: 1 + 30, 9: 1 + 7.5}
    assert worth == pytest.approx(expected, rel=1e-4)


def test_earlier_tracks_of_the_history_count_less():
    past = np.array([1, 2, 8, 8, 8, 3, 4], np.int32)
    tracks, plays = habits(past, np.array([3, 1], np.int32), half_life=1e6)
    worth = dict(zip(tracks.tolist(), plays.tolist(), strict=True))
    assert worth[2] == pytest.approx(1 + 30, rel=1e-4)
    assert worth[4] == pytest.approx(1 + 15, rel=1e-4)


def test_nothing_of_the_past_is_nothing():
    for history in ([], [1]):
        tracks, plays = habits(np.zeros(0, np.int32), np.array(history, np.int32), 100.0)
        assert not len(tracks)
        assert not len(plays)
