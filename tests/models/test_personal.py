"""Personal top: the listener's own tracks by how often and how lately; then popularity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.session_worlds import plain, write_sessions

from segue.errors import UsageError
from segue.models.personal import Personal
from segue.queries import MAX_PAST, Queries, Query


@pytest.fixture(scope="module")
def personal(tmp_path_factory: pytest.TempPathFactory) -> Personal:
    """Track t is played by 8 - t listeners."""
    sessions = [(who, 0, plain(*range(8 - who))) for who in range(8)]
    dataset = write_sessions(tmp_path_factory.mktemp("personal") / "d", sessions, tracks=10)
    return Personal(half_life=2).fit(dataset)


def test_own_tracks_come_first_by_plays_and_recency(personal: Personal) -> None:
    query = Query(tracks=(0,), past=(9, 9, 5, 7))
    slate = personal.recommend(Queries.of([query]), 10)[0]
    # 9 was played 3 and 2 listens ago, 5 one, 7 none: 2^-1.5 + 2^-1, 2^-0.5, 1.
    assert slate.tracks.tolist() == [7, 9, 5, 1, 2, 3, 4, 6, 8]
    assert slate.scores[:3] == pytest.approx([2, 1 + 2**-1.5 + 2**-1, 1 + 2**-0.5])
    assert (slate.scores[3:] < 1).all()
    assert slate.served_by == "personal"


def test_what_the_session_had_is_not_answered_again(personal: Personal) -> None:
    slate = personal.recommend(Queries.of([Query(tracks=(7,), past=(7, 9))]), 1)[0]
    assert slate.tracks.tolist() == [9]


def test_without_a_past_popularity_answers(personal: Personal) -> None:
    slates = personal.recommend(Queries.of([Query(tracks=(1,)), Query(past=(9,))]), 3)
    assert slates.served_by == ["popularity", "personal"]
    assert slates.tracks.tolist() == [[0, 2, 3], [9, 0, 1]]


def test_reasons_are_the_own_plays_or_popularity(personal: Personal) -> None:
    query = Query(tracks=(0,), past=(9, 9, 5, 7))
    slate = personal.recommend(Queries.of([query]), 10)[0]
    for reasons, track, score in zip(
        personal.explain(query, slate.tracks), slate.tracks, slate.scores, strict=True
    ):
        (reason,) = reasons
        assert reason.amount == pytest.approx(score)
        own = track in query.past
        assert (reason.kind, reason.what) == (("track", track) if own else ("popularity", None))


def test_slices_of_a_batch_keep_their_pasts(personal: Personal) -> None:
    queries = Queries.of([Query(past=(1, 2)), Query(), Query(past=(3,)), Query(past=(4, 5, 5))])
    whole = personal.recommend(queries, 10)
    for q in range(4):
        assert personal.recommend(queries[q : q + 1], 10).tracks[0].tolist() == (
            whole.tracks[q].tolist()
        )


def test_a_past_that_is_too_long_or_unknown_is_refused(personal: Personal) -> None:
    with pytest.raises(UsageError, match="past of 1001 tracks, the limit is 1000"):
        Queries.of([Query(past=[1] * (MAX_PAST + 1))])
    with pytest.raises(UsageError, match=r"outside 0\.\.9"):
        personal.recommend(Queries.of([Query(past=(10,))]), 1)


def test_an_empty_catalog_of_plays_is_no_division_by_zero(tmp_path: Path) -> None:
    dataset = write_sessions(tmp_path / "d", [(0, 0, plain(-1, -2))], tracks=3)
    slate = Personal().fit(dataset).recommend(Queries.of([Query(past=(2,))]), 3)[0]
    assert slate.tracks.tolist() == [2, 0, 1]
    assert np.isfinite(slate.scores).all()
