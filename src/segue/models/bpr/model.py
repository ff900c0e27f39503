"""BPR: a row's tracks rank above all others (`bpr`).

Source: Rendle et al. 2009, "BPR: Bayesian Personalized Ranking from Implicit Feedback" (arXiv
1205.2618), sections 4 and 5. The score of track i for a row u (a playlist or a listener) is

    x_ui = u . v_i + b_i

and learning maximises, over triples (u, i, j) with i in the row and j not,

    sum of ln sigma(x_ui - x_uj) - reg/2 (|u|^2 + |v_i|^2 + |v_j|^2) - bias_reg/2 (b_i^2 + b_j^2)

by stochastic gradient ascent: i is an entry drawn uniformly with replacement, j a track drawn
uniformly until it is not in the row. One thread, so that a seed gives one result.

A query has no trained vector. Fold-in maximises the same criterion with fixed tracks, where j runs
over a sample N of the catalog, drawn in training and stored in the bundle:

    max over u   mean over i in history, j in N of ln sigma(x_ui - x_uj) - reg/2 |u|^2

It is unique; `fold_in` finds it.

Ours, on if `skip_share` is above 0: for a row with skipped tracks, j comes from these in this share
of the steps ("hard negatives"), and they have that share in the loss of fold-in. A row skips a
track if it has more skips than plays of it. With `skip_rate_weight`, b_i falls with the
skip rate of i (`segue.models.base.net_plays.skip_rates`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from numba import njit

from segue.data.dataset import Dataset
from segue.errors import BundleError, ConfigError
from segue.models.base.net_plays import parted, query_counts, row_counts, skip_rates
from segue.models.base.recommender import TrainingOptions, knows_history
from segue.models.base.scoring import EmbeddingModel
from segue.models.bpr.config import BPRConfig
from segue.models.bpr.fold_in import SkipTerm, fold_in
from segue.numeric.arrays import Float32, Int32
from segue.numeric.ragged import Ragged
from segue.numeric.tensors import expect
from segue.queries import Queries, Query, Reason
from segue.system.progress import task

_NEGATIVES = 2000
"""Size of the sample N of fold-in."""
_UNIT = 2.0**-53
_INITIAL = 0.1
"""Expected length of a vector at the start."""


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
def _epoch(  # type: ignore[no-untyped-def]
    owner,
    tracks,
    offsets,
    skipped,
    skip_offsets,
    share,
    rows,
    vectors,
    bias,
    rate,
    reg,
    bias_reg,
    state,
):
    """One step for each entry; returns (random state, sum of differences x_ui - x_uj).

    owner, tracks: row and track of each entry. skipped: tracks of each row, laid out by
    skip_offsets; none where share is 0. rows (rows, factors), vectors (tracks, factors) and bias
    (tracks,) are changed.
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
        skips = np.uint64(skip_offsets[u + 1] - skip_offsets[u])
        if skips > 0:
            state = _next(state)
            if np.float64(state >> np.uint64(11)) * _UNIT < share:
                state = _next(state)
                at = np.int64((state >> np.uint64(16)) % skips)
                j = np.int64(skipped[skip_offsets[u] + at])
        for _try in range(100 if j == i else 0):  # a row may hold (nearly) the whole catalog
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


class BPR(EmbeddingModel):
    """score(t) = u . v_t + b_t, with u folded in from the history."""

    name: ClassVar[str] = "bpr"
    Config = BPRConfig
    biases: Float32
    """(tracks,) float32"""
    negatives: Int32
    """The sample N of fold-in, rising. (sample,) int32"""
    predicted: npt.NDArray[np.uint8]
    """1 for tracks without plays whose vector a content model predicted. (tracks,)"""

    @property
    def bias(self) -> Float32:
        return self.biases

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        config = self.config
        rng = np.random.default_rng(run.seed)
        if self._skips or config.rows != "listeners":
            plays = row_counts(dataset, config.rows, self._skips)
        plays.sort_indices()
        played, skipped = parted(plays)
        owners = played.owners().astype(np.int32)
        scale = np.float32(_INITIAL / np.sqrt(config.factors))
        rows, vectors = (
            scale * rng.standard_normal((n, config.factors), np.float32) for n in plays.shape
        )
        biases = np.zeros(plays.shape[1], np.float32)
        size = min(_NEGATIVES, plays.shape[1])
        self.negatives = np.sort(rng.choice(plays.shape[1], size, replace=False)).astype(np.int32)
        state = rng.integers(1, 2**63, dtype=np.uint64)
        rate, reg, bias_reg = (
            np.float32(each)
            for each in (config.learning_rate, config.regularisation, config.bias_regularisation)
        )
        with task("fitting bpr", config.epochs, "epochs", show=run.progress) as advance:
            for epoch in range(config.epochs):
                state, total = _epoch(
                    owners,
                    played.values,
                    played.offsets,
                    skipped.values,
                    skipped.offsets,
                    config.skip_share,
                    rows,
                    vectors,
                    biases,
                    rate,
                    reg,
                    bias_reg,
                    np.uint64(state),
                )
                if not np.isfinite(total):
                    raise ConfigError(
                        f"diverged in epoch {epoch + 1}", where="bpr", do="lower learning_rate"
                    )
                advance(1)
        if config.skip_rate_weight:
            biases -= np.float32(config.skip_rate_weight) * skip_rates(dataset)
        self.vectors, self.biases = vectors, biases
        self.predicted = np.zeros(len(vectors), np.uint8)

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return knows_history(queries, self.play_counts)

    @property
    def play_counts(self) -> Int32:
        """Plays of each track; 1 for a vector that `with_tracks` or `placing` set. (tracks,)"""
        return np.maximum(self.catalog.plays, self.predicted)

    def _extend(self, tracks: int) -> None:
        super()._extend(tracks)
        nothing = np.zeros(tracks, np.uint8)
        self.predicted = np.concatenate([self.predicted, nothing])
        self.biases = np.concatenate([self.biases, nothing.astype(np.float32)])

    def _place(self, tracks: Int32, vectors: Float32) -> None:
        """Sound says nothing about popularity: the bias is the mean of the played tracks."""
        super()._place(tracks, vectors)
        self.predicted, self.biases = self.predicted.copy(), self.biases.copy()
        self.predicted[tracks] = 1
        self.biases[tracks] = self.biases[self.catalog.plays > 0].mean()

    @property
    def _skips(self) -> bool:
        """Whether skips count."""
        share: float = self.config.skip_share
        return share > 0

    def query_vectors(self, queries: Queries) -> Float32:
        return self._fold_in(*self._histories(queries))[0]

    def _histories(self, queries: Queries) -> tuple[Ragged, SkipTerm | None]:
        """Played tracks of the queries with a vector, and skipped ones; rising, without repeats."""
        counts = query_counts(queries, len(self.catalog), self._skips)
        history, skips = parted(counts)
        history = history.where(self.play_counts[history.values] > 0)
        share = self.config.skip_share
        return history, SkipTerm(skips, share) if share else None

    def _fold_in(self, history: Ragged, skips: SkipTerm | None) -> tuple[Float32, Float32, Float32]:
        reg = self.config.regularisation
        return fold_in(history, skips, self.negatives, self.vectors, self.biases, reg)

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        liked, skips = self._histories(Queries.of([query]))
        (u,), shares, skip_shares = self._fold_in(liked, skips)
        history = liked.values
        if skips:
            history = np.concatenate([history, skips.tracks.values])
            shares = np.concatenate([shares, skip_shares])
        track_vectors = self.vectors[tracks].astype(np.float64)
        parts = track_vectors @ self.vectors[history].T * shares
        rests = track_vectors @ u - parts.sum(axis=1)
        return [
            [Reason("track", int(j), float(part)) for j, part in zip(history, row, strict=True)]
            + [Reason("popularity", None, float(self.biases[t])), Reason("rest", None, float(rest))]
            for t, row, rest in zip(tracks, parts, rests, strict=True)
        ]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors = {"vectors": self.vectors, "bias": self.biases, "negatives": self.negatives}
        return tensors | ({"placed": self.predicted} if self.predicted.any() else {})

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        size = len(self.catalog)
        self.vectors = expect(tensors, "vectors", np.float32, size, self.config.factors)
        self.biases = expect(tensors, "bias", np.float32, size)
        self.predicted = np.zeros(size, np.uint8)
        if "placed" in tensors:
            self.predicted = expect(tensors, "placed", np.uint8, size)
        self.negatives = expect(tensors, "negatives", np.int32, None)
        if len(self.negatives) and not 0 <= self.negatives.min() <= self.negatives.max() < size:
            raise BundleError("points outside the catalog", where="tensor negatives")
