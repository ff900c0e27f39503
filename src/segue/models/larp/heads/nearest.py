"""The head "nearest" of `larp`: it prefers tracks very similar to one seed.

    score(p, s) = sum over the seeds j of exp( (cos(e_j, e_s) − 1) / θ )

The other heads take the mean of the seeds, which loses the differences between the artists of a
playlist; here each seed has neighbours. This is item-knn (Deshpande and Karypis 2004) with
neighbours that fade out by θ instead of ending after k. The spread of cosines differs between
encoders, so the default θ is the one that continues held-out playlists best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit, prange

from segue.metrics.recall import HITS, recalls_by
from segue.models.base.recommender import TrainingOptions
from segue.models.larp.examples import LEAST, halves
from segue.models.larp.heads.config import NearestConfig
from segue.numeric.arrays import Float32, Int32, Int64, fixed
from segue.numeric.parallel import parallel
from segue.numeric.ragged import Ragged
from segue.numeric.tensors import expect
from segue.numeric.vectors import units
from segue.retrieval.ranks import ranks_of_scores
from segue.retrieval.topk import Best, best_of_scores
from segue.retrieval.topk_kernels import near

_BLOCK_BYTES = 64 << 20
"""Maximum size of a block of scores."""
_CHUNK = 256
CHOICES = (0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Choices of θ."""
_HELD = 0.1
"""Share of tracks for the choice of θ, if none are held out."""
_MOST = 500
"""Maximum number of playlists for the choice of θ."""


@njit(cache=True)
def _near_to(content, seeds, row, temperature):  # type: ignore[no-untyped-def]
    """Score of a row."""
    total = 0.0
    for seed in seeds:
        total += np.exp((near(content[seed], row) - 1) / temperature)
    return total


@parallel(cache=True)
def _add_near(content, offsets, seeds, temperature, out):  # type: ignore[no-untyped-def]
    """Scores of all tracks. Rows of `content` have length 1, or are zeros."""
    for chunk in prange((len(content) + _CHUNK - 1) // _CHUNK):
        for s in range(chunk * _CHUNK, min(len(content), (chunk + 1) * _CHUNK)):
            row = content[s]
            for q in range(len(out)):
                out[q, s] = _near_to(content, seeds[offsets[q] : offsets[q + 1]], row, temperature)


@parallel(cache=True)
def _near_tracks(content, offsets, seeds, ends, tracks, temperature, out):  # type: ignore[no-untyped-def]
    """Scores of the tracks from ends[q] to ends[q + 1] only."""
    for q in range(len(offsets) - 1):
        query_seeds = seeds[offsets[q] : offsets[q + 1]]
        for i in prange(ends[q], ends[q + 1]):
            out[i] = _near_to(content, query_seeds, content[tracks[i]], temperature)


class Nearest:
    """Neighbours of each seed.

    Args:
        temperature: θ.
    """

    name: ClassVar[str] = "nearest"

    def __init__(self, temperature: float) -> None:
        self.temperature = float(np.float32(temperature))  # float32, as in a bundle

    @property
    def arrays(self) -> dict[str, Float32]:
        return {"temperature": np.array([self.temperature], np.float32)}

    def outputs(self, c: int) -> int:
        return c

    def tracks(self, content: Float32) -> Float32:
        """Content scaled to length 1; zeros stay zeros."""
        return units(content)

    def queries(self, content: Float32) -> Float32:
        return self.tracks(content)

    def parts(self, units: Float32, seeds: Int32, tracks: Int32) -> Float32:
        """Addend of each seed to the score of each track. (tracks, seeds)"""
        each = Ragged(np.arange(len(seeds) + 1), seeds)
        scores = self.values(units, each, Ragged.repeat(tracks, len(seeds)))
        return scores.reshape(len(seeds), len(tracks)).T

    def best(self, units: Float32, seeds: Ragged, excluded: Ragged, n: int) -> Best:
        """The best tracks of each query, as from `best_of_scores`.

        Args:
            units: vectors of all tracks, from `tracks`.
            seeds: seeds of each query.
        """
        blocks = [
            best_of_scores(scores, excluded[rows], n) for rows, scores in self._blocks(units, seeds)
        ]
        tracks, values, counts = (np.concatenate(part) for part in zip(*blocks, strict=True))
        return tracks, values, counts

    def ranks(self, units: Float32, seeds: Ragged, excluded: Ragged, targets: Ragged) -> Int64:
        """Ranks of the targets, as from `ranks_of_scores`."""
        out = np.empty(len(targets.values), np.int64)
        for rows, scores in self._blocks(units, seeds):
            out[targets.span(rows)] = ranks_of_scores(scores, excluded[rows], targets[rows])
        return out

    def values(self, units: Float32, seeds: Ragged, candidates: Ragged) -> Float32:
        """Scores of candidates.

        Raises:
            IndexError: there is no such track.
        """
        tracks = candidates.values
        if len(tracks) and not 0 <= tracks.min() <= tracks.max() < len(units):
            raise IndexError(f"a track outside 0..{len(units) - 1}")
        out = np.empty(len(tracks), np.float32)
        units, seeds, rows = fixed(units, np.float32), seeds.fixed(), candidates.fixed()
        ends = (seeds.offsets, seeds.values, rows.offsets, rows.values)
        _near_tracks(units, *ends, self.temperature, out)
        return out

    def _blocks(self, units: Float32, seeds: Ragged) -> Iterator[tuple[slice, Float32]]:
        """Scores of as many queries as fit into a block at a time."""
        step = max(1, _BLOCK_BYTES // (4 * max(1, len(units))))
        for start in range(0, len(seeds), step):
            rows = slice(start, min(start + step, len(seeds)))
            scores = np.empty((rows.stop - rows.start, len(units)), np.float32)
            block = seeds[rows].fixed()
            content = fixed(units, np.float32)
            _add_near(content, block.offsets, block.values, self.temperature, scores)
            yield rows, scores

    @classmethod
    def learn(
        cls,
        content: Float32,
        plays: sp.csr_matrix,
        config: NearestConfig,
        run: TrainingOptions,
        held: Int64 | None = None,
    ) -> Self:
        if config.temperature is not None:
            return cls(config.temperature)
        return cls(_chosen(units(content), plays, held, run))

    @classmethod
    def restore(
        cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, c: int, config: NearestConfig
    ) -> Self:
        return cls(float(expect(tensors, f"{prefix}temperature", np.float32, 1)[0]))


def _chosen(
    units: Float32, plays: sp.csr_matrix, held: Int64 | None, run: TrainingOptions
) -> float:
    """The θ with the best recall of held-out tracks from others of their playlist."""
    rng = np.random.default_rng([run.seed, 7])
    known = np.flatnonzero(units.any(axis=1))
    if held is None:
        held = rng.permutation(known)[: round(_HELD * len(known))]
    among = np.intersect1d(held, known)
    lists = sp.csr_matrix(plays[:, among])
    lists = lists[rng.permutation(np.flatnonzero(np.diff(lists.indptr) >= LEAST))[:_MOST]]
    shown, targets = halves(lists.indptr, lists.indices, rng)
    if not shown:
        middle = CHOICES[len(CHOICES) // 2]
        run.note(f"larp: too little to choose θ by: {middle}")
        return middle
    recalls = recalls_by(CHOICES, units[among], shown, targets)
    chosen = CHOICES[int(np.argmax(recalls))]
    message = f"larp: θ {chosen}, recall@{HITS} {recalls.max():.4f} of held tracks"
    run.note(message)
    return chosen
