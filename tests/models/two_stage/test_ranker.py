"""Training of the second stage: what it learns, and that its trees are the library's."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from support.optional import optional

from segue.errors import ConfigError, DataError
from segue.models.two_stage import ranker
from segue.models.two_stage.ranker import RankerConfig, RankerRows, fit_ranker, trees_of

xgboost = optional("xgboost")
OBJECTIVES = ["pointwise", "pairwise", "listwise", "ungrouped"]


def eager(**settings: Any) -> RankerConfig:
    """Settings for few rows."""
    return RankerConfig(**{"leaf_weight": 1.0, "learning_rate": 0.1} | settings)


def planted(seed: int, queries: int = 60, size: int = 40) -> RankerRows:
    """The best tenth of each query by x0 + (x1 > 0) x2; x3 is the query's own, x4 to x7 noise."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((queries, size, 8)).astype(np.float32)
    features[:, :, 3] = features[:, :1, 3]
    features[:, :, 5] = np.round(features[:, :, 5])
    hidden = features[:, :, 0] + (features[:, :, 1] > 0) * features[:, :, 2]
    labels = hidden >= np.sort(hidden, 1)[:, -size // 10, None]
    return RankerRows(
        features.reshape(-1, 8),
        labels.reshape(-1).astype(np.int8),
        np.full(queries, size),
        np.ones(queries * size, np.float32),
    )


def accuracy(scores: np.ndarray, rows: RankerRows) -> float:
    """Share of pairs of a positive and a negative of a query in the right order."""
    ends = np.cumsum(rows.sizes)
    parts = []
    for first, last in zip(ends - rows.sizes, ends, strict=True):
        own, labels = scores[first:last], rows.labels[first:last] > 0
        order = own[labels][:, None] - own[~labels][None]
        parts.append((order > 0).mean() + (order == 0).mean() / 2)
    return float(np.mean(parts))


def same(one, other) -> bool:
    a, b = one.tensors("r"), other.tensors("r")
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_true_labels_are_recovered_and_permuted_ones_are_not(objective):
    rows, unseen = planted(0), planted(1)
    config = eager(objective=objective, trees=30, depth=4)
    assert accuracy(fit_ranker(rows, config).score(unseen.features), unseen) > 0.9
    order = np.random.default_rng(2).permutation(len(rows.labels))
    chance = fit_ranker(rows._replace(labels=rows.labels[order]), config)
    assert 0.4 < accuracy(chance.score(unseen.features), unseen) < 0.6


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_trees_give_what_the_library_predicts(objective):
    rows, unseen = planted(0), planted(1)
    config = eager(objective=objective, trees=40, depth=6)
    data = ranker._matrix(xgboost, rows, 1, objective)
    booster = xgboost.train(ranker._parameters(rows, config, 3, 1), data, config.trees)
    start = np.log(rows.labels.mean() / (1 - rows.labels.mean())) * (objective == "pointwise")
    trees = trees_of(booster)
    for features in (rows.features, unseen.features, np.zeros((1, 8), np.float32)):
        expected = booster.predict(xgboost.DMatrix(features), output_margin=True) - start
        np.testing.assert_allclose(trees.score(features), expected, atol=1e-5)
    leaves = booster.predict(xgboost.DMatrix(unseen.features), pred_leaf=True)
    assert len(trees.roots) == leaves.shape[1] == 40


def test_a_row_at_a_threshold_goes_where_the_library_sends_it():
    rows, config = planted(0), eager(objective="pairwise", depth=3)
    data = ranker._matrix(xgboost, rows, 1, config.objective)
    booster = xgboost.train(ranker._parameters(rows, config, 0, 1), data, 5)
    trees = trees_of(booster)
    inner = np.flatnonzero(trees.feature >= 0)
    at = np.repeat(rows.features[:1], 3 * len(inner), 0)
    for i, node in enumerate(inner):
        threshold = trees.threshold[node]
        below, above = np.nextafter(threshold, np.float32([-np.inf, np.inf]), dtype=np.float32)
        at[3 * i : 3 * i + 3, trees.feature[node]] = [below, threshold, above]
    expected = booster.predict(xgboost.DMatrix(at))
    np.testing.assert_allclose(trees.score(at), expected, atol=1e-6)


def test_an_inner_value_is_the_mean_of_the_leaves_below_by_cover():
    tree = {
        "left_children": [1, -1, 3, -1, -1],
        "right_children": [2, -1, 4, -1, -1],
        "split_indices": [1, 0, 0, 0, 0],
        "split_conditions": [2.0, -1.0, 0.5, 3.0, 5.0],
        "sum_hessian": [8.0, 6.0, 2.0, 1.0, 1.0],
    }
    trees = ranker._flat([tree, tree])
    assert trees.value.tolist() == [0.25, -1, 4, 3, 5] * 2
    assert trees.left.tolist() == [1, 0, 3, 0, 0, 6, 0, 8, 0, 0]
    assert trees.roots.tolist() == [0, 5]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_seed_gives_the_same_trees_on_any_number_of_threads(objective, monkeypatch):
    rows = planted(0)
    config = eager(objective=objective, trees=8, depth=4)
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(ranker, "get_num_threads", lambda threads=threads: threads)
        found.append(fit_ranker(rows, config, seed=5))
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    assert not same(found[0], fit_ranker(rows, config, seed=6))


def test_queries_matter_to_pairs_and_lists_unless_ungrouped():
    rows = planted(0)
    whole = rows._replace(sizes=np.array([len(rows.labels)]))
    for objective in OBJECTIVES:
        config = eager(objective=objective, trees=3, depth=3)
        ignored = same(fit_ranker(rows, config), fit_ranker(whole, config))
        assert ignored == (objective in ("pointwise", "ungrouped"))


def test_a_row_of_weight_three_is_three_rows():
    rows = planted(0, queries=20)
    rows = rows._replace(features=rows.features.round(1))  # so few values that all are thresholds
    times = np.random.default_rng(1).integers(1, 4, len(rows.labels))
    repeated = RankerRows(
        np.repeat(rows.features, times, axis=0),
        np.repeat(rows.labels, times),
        np.array([times.sum()]),
        np.ones(times.sum(), np.float32),
    )
    config = eager(trees=10, depth=4, columns=1.0, rows=1.0)
    weighted = fit_ranker(rows._replace(weights=times.astype(np.float32)), config)
    plain = fit_ranker(rows, config).score(rows.features)
    scores = weighted.score(rows.features)
    np.testing.assert_allclose(
        scores, fit_ranker(repeated, config).score(rows.features), rtol=1e-4, atol=1e-4
    )
    assert np.abs(scores - plain).max() > 0.1


def test_the_share_of_positives_orders_nothing_and_is_not_in_the_score():
    rows = planted(0)
    rare = rows._replace(weights=np.where(rows.labels > 0, 0.01, 1).astype(np.float32))
    assert (fit_ranker(rare, eager(trees=0)).score(rows.features) == 0).all()
    # Scores are log odds against that share: for a row like the mean they are about 0.
    noise = RankerRows(rows.features[:, 4:], rows.labels, rows.sizes, rare.weights)
    trees = fit_ranker(noise, eager(trees=3, depth=1))
    assert np.abs(trees.score(noise.features)).max() < 0.2


def test_weights_are_for_the_pointwise_objective_alone():
    rows = planted(0)
    heavy = rows._replace(weights=(1 + np.arange(len(rows.labels)) % 3).astype(np.float32))
    for objective in OBJECTIVES:
        config = eager(objective=objective, trees=3, depth=3)
        ignored = same(fit_ranker(rows, config), fit_ranker(heavy, config))
        assert ignored == (objective != "pointwise")


def test_no_trees_and_no_rows_are_allowed():
    assert len(fit_ranker(planted(0), eager(trees=0)).roots) == 0
    none = RankerRows(*(part[:0] for part in planted(0)))
    assert len(fit_ranker(none, RankerConfig()).roots) == 0


def test_what_cannot_be_trained_on_is_refused():
    rows = planted(0)
    bad = rows.features.copy()
    bad[7, 3] = np.nan
    with pytest.raises(DataError, match="not finite"):
        fit_ranker(rows._replace(features=bad), RankerConfig())
    with pytest.raises(DataError, match="2400 rows"):
        fit_ranker(rows._replace(labels=rows.labels[1:]), RankerConfig())
    with pytest.raises(DataError, match="2400 rows"):
        fit_ranker(rows._replace(sizes=rows.sizes[1:]), RankerConfig())
    with pytest.raises(DataError, match="2400 rows"):
        fit_ranker(rows._replace(weights=rows.weights[1:]), RankerConfig())
    with pytest.raises(ConfigError, match="depth"):
        RankerConfig.make({"depth": 0})


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ConfigError, match=r"segue\[ranker\]"):
        fit_ranker(planted(0), RankerConfig())
