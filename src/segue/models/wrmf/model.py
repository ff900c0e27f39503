"""WRMF: weighted regularised matrix factorisation of play counts, and fold-in of new histories.

Hu, Koren and Volinsky 2008 ("Collaborative filtering for implicit feedback datasets"):

    min  Σ_ij c_ij (p_ij − u_i·v_j)²  +  Σ_i reg_i |u_i|²  +  Σ_j reg_j |v_j|²

with preference p_ij = 1 where playlist or listener i has track j (0 elsewhere) and confidence
c_ij = 1 + α r_ij (eq. 3) or 1 + α log(1 + r_ij/ε) (eq. 6). reg = λ (Σ c)^ν: as published for
ν = 0, scaled with the row's data for ν = 1 (Rendle et al. 2022, "Revisiting iALS").

Ours, on if `skip_confidence` is above 0: a track that a row skips more often than it plays has the
preference 0 with confidence 1 + β r, where r is skips minus plays. Else it counts as missing.
With `skip_rate_weight`, every score of a track falls with its skip rate
(`segue.models.base.net_plays.skip_rates`): one zero says little, those of all rows say more.

Ours, on if a weight is above 0: artists, albums and words of titles are further columns j, see
`segue.models.wrmf.side_columns`. A track's vector then takes a share of its artist's and its
album's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import count
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.data.dataset import Dataset
from segue.models.base.net_plays import query_counts, row_counts, skip_rates
from segue.models.base.recommender import Monitor, TrainingOptions, knows_history
from segue.models.base.scoring import EmbeddingModel
from segue.models.wrmf.config import WRMFConfig
from segue.models.wrmf.side_columns import SideInformation
from segue.models.wrmf.solver import (
    Factors,
    Weighted,
    confidence,
    diagonalise,
    factorise,
    inverse_times,
    solve,
)
from segue.numeric.arrays import Float32, Int32, offsets_of
from segue.numeric.tensors import expect
from segue.queries import Queries, Query, Reason
from segue.system import progress

_PIVOT = 16
"""Length of a history with the regularisation of training."""
_FOLD_IN_STEPS = 64
_FOLD_IN_TOLERANCE = 1e-6


class WRMF(EmbeddingModel):
    """score(q, j) = u_q · v_j + b_j, where u_q solves the row equation for the query's history.

    b_j is −`skip_rate_weight` times how much more often than others track j is skipped.
    """

    name = "wrmf"
    Config = WRMFConfig
    falling = True  # both sides are rotated so that VᵀV is diagonal, and rises
    config: WRMFConfig
    skip_bias: Float32
    """b. (tracks,)"""
    row_vectors: Float32
    """Vectors of the rows of ``dataset.plays(rows)``; after `fit` only. (rows, factors)"""

    def _fit(self, dataset: Dataset, plays: sp.csr_matrix, run: TrainingOptions) -> None:
        plays = self.training_rows(dataset, plays)
        weights = self._weights()
        filled = np.diff(plays.indptr) > 0
        titled = zip(dataset.titles, filled, strict=False)  # listeners follow the playlists
        titles = [title if has_tracks else None for title, has_tracks in titled]
        self.side = SideInformation.learn(self.catalog, titles, weights) if any(weights) else None
        columns = self.side.with_side_columns(plays, titles) if self.side else plays
        weight = self.config.skip_rate_weight
        self.skip_bias = np.zeros(len(self.catalog), np.float32)
        if weight:
            self.skip_bias -= np.float32(weight) * skip_rates(dataset)
        sweeps = self.config.sweeps
        with progress.task("fitting wrmf", sweeps, "sweeps", show=run.progress) as advance:
            rows, vectors = factorise(
                Weighted.of(columns, self.confidence_of),
                self.config.factors,
                self.config.regularisation,
                self.config.frequency_exponent,
                sweeps,
                self.config.solver_steps,
                np.random.default_rng(run.seed),
                self._reporter(advance, run.monitor),
            )
        self._take_factors(rows, vectors)

    def training_rows(self, dataset: Dataset, plays: sp.csr_matrix) -> sp.csr_matrix:
        """The matrix to factorise: plays, or plays minus skips. (rows, tracks)

        Args:
            dataset: training data.
            plays: ``dataset.plays()``.
        """
        if self._skips or self.config.rows != "listeners":
            return row_counts(dataset, self.config.rows, self._skips)
        return plays

    def _take_factors(self, rows: Float32, vectors: Float32) -> None:
        """Set these factors, rotated in place."""
        self.gram = diagonalise(vectors, rows)
        self.row_vectors = rows
        self.vectors, self.side_vectors = vectors[: len(self.catalog)], vectors[len(self.catalog) :]
        if self.side:
            self.vectors = self.vectors + self._taken(slice(None))

    def _reporter(
        self, advance: progress.Advance, monitor: Monitor | None
    ) -> Callable[[Float32, Float32], None]:
        """Callback that counts sweeps, and gives `monitor` the model after each."""
        sweeps = count(1)

        def report(rows: Float32, vectors: Float32) -> None:
            advance(1)
            if monitor is not None:
                model = copy.copy(self)
                model._take_factors(rows.copy(), vectors.copy())
                monitor(next(sweeps), model)

        return report

    @property
    def bias(self) -> Float32:
        return self.skip_bias

    @property
    def _skips(self) -> bool:
        """Whether skips count."""
        return self.config.skip_confidence > 0

    @property
    def reads_titles(self) -> bool:
        return self.config.title_weight > 0

    def _weights(self) -> tuple[float, float, float]:
        config = self.config
        return config.artist_weight, config.album_weight, config.title_weight

    def _taken(self, tracks: Int32 | slice) -> Float32:
        """Shares of artists' and albums' vectors in the vectors of tracks. (n, factors)"""
        if self.side is None:
            return np.zeros_like(self.vectors[tracks])
        member_of = self.side.tracks[tracks] > 0
        share = np.float32(self.config.company_share)
        taken: Float32 = share * (
            member_of.astype(np.float32) @ self.side_vectors[: member_of.shape[1]]
        )
        return taken

    def confidence_of(self, counts: Float32) -> Float32:
        """c − 1 of plays (above 0) and of skips (below)."""
        config = self.config
        played, skipped = (
            confidence(np.maximum(values, 0), config.confidence, weight, config.epsilon)
            for values, weight in ((counts, config.alpha), (-counts, config.skip_confidence))
        )
        return played + skipped

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        known = knows_history(queries, self.play_counts)
        if self.side is not None:
            known[self.side.known(queries.titles)[0]] = True
        return known

    @cached_property
    def play_counts(self) -> Int32:
        """Plays of each track, and with side information of its artist and album. (tracks,)

        1 for a track without plays whose vector `with_tracks` or `placing` set.
        """
        plays = self.catalog.plays
        play_counts = (plays if self.side is None else plays + self.side.plays(plays)).astype(
            np.int32
        )
        silent = np.flatnonzero(play_counts == 0)
        play_counts[silent] = self.vectors[silent].any(axis=1)
        return play_counts

    def _extend(self, tracks: int) -> None:
        super()._extend(tracks)
        self.skip_bias = np.concatenate([self.skip_bias, np.zeros(tracks, np.float32)])
        if self.side is None:
            return
        self.side, place = self.side.over(self.catalog)
        side_vectors = np.zeros((self.side.size, self.side_vectors.shape[1]), np.float32)
        side_vectors[place] = self.side_vectors
        self.side_vectors = side_vectors

    def _place(self, tracks: Int32, vectors: Float32) -> None:
        super()._place(tracks, vectors)
        self.__dict__.pop("play_counts", None)  # cached in the copy

    def _histories(self, queries: Queries) -> tuple[Factors, Float32]:
        """The queries' row equations, and the vectors of their columns.

        Their λ falls with the number n of tracks that the history played, λ (16/n)^κ. The
        publications use κ = 0: then a single track decides too much, and a hundred too little
        (`docs/development/papers/models.md` has the figures). With a history a word of the title
        has n / (n + 1) of its weight, or it decides too much next to a single track.
        """
        counts = query_counts(queries, len(self.vectors), self._skips)
        played = np.diff(offsets_of(counts.data > 0)[counts.indptr])
        columns = counts
        if self.side:
            shares = np.where(played > 0, played / (played + 1), 1).astype(np.float32)
            columns = self.side.with_side_columns(counts, queries.titles, shares)
        rows = Weighted.of(columns, self.confidence_of).side(
            self.config.regularisation, self.config.frequency_exponent
        )
        shape = (_PIVOT / np.maximum(played, 1)) ** self.config.fold_in_exponent
        pull = (rows.reg * shape).astype(np.float32)
        if self.side is None:
            return rows._replace(reg=pull), self.vectors
        used, others = np.unique(rows.others, return_inverse=True)
        used_tracks = used[used < len(self.vectors)]
        track_vectors = self.vectors[used_tracks] - self._taken(used_tracks)
        fixed = np.concatenate(
            [track_vectors, self.side_vectors[used[len(track_vectors) :] - len(self.vectors)]]
        )
        return rows._replace(reg=pull, others=others.astype(np.int32)), fixed

    def query_vectors(self, queries: Queries) -> Float32:
        rows, fixed = self._histories(queries)
        out = np.empty((len(queries), len(self.gram)), np.float32)
        solve(rows, fixed, self.gram, out, _FOLD_IN_STEPS, _FOLD_IN_TOLERANCE, cold=True)
        return out

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """score = Σ_j w_j v_jᵀ B⁻¹ v over the history's columns j: one part each; and the bias.

        B is A without its skipped columns. w_j is c_j where j was played (Hu et al., eq. 7) and
        −(c_j − 1) u · v_j where it was skipped: a skip lowers the scores of similar tracks.
        """
        queries = Queries.of([query])
        rows, fixed = self._histories(queries)
        history = fixed[rows.others].astype(np.float64)
        extra = rows.extra[rows.levels].astype(np.float64)
        played, diagonal = rows.played, (self.gram + rows.reg[0]).astype(np.float64)
        u = inverse_times(diagonal, extra, history) @ np.where(played, 1 + extra, 0)
        weights = np.where(played, 1 + extra, -extra * (history @ u))
        projected = inverse_times(diagonal, np.where(played, extra, 0), history)
        parts = self.vectors[tracks] @ projected * weights
        history_counts = query_counts(queries, len(self.vectors), self._skips)
        if self.side:
            column_shares, title_words = self.side.sources(history_counts, query.title)
            parts = parts @ column_shares
        else:
            title_words = []
        sources: list[tuple[Literal["track", "title"], int | str]] = [
            *(("track", int(j)) for j in history_counts.indices),
            *(("title", word) for word in title_words),
        ]
        reasons = [
            [
                Reason(kind, what, float(part))
                for (kind, what), part in zip(sources, row, strict=True)
            ]
            for row in parts
        ]
        if self.config.skip_rate_weight:
            for reason_list, bias in zip(reasons, self.skip_bias[tracks], strict=True):
                reason_list.append(Reason("popularity", None, float(bias)))
        return reasons

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        tensors = {"vectors": self.vectors, "gram": self.gram}
        if self.config.skip_rate_weight:
            tensors["bias"] = self.skip_bias
        if self.side:
            tensors |= {"beside": self.side_vectors, **self.side.tensors()}
        return tensors

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        factors, weights = self.config.factors, self._weights()
        self.vectors = expect(tensors, "vectors", np.float32, len(self.catalog), factors)
        self.gram = expect(tensors, "gram", np.float32, factors)
        self.skip_bias = np.zeros(len(self.catalog), np.float32)
        if self.config.skip_rate_weight:
            self.skip_bias = expect(tensors, "bias", np.float32, len(self.catalog))
        self.side, self.side_vectors = None, self.vectors[:0]
        if any(weights):
            self.side = SideInformation.restore(tensors, self.catalog, weights)
            self.side_vectors = expect(tensors, "beside", np.float32, self.side.size, factors)
