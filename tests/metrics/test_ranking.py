"""Metrics against hand-computed values and against a slow reading of the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.errors import UsageError
from segue.metrics.contrast import played_against_skipped
from segue.metrics.ranking import ndcg, per_query

ALL = (
    *("rprec", "rprec_artist", "rprec_artist_literal", "clicks"),
    *(f"{name}@{k}" for k in (1, 3, 10, 500) for name in ("ndcg", "recall", "hr", "mrr", "map")),
)


def oracle(ranked: list[int], truth: list[int], artists: list[int], metric: str) -> float:
    """One query, straight from the formulas."""
    ranked = [track for track in ranked if track >= 0]
    goal = set(truth)
    if not goal:
        return math.nan
    name, _, cutoff = metric.partition("@")
    if name == "clicks":
        for rank, track in enumerate(ranked[:500], start=1):
            if track in goal:
                return (rank - 1) // 10
        return 51
    if name.startswith("rprec"):
        top = ranked[: len(goal)]
        hits = len(goal & set(top))
        goal_artists = {artists[track] for track in goal} - {-1}
        if name == "rprec":
            return hits / len(goal)
        if name == "rprec_artist_literal":
            return (hits + 0.25 * len({artists[t] for t in top} & goal_artists)) / len(goal)
        matched, total = set(), 0.0
        for track in top:
            if track in goal:
                total += 1
            elif artists[track] in goal_artists and artists[track] not in matched:
                matched.add(artists[track])
                total += 0.25
        return total / min(len(goal), len(ranked)) if ranked else 0.0
    k = int(cutoff)
    relevant = [track in goal for track in ranked[:k]]
    if name == "ndcg":
        ideal = sum(1 / math.log2(i + 1) for i in range(1, min(len(goal), k) + 1))
        return sum(r / math.log2(i + 1) for i, r in enumerate(relevant, start=1)) / ideal
    if name == "recall":
        return sum(relevant) / len(goal)
    if name == "hr":
        return float(any(relevant))
    if name == "mrr":
        return next((1 / i for i, r in enumerate(relevant, start=1) if r), 0.0)
    precisions = [sum(relevant[:i]) / i for i, r in enumerate(relevant, start=1) if r]
    return sum(precisions) / min(len(goal), k)


def score_one(ranked: list[int], truth: list[int], artists: list[int], metric: str) -> float:
    values = per_query(
        np.array([ranked], np.int32),
        np.array([0, len(truth)]),
        np.array(truth, np.int32),
        np.array(artists, np.int32),
        [metric],
    )
    return float(values[metric][0])


# Tracks 0..9; tracks 2a and 2a + 1 are by artist a.
PAIRS = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # R = 1 4 0 2 9, G = {0, 4, 6}; the first |G| = 3 of R are 1 4 0.
        ("rprec", 2 / 3),
        # 1 is wrong but by artist 0 of G: 1/4; 4 and 0 are hits.
        ("rprec_artist", 2.25 / 3),
        # Artists 0 and 2 of the first three are artists of G, the hits' own included: 2/4.
        ("rprec_artist_literal", 2.5 / 3),
        ("clicks", 0),
        ("ndcg@3", (1 / math.log2(3) + 0.5) / (1 + 1 / math.log2(3) + 0.5)),
        ("ndcg@500", (1 / math.log2(3) + 0.5) / (1 + 1 / math.log2(3) + 0.5)),
        ("ndcg@2", (1 / math.log2(3)) / (1 + 1 / math.log2(3))),
        ("recall@2", 1 / 3),
        ("recall@5", 2 / 3),
        ("hr@1", 0),
        ("hr@2", 1),
        ("mrr@1", 0),
        ("mrr@5", 1 / 2),
        ("map@5", (1 / 2 + 2 / 3) / 3),
        ("map@2", (1 / 2) / 2),
    ],
)
def test_hand_computed_list(metric: str, expected: float) -> None:
    assert score_one([1, 4, 0, 2, 9], [0, 4, 6], PAIRS, metric) == pytest.approx(expected)


def test_artist_is_credited_once_a_list() -> None:
    artists = [7, 7, 7, 7]
    assert score_one([1, 2, 3], [0], artists, "rprec_artist") == 0.25
    # Three wrong tracks of the one artist, three tracks of truth by that artist.
    artists = [7, 7, 7, 7, 7, 7]
    assert score_one([3, 4, 5], [0, 1, 2], artists, "rprec_artist") == pytest.approx(0.25 / 3)


def test_hit_does_not_use_up_the_credit_of_its_artist() -> None:
    # 0 is a hit, 2 is wrong and by the same artist.
    value = score_one([0, 2], [0, 1], [5, 5, 5], "rprec_artist")
    assert value == pytest.approx(1.25 / 2)
    value = score_one([0, 2], [0, 1], [5, 5, 5], "rprec_artist_literal")
    assert value == pytest.approx(1.25 / 2)
    # The literal formula gives the artist even where every track is a hit.
    assert score_one([0, 1], [0, 1], [5, 5], "rprec_artist_literal") == pytest.approx(2.25 / 2)
    assert score_one([0, 1], [0, 1], [5, 5], "rprec_artist") == 1


def test_unknown_artists_are_never_the_same_artist() -> None:
    for metric in ("rprec_artist", "rprec_artist_literal"):
        assert score_one([1], [0], [-1, -1], metric) == 0


@pytest.mark.parametrize(("rank", "clicks"), [(1, 0), (10, 0), (11, 1), (500, 49), (501, 51)])
def test_clicks_come_in_tens_and_51_is_none_in_500(rank: int, clicks: int) -> None:
    ranked = [*range(1, rank), 0, *range(rank, 600)]
    assert score_one(ranked, [0], [-1] * 600, "clicks") == clicks


def test_no_truth_is_undefined_and_no_answer_is_nought() -> None:
    for metric in ALL:
        assert math.isnan(score_one([1, 2], [], PAIRS, metric))
        nought = 51 if metric == "clicks" else 0
        assert score_one([-1, -1], [3, 4], PAIRS, metric) == nought
        assert score_one([], [3, 4], PAIRS, metric) == nought


def test_perfect_answer_scores_one() -> None:
    for metric in ALL:
        if metric.startswith(("clicks", "rprec_artist_literal", "recall@1", "recall@3")):
            continue
        assert score_one([5, 4, 3, 2, 1, 0], [1, 2, 3, 4, 5], PAIRS, metric) == pytest.approx(1)


def test_short_list_is_measured_against_the_full_ideal() -> None:
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert score_one([0], [0, 1, 2], PAIRS, "ndcg@500") == pytest.approx(1 / ideal)
    # The evaluator with artists divides by the length of a list that is shorter than the truth.
    assert score_one([0], [0, 1, 2], PAIRS, "rprec_artist") == 1


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], list[int]]:
    tracks = draw(st.integers(1, 40))
    n = draw(st.integers(0, 45))
    artists = draw(st.lists(st.integers(-1, 6), min_size=tracks, max_size=tracks))
    queries = draw(st.integers(0, 5))
    some = st.lists(st.integers(0, tracks - 1), unique=True, max_size=n)
    ranked = [draw(some) for _ in range(queries)]
    truth = [draw(st.lists(st.integers(0, tracks - 1), unique=True)) for _ in range(queries)]
    return [row + [-1] * (n - len(row)) for row in ranked], truth, artists


@given(_worlds())
@settings(max_examples=150)
def test_kernel_equals_the_formulas(
    world: tuple[list[list[int]], list[list[int]], list[int]],
) -> None:
    ranked, truth, artists = world
    n = len(ranked[0]) if ranked else 0
    values = per_query(
        np.array(ranked, np.int32).reshape(len(ranked), n),
        np.cumsum([0] + [len(some) for some in truth]),
        np.array([t for some in truth for t in some], np.int32),
        np.array(artists, np.int32),
        ALL,
    )
    for metric in ALL:
        expected = [oracle(r, g, artists, metric) for r, g in zip(ranked, truth, strict=True)]
        np.testing.assert_allclose(values[metric], expected, atol=1e-12, err_msg=metric)


@pytest.mark.parametrize("metric", ["ndcg", "rprec@5", "ndcg@0", "ndcg@x", "precision@5", ""])
def test_unknown_metric_is_an_error(metric: str) -> None:
    with pytest.raises(UsageError, match="no metric is called"):
        per_query(np.zeros((0, 1), np.int32), np.zeros(1), np.zeros(0), np.zeros(1), [metric])


@pytest.mark.parametrize(
    ("ranked", "truth"),
    [([3, 3], [3]), ([1, 2, 1], [5]), ([1, 2], [3, 3]), ([10], [1]), ([1], [10]), ([1], [-1])],
)
def test_a_track_twice_or_out_of_range_is_an_error(ranked: list[int], truth: list[int]) -> None:
    with pytest.raises(UsageError, match="query 0: the list or the truth names a track twice"):
        score_one(ranked, truth, PAIRS, "ndcg@2")


@given(_worlds(), st.integers(1, 8))
def test_ndcg_of_hits_is_that_of_the_lists(
    world: tuple[list[list[int]], list[list[int]], list[int]], k: int
) -> None:
    ranked, truth, artists = world
    hits = np.zeros((len(ranked), k), np.bool_)
    for q, tracks in enumerate(ranked):
        for place, track in enumerate(tracks[:k]):
            hits[q, place] = track in truth[q]
    expected = [
        oracle(tracks, right, artists, f"ndcg@{k}") if right else 0.0
        for tracks, right in zip(ranked, truth, strict=True)
    ]
    np.testing.assert_allclose(ndcg(hits, [len(right) for right in truth]), expected, atol=1e-12)


# Played against skipped


def test_played_against_skipped_by_hand() -> None:
    """A catalog of 100. Played stand at 0, 8 and 30 (from 0), skipped at 4 and 50."""
    found = played_against_skipped(
        np.array([0, 3]), np.array([0, 8, 30]), np.array([0, 2]), np.array([4, 50]), 100, 10
    )
    assert {name: value[0] for name, value in found.items()} == pytest.approx(
        {
            "auc": 4 / 6,  # 0 beats both, 8 and 30 beat 50
            "rank_played": 38 / 3 / 100,
            "rank_skipped": 27 / 100,
            "skip_mrr@10": 1 / 5,
            "hr@10": 1,
            "recall@10": 2 / 3,
            "delta_hr@10": 2 / 3 - 1 / 2,
        }
    )


def test_played_against_skipped_at_the_cut_off_and_beyond() -> None:
    offsets = np.array([0, 1, 2])
    found = played_against_skipped(offsets, np.array([9, 10]), offsets, np.array([10, 9]), 20, 10)
    assert found["hr@10"].tolist() == [1, 0]
    assert found["skip_mrr@10"].tolist() == [0, 1 / 10]
    assert found["delta_hr@10"].tolist() == [1, -1]
    assert found["auc"].tolist() == [1, 0]


def test_tracks_that_the_catalog_lacks_have_no_rank_and_are_no_hit() -> None:
    offsets = np.array([0, 2, 4])
    found = played_against_skipped(
        offsets, np.array([-1, 3, -1, -1]), offsets, np.array([5, -1, 2, 3]), 10, 10
    )
    assert found["auc"][0] == 1
    assert np.isnan(found["auc"][1])
    assert np.isnan(found["rank_played"][1])
    assert found["rank_skipped"].tolist() == pytest.approx([0.5, 0.25])
    assert found["recall@10"].tolist() == [0.5, 0]
    assert found["delta_hr@10"].tolist() == [0, -1]


def test_without_played_or_skipped_tracks_nothing_is_defined_that_needs_them() -> None:
    found = played_against_skipped(
        np.array([0, 0, 1]), np.array([3]), np.array([0, 1, 1]), np.array([4]), 10, 5
    )
    for metric in ("auc", "delta_hr@5"):
        assert np.isnan(found[metric]).all()
    for metric in ("rank_played", "hr@5", "recall@5"):
        assert np.isnan(found[metric]).tolist() == [True, False]
    for metric in ("rank_skipped", "skip_mrr@5"):
        assert np.isnan(found[metric]).tolist() == [False, True]


def test_a_ranking_that_is_blind_to_skips_has_no_difference() -> None:
    """Nor when many more tracks are played than skipped."""
    rng = np.random.default_rng(0)
    places = rng.permuted(np.tile(np.arange(30), (20_000, 1)), axis=1)
    ends = np.arange(20_001)
    found = played_against_skipped(
        ends * 6, places[:, :6].ravel(), ends * 2, places[:, 6:8].ravel(), 30, 10
    )
    assert found["auc"].mean() == pytest.approx(0.5, abs=0.01)
    assert found["delta_hr@10"].mean() == pytest.approx(0, abs=0.01)
    assert found["hr@10"].mean() > 0.9
