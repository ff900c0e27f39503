"""How sure a mean and a difference are: intervals, paired tests, correction for many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from segue.evaluation.metrics import Float64

CONFIDENCE = 0.95


class Estimate(msgspec.Struct, frozen=True):
    """A mean, and the interval that holds the true one in 95 of 100 such samples.

    Null where it is not defined: the mean of nothing, the interval of a single value or of what
    is not a mean.
    """

    mean: float | None
    ci95: tuple[float, float] | None


class Comparison(msgspec.Struct, frozen=True):
    """Two bundles on the same queries, by one metric.

    Attributes:
        a, b: names of the bundles.
        metric: name.
        difference: mean of (a - b) over the queries, with its interval.
        p: of the paired t-test, two-sided; null with fewer than two queries.
        p_holm: the same after Holm's correction over all comparisons of one evaluation.
        queries: how many both have a value for.
    """

    a: str
    b: str
    metric: str
    difference: Estimate
    p: float | None
    p_holm: float | None
    queries: int


def estimate(values: npt.ArrayLike) -> Estimate:
    """Mean and t-interval of some values; NaN are left out."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    n = len(known)
    if n == 0:
        return Estimate(None, None)
    mean = float(known.mean())
    if n == 1:
        return Estimate(mean, None)
    half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2) * known.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, (mean - half, mean + half))


def paired_p(differences: npt.ArrayLike) -> float | None:
    """Two-sided p-value of the paired t-test: are these differences around 0?

    The t-test is the one that keeps its level best on measures of retrieval, skewed as they are:
    Urbano, Lima & Hanjalic, "Statistical Significance Testing in Information Retrieval", 2019.
    """
    d = np.asarray(differences, np.float64)
    d = d[~np.isnan(d)]
    n = len(d)
    if n < 2:
        return None
    if not d.any():
        return 1.0
    error = d.std(ddof=1) / np.sqrt(n)
    if error == 0:
        return 0.0
    return float(2 * stdtr(n - 1, -abs(d.mean()) / error))


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


def compare(values: Mapping[str, Mapping[str, Float64]]) -> list[Comparison]:
    """Every pair of bundles by every metric, corrected together.

    Args:
        values: by bundle, then by metric: a value for each query, in the same order. (queries,)
    """
    drafts = []
    for a, b in combinations(values, 2):
        for metric in values[a]:
            d = values[a][metric] - values[b][metric]
            drafts.append((a, b, metric, estimate(d), paired_p(d), int((~np.isnan(d)).sum())))
    corrected = iter(holm([p for *_, p, _ in drafts if p is not None]))
    return [
        Comparison(a, b, metric, difference, p, None if p is None else next(corrected), queries)
        for a, b, metric, difference, p, queries in drafts
    ]
