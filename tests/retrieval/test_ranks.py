"""Places of given tracks: counted without ranking, and the same as in the ranking."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.numeric.ragged import Ragged
from segue.retrieval.ranks import ranks_among, ranks_of_products, ranks_of_scores
from segue.retrieval.topk import best_of_products, best_of_scores


def test_places_are_counted_by_score_then_track() -> None:
    scores = np.array([[3, 1, 2, 3, 0], [0, 0, 0, 0, 0]], np.float32)
    targets = Ragged.of_lists([[0, 3, 2, 1, 4], [4, 0]])
    found = ranks_of_scores(scores, Ragged.of_lists([[], [1]]), targets)
    # The second query may not be answered track 1, so that 4 comes after 0, 2 and 3.
    assert found.tolist() == [0, 1, 2, 3, 4, 3, 0]


def test_what_is_never_answered_has_the_size_of_the_catalog() -> None:
    scores = np.array([[1, 2, 3]], np.float32)
    found = ranks_of_scores(scores, Ragged.of_lists([[2]]), Ragged.of_lists([[0, 1, 2]]))
    assert found.tolist() == [1, 0, 3]


def ranked(best: tuple[np.ndarray, np.ndarray, np.ndarray], size: int) -> list[list[int]]:
    """Place of every track by the complete ranking."""
    places = []
    for tracks, _, count in zip(*best, strict=True):
        place = np.full(size, size)
        place[tracks[:count]] = np.arange(count)
        places.append(place.tolist())
    return places


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 300),
    factors=st.integers(0, 40),
    scale=st.sampled_from([0.0, 1e-30, 1.0, 1e10, 1e25]),
    steps=st.sampled_from([None, 2, 1000]),
)
def test_places_by_products_are_those_of_the_ranking(
    seed: int, size: int, factors: int, scale: float, steps: int | None
) -> None:
    """Also where many tracks tie, lie within rounding of each other, or leave float32."""
    rng = np.random.default_rng(seed)
    queries, vectors = (rng.normal(size=(n, factors)) for n in (5, size))
    if steps:
        queries, vectors = (np.round(v * steps) / steps for v in (queries, vectors))
    vectors = np.repeat(vectors, 1 + seed % 3, axis=0)[:size]
    queries, vectors = (queries * scale).astype(np.float32), (vectors * scale).astype(np.float32)
    bias = (rng.integers(-2, 3, size) * (seed % 2)).astype(np.float32)
    banned = [rng.permutation(size)[: rng.integers(0, size + 1)] for _ in range(5)]
    excluded = Ragged.of_lists([np.sort(some) for some in banned])
    every = Ragged.repeat(np.arange(size, dtype=np.int32), 5)
    arguments = (queries, vectors, bias, excluded)
    found = ranks_of_products(*arguments, every)
    assert found.reshape(5, size).tolist() == ranked(best_of_products(*arguments, size), size)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 500])
def test_places_by_scores_are_those_of_the_ranking(size: int) -> None:
    rng = np.random.default_rng(size)
    scores = rng.integers(0, 20, (7, size)).astype(np.float32)
    excluded = Ragged.repeat(np.arange(0, size, 7, dtype=np.int32), 7)
    every = Ragged.repeat(np.arange(size, dtype=np.int32), 7)
    found = ranks_of_scores(scores.copy(), excluded, every)
    assert found.reshape(7, size).tolist() == ranked(best_of_scores(scores, excluded, size), size)


def test_places_among_some_tracks_pass_over_the_others() -> None:
    values = np.array([1, 5, 5, 2, 9], np.float32)
    candidates = Ragged.of_lists([[4, 7, 3], [1, 2]])
    found = ranks_among(values, Ragged.of_lists([[4], []]), candidates)
    assert found.tolist() == [5, 1, 0, 1, 0]
