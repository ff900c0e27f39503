"""What a listener comes back to."""

import numpy as np
import pytest

from segue.models.base.recency import habits, recent_plays
from segue.numeric.ragged import Ragged


def one(past, history, half_life):
    """`habits` of a single query."""
    past, history = np.array(past, np.int32), np.array(history, np.int32)
    spans = np.array([[0, len(past)]])
    tracks, plays = habits(spans, past, Ragged.of_lists([history]), half_life)
    assert tracks.offsets.tolist() == [0, len(plays)]
    return tracks.values, plays


def test_recent_plays_by_hand():
    tracks, plays = recent_plays(np.array([7, 3, 7, 7], np.int32), half_life=1.0)
    assert tracks.tolist() == [3, 7]
    assert plays.tolist() == [0.25, 1 + 0.5 + 0.125]


def test_what_followed_the_last_track_counts_most():
    past = [1, 2, 3, 9, 1, 4]
    tracks, plays = one(past, [5, 1], half_life=1e6)
    worth = dict(zip(tracks.tolist(), plays.tolist(), strict=True))
    # After track 1 came 2, 3, 9 the first time and 4 the second; track 5 is not in the past.
    expected = {1: 2, 2: 1 + 30, 3: 1 + 15, 4: 1 + 30, 9: 1 + 7.5}
    assert worth == pytest.approx(expected, rel=1e-4)


def test_earlier_tracks_of_the_history_count_less():
    past = [1, 2, 8, 8, 8, 3, 4]
    tracks, plays = one(past, [3, 1], half_life=1e6)
    worth = dict(zip(tracks.tolist(), plays.tolist(), strict=True))
    assert worth[2] == pytest.approx(1 + 30, rel=1e-4)
    assert worth[4] == pytest.approx(1 + 15, rel=1e-4)


def test_nothing_of_the_past_is_nothing():
    for history in ([], [1]):
        tracks, plays = one([], history, 100.0)
        assert not len(tracks)
        assert not len(plays)


def test_pasts_that_queries_share_are_summed_for_each_alone():
    rng = np.random.default_rng(0)
    past = rng.integers(0, 12, 300).astype(np.int32)
    spans = np.array([[0, 40], [0, 90], [0, 0], [90, 300], [50, 300]])
    ends = np.array([0, 3, 3, 4, 9, 10])
    heard = rng.integers(0, 12, 10).astype(np.int32)
    tracks, plays = habits(spans, past, Ragged(ends, heard), 20.0)
    for q, (first, last) in enumerate(spans):
        alone = one(past[first:last], heard[ends[q] : ends[q + 1]], 20.0)
        assert tracks.row(q).tolist() == alone[0].tolist()
        assert plays[tracks.span(slice(q, q + 1))].tobytes() == alone[1].tobytes()
