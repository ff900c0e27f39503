"""The top "nearest" of `larp`: tracks that are very like one seed, rather than all a little.

    score(p, s) = sum over the seeds j of exp( (cos(e_j, e_s) − 1) / θ )

A mean of seeds, which the other tops take, is near to what all of them have in common. Where a
playlist has several artists, what tells one from another is lost in it; here each seed finds its
own neighbours. This is item-knn (Deshpande and Karypis 2004) whose neighbours fade out by θ instead
of ending after k.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit, prange

from segue.answers import Float32, Int32, Int64
from segue.models.base import Run
from segue.models.larp_tops_settings import NearestConfig
from segue.models.placing import places_of_scores
from segue.models.ranking import Best, best_of_scores, fixed
from segue.models.ranking_kernels import near

_BLOCK_BYTES = 64 << 20
"""Of scores that are held at a time."""
_CHUNK = 256


@njit(parallel=True, cache=True)
def _add_near(content, offsets, seeds, temperature, out):  # type: ignore[no-untyped-def]
    """Parts of the scores, summed. Rows of `content` have length 1, or are zeros."""
    for chunk in prange((len(content) + _CHUNK - 1) // _CHUNK):
        for s in range(chunk * _CHUNK, min(len(content), (chunk + 1) * _CHUNK)):
            row = content[s]
            for q in range(len(out)):
                total = 0.0
                for j in range(offsets[q], offsets[q + 1]):
                    total += np.exp((near(content[seeds[j]], row) - 1) / temperature)
                out[q, s] = total


def units(vectors: Float32) -> Float32:
    """Of length 1, but for zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    of_one: Float32 = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return of_one


class Nearest:
    """Neighbours of each seed.

    Args:
        temperature: θ.
    """

    name: ClassVar[str] = "nearest"

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    @property
    def arrays(self) -> dict[str, Float32]:
        return {}

    def outputs(self, c: int) -> int:
        return c

    def tracks(self, content: Float32) -> Float32:
        """Content of length 1, but for zeros."""
        return units(content)

    def queries(self, content: Float32) -> Float32:
        return self.tracks(content)

    def parts(self, units: Float32, seeds: Int32, tracks: Int32) -> Float32:
        """What each seed adds to the score of each track. (tracks, seeds)"""
        out = np.empty((len(seeds), len(units)), np.float32)
        ends = np.arange(len(seeds) + 1)
        self._add(units, ends, seeds, out)
        return out[:, tracks].T

    def best(
        self,
        units: Float32,
        histories: tuple[Int64, Int32],
        offsets: Int64,
        excluded: Int32,
        n: int,
    ) -> Best:
        """As `best_of_scores` gives them.

        Args:
            units: of all tracks, as `tracks` gives them.
            histories: offsets and seeds of the queries.
        """
        found = [
            best_of_scores(scores, offsets[rows.start : rows.stop + 1], excluded, n)
            for rows, scores in self._blocks(units, *histories)
        ]
        tracks, values, counts = (np.concatenate(part) for part in zip(*found, strict=True))
        return tracks, values, counts

    def places(
        self, units: Float32, histories: tuple[Int64, Int32], excluded_offsets: Int64,
        excluded: Int32, offsets: Int64, tracks: Int32,
    ) -> Int64:  # fmt: skip
        """As `places_of_scores` gives them."""
        out = np.empty(len(tracks), np.int64)
        for rows, scores in self._blocks(units, *histories):
            some = slice(rows.start, rows.stop + 1)
            ends = offsets[some]
            out[ends[0] : ends[-1]] = places_of_scores(
                scores, excluded_offsets[some], excluded, ends - ends[0], tracks[ends[0] : ends[-1]]
            )
        return out

    def values(
        self, units: Float32, histories: tuple[Int64, Int32], offsets: Int64, tracks: Int32
    ) -> Float32:
        """Scores of given tracks."""
        out = np.empty(len(tracks), np.float32)
        for rows, scores in self._blocks(units, *histories):
            for q in range(rows.start, rows.stop):
                own = slice(offsets[q], offsets[q + 1])
                out[own] = scores[q - rows.start, tracks[own]]
        return out

    def _blocks(self, units: Float32, ends: Int64, seeds: Int32) -> Any:
        """Scores of some queries at a time."""
        step = max(1, _BLOCK_BYTES // (4 * max(1, len(units))))
        for start in range(0, len(ends) - 1, step):
            rows = slice(start, min(start + step, len(ends) - 1))
            scores = np.empty((rows.stop - rows.start, len(units)), np.float32)
            self._add(units, ends[rows.start : rows.stop + 1], seeds, scores)
            yield rows, scores

    def _add(self, units: Float32, ends: Int64, seeds: Int32, out: Float32) -> None:
        units, ends, seeds = fixed(units, np.float32), fixed(ends, np.int64), fixed(seeds, np.int32)
        _add_near(units, ends, seeds, self.temperature, out)

    @classmethod
    def learn(
        cls, content: Float32, plays: sp.csr_matrix, config: NearestConfig, run: Run,
        held: Int64 | None = None,
    ) -> Self:  # fmt: skip
        return cls(config.temperature)

    @classmethod
    def restore(
        cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, c: int, config: NearestConfig
    ) -> Self:
        return cls(config.temperature)
