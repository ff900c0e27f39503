"""item-knn and user-knn against their formulas worked out by hand and by dense arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support import worlds

from segue.data.dataset import Dataset
from segue.models.base.recommender import RECOMMENDERS, Recommender
from segue.queries import Queries, Query

LISTS = [[0, 1, 2], [0, 1], [1, 3], [4, 5], [5]]
"""plays: track 0 and 5: 2, track 1: 3, tracks 2, 3, 4: 1, track 6: 0; 10 entries."""


@pytest.fixture
def five(tmp_path: Path) -> Dataset:
    return worlds.make(tmp_path / "five", LISTS, tracks=7)


def scores(recommender: Recommender, *tracks: int) -> npt.NDArray[np.float32]:
    return recommender.scores(Queries.of([Query(tracks=tracks)]))[0]  # type: ignore[attr-defined]


def test_item_knn_is_the_cosine_of_the_columns(five: Dataset) -> None:
    item = RECOMMENDERS["item-knn"](beta=1).fit(five)
    got = scores(item, 0)
    # cos(0, 1) = 2 / sqrt(2 * 3), cos(0, 2) = 1 / sqrt(2 * 1), nothing with 3
    np.testing.assert_allclose(got[:3], [1.0, 2 / 6**0.5, 1 / 2**0.5], rtol=1e-6)


def test_item_knn_sums_over_the_history_and_a_repeat_counts_once(five: Dataset) -> None:
    item = RECOMMENDERS["item-knn"](beta=1).fit(five)
    both = scores(item, 0) + np.where(scores(item, 3) > 0, scores(item, 3), 0)
    assert scores(item, 0, 3)[1] == pytest.approx(both[1])
    assert scores(item, 0, 3, 0).tobytes() == scores(item, 0, 3).tobytes()


def test_beta_multiplies_by_the_share_of_entries(five: Dataset) -> None:
    plain, other = (scores(RECOMMENDERS["item-knn"](beta=b).fit(five), 0) for b in (1, 0.6))
    assert other[1] / plain[1] == pytest.approx(0.3**-0.4)
    assert other[2] / plain[2] == pytest.approx(0.1**-0.4)
    user = (scores(RECOMMENDERS["user-knn"](beta=b).fit(five), 0) for b in (1, 1.5))
    plain, other = user
    assert other[1] / plain[1] == pytest.approx(0.3**0.5)


def test_user_knn_sums_the_similarity_of_playlists_that_share_a_track(five: Dataset) -> None:
    got = scores(RECOMMENDERS["user-knn"](beta=1).fit(five), 0)
    # rows of length 1: 1/sqrt 3 and 1/sqrt 2 for the playlists 0 and 1; column 0 has then the
    # length sqrt(1/3 + 1/2)
    column = (1 / 3 + 1 / 2) ** 0.5
    first, second = 3**-0.5 / column, 2**-0.5 / column
    np.testing.assert_allclose(got[:3], [first + second, first + second, first], rtol=1e-6)
    assert got[3] < 0


def test_only_the_nearest_neighbours_vote_and_among_equals_the_first(tmp_path: Path) -> None:
    twins = worlds.make(tmp_path / "twins", [[0, 1], [0, 2], [0, 3], [0, 4, 5, 6]])
    fit = RECOMMENDERS["user-knn"](beta=1, neighbours=2).fit(twins)
    got = scores(fit, 0)
    assert got[1] > 0
    assert got[2] > 0
    assert (got[3:] < 0).all()


def test_more_neighbours_than_there_are_are_all(five: Dataset) -> None:
    every, most = (RECOMMENDERS["user-knn"](neighbours=n).fit(five) for n in (5, 10**30))
    assert scores(most, 0).tolist() == scores(every, 0).tolist()


@pytest.mark.parametrize("name", ["item-knn", "user-knn"])
def test_tracks_without_evidence_come_last_by_popularity(name: str, five: Dataset) -> None:
    fit = RECOMMENDERS[name]().fit(five)
    slate = fit.recommend(Queries.of([Query(tracks=(3,))]), 7)[0]
    assert slate.tracks.tolist() == [1, 0, 5, 2, 4, 6]
    assert slate.scores[0] > 0
    # -1 / (1 + plays)
    np.testing.assert_allclose(slate.scores[1:], [-1 / 3, -1 / 3, -1 / 2, -1 / 2, -1], rtol=1e-6)
    kinds = [some[0].kind for some in fit.explain(Query(tracks=(3,)), slate.tracks)]
    assert kinds == ["track"] + ["popularity"] * 5


def test_reasons_of_item_knn_are_the_cosines_with_each_track(five: Dataset) -> None:
    item = RECOMMENDERS["item-knn"](beta=1).fit(five)
    (some,) = item.explain(Query(tracks=(0, 3)), np.array([1], np.int32))
    assert [(reason.kind, reason.what) for reason in some] == [("track", 0), ("track", 3)]
    assert [reason.amount for reason in some] == pytest.approx([2 / 6**0.5, 1 / 3**0.5])


@pytest.mark.parametrize("seed", range(3))
def test_both_agree_with_dense_arithmetic(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.choice(40, rng.integers(1, 12), replace=False).tolist() for _ in range(60)]
    data = worlds.make(tmp_path / "random", lists, tracks=40)
    dense = (data.plays().toarray() > 0).astype(float)
    n = np.maximum(dense.sum(axis=0), 1)
    share = dense.sum(axis=0) / dense.sum()
    popular = np.where(share > 0, share, 1.0)
    history = [3, 8, 21]

    cosine = dense.T @ dense / np.sqrt(np.outer(n, n))
    want = cosine[history].sum(axis=0) * popular ** (1.3 - 1)
    got = scores(RECOMMENDERS["item-knn"](beta=1.3).fit(data), *history)
    np.testing.assert_allclose(got[want > 0], want[want > 0], rtol=1e-5)
    assert (got[want == 0] < 0).all()

    rows = dense / np.sqrt(np.maximum(dense.sum(axis=1, keepdims=True), 1))
    rows /= np.sqrt(np.maximum((rows**2).sum(axis=0), 1e-12))
    similar = rows[:, history].sum(axis=1)
    nearest = np.argsort(-similar, kind="stable")[:7]
    want = (similar[nearest] @ dense[nearest]) * popular ** (0.8 - 1)
    got = scores(RECOMMENDERS["user-knn"](beta=0.8, neighbours=7).fit(data), *history)
    np.testing.assert_allclose(got[want > 0], want[want > 0], rtol=1e-5)
    assert (got[want == 0] < 0).all()
