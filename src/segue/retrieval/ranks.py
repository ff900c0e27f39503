"""Where given tracks stand in the complete ranking of a catalog, without ranking it.

The place of a track is how many others come before it: those with a higher score, and those with
the same score and a lower index. That is counted, in the same total order and with the same exact
scores as in `segue.retrieval.topk`: a float32 product says which tracks are surely before and
which surely are not, and only those within its error bound are scored exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from segue.numeric.arrays import fixed
from segue.numeric.parallel import parallel
from segue.numeric.ragged import Ragged
from segue.retrieval.score_kernels import CHUNK, dot_score
from segue.retrieval.topk import Float32, Float64, Int64, error_bound

_BLOCK_BYTES = 64 << 20  # scores of whole catalogs that are held at a time
_LANES = 32


class GivenScores(NamedTuple):
    """Tracks of each query whose score is given, and not the product."""

    tracks: Ragged
    scores: Float32


def ranks_of_scores(scores: Float32, excluded: Ragged, targets: Ragged) -> Int64:
    """The rank of each target by dense scores.

    Args:
        scores: (queries, tracks) float32, finite. Changed: excluded tracks become -inf.
        excluded: tracks that are not answered (`Queries.excluded`).
        targets: tracks of each query whose rank is asked for.

    Returns:
        from 0; the number of all tracks for one that is excluded. (targets,) int64
    """
    nothing = np.empty((len(scores), 0), np.float32)
    none = np.empty((scores.shape[1], 0), np.float32)
    exact = np.zeros(len(scores))
    return _count(
        nothing,
        none,
        none.sum(axis=1),
        scores,
        exact,
        excluded,
        targets,
        _none_given(len(scores)),
    )


def ranks_of_products(
    queries: Float32,
    vectors: Float32,
    bias: Float32,
    excluded: Ragged,
    targets: Ragged,
    given: GivenScores | None = None,
) -> Int64:
    """The rank of each target by ``queries @ vectors.T + bias``.

    Args:
        queries: (queries, factors) float32, finite.
        vectors: (tracks, factors) float32, finite.
        bias: (tracks,) float32, finite.
        excluded, targets, returns: as in `ranks_of_scores`.
        given: scores that stand in place of products.
    """
    given = given or _none_given(len(queries))
    out = np.empty(len(targets.values), np.int64)
    slack = error_bound(queries, vectors, bias)
    step = max(1, _BLOCK_BYTES // (4 * max(1, len(vectors))))
    scores = np.empty((min(step, len(queries)), len(vectors)), np.float32)
    for start in range(0, len(queries), step):
        rows = slice(start, min(start + step, len(queries)))
        part = scores[: rows.stop - start]
        with np.errstate(over="ignore", invalid="ignore"):  # where slack is inf: scored exactly
            np.matmul(queries[rows], vectors.T, out=part)
            if bias.any():
                part += bias
        out[targets.span(rows)] = _count(
            queries[rows],
            vectors,
            bias,
            part,
            slack[rows],
            excluded[rows],
            targets[rows],
            GivenScores(given.tracks[rows], given.scores[given.tracks.span(rows)]),
        )
    return out


def _none_given(queries: int) -> GivenScores:
    return GivenScores(Ragged.repeat(np.zeros(0, np.int32), queries), np.zeros(0, np.float32))


def _count(
    queries: Float32,
    vectors: Float32,
    bias: Float32,
    scores: Float32,
    slack: Float64,
    excluded: Ragged,
    targets: Ragged,
    given: GivenScores,
) -> Int64:
    out = np.zeros(len(targets.values), np.int64)
    excluded, targets, known = excluded.fixed(), targets.fixed(), given.tracks.fixed()
    _places(
        fixed(queries, np.float32),
        fixed(vectors, np.float32),
        fixed(bias, np.float32),
        scores,
        slack,
        excluded.offsets,
        excluded.values,
        targets.offsets,
        targets.values,
        known.offsets,
        known.values,
        fixed(given.scores, np.float32),
        out,
    )
    return out


@njit(cache=True)
def _exact(query, vectors, bias, t, score, known, lanes):  # type: ignore[no-untyped-def]
    """The exact score of a track; `known` holds those of this query so far, else NaN."""
    if len(query) == 0:
        return score
    if np.isnan(known[t]):
        known[t] = dot_score(query, vectors[t], bias[t], lanes)
    return known[t]


@parallel(cache=True)
def _places(  # type: ignore[no-untyped-def]
    queries,
    vectors,
    bias,
    scores,
    slack,
    excluded_offsets,
    excluded,
    offsets,
    tracks,
    given_offsets,
    given,
    given_scores,
    out,
):
    """Count for each wanted track what comes before it. `scores` are exact within `slack`."""
    size = scores.shape[1]
    for q in prange(len(scores)):
        own = scores[q]
        first, last = offsets[q], offsets[q + 1]
        if first == last:
            continue
        lanes = np.empty(_LANES)
        known = np.full(size if queries.shape[1] else 0, np.nan, np.float32)
        for g in range(given_offsets[q], given_offsets[q + 1]):
            own[given[g]] = given_scores[g]
            if len(known):
                known[given[g]] = given_scores[g]
        wanted = np.empty(last - first, np.float32)
        if slack[q] == np.inf:
            for t in range(size):
                own[t] = _exact(queries[q], vectors, bias, t, own[t], known, lanes)
        for i in range(first, last):
            t = tracks[i]
            wanted[i - first] = _exact(queries[q], vectors, bias, t, own[t], known, lanes)
        for e in range(excluded_offsets[q], excluded_offsets[q + 1]):
            own[excluded[e]] = -np.inf
        near = np.float64(0) if slack[q] == np.inf else slack[q]
        for i in range(first, last):
            out[i] = _before(
                queries[q], vectors, bias, own, near, wanted[i - first], tracks[i], known, lanes
            )
        for i in range(first, last):
            if own[tracks[i]] == -np.inf:
                out[i] = size


@njit(cache=True)
def _before(query, vectors, bias, scores, slack, score, track, known, lanes):  # type: ignore[no-untyped-def]
    """How many tracks come before one, in one pass."""
    low, high = np.float32(score - slack), np.float32(score + slack)
    count = 0
    for start in range(0, len(scores), CHUNK):
        some = scores[start : start + CHUNK]
        above, close = 0, 0
        for j in range(len(some)):
            above += some[j] > high
            close += some[j] >= low
        count += above
        if close > above:
            for j in range(len(some)):
                if low <= some[j] <= high:
                    t = start + j
                    exact = _exact(query, vectors, bias, t, some[j], known, lanes)
                    count += exact > score or (exact == score and t < track)
    return count


def ranks_among(
    scores: Float32, excluded: Ragged, candidates: Ragged, ties: Int64 | None = None
) -> Int64:
    """The rank of each candidate when only the candidates of its query may be answered.

    Args:
        scores: of the candidates. (candidates,)
        excluded: tracks that are not answered (`Queries.excluded`).
        candidates: tracks of each query.
        ties: between equal scores the candidate with the lower number stands first. None: the
            index of the track. (candidates,)

    Returns:
        from 0; the number of all candidates for one that is excluded. (candidates,) int64
    """
    owners, tracks = candidates.owners(), candidates.values
    banned = np.isin(candidates.keys(), excluded.keys())
    order = np.lexsort((tracks if ties is None else ties, -scores, banned, owners))
    ranks = np.empty(len(tracks), np.int64)
    ranks[order] = np.arange(len(tracks)) - candidates.offsets[owners]
    ranks[banned] = len(tracks)
    return ranks


@parallel(cache=True)
def pair_scores(queries, vectors, bias, offsets, tracks, out):  # type: ignore[no-untyped-def]
    """Fill `out` with the exact scores of the wanted tracks. (wanted,)"""
    for q in prange(len(queries)):
        lanes = np.empty(_LANES)
        for i in range(offsets[q], offsets[q + 1]):
            out[i] = dot_score(queries[q], vectors[tracks[i]], bias[tracks[i]], lanes)
