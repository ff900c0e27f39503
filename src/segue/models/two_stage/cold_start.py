"""Tracks that nobody has played, in the answers of `two-stage`.

They have come by vectors of the first stage's `wrmf` (`ColdStartModel`). Its other models, the
tables of features and the trees have learned nothing of them, so none of these is asked about them.
Each keeps the place that `wrmf` alone gives it among all tracks, and the tracks that were learned
fill the places between, in the order of the two stages: the lists hold as many cold tracks as those
of `wrmf`, at the same places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.catalog.catalog import Catalog
from segue.errors import BundleError
from segue.models.wrmf.model import WRMF
from segue.numeric.arrays import Float32, Int32, begins, offsets_of, positions
from segue.numeric.ragged import Ragged
from segue.numeric.tensors import expect
from segue.queries import Queries
from segue.retrieval.topk import Best, best_of_products

_STEP = 2.0**-22
"""Between the scores of cold tracks in one place, as a share: two steps of float32."""


class AddedTracks:
    """Tracks that came by their vectors.

    Args:
        wrmf: of the first stage, with them.
        mask: which tracks of its catalog they are. (tracks,)
        learned: how many tracks the first stage knows: the catalog begins with them. Those behind
            are cold, and so may be some of these.
    """

    def __init__(self, wrmf: WRMF, mask: npt.NDArray[np.bool_], learned: int) -> None:
        self.wrmf, self.mask, self.learned = wrmf, mask, learned

    @classmethod
    def none(cls, wrmf: WRMF) -> Self:
        """No track."""
        size = len(wrmf.catalog)
        return cls(wrmf, np.zeros(size, np.bool_), size)

    def with_tracks(self, tracks: pa.Table, vectors: Float32) -> AddedTracks:
        """As `ColdStartModel.with_tracks`."""
        wrmf = self.wrmf.with_tracks(tracks, vectors)
        return AddedTracks(wrmf, np.append(self.mask, np.ones(len(tracks), np.bool_)), self.learned)

    def placing(self, tracks: Int32, vectors: Float32) -> AddedTracks:
        """As `ColdStartModel.placing`."""
        mask = self.mask.copy()
        mask[tracks] = True
        return AddedTracks(self.wrmf.placing(tracks, vectors), mask, self.learned)

    def __bool__(self) -> bool:
        return bool(self.mask.any())

    # Questions, as far as what was learned can read them

    def learned_of(self, queries: Queries) -> Queries:
        """The queries without what their histories hold of cold tracks."""
        keep = ~self.mask[queries.tracks]
        return replace(
            queries,
            offsets=offsets_of(keep)[queries.offsets],
            tracks=queries.tracks[keep],
            outcomes=queries.outcomes[keep],
        )

    def within(self, excluded: Ragged) -> Ragged:
        """The excluded tracks that the first stage knows."""
        return excluded.where(excluded.values < self.learned)

    def shut(self, excluded: Ragged) -> Ragged:
        """The excluded tracks, with the cold ones that the first stage knows."""
        cold = np.flatnonzero(self.mask[: self.learned]).astype(np.int32)
        if not len(cold):
            return excluded
        return Ragged.of_lists([np.union1d(excluded.row(q), cold) for q in range(len(excluded))])

    # Answers

    def dealt_in(
        self,
        learned: Best,
        known: npt.NDArray[np.bool_],
        vectors: Float32,
        excluded: Ragged,
        n: int,
    ) -> Best:
        """The best n of all tracks for each query.

        Args:
            learned: the best n of the others, as `best_of_scores` gives them.
            known: which queries `wrmf` can read; for others cold tracks come last.
            vectors: of the queries by `wrmf`. (queries, factors)
            excluded: tracks not to answer, rising within a query.
        """
        wrmf = self.wrmf
        ranked, _, sizes = best_of_products(vectors, wrmf.vectors, wrmf.bias, excluded, n)
        tracks = np.full((len(known), n), -1, np.int32)
        scores = np.full((len(known), n), np.nan, np.float32)
        counts = np.zeros(len(known), np.int64)
        for q, (of, values, count) in enumerate(zip(*learned, strict=True)):
            row = self._merged(of[:count], values[:count], ranked[q, : sizes[q]], bool(known[q]), n)
            counts[q] = len(row[0])
            tracks[q, : counts[q]], scores[q, : counts[q]] = row
        return tracks, scores, counts

    def _merged(
        self, tracks: Int32, scores: Float32, ranked: Int32, known: bool, n: int
    ) -> tuple[Int32, Float32]:
        """One answer: the best n of both.

        tracks, scores: the best n of those that were learned, or all where there are fewer.
        ranked: the best n of all tracks by `wrmf`, best first.

        A cold track has the score of the one above it, less a step for each cold track that shares
        its place. Where learned tracks have equal scores, or less than a step apart, it comes after
        all of them: between equal ones their numbers decide.
        """
        at = np.flatnonzero(self.mask[ranked])
        above = at - np.arange(len(at)) if known else np.full(len(at), len(tracks))
        top = scores[:1] + 1 if len(scores) else np.zeros(1, np.float32)
        near = np.concatenate([top, scores]).astype(np.float64)[above]
        step = (1 + positions(begins(near))) * _STEP * np.maximum(1, np.abs(near))
        both = np.concatenate([tracks, ranked[at]])
        values = np.concatenate([scores, (near - step).astype(np.float32)])
        order = np.lexsort((both, -values))[:n]
        return both[order], values[order]

    # Bundles

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The tracks and their vectors; nothing where there are none."""
        tracks = np.flatnonzero(self.mask).astype(np.int32)
        return {"tracks": tracks, "vectors": self.wrmf.vectors[tracks]} if len(tracks) else {}

    @classmethod
    def restore(
        cls, tensors: Mapping[str, npt.NDArray[Any]], wrmf: WRMF, catalog: Catalog
    ) -> AddedTracks:
        """Take what `tensors` gave.

        Args:
            wrmf: of the first stage, as it has learned.
            catalog: of all tracks, `wrmf`'s first.

        Raises:
            BundleError: shapes or types do not fit, or numbers point outside.
        """
        none = cls.none(wrmf)
        if not tensors:
            return none
        tracks = expect(tensors, "tracks", np.int32, None)
        vectors = expect(tensors, "vectors", np.float32, len(tracks), wrmf.vectors.shape[1])
        new = len(catalog) - none.learned
        whole = (np.diff(tracks) > 0).all() and (tracks >= none.learned).sum() == new
        if not whole or not len(tracks) or not 0 <= tracks[0] <= tracks[-1] < len(catalog):
            raise BundleError(
                f"is not the rising numbers of cold tracks, the last {new} among them",
                where="tensor cold/tracks",
            )
        mask = np.zeros(len(catalog), np.bool_)
        mask[tracks] = True
        return cls(wrmf.over(catalog, tracks, vectors), mask, none.learned)
