"""Training examples of `larp`'s heads: halves of playlists, and held-out tracks and playlists."""

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
"""Minimum number of held-out playlists for early stopping."""

Bools = npt.NDArray[np.bool_]


class SampledStep(NamedTuple):
    """Training examples of one step.

    Attributes:
        playlists: numbers of playlists. (p,)
        seeds: mean content of the seed half of each. (p, c)
        tracks: scored tracks, rising. (t,)
        targets: 1/n for each of the n targets of a playlist, else 0. (p, t)
        others: mask of sampled negatives outside the playlist. (p, t)
    """

    playlists: Int64
    seeds: Float32
    tracks: Int64
    targets: Float32
    others: Bools


class HeldOutRows(NamedTuple):
    """Held-out playlists and tracks, for early stopping.

    Attributes:
        seeds: mean content of the other tracks of each playlist. (p, c)
        tracks: held-out tracks, rising. (t,)
        targets: mask of these in each playlist, at least one. (p, t)
    """

    seeds: Float32
    tracks: Int64
    targets: Bools

    def ndcg(self, scores: Float32) -> float:
        """Mean NDCG of the full ranking of the tracks. scores: (p, t)"""
        order = np.argsort(-scores, axis=1, kind="stable")
        hits = np.take_along_axis(self.targets, order, axis=1)
        return float(ndcg(hits, self.targets.sum(axis=1)).mean())


class RowSampler:
    """Samples training steps from playlists of at least two tracks.

    Args:
        content: content of every track; zeros for unknown content. (tracks, c)
        plays: (playlists, tracks)
        config: settings of the head.
        seed: seed of the holdout.
        held: tracks to hold out; None: a random tenth.

    Raises:
        DataError: no playlist has two tracks with content.
    """

    held: HeldOutRows | None
    """None if there are too few playlists to hold out."""

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
        held_mask = np.zeros(len(content), np.bool_)
        if held is None:
            known_tracks = np.unique(np.concatenate(lists)) if lists else np.zeros(0, np.int64)
            held = rng.permutation(known_tracks)[: round(_HELD * len(known_tracks))]
        held_mask[held] = True
        drawn = rng.permutation(len(lists))[: min(_MOST_HELD, round(_HELD * len(lists)))]
        held_playlists = [
            p for p in np.sort(drawn) if 0 < held_mask[lists[p]].sum() < len(lists[p])
        ]
        self.held = None
        if len(held_playlists) >= _LEAST_HELD:
            self.held = self._held_out([lists[p] for p in held_playlists], held_mask)
            left = np.setdiff1d(np.arange(len(lists)), held_playlists)
            lists = [lists[p][~held_mask[lists[p]]] for p in left]
        self.lists = [tracks for tracks in lists if len(tracks) > 1]
        if not self.lists:
            raise DataError(
                "no playlist has two tracks whose content is known",
                where="larp.top",
                do='take the top "item-knn", which learns nothing',
            )
        self.tracks = np.unique(np.concatenate(self.lists))
        self._column = np.full(len(content), -1)

    def _held_out(self, lists: list[Int64], held_mask: Bools) -> HeldOutRows:
        tracks = np.unique(np.concatenate(lists))
        tracks = tracks[held_mask[tracks]]
        seeds = np.stack(
            [self.content[playlist[~held_mask[playlist]]].mean(axis=0) for playlist in lists]
        )
        return HeldOutRows(
            seeds, tracks, np.stack([np.isin(tracks, playlist) for playlist in lists])
        )

    def matrix(self) -> sp.csr_matrix:
        """1 where a playlist has a track. (playlists, tracks) float32"""
        offsets = offsets_of([len(tracks) for tracks in self.lists])
        entries = np.concatenate(self.lists)
        shape = len(self.lists), len(self.content)
        return sp.csr_matrix((np.ones(len(entries), np.float32), entries, offsets), shape)

    def means(self) -> Float32:
        """Mean content of each playlist. (playlists, c)"""
        return np.stack([self.content[tracks].mean(axis=0) for tracks in self.lists])

    def epoch(self, rng: np.random.Generator) -> list[Int64]:
        """Numbers of the playlists of each step."""
        steps = max(1, round(len(self.lists) / self.config.batch))
        return np.array_split(rng.permutation(len(self.lists)), steps)

    def step(self, playlists: Int64, rng: np.random.Generator) -> SampledStep:
        """Draw a half of each playlist as seeds, and `positives` of the rest as targets."""
        seeds, targets = [], []
        for p in playlists:
            tracks = rng.permutation(self.lists[p])
            half = round(len(tracks) / 2)
            seeds.append(self.content[tracks[:half]].mean(axis=0))
            targets.append(tracks[half:][: self.config.positives])
        drawn = self.tracks[rng.integers(len(self.tracks), size=self.config.negatives)]
        scored = np.unique(np.concatenate([*targets, drawn]))
        self._column[scored] = np.arange(len(scored))
        weights = np.zeros((len(playlists), len(scored)), np.float32)
        others = np.zeros(weights.shape, np.bool_)
        others[:, self._column[drawn]] = True
        for row, p in enumerate(playlists):
            weights[row, self._column[targets[row]]] = 1 / len(targets[row])
            columns = self._column[self.lists[p]]
            others[row, columns[columns >= 0]] = False
        self._column[scored] = -1
        return SampledStep(playlists, np.stack(seeds), scored, weights, others)


def _distinct(plays: sp.csr_matrix, content: Float32) -> list[Int64]:
    """Tracks with content of each row that has two."""
    known: Bools = np.any(content, axis=1)
    rows = [
        np.unique(plays.indices[first:end]).astype(np.int64)
        for first, end in zip(plays.indptr[:-1], plays.indptr[1:], strict=True)
    ]
    lists = [tracks[known[tracks]] for tracks in rows]
    return [tracks for tracks in lists if len(tracks) > 1]
