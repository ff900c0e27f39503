"""Confidence intervals, paired tests, and correction for multiple comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtr, stdtrit

from segue.metrics.ranking import Float64, bounds_of

CONFIDENCE = 0.95
TELLING = 0.05
"""Half of an interval that tells good models from bad ones."""
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


def estimate(
    values: npt.ArrayLike,
    clusters: Clusters = None,
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """Mean and t-interval of values; NaN do not count.

    A t-interval fails where values are few and mostly one bound. Within bounds it gives way

    - to Wilson's interval of a proportion where it would leave them, since the variance of values
      in [0, 1] with mean p is at most p (1 - p), that of a proportion (Brown, Cai & DasGupta,
      "Interval Estimation for a Binomial Proportion", 2001);
    - where all n values are equal, to what a share of others that none of n showed may still move
      the mean by: (largest - least) (1 - 0.025^(1/n)) (Clopper & Pearson 1934).

    Args:
        values: of the queries.
        clusters: of the queries.
        bounds: least and largest possible value; None: there are none.
    """
    known, clusters = _known(values, clusters)
    n = len(known)
    if n == 0:
        return Estimate(None, None)
    mean = float(known.mean())
    if n == 1:
        return Estimate(mean, None)
    error, freedom = _spread(known, clusters)
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2) * error)
    low, high = mean - half, mean + half
    if bounds is None:
        return Estimate(mean, (low, high))
    least, largest = bounds
    groups = freedom + 1
    if error == 0:
        room = (largest - least) * (1 - (0.5 - CONFIDENCE / 2) ** (1 / groups))
        low, high = mean - room, mean + room
    elif low < least or high > largest:
        z = float(ndtri(0.5 + CONFIDENCE / 2))
        p, n = (mean - least) / (largest - least), groups
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * float(np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)))
        low, high = (least + (largest - least) * end for end in (centre - half, centre + half))
    return Estimate(mean, (max(low, least), min(high, largest)))


def queries_needed(value: Estimate, queries: int) -> int | None:
    """How many queries would give an interval of `TELLING` either way; None where these do.

    Args:
        value: a mean of these queries, within [0, 1].
        queries: how many there are.
    """
    if value.mean is None:
        return None
    low, high = value.ci95 or (0.0, 1.0)
    half = (high - low) / 2
    if half <= TELLING:
        return None
    most = (ndtri(0.5 + CONFIDENCE / 2) / TELLING) ** 2 / 4  # of any values in [0, 1]
    return int(np.ceil(min(queries * (half / TELLING) ** 2, most)))


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
            least, largest = bounds_of(metric)
            difference = estimate(d, clusters, (least - largest, largest - least))
            drafts.append((a, b, metric, difference, p, int((~np.isnan(d)).sum())))
    corrected = iter(holm([p for *_, p, _ in drafts if p is not None]))
    return [
        Comparison(a, b, metric, difference, p, None if p is None else next(corrected), queries)
        for a, b, metric, difference, p, queries in drafts
    ]
