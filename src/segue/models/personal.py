"""Personal top: what the listener played before, most and latest first; then popularity.

The baseline that sequence models have to beat where people repeat themselves: in Tran et al.,
"Transformers Meet ACT-R: Repeat-Aware and Sequential Listening Session Recommendation" (2024), a
listener's own top tracks beat SASRec on next sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from segue.config import Config, Search
from segue.data.dataset import Dataset
from segue.models.base.recency import Float64, recent_plays
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import ScoringModel
from segue.numeric.arrays import Float32, Int32
from segue.queries import Queries, Query, Reason


class PersonalConfig(Config, frozen=True):
    """Settings of `personal`."""

    half_life: Annotated[
        float,
        Meta(gt=0, le=1e6, description="listens after which a play of the past counts half"),
        Search(5, 5000, log=True),
    ] = 200.0


class Personal(ScoringModel):
    """score(t) = 1 + sum over the plays of t in the past of 2^(-age / half_life); else popularity.

    The age of a play is how many listens of the past came after it. A track that the listener has
    not played scores its popularity as a share of the greatest, below 1.
    """

    name = "personal"
    Config = PersonalConfig

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        pass

    @property
    def reads_past(self) -> bool:
        return True

    def answerable(self, queries: Queries) -> npt.NDArray[np.bool_]:
        spans = queries.past_spans
        some: npt.NDArray[np.bool_] = spans[:, 0] < spans[:, 1]
        return some

    def scores(self, queries: Queries) -> Float32:
        scores = np.tile(self._popularity(), (len(queries), 1))
        for q, (first, last) in enumerate(queries.past_spans):
            tracks, amounts = self._own(queries.past[first:last])
            scores[q, tracks] = amounts
        return scores

    def _popularity(self) -> Float32:
        """Below 1. (tracks,)"""
        plays = self.catalog.plays
        shares: Float32 = (0.999 * plays / max(1, plays.max(initial=0))).astype(np.float32)
        return shares

    def _own(self, past: Int32) -> tuple[Int32, Float64]:
        """The tracks of a past and their scores, at least 1."""
        tracks, plays = recent_plays(past, self.config.half_life)
        return tracks, 1 + plays

    def _explain(self, query: Query, tracks: Int32) -> list[list[Reason]]:
        own = dict(
            zip(*(part.tolist() for part in self._own(np.array(query.past, np.int32))), strict=True)
        )
        popularity = self._popularity()
        return [
            [Reason("track", int(t), own[t])]
            if t in own
            else [Reason("popularity", None, float(popularity[t]))]
            for t in tracks.tolist()
        ]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    def restore(self, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        pass
