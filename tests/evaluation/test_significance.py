"""Intervals, paired tests and Holm's correction, by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from segue.evaluation.significance import (
    Estimate,
    compare,
    estimate,
    holm,
    paired_p,
    queries_needed,
)


def test_interval_by_hand() -> None:
    # Mean 3, sd sqrt(2.5), error sqrt(2.5 / 5) = .7071, t(4, .975) = 2.7764.
    result = estimate([1, 2, 3, 4, 5])
    assert result.mean == 3
    assert result.ci95 == pytest.approx((3 - 1.9632, 3 + 1.9632), abs=1e-4)


def test_interval_equals_scipy() -> None:
    values = np.random.default_rng(0).gamma(0.5, size=200)
    expected = scipy.stats.t.interval(
        0.95, len(values) - 1, loc=values.mean(), scale=scipy.stats.sem(values)
    )
    assert estimate(values).ci95 == pytest.approx(expected)


def test_undefined_values_are_left_out_and_never_nought() -> None:
    assert estimate([1, math.nan, 2, 3]) == estimate([1, 2, 3])
    assert estimate([math.nan]).mean is None
    assert estimate([]).ci95 is None
    assert estimate([4.0]).mean == 4
    assert estimate([4.0]).ci95 is None


def test_interval_holds_the_mean_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        low, high = estimate(rng.normal(7, 2, size=12)).ci95 or (0, 0)
        held += low <= 7 <= high
    assert 0.935 < held / 2000 < 0.965


def test_seven_queries_without_a_hit_do_not_say_zero() -> None:
    # None of 7: the largest share that shows none with a chance of .025 is 1 - .025^(1/7).
    assert estimate([0.0] * 7, bounds=(0, 1)).ci95 == pytest.approx((0, 0.4096), abs=1e-4)
    assert estimate([1.0] * 7, bounds=(0, 1)).ci95 == pytest.approx((0.5904, 1), abs=1e-4)
    # Differences that are all nought: either way.
    assert estimate([0.0] * 7, bounds=(-1, 1)).ci95 == pytest.approx((-0.8193, 0.8193), abs=1e-4)


def test_where_t_leaves_the_bounds_it_is_wilson() -> None:
    # 1 of 10: (.1 + z²/20 ± z sqrt(.009 + z²/400)) / (1 + z²/10), z = 1.96.
    result = estimate([1.0] + [0.0] * 9, bounds=(0, 1))
    assert result.ci95 == pytest.approx((0.0179, 0.4042), abs=1e-4)
    clicks = estimate([51.0] + [0.0] * 9, bounds=(0, 51))
    assert clicks.ci95 == pytest.approx((51 * 0.0179, 51 * 0.4042), abs=1e-2)
    inside = [0.2, 0.4, 0.6]
    assert estimate(inside, bounds=(-9, 9)) == estimate(inside)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_intervals_of_shares_hold_them(share: float) -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(2000):
        low, high = estimate(rng.random(30) < share, bounds=(0, 1)).ci95 or (0, 0)
        held += low <= share <= high
    assert held / 2000 > 0.93


def test_how_many_queries_would_do() -> None:
    assert queries_needed(Estimate(0.3, (0.26, 0.34)), 500) is None
    assert queries_needed(Estimate(0.3, (0.2, 0.4)), 50) == 200  # four times as many halve it
    assert queries_needed(estimate([0.0] * 7, bounds=(0, 1)), 7) == 118  # 7 (.2048 / .05)²
    assert queries_needed(Estimate(0.5, None), 1) == 100
    assert queries_needed(Estimate(None, None), 0) is None


def test_paired_p_equals_scipy() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random(60), rng.random(60) + 0.05
    assert paired_p(a - b) == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue)
    d = np.where(rng.random(60) < 0.1, np.nan, a - b)
    assert paired_p(d) == pytest.approx(scipy.stats.ttest_1samp(d, 0, nan_policy="omit").pvalue)


def test_paired_p_at_the_edges() -> None:
    assert paired_p([0, 0, 0]) == 1
    assert paired_p([2, 2, 2]) == 0
    assert paired_p([2]) is None
    assert paired_p([]) is None


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made never to fall: .04 .06 .06 .06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1, 1]
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


def test_holm_keeps_the_false_alarms_of_a_table_at_the_level() -> None:
    rng = np.random.default_rng(3)
    alarms = sum(min(holm(rng.random(20).tolist())) < 0.05 for _ in range(2000))
    assert alarms / 2000 < 0.065


def test_every_pair_by_every_metric_is_corrected_together() -> None:
    rng = np.random.default_rng(4)
    values = {name: {"x": rng.random(30), "y": rng.random(30)} for name in "abc"}
    values["b"]["x"][:3] = np.nan
    rows = compare(values)
    assert [(r.a, r.b, r.metric) for r in rows] == [
        (a, b, m) for a, b in ("ab", "ac", "bc") for m in "xy"
    ]
    expected = []
    for row in rows:
        a, b = values[row.a][row.metric], values[row.b][row.metric]
        both = ~np.isnan(a) & ~np.isnan(b)
        assert row.queries == both.sum()
        test = scipy.stats.ttest_rel(a[both], b[both])
        assert row.p == pytest.approx(test.pvalue)
        assert row.difference.mean == pytest.approx((a - b)[both].mean())
        assert row.difference.ci95 == pytest.approx(tuple(test.confidence_interval(0.95)))
        expected.append(test.pvalue)
    assert [row.p_holm for row in rows] == pytest.approx(holm(expected))


def test_comparison_without_values_is_null_and_does_not_count() -> None:
    nothing = np.full(4, np.nan)
    some = np.array([1.0, 2, 3, 5])
    rows = compare({"a": {"x": some, "y": nothing}, "b": {"x": some[::-1], "y": some}})
    assert rows[1].p is None
    assert rows[1].p_holm is None
    assert rows[1].queries == 0
    assert rows[0].p_holm == rows[0].p


# Values of the same listeners


def test_clusters_of_one_change_nothing() -> None:
    values = np.random.default_rng(0).normal(size=50)
    one, each = estimate(values), estimate(values, np.arange(50))
    assert one.mean == each.mean
    assert one.ci95 == pytest.approx(each.ci95)
    assert paired_p(values) == pytest.approx(paired_p(values, np.arange(50)))


def test_values_that_are_copies_count_once_a_cluster() -> None:
    """Each value ten times over says no more than once."""
    values = np.random.default_rng(0).normal(1, 1, size=40)
    copies, clusters = np.repeat(values, 10), np.repeat(np.arange(40), 10)
    assert estimate(copies, clusters).ci95 == pytest.approx(estimate(values).ci95)
    assert paired_p(copies, clusters) == pytest.approx(paired_p(values))
    narrow, honest = estimate(copies).ci95, estimate(copies, clusters).ci95
    assert narrow is not None
    assert honest is not None
    assert narrow[1] - narrow[0] < (honest[1] - honest[0]) / 2


def test_few_clusters_are_not_heeded() -> None:
    values = np.random.default_rng(0).normal(size=290)
    assert estimate(values, np.arange(290) // 10) == estimate(values)


def test_clusters_go_with_the_values_that_are_known() -> None:
    values, clusters = np.arange(80.0) % 7, np.arange(80) // 2
    holes = np.where(np.arange(80) % 3 == 0, np.nan, values)
    known = ~np.isnan(holes)
    assert estimate(holes, clusters) == estimate(values[known], clusters[known])


def test_intervals_by_cluster_hold_the_true_mean_as_often_as_they_say() -> None:
    """Forty listeners with a taste of their own and twenty sessions each; the true mean is 0."""
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(40), 20)
    held = 0
    for _ in range(600):
        values = rng.normal(size=40)[clusters] + rng.normal(size=800)
        low, high = estimate(values, clusters).ci95 or (0, 0)
        held += low <= 0 <= high
    assert 0.93 < held / 600 < 0.97
