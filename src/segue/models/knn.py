"""Neighbours: tracks that share playlists (`item-knn`), playlists that share tracks (`user-knn`).

Source: Volkovs et al. 2018, "Two-stage Model for Automatic Playlist Continuation at Scale",
section 3.3. R is 1 where a playlist or listener has the track, pop_j the track's share of all
entries, h the query's history without skipped and disliked tracks:

    item-knn    S(h, j) = sum over j' in h      cos(R_:j, R_:j') . pop_j^-(1 - beta)
    user-knn    S(h, j) = sum over i' in N(h)   sim(h, R_i':) R_i'j . pop_j^-(1 - beta)

Both are one walk over the playlists, exact, with no (tracks x tracks) matrix: the history gives
each playlist i' a weight w_i', and each playlist votes with it for its tracks,

    w_i' = row_i' . sum over j' in h with R_i'j' = 1 of heard_j'
    S(h, j) = voted_j . sum over i' in N(h) of w_i' R_i'j

and the two models differ in the three scales row, heard, voted and in N(h).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from msgspec import Meta
from numba import njit, prange

from segue.config import Config, Search
from segue.data.dataset import Dataset
from segue.errors import BundleError
from segue.models.base.recommender import TrainingOptions, knows_history
from segue.models.base.scoring import ScoringModel
from segue.numeric.arrays import Float32, Int32, Int64
from segue.numeric.parallel import parallel
from segue.numeric.tensors import expect
from segue.queries import Queries, Query, Reason

Float64 = npt.NDArray[np.float64]


@njit(cache=True)
def _weigh(history, at, rows, heard, row, most, weights):  # type: ignore[no-untyped-def]
    """Weights of all playlists; beyond the `most` heaviest (ties: the first rows) they are 0.

    history: tracks, in rising order. at, rows: playlists of each track, as in CSC.
    """
    for t in history:
        for e in range(at[t], at[t + 1]):
            weights[rows[e]] += heard[t]
    touched = np.flatnonzero(weights)
    for p in touched:
        weights[p] *= row[p]
    if len(touched) > most:
        order = np.argsort(-weights[touched], kind="mergesort")
        for p in touched[order[most:]]:
            weights[p] = 0.0


@njit(cache=True)
def _vote(weights, offsets, tracks, votes):  # type: ignore[no-untyped-def]
    """Add each playlist's weight to its tracks. offsets, tracks: as in CSR."""
    for p in range(len(weights)):
        weight = weights[p]
        if weight > 0.0:
            for e in range(offsets[p], offsets[p + 1]):
                votes[tracks[e]] += weight


@parallel(cache=True)
def _score(starts, heard_tracks, offsets, tracks, at, rows, heard, row, most, voted, rest, out):  # type: ignore[no-untyped-def]
    """Scores of a batch, each query on its own in a fixed order of operations. (queries, tracks)"""
    for q in prange(len(starts) - 1):
        history = np.unique(heard_tracks[starts[q] : starts[q + 1]])
        weights = np.zeros(len(row))
        _weigh(history, at, rows, heard, row, most, weights)
        votes = np.zeros(len(voted))
        _vote(weights, offsets, tracks, votes)
        for t in range(len(voted)):
            score = np.float32(votes[t] * voted[t])
            out[q, t] = score if score > 0.0 else rest[t]


def inverse(values: npt.ArrayLike) -> Float64:
    """1 / value, and 0 where the value is 0."""
    array = np.asarray(values, np.float64)
    return np.divide(1.0, array, out=np.zeros_like(array), where=array > 0)


def without_evidence(plays: Int32) -> Float32:
    """Scores of tracks that nothing speaks for: below 0, so after all others, by popularity."""
    return (-1.0 / (1.0 + plays.astype(np.float64))).astype(np.float32)


class PlayCountModel(ScoringModel):
    """A model that keeps who has which track, as sparse rows."""

    offsets: Int64
    """Where each playlist or listener starts in `tracks`, plus the end. (rows + 1,)"""
    tracks: Int32
    """Tracks of each row, rising, without repeats. (entries,)"""
    at: Int64
    """Where each track starts in `rows`, plus the end. (tracks + 1,)"""
    rows: Int32
    """Rows of each track, rising. (entries,)"""

    def keep(self, offsets: Int64, tracks: Int32) -> None:
        """Take the rows and index them by track."""
        self.offsets, self.tracks = offsets, tracks
        shape = (len(offsets) - 1, len(self.catalog))
        ones = np.ones(len(tracks), np.bool_)
        columns = sp.csr_matrix((ones, tracks, offsets), shape=shape).tocsc()
        self.at, self.rows = columns.indptr.astype(np.int64), columns.indices.astype(np.int32)

    def keep_plays(self, plays: Any) -> None:
        """Take the rows of ``dataset.plays()`` that hold a track."""
        plays.sort_indices()
        some = np.diff(plays.indptr) > 0
        offsets = np.concatenate([[0], np.cumsum(np.diff(plays.indptr)[some])])
        self.keep(offsets.astype(np.int64), plays.indices.astype(np.int32))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {"plays.offsets": self.offsets, "plays.tracks": self.tracks}

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        offsets = expect(tensors, "plays.offsets", np.int64, None)
        tracks = expect(tensors, "plays.tracks", np.int32, None)
        if not len(offsets) or offsets[0] or offsets[-1] != len(tracks) or _falls(offsets):
            raise BundleError("are not the starts of rows", where="tensor plays.offsets")
        if len(tracks) and (tracks.min() < 0 or tracks.max() >= len(self.catalog)):
            raise BundleError("points outside the catalog", where="tensor plays.tracks")
        self.keep(offsets, tracks)


def _falls(offsets: Int64) -> bool:
    return bool((np.diff(offsets) < 0).any())


class _Neighbours(PlayCountModel):
    """The walk that both models share."""

    heard: Float64
    """What a track of the history adds to its playlists. (tracks,)"""
    row: Float64
    """Scale of each playlist's weight. (rows,)"""
    voted: Float64
    """Scale of each track's votes. (tracks,)"""
    most: int
    """How many playlists vote."""

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        self.keep_plays(plays)

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return knows_history(queries, self.catalog.plays)

    def scores(self, queries: Queries) -> Float32:
        out = np.empty((len(queries), len(self.catalog)), np.float32)
        liked = queries.liked()
        _score(
            liked.offsets,
            liked.values,
            self.offsets,
            self.tracks,
            self.at,
            self.rows,
            self.heard,
            self.row,
            self.most,
            self.voted,
            self.rest,
            out,
        )
        return out

    def keep(self, offsets: Int64, tracks: Int32) -> None:
        super().keep(offsets, tracks)
        self.rest = without_evidence(self.catalog.plays)

    def _popular(self, beta: float) -> Float64:
        """pop_j^-(1 - beta). (tracks,)"""
        share = self.catalog.plays / max(1, self.catalog.plays.sum())
        popular: Float64 = np.zeros(len(share))
        np.power(share, beta - 1.0, out=popular, where=share > 0)
        return popular

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        history = np.unique(Queries.of([query]).liked().values)
        weights = np.zeros(len(self.row))
        _weigh(history, self.at, self.rows, self.heard, self.row, self.most, weights)
        voters = np.where(weights > 0, self.row, 0.0)
        reasons = []
        for t in tracks:
            has = np.zeros(len(self.row))
            of = self.rows[self.at[t] : self.at[t + 1]]
            has[of] = voters[of]
            parts = [
                Reason("track", int(j), float(self.voted[t] * self.heard[j] * both))
                for j in history
                if (both := has[self.rows[self.at[j] : self.at[j + 1]]].sum()) > 0
            ]
            reasons.append(parts or [Reason("popularity", None, float(self.rest[t]))])
        return reasons


class ItemKNNConfig(Config, frozen=True):
    """Settings of `item-knn`."""

    beta: Annotated[
        float,
        Meta(ge=0, le=2, description="favours popular tracks: scores are times pop^(beta - 1)"),
        Search(0, 2),
    ] = 1.3


class ItemKNN(_Neighbours):
    """Tracks that are in the same playlists as the history's.

    ``cos(R_:j, R_:j') = |playlists with both| / sqrt(|playlists with j| |playlists with j'|)``.
    """

    name: ClassVar[str] = "item-knn"
    Config = ItemKNNConfig

    def keep(self, offsets: Int64, tracks: Int32) -> None:
        super().keep(offsets, tracks)
        self.heard = inverse(np.sqrt(np.diff(self.at)))
        self.row = np.ones(len(offsets) - 1)
        self.voted = self.heard * self._popular(self.config.beta)
        self.most = len(self.row)


class UserKNNConfig(Config, frozen=True):
    """Settings of `user-knn`."""

    neighbours: Annotated[
        int,
        Meta(ge=1, description="how many playlists vote; more where there are more of them"),
        Search(20, 2000, log=True),
    ] = 200
    beta: Annotated[
        float,
        Meta(ge=0, le=2, description="favours popular tracks: scores are times pop^(beta - 1)"),
        Search(0, 2),
    ] = 0.9


class UserKNN(_Neighbours):
    """Tracks of the playlists that are most like the history.

    sim(h, R_i':) = sum over j in h of R^_i'j, where R^ has rows, then columns, of length 1 (the
    order of the authors' code). N(h) are the `neighbours` most similar playlists that share a
    track with h; among equals the first rows. The history's own length is left out: it is the
    same for all tracks.
    """

    name: ClassVar[str] = "user-knn"
    Config = UserKNNConfig

    def keep(self, offsets: Int64, tracks: Int32) -> None:
        super().keep(offsets, tracks)
        lengths = np.diff(offsets)
        self.row = inverse(np.sqrt(lengths))
        entries = np.repeat(inverse(lengths), lengths)
        columns = np.bincount(tracks, entries, minlength=len(self.catalog))
        self.heard = inverse(np.sqrt(columns))
        self.voted = self._popular(self.config.beta)
        self.most = min(self.config.neighbours, len(self.row))
