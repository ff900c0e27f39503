"""How long predicted vectors have to be, so that cold tracks neither flood the lists nor vanish."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segue.models.base.scoring import EmbeddingModel
from segue.numeric.arrays import Float32, Int32, Int64, latest, offsets_of
from segue.queries import Queries

_QUERIES = 300
_HISTORY = 50
_LENGTH = 100
"""Of the lists in which places are counted; a tenth of the catalog where that is less."""
_AT_ONCE = 32
_BOUNDS = (1e-2, 1e2)
_HALVINGS = 20


def find_scale(
    base: EmbeddingModel,
    offsets: Int64,
    tracks: Int32,
    held: Int32,
    predicted: Float32,
    rng: np.random.Generator,
) -> float:
    """The scale at which held tracks take as many places by prediction as by what was learned.

    Lists of up to 300 histories are made, from which the held tracks are taken out; the bias of a
    track that nobody played stands in for their own. The number of places rises with the scale.

    Args:
        base: that learned from all plays.
        offsets, tracks: histories, end to end. (histories + 1,), (plays,)
        held: tracks that prediction has not seen the vectors of, rising.
        predicted: their vectors by prediction. (held, factors)
        rng: draws the histories.

    Returns:
        1 where there is nothing to tell it by.
    """
    away = np.zeros(len(base.catalog), np.bool_)
    away[held] = True
    keep = ~away[tracks]
    offsets, tracks = offsets_of(keep)[offsets], tracks[keep]
    chosen = np.flatnonzero(np.diff(offsets) > 0)
    chosen = np.sort(rng.permutation(chosen)[:_QUERIES])
    if not len(held) or not len(chosen):
        return 1.0
    queries = _histories(offsets, tracks, chosen)
    vectors = base.query_vectors(queries)
    n = min(_LENGTH, max(1, len(base.catalog) // 10))
    rivals = _rivals(base, queries, vectors, away, n)
    cold = base.placing(held, predicted).bias[held]
    wanted = _places(vectors @ base.vectors[held].T + base.bias[held], rivals, n)
    heard = vectors @ predicted.T
    low, high = (float(np.log(bound)) for bound in _BOUNDS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _places(np.float32(np.exp(middle)) * heard + cold, rivals, n) < wanted:
            low = middle
        else:
            high = middle
    scale = float(np.float32(np.exp(high)))
    return scale if _BOUNDS[0] * 1.01 < scale < _BOUNDS[1] * 0.99 else 1.0


def _histories(offsets: Int64, tracks: Int32, chosen: Int64) -> Queries:
    """The last tracks of some histories, as queries."""
    parts = [tracks[offsets[q] : offsets[q + 1]] for q in chosen]
    ends, late = latest(offsets_of([len(part) for part in parts]), _HISTORY)
    heard = np.concatenate(parts)[late]
    nothing = np.zeros(len(chosen) + 1, np.int64)
    return Queries(
        ends, heard, np.zeros(len(heard), np.int8), [None] * len(chosen), nothing, heard[:0]
    )


def _rivals(
    base: EmbeddingModel,
    queries: Queries,
    vectors: Float32,
    away: npt.NDArray[np.bool_],
    n: int,
) -> Float32:
    """The n highest scores of played tracks that are not held, for each query. (queries, n)"""
    out = np.full((len(queries), n), -np.inf, np.float32)
    never = away | (base.catalog.plays == 0)
    for start in range(0, len(queries), _AT_ONCE):
        some = queries[start : start + _AT_ONCE]
        scores = vectors[start : start + _AT_ONCE] @ base.vectors.T + base.bias
        scores[:, never] = -np.inf
        scores[np.repeat(np.arange(len(some)), np.diff(some.offsets)), some.tracks] = -np.inf
        out[start : start + _AT_ONCE] = np.partition(scores, -n, axis=1)[:, -n:]
    return out


def _places(scores: Float32, rivals: Float32, n: int) -> int:
    """How many of the best n of each query are held tracks, in all. scores: (queries, held)"""
    last = np.partition(np.concatenate([scores, rivals], axis=1), -n, axis=1)[:, -n]
    return int((scores >= last[:, None]).sum())
