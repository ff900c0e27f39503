"""The top "nearest" of LARP: each seed finds its own neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from segue.metrics.recall import recalls_by
from segue.models.base.recommender import TrainingOptions
from segue.models.larp.heads.base import ItemKNNHead
from segue.models.larp.heads.config import NearestConfig
from segue.models.larp.heads.nearest import Nearest
from segue.numeric.ragged import Ragged
from segue.numeric.vectors import units

E0, E1, BETWEEN = [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]
CONTENT = np.array([E0, E1, BETWEEN, [2.0, 0.0], [0.0, 0.0]], np.float32)


def scores(temperature: float, seeds: list[int]) -> np.ndarray:
    top = Nearest(temperature)
    everything = Ragged.of_lists([np.arange(len(CONTENT))])
    return top.values(top.tracks(CONTENT), Ragged.of_lists([seeds]), everything)


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
    mean = ItemKNNHead().queries(CONTENT[[0, 1]].mean(axis=0, keepdims=True))
    between = (ItemKNNHead().tracks(Nearest(1).tracks(CONTENT)) @ mean.T)[:, 0]
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
    histories = Ragged(np.array([0, 3, 3, 7, 12]), seeds)
    none = Ragged.of_lists([[]] * 4)
    whole = top.best(units, histories, none, 50)
    monkeypatch.setattr("segue.models.larp.heads.nearest._BLOCK_BYTES", 4 * 50 * 2)
    parted = top.best(units, histories, none, 50)
    for a, b in zip(whole, parted, strict=True):
        assert a.tobytes() == b.tobytes()
    tracks = Ragged.repeat(np.arange(50, dtype=np.int32), 4)
    places = top.ranks(units, histories, none, tracks).reshape(4, 50)
    for q in range(4):
        assert places[q, whole[0][q]].tolist() == list(range(50))
    values = top.values(units, histories, tracks).reshape(4, 50)
    assert values[1].tolist() == [0.0] * 50
    with pytest.raises(IndexError):
        top.values(units, histories, Ragged.of_lists([[50], [], [], []]))


def clusters(spread: float, groups: int = 3) -> tuple[np.ndarray, sp.csr_matrix]:
    """200 tracks around 20 points, and playlists of the tracks around some of these points."""
    rng = np.random.default_rng(0)
    group = np.arange(200) % 20
    content = rng.standard_normal((20, 16))[group] + spread * rng.standard_normal((200, 16))
    lists = np.stack([np.isin(group, rng.permutation(20)[:groups]) for _ in range(60)])
    return content.astype(np.float32), sp.csr_matrix(lists.astype(np.float32))


def test_where_the_temperature_is_not_given_it_is_what_held_tracks_are_found_by_best():
    held = np.arange(200)
    sharp = Nearest.learn(*clusters(0.3), NearestConfig(), TrainingOptions(0), held).temperature
    # Much noise, which only many seeds together drown.
    wide = Nearest.learn(
        *clusters(2.0, groups=1), NearestConfig(), TrainingOptions(0), held
    ).temperature
    assert sharp < 0.1 < wide


def test_a_temperature_that_was_chosen_is_what_a_bundle_brings_back():
    content, plays = clusters(0.3)
    top = Nearest.learn(content, plays, NearestConfig(), TrainingOptions(1))
    back = Nearest.restore(dict(top.arrays), "", 16, NearestConfig())
    assert back.temperature == top.temperature


def test_without_playlists_of_held_tracks_the_temperature_is_in_the_middle():
    content, plays = clusters(0.3)
    top = Nearest.learn(content, plays, NearestConfig(), TrainingOptions(1), np.arange(2))
    assert top.temperature == pytest.approx(0.1)


def test_recall_by_a_sharp_temperature_finds_the_very_like_of_a_seed(monkeypatch):
    """Seeds are a and b. A sharp θ ranks what is very like a first, a wide one what is between."""
    monkeypatch.setattr("segue.metrics.recall.HITS", 1)
    a, b = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    like_a, between = a + 0.3 * np.eye(3)[2], a + b
    content = units(np.array([a, b, like_a, between], np.float32))
    lists = [np.array([0, 1])], [np.array([2])]
    assert recalls_by([0.02, 5.0], content, *lists).tolist() == [1.0, 0.0]
    lists = lists[0] * 2, [np.array([2]), np.array([3, 2])]
    assert recalls_by([0.02, 5.0], content, *lists).tolist() == [0.75, 0.25]
