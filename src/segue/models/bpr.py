"""BPR: what a row has is above what it does not have (`bpr`).

Source: Rendle et al. 2009, "BPR: Bayesian Personalized Ranking from Implicit Feedback" (arXiv
1205.2618), sections 4 and 5. The score of track i for a row u (a playlist or a listener) is

    x_ui = u . v_i + b_i

and learning maximises, over triples (u, i, j) with i in the row and j not,

    sum of ln sigma(x_ui - x_uj) - reg/2 (|u|^2 + |v_i|^2 + |v_j|^2) - bias_reg/2 (b_i^2 + b_j^2)

by stochastic gradient ascent: i is an entry drawn uniformly with replacement, j a track drawn
uniformly until it is not in the row. One thread, so that a seed gives one result.

A query was not in training. Its vector is the maximum of the same criterion with the tracks fixed
(fold-in), where j runs over a sample N of the catalog, drawn in training and kept in the bundle:

    max over u   mean over i in history, j in N of ln sigma(x_ui - x_uj) - reg/2 |u|^2

It is strictly concave; Newton's method with halving finds it in about six steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from msgspec import Meta
from numba import njit, prange

from segue.answers import Float32, Int32, Queries, Query, Reason
from segue.data.dataset import Dataset
from segue.errors import BundleError, ConfigError
from segue.models.base import Config, DotRecommender, Run, expect
from segue.progress import task

_NEGATIVES = 1000
"""Tracks that a query's history is compared with in fold-in."""
_INITIAL = 0.1
"""Expected length of a vector at the start."""
_STEPS = 50
_TOLERANCE = 1e-9


@njit(inline="always")
def _next(state):  # type: ignore[no-untyped-def]
    """Xorshift64 (Marsaglia 2003)."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    return state


@njit(inline="always")
def _has(tracks, first, end, track):  # type: ignore[no-untyped-def]
    """Whether the rising run tracks[first:end] holds a track."""
    low, high = first, end
    while low < high:
        middle = (low + high) >> 1
        if tracks[middle] < track:
            low = middle + 1
        else:
            high = middle
    return low < end and tracks[low] == track


@njit(cache=True)
def _epoch(owner, tracks, offsets, rows, vectors, bias, rate, reg, bias_reg, state):  # type: ignore[no-untyped-def]
    """As many steps as there are entries; returns (random state, sum of differences x_ui - x_uj).

    owner, tracks: row and track of each entry. rows (rows, factors), vectors (tracks, factors)
    and bias (tracks,) are changed.
    """
    factors = vectors.shape[1]
    entries = np.uint64(len(tracks))
    total = 0.0
    one = np.float32(1.0)
    for _ in range(len(tracks)):
        state = _next(state)
        entry = np.int64((state >> np.uint64(16)) % entries)
        u, i = owner[entry], tracks[entry]
        j = i
        for _try in range(100):  # a row may hold (nearly) the whole catalog
            state = _next(state)
            j = np.int64((state >> np.uint64(16)) % np.uint64(len(vectors)))
            if not _has(tracks, offsets[u], offsets[u + 1], j):
                break
            j = i
        if j == i:
            continue
        row, liked, other = rows[u], vectors[i], vectors[j]
        x = bias[i] - bias[j]
        for f in range(factors):
            x += row[f] * (liked[f] - other[f])
        total += x
        pull = one / (one + np.exp(x))  # derivative of ln sigma
        for f in range(factors):
            a, p, n = row[f], liked[f], other[f]
            row[f] = a + rate * (pull * (p - n) - reg * a)
            liked[f] = p + rate * (pull * a - reg * p)
            other[f] = n - rate * (pull * a + reg * n)
        bias[i] += rate * (pull - bias_reg * bias[i])
        bias[j] -= rate * (pull + bias_reg * bias[j])
    return state, total


@njit(cache=True)
def _loss(liked, others, reg, u):  # type: ignore[no-untyped-def]
    """What Newton's method brings down. liked, others: scores of history and sample."""
    total = 0.0
    for x in liked:
        for y in others:
            total += np.log1p(np.exp(y - x)) if x >= y else y - x + np.log1p(np.exp(x - y))
    return total / (len(liked) * len(others)) + reg / 2 * np.dot(u, u)


@njit(cache=True)
def _apply(vectors, bias, u):  # type: ignore[no-untyped-def]
    """Scores vectors @ u + bias, in a fixed order of operations."""
    scores = bias.copy()
    for t in range(len(vectors)):
        for f in range(len(u)):
            scores[t] += vectors[t, f] * u[f]
    return scores


@njit(cache=True)
def _solve(matrix, right):  # type: ignore[no-untyped-def]
    """matrix^-1 right by Cholesky; `matrix` (its lower half is read) and `right` are changed."""
    n = len(right)
    for k in range(n):
        matrix[k, k] = np.sqrt(matrix[k, k])
        for r in range(k + 1, n):
            matrix[r, k] /= matrix[k, k]
        for r in range(k + 1, n):
            for c in range(k + 1, r + 1):
                matrix[r, c] -= matrix[r, k] * matrix[c, k]
    for r in range(n):
        for c in range(r):
            right[r] -= matrix[r, c] * right[c]
        right[r] /= matrix[r, r]
    for r in range(n - 1, -1, -1):
        for c in range(r + 1, n):
            right[r] -= matrix[c, r] * right[c]
        right[r] /= matrix[r, r]


@njit(cache=True)
def _fold_in(liked, liked_bias, others, others_bias, reg, pulls):  # type: ignore[no-untyped-def]
    """The query vector (factors,) float64; `pulls` (history,) gets the share of each track in it.

    At the maximum the gradient is 0, so u = sum of pulls_i v_i - (the same over the sample).
    """
    factors = liked.shape[1]
    u = np.zeros(factors)
    pairs = len(liked) * len(others)
    x, y = _apply(liked, liked_bias, u), _apply(others, others_bias, u)
    loss = _loss(x, y, reg, u)
    for _ in range(_STEPS):
        gradient = reg * u
        hessian = np.zeros((factors, factors))
        other_pull, other_weight = np.zeros(len(others)), np.zeros(len(others))
        for i in range(len(liked)):
            pull, weight = 0.0, 0.0
            mixed = np.zeros(factors)  # sum over j of w_ij v_j
            for j in range(len(others)):
                p = 1.0 / (1.0 + np.exp(x[i] - y[j]))
                w = p * (1.0 - p)
                pull += p
                weight += w
                other_pull[j] += p
                other_weight[j] += w
                for f in range(factors):
                    mixed[f] += w * others[j, f]
            pulls[i] = pull / (pairs * reg)
            for f in range(factors):
                gradient[f] -= pull * liked[i, f] / pairs
                for g in range(f + 1):
                    hessian[f, g] += (
                        weight * liked[i, f] * liked[i, g]
                        - mixed[f] * liked[i, g]
                        - liked[i, f] * mixed[g]
                    )
        for j in range(len(others)):
            for f in range(factors):
                gradient[f] += other_pull[j] * others[j, f] / pairs
                scaled = other_weight[j] * others[j, f]
                for g in range(f + 1):
                    hessian[f, g] += scaled * others[j, g]
        hessian /= pairs
        for f in range(factors):
            hessian[f, f] += reg
        step = gradient.copy()
        _solve(hessian, step)
        decrease = np.dot(gradient, step)
        if decrease < _TOLERANCE:
            break
        size = 1.0
        while size > 1e-6:
            tried = u - size * step
            x, y = _apply(liked, liked_bias, tried), _apply(others, others_bias, tried)
            now = _loss(x, y, reg, tried)
            if now <= loss - 0.1 * size * decrease:
                break
            size /= 2
        u, loss = tried, now
    return u


@njit(cache=True)
def _fold_in_one(history, vectors, bias, negatives, reg, pulls):  # type: ignore[no-untyped-def]
    """Fold-in of one history (rising, without repeats)."""
    others = np.array([j for j in negatives if not _has(history, 0, len(history), j)])
    if len(history) == 0 or len(others) == 0:
        return np.zeros(vectors.shape[1])
    return _fold_in(
        vectors[history].astype(np.float64), bias[history].astype(np.float64),
        vectors[others].astype(np.float64), bias[others].astype(np.float64), reg, pulls,
    )  # fmt: skip


@njit(parallel=True, cache=True)
def _fold_in_all(starts, tracks, vectors, bias, negatives, reg, out):  # type: ignore[no-untyped-def]
    for q in prange(len(starts) - 1):
        history = np.unique(tracks[starts[q] : starts[q + 1]])
        out[q] = _fold_in_one(history, vectors, bias, negatives, reg, np.zeros(len(history)))


class BprConfig(Config, frozen=True):
    """Settings of `bpr`."""

    factors: Annotated[int, Meta(ge=1, le=4096, description="length of the vectors")] = 128
    epochs: Annotated[
        int, Meta(ge=1, description="passes; one has as many steps as there are entries")
    ] = 60
    learning_rate: Annotated[float, Meta(gt=0, description="size of a step")] = 0.05
    regularisation: Annotated[float, Meta(gt=0, description="of the vectors, a step")] = 0.004
    bias_regularisation: Annotated[
        float, Meta(ge=0, description="of the biases, a step: more makes popularity count less")
    ] = 0.03


class Bpr(DotRecommender):
    """score(t) = u . v_t + b_t, with u folded in from the history."""

    name: ClassVar[str] = "bpr"
    Config = BprConfig
    biases: Float32
    """(tracks,) float32"""
    negatives: Int32
    """The sample N of fold-in, rising. (sample,) int32"""

    @property
    def bias(self) -> Float32:
        return self.biases

    def _fit(self, dataset: Dataset, plays: Any, run: Run) -> None:
        config = self.config
        rng = np.random.default_rng(run.seed)
        plays.sort_indices()
        offsets, tracks = plays.indptr.astype(np.int64), plays.indices.astype(np.int32)
        owner = np.repeat(np.arange(plays.shape[0], dtype=np.int32), np.diff(offsets))
        scale = np.float32(_INITIAL / np.sqrt(config.factors))
        rows, vectors = (
            scale * rng.standard_normal((n, config.factors), np.float32) for n in plays.shape
        )
        biases = np.zeros(plays.shape[1], np.float32)
        size = min(_NEGATIVES, plays.shape[1])
        self.negatives = np.sort(rng.choice(plays.shape[1], size, replace=False)).astype(np.int32)
        state = rng.integers(1, 2**63, dtype=np.uint64)
        rates = [
            np.float32(rate)
            for rate in (config.learning_rate, config.regularisation, config.bias_regularisation)
        ]
        with task("fitting bpr", config.epochs, "epochs", show=run.progress) as advance:
            for epoch in range(config.epochs):
                state, total = _epoch(
                    owner, tracks, offsets, rows, vectors, biases, *rates, np.uint64(state)
                )
                if not np.isfinite(total):
                    raise ConfigError(
                        f"training diverged in epoch {epoch + 1}",
                        where="bpr",
                        do="lower learning_rate",
                    )
                advance(1)
        self.vectors, self.biases = vectors, biases

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        starts, tracks = queries.liked()
        known = np.concatenate([[0], np.cumsum(self.catalog.plays[tracks] > 0)])[starts]
        return np.diff(known) > 0

    def query_vectors(self, queries: Queries) -> Float32:
        starts, tracks = queries.liked()
        out = np.empty((len(queries), self.vectors.shape[1]), np.float32)
        _fold_in_all(
            starts, tracks, self.vectors, self.biases, self.negatives,
            self.config.regularisation, out,
        )  # fmt: skip
        return out

    def _reasons(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        history = np.unique(Queries.of([query]).liked()[1])
        pulls = np.zeros(len(history))
        reg = self.config.regularisation
        u = _fold_in_one(history, self.vectors, self.biases, self.negatives, reg, pulls)
        reasons = []
        for t in tracks:
            shares = pulls * (self.vectors[history].astype(np.float64) @ self.vectors[t])
            rest = float(u @ self.vectors[t] - shares.sum())
            parts = [
                Reason("track", int(j), float(s)) for j, s in zip(history, shares, strict=True)
            ]
            parts.append(Reason("popularity", None, float(self.biases[t])))
            parts.append(Reason("rest", None, rest))
            reasons.append(parts)
        return reasons

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {"vectors": self.vectors, "bias": self.biases, "negatives": self.negatives}

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        size = len(self.catalog)
        self.vectors = expect(tensors, "vectors", np.float32, size, self.config.factors)
        self.biases = expect(tensors, "bias", np.float32, size)
        self.negatives = expect(tensors, "negatives", np.int32, None)
        if len(self.negatives) and not 0 <= self.negatives.min() <= self.negatives.max() < size:
            raise BundleError("points outside the catalog", where="tensor negatives")
