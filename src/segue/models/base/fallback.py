"""The fallback of every model: popularity, for queries that the model knows nothing about."""

from __future__ import annotations

import numpy as np

from segue.numeric.arrays import Float32, Int32, Int64
from segue.numeric.ragged import Ragged
from segue.retrieval.ranks import ranks_of_scores
from segue.retrieval.topk import best_of_scores


class PopularityFallback:
    """Ranks tracks by how often they were played, then by their index.

    Args:
        plays: of each track. (tracks,)
    """

    def __init__(self, plays: Int32) -> None:
        self._plays = plays

    def top_n(self, excluded: Int32, n: int) -> tuple[Int32, Float32, int]:
        """The best n tracks for one query.

        Args:
            excluded: tracks not to answer, rising.
            n: how many.

        Returns:
            tracks (n,) padded with -1, scores (n,) padded with NaN, and how many there are.
        """
        tracks, scores, counts = best_of_scores(self._scores(), Ragged.of_lists([excluded]), n)
        return tracks[0], scores[0], int(counts[0])

    def rank_of(self, excluded: Int32, tracks: Int32) -> Int64:
        """The rank of given tracks for one query, from 0; the catalog's size where excluded."""
        rows = Ragged.of_lists([excluded]), Ragged.of_lists([tracks])
        return ranks_of_scores(self._scores(), *rows)

    def _scores(self) -> Float32:
        """Scores of one query, which ranking may change. (1, tracks)"""
        return self._plays.astype(np.float32)[None]
