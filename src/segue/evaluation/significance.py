"""Confidence intervals, paired tests, and correction for multiple comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from segue.metrics.ranking import Float64

CONFIDENCE = 0.95
MIN_CLUSTERS = 30
"""Minimum number of clusters for cluster-robust standard errors."""

Clusters = npt.NDArray[np.integer[Any]] | None
"""Cluster of each value, such as its listener; None: values are independent. (values,)"""


class Estimate(msgspec.Struct, frozen=True):
    """A mean and its 95 % confidence interval.

    Undefined ones are null: the mean of no values, the interval of one value or of a figure that is
    no mean.
    """

    mean: float | None
    ci95: tuple[float, float] | None


class Comparison(msgspec.Struct, frozen=True):
    """Two bundles on the same queries, by one metric.

    Attributes:
        a, b: names of the bundles.
        metric: name of the metric.
        difference: mean of (a - b) over the queries, with its interval.
        p: two-sided p-value of the paired t-test; null with fewer than two queries.
        p_holm: p after Holm's correction over all comparisons of one evaluation.
        queries: number of queries with values of both bundles.
    """

    a: str
    b: str
    metric: str
    difference: Estimate
    p: float | None
    p_holm: float | None
    queries: int


def _spread(values: Float64, clusters: Clusters) -> tuple[float, int]:
    """Standard error of the mean of some values, and its degrees of freedom.

    With G clusters, se^2 = G / (G - 1) * sum over clusters of (sum of (x - mean))^2 / n^2: values
    of one cluster may depend on each other in any way (Cameron & Miller, "A Practitioner's Guide
    to Cluster-Robust Inference", 2015, section II). Where each value is its own cluster this is the
    usual s / sqrt(n). Fewer than `MIN_CLUSTERS` clusters say too little, and are not heeded.
    """
    rest = values - values.mean()
    groups = len(values)
    if clusters is not None:
        distinct, which = np.unique(clusters, return_inverse=True)
        if len(distinct) >= MIN_CLUSTERS:
            rest, groups = np.bincount(which, rest), len(distinct)
    return float(np.sqrt(groups / (groups - 1) * (rest**2).sum()) / len(values)), groups - 1


def _known(values: npt.ArrayLike, clusters: Clusters) -> tuple[Float64, Clusters]:
    """The values that are not NaN, and their clusters."""
    every = np.asarray(values, np.float64)
    known = ~np.isnan(every)
    return every[known], None if clusters is None else clusters[known]


def estimate(values: npt.ArrayLike, clusters: Clusters = None) -> Estimate:
    """Mean and t-interval of values; NaN do not count."""
    known, clusters = _known(values, clusters)
    n = len(known)
    if n == 0:
        return Estimate(None, None)
    mean = float(known.mean())
    if n == 1:
        return Estimate(mean, None)
    error, freedom = _spread(known, clusters)
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2) * error)
    return Estimate(mean, (mean - half, mean + half))


def paired_p(differences: npt.ArrayLike, clusters: Clusters = None) -> float | None:
    """Two-sided p-value of the paired t-test: are these differences around 0?

    The t-test is the one that keeps its level best on measures of retrieval, skewed as they are:
    Urbano, Lima & Hanjalic, "Statistical Significance Testing in Information Retrieval", 2019.
    """
    d, clusters = _known(differences, clusters)
    if len(d) < 2:
        return None
    if not d.any():
        return 1.0
    error, freedom = _spread(d, clusters)
    if error == 0:
        return 0.0
    return float(2 * stdtr(freedom, -abs(d.mean()) / error))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the chance of any false alarm among all stays at the level.

    The i-th smallest of m (from 0) becomes the largest of (m - j) p_j over j <= i, at most 1.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]


def compare(
    values: Mapping[str, Mapping[str, Float64]], clusters: Clusters = None
) -> list[Comparison]:
    """Every pair of bundles by every metric, corrected together.

    Args:
        values: values of the queries, by bundle and metric. (queries,)
        clusters: clusters of the queries.
    """
    drafts = []
    for a, b in combinations(values, 2):
        for metric in values[a]:
            d = values[a][metric] - values[b][metric]
            p = paired_p(d, clusters)
            drafts.append((a, b, metric, estimate(d, clusters), p, int((~np.isnan(d)).sum())))
    corrected = iter(holm([p for *_, p, _ in drafts if p is not None]))
    return [
        Comparison(a, b, metric, difference, p, None if p is None else next(corrected), queries)
        for a, b, metric, difference, p, queries in drafts
    ]
