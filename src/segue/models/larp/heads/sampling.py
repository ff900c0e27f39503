"""What tops of `larp` learn from: halves of playlists, and tracks and playlists kept aside."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.errors import DataError
from segue.metrics.ranking import ndcg
from segue.models.larp.heads.config import HeadConfig
from segue.numeric.arrays import Float32, Int64, offsets_of

_HELD = 0.1
_MOST_HELD = 500
_LEAST_HELD = 100
"""Playlists below which the kept ones say too little to choose an epoch by."""

Bools = npt.NDArray[np.bool_]


class SampledStep(NamedTuple):
    """What a step learns from.

    Attributes:
        playlists: numbers of playlists. (p,)
        seeds: mean content of the half of each that is shown. (p, c)
        tracks: that are scored, rising. (t,)
        wanted: 1/n for each of the n tracks that a playlist wants, else 0. (p, t)
        others: which tracks were drawn for all playlists and are not in this one. (p, t)
    """

    playlists: Int64
    seeds: Float32
    tracks: Int64
    wanted: Float32
    others: Bools


class HeldOutRows(NamedTuple):
    """Playlists and tracks that training never sees; they tell when it ends.

    Attributes:
        seeds: mean content of the other tracks of each playlist. (p, c)
        tracks: kept aside, rising. (t,)
        wanted: which of these each playlist has, at least one. (p, t)
    """

    seeds: Float32
    tracks: Int64
    wanted: Bools

    def ndcg(self, scores: Float32) -> float:
        """Of the whole ranking of the tracks, its mean over playlists. scores: (p, t)"""
        order = np.argsort(-scores, axis=1, kind="stable")
        hits = np.take_along_axis(self.wanted, order, axis=1)
        return float(ndcg(hits, self.wanted.sum(axis=1)).mean())


class RowSampler:
    """Playlists of at least two tracks, and what is drawn from them for a step.

    Args:
        content: of every track; zeros where nothing is known. (tracks, c)
        plays: (playlists, tracks)
        config: of the top.
        seed: of what is kept aside.
        held: tracks to keep aside; None: a tenth is drawn.

    Raises:
        DataError: no playlist has two tracks whose content is known.
    """

    held: HeldOutRows | None
    """None where too few playlists could be kept aside."""

    def __init__(
        self,
        content: Float32,
        plays: sp.csr_matrix,
        config: HeadConfig,
        seed: int,
        held: Int64 | None = None,
    ) -> None:
        self.content = np.ascontiguousarray(content, np.float32)
        self.config = config
        rng = np.random.default_rng([seed, 3])
        lists = _distinct(plays, self.content)
        aside = np.zeros(len(content), np.bool_)
        if held is None:
            some = np.unique(np.concatenate(lists)) if lists else np.zeros(0, np.int64)
            held = rng.permutation(some)[: round(_HELD * len(some))]
        aside[held] = True
        drawn = rng.permutation(len(lists))[: min(_MOST_HELD, round(_HELD * len(lists)))]
        asked = [p for p in np.sort(drawn) if 0 < aside[lists[p]].sum() < len(lists[p])]
        self.held = None
        if len(asked) >= _LEAST_HELD:
            self.held = self._asked([lists[p] for p in asked], aside)
            left = np.setdiff1d(np.arange(len(lists)), asked)
            lists = [lists[p][~aside[lists[p]]] for p in left]
        self.lists = [tracks for tracks in lists if len(tracks) > 1]
        if not self.lists:
            raise DataError(
                "no playlist has two tracks whose content is known",
                where="larp.top",
                do='take the top "item-knn", which learns nothing',
            )
        self.tracks = np.unique(np.concatenate(self.lists))
        self._column = np.full(len(content), -1)

    def _asked(self, lists: list[Int64], aside: Bools) -> HeldOutRows:
        tracks = np.unique(np.concatenate(lists))
        tracks = tracks[aside[tracks]]
        seeds = np.stack([self.content[own[~aside[own]]].mean(axis=0) for own in lists])
        return HeldOutRows(seeds, tracks, np.stack([np.isin(tracks, own) for own in lists]))

    def matrix(self) -> sp.csr_matrix:
        """1 where a playlist has a track. (playlists, tracks) float32"""
        offsets = offsets_of([len(own) for own in self.lists])
        entries = np.concatenate(self.lists)
        shape = len(self.lists), len(self.content)
        return sp.csr_matrix((np.ones(len(entries), np.float32), entries, offsets), shape)

    def means(self) -> Float32:
        """Mean content of each playlist. (playlists, c)"""
        return np.stack([self.content[own].mean(axis=0) for own in self.lists])

    def epoch(self, rng: np.random.Generator) -> list[Int64]:
        """Numbers of the playlists of each step."""
        steps = max(1, round(len(self.lists) / self.config.batch))
        return np.array_split(rng.permutation(len(self.lists)), steps)

    def step(self, playlists: Int64, rng: np.random.Generator) -> SampledStep:
        """Show a drawn half of each playlist; want `positives` of the rest."""
        seeds, wanted = [], []
        for p in playlists:
            tracks = rng.permutation(self.lists[p])
            half = round(len(tracks) / 2)
            seeds.append(self.content[tracks[:half]].mean(axis=0))
            wanted.append(tracks[half:][: self.config.positives])
        drawn = self.tracks[rng.integers(len(self.tracks), size=self.config.negatives)]
        scored = np.unique(np.concatenate([*wanted, drawn]))
        self._column[scored] = np.arange(len(scored))
        weights = np.zeros((len(playlists), len(scored)), np.float32)
        others = np.zeros(weights.shape, np.bool_)
        others[:, self._column[drawn]] = True
        for row, p in enumerate(playlists):
            weights[row, self._column[wanted[row]]] = 1 / len(wanted[row])
            own = self._column[self.lists[p]]
            others[row, own[own >= 0]] = False
        self._column[scored] = -1
        return SampledStep(playlists, np.stack(seeds), scored, weights, others)


def _distinct(plays: sp.csr_matrix, content: Float32) -> list[Int64]:
    """Tracks of known content of each row that has two."""
    known: Bools = np.any(content, axis=1)
    rows = [
        np.unique(plays.indices[first:end]).astype(np.int64)
        for first, end in zip(plays.indptr[:-1], plays.indptr[1:], strict=True)
    ]
    lists = [tracks[known[tracks]] for tracks in rows]
    return [tracks for tracks in lists if len(tracks) > 1]
