"""WRMF: weighted regularised matrix factorisation of play counts, and fold-in of new histories.

Hu, Koren and Volinsky 2008 ("Collaborative filtering for implicit feedback datasets"):

    min  Σ_ij c_ij (p_ij − u_i·v_j)²  +  Σ_i reg_i |u_i|²  +  Σ_j reg_j |v_j|²

with preference p_ij = 1 where playlist or listener i has track j (0 elsewhere) and confidence
c_ij = 1 + α r_ij (eq. 3) or 1 + α log(1 + r_ij/ε) (eq. 6). reg = λ (Σ c)^ν: as published for
ν = 0, scaled with the row's data for ν = 1 (Rendle et al. 2022, "Revisiting iALS").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from msgspec import Meta

from segue import progress
from segue.answers import Float32, Int32, Queries, Query, Reason
from segue.data.dataset import Dataset
from segue.models.base import Config, DotRecommender, Run, expect, knows_history
from segue.models.least_squares import Side, Weighted, confidence, diagonalise, factorise, solve

_PIVOT = 16
"""Length of the history whose fold-in is regularised as in training."""
_FOLD_IN_STEPS = 64
_FOLD_IN_TOLERANCE = 1e-6


class WRMFConfig(Config, frozen=True):
    """Settings of WRMF."""

    factors: Annotated[int, Meta(ge=1, le=4096, description="length of a track's vector")] = 512
    confidence: Annotated[
        Literal["linear", "log"],
        Meta(description='how plays become confidence: "linear" 1 + αr, "log" 1 + α log(1 + r/ε)'),
    ] = "linear"
    alpha: Annotated[float, Meta(gt=0, description="α: how much a play weighs")] = 50.0
    epsilon: Annotated[float, Meta(gt=0, description="ε of the log confidence")] = 1.0
    regularisation: Annotated[float, Meta(gt=0, description="λ: pull of the factors to zero")] = (
        0.005
    )
    frequency_exponent: Annotated[
        float, Meta(ge=0, le=2, description="ν: 0 = the published λ for all, 1 = scaled with data")
    ] = 1.0
    sweeps: Annotated[int, Meta(ge=1, description="passes over rows and tracks")] = 8
    solver_steps: Annotated[
        int, Meta(ge=1, description="conjugate gradient steps for each row in a sweep")
    ] = 3
    fold_in_exponent: Annotated[
        float,
        Meta(ge=0, le=2, description="κ: a query of n tracks is pulled by λ (16/n)^κ; 0 = by λ"),
    ] = 0.6


class WRMF(DotRecommender):
    """score(q, j) = u_q · v_j, where u_q solves the row equation for the query's history."""

    name = "wrmf"
    Config = WRMFConfig
    config: WRMFConfig

    def _fit(self, dataset: Dataset, plays: sp.csr_matrix, run: Run) -> None:
        sweeps = self.config.sweeps
        with progress.task("fitting wrmf", sweeps, "sweeps", show=run.progress) as advance:
            _, self.vectors = factorise(
                Weighted.of(plays, self._confidence),
                self.config.factors,
                self.config.regularisation,
                self.config.frequency_exponent,
                sweeps,
                self.config.solver_steps,
                np.random.default_rng(run.seed),
                advance,
            )
        self.gram = diagonalise(self.vectors)

    def _confidence(self, counts: Float32) -> Float32:
        return confidence(counts, self.config.confidence, self.config.alpha, self.config.epsilon)

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        return knows_history(queries, self.catalog.plays)

    def _histories(self, queries: Queries) -> Side:
        """The queries' row equations.

        Their λ falls with the length n of the history, λ (16/n)^κ. The publications use κ = 0:
        then a single track decides too much, and a hundred too little (`docs/models.md` has the
        figures).
        """
        offsets, tracks = queries.liked()
        counts = sp.csr_matrix(
            (np.ones(len(tracks), np.float32), tracks, offsets),
            shape=(len(queries), len(self.vectors)),
        )
        counts.sum_duplicates()
        weighted = Weighted.of(counts, self._confidence)
        rows = weighted.side(self.config.regularisation, self.config.frequency_exponent)
        lengths = np.maximum(np.diff(rows.offsets), 1)
        pull = rows.reg * (_PIVOT / lengths) ** self.config.fold_in_exponent
        return rows._replace(reg=pull.astype(np.float32))

    def query_vectors(self, queries: Queries) -> Float32:
        rows = self._histories(queries)
        out = np.empty((len(queries), len(self.gram)), np.float32)
        solve(rows, self.vectors, self.gram, out, _FOLD_IN_STEPS, _FOLD_IN_TOLERANCE, cold=True)
        return out

    def _reasons(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        """score = Σ_j c_j v_jᵀ A⁻¹ v over the history's tracks j: one part a track (eq. 7)."""
        rows = self._histories(Queries.of([query]))
        history = self.vectors[rows.others].astype(np.float64)
        extra = rows.extra[rows.levels].astype(np.float64)
        a = np.diag(self.gram + rows.reg[0]) + (history.T * extra) @ history
        parts = self.vectors[tracks] @ np.linalg.solve(a, history.T) * (1 + extra)
        return [
            [Reason("track", int(j), float(part)) for j, part in zip(rows.others, row, strict=True)]
            for row in parts
        ]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {"vectors": self.vectors, "gram": self.gram}

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        factors = self.config.factors
        self.vectors = expect(tensors, "vectors", np.float32, len(self.catalog), factors)
        self.gram = expect(tensors, "gram", np.float32, factors)
