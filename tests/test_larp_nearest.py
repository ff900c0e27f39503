"""The top "nearest" of LARP: each seed finds its own neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from segue.models.larp_nearest import Nearest
from segue.models.larp_tops import ItemKnn

E0, E1, BETWEEN = [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]
CONTENT = np.array([E0, E1, BETWEEN, [2.0, 0.0], [0.0, 0.0]], np.float32)
NONE = np.zeros(0, np.int32)


def scores(temperature: float, seeds: list[int]) -> np.ndarray:
    top = Nearest(temperature)
    histories = np.array([0, len(seeds)]), np.array(seeds, np.int32)
    everything = np.arange(len(CONTENT), dtype=np.int32)
    ends = np.array([0, len(everything)])
    return top.values(top.tracks(CONTENT), histories, ends, everything)


def test_a_score_is_the_sum_of_what_fades_with_the_distance_from_each_seed():
    half = np.exp((np.sqrt(0.5) - 1) / 0.5)
    far = np.exp(-1 / 0.5)
    # Of equal content 1; a quarter turn exp(-1/θ), of an eighth exp((cos - 1)/θ); lengths do not
    # matter, and of what nothing is known the cosine is 0.
    expected = [1 + far, 1 + far, 2 * half, 1 + far, 2 * far]
    np.testing.assert_allclose(scores(0.5, [0, 1]), expected, rtol=1e-6)


def test_neighbours_of_a_seed_come_before_what_lies_between_all_of_them():
    sharp = scores(0.05, [0, 1])
    assert sharp[3] > sharp[2]  # the very like of one seed
    mean = ItemKnn().queries(CONTENT[[0, 1]].mean(axis=0, keepdims=True))
    between = (ItemKnn().tracks(Nearest(1).tracks(CONTENT)) @ mean.T)[:, 0]
    assert between[2] > between[3]


def test_parts_of_a_score_add_up():
    top = Nearest(0.1)
    seeds, tracks = np.array([0, 1], np.int32), np.array([2, 3], np.int32)
    parts = top.parts(top.tracks(CONTENT), seeds, tracks)
    assert parts.shape == (2, 2)
    np.testing.assert_allclose(parts.sum(axis=1), scores(0.1, [0, 1])[[2, 3]], rtol=1e-6)


def test_lists_and_places_follow_the_scores_in_blocks_of_any_size(monkeypatch):
    rng = np.random.default_rng(0)
    top, content = Nearest(0.2), rng.standard_normal((50, 6)).astype(np.float32)
    units = top.tracks(content)
    seeds = rng.integers(0, 50, 12).astype(np.int32)
    histories = np.array([0, 3, 3, 7, 12]), seeds
    none = np.zeros(5, np.int64)
    whole = top.best(units, histories, none, NONE, 50)
    monkeypatch.setattr("segue.models.larp_nearest._BLOCK_BYTES", 4 * 50 * 2)
    parted = top.best(units, histories, none, NONE, 50)
    for a, b in zip(whole, parted, strict=True):
        assert a.tobytes() == b.tobytes()
    tracks = np.tile(np.arange(50, dtype=np.int32), 4)
    places = top.places(units, histories, none, NONE, 50 * np.arange(5), tracks).reshape(4, 50)
    for q in range(4):
        assert places[q, whole[0][q]].tolist() == list(range(50))
    values = top.values(units, histories, 50 * np.arange(5), tracks).reshape(4, 50)
    assert values[1].tolist() == [0.0] * 50
    with pytest.raises(IndexError):
        top.values(units, histories, np.array([0, 1, 1, 1, 1]), np.array([50], np.int32))
