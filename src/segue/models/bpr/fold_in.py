"""Fold-in of `bpr`: the vector that ranks a history above a sample of the catalog, and skips.

For a history H, a sample N of other tracks and skipped tracks S, with x_t = u . v_t + b_t,

    max over u   (1 - share) mean over i in H, j in N of ln sigma(x_i - x_j)
                     + share mean over i in H, j in S of ln sigma(x_i - x_j) - reg/2 |u|^2

where the share is 0 if S is empty. It is strictly concave. Newton's method maximises it; a step
solves the Newton equation by conjugate gradients ("truncated Newton", Nocedal and Wright 2006,
section 7.1), which needs products with the vectors only, no Hessian. A query is one thread's work
in a fixed order of operations, so its answer depends neither on the batch nor on the number of
threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from segue.numeric.arrays import Float32, Int32
from segue.numeric.kernels import accumulate, project
from segue.numeric.parallel import parallel
from segue.numeric.ragged import Ragged

_TASKS = 64
"""Number of parallel tasks; it does not depend on the number of threads."""
_TOLERANCE = 1e-4
"""Distance to the maximum at the end: it is at most |gradient| / reg."""
_STEPS = 100
_SOLVER_STEPS = 50
_HALVINGS = 40
_FORCING = 0.1
_FARTHEST = 80.0
"""Limit of score differences: float32 holds their exponentials."""


@njit(inline="always")
def _within(difference):  # type: ignore[no-untyped-def]
    return min(_FARTHEST, max(-_FARTHEST, difference))


@njit(fastmath=True, cache=True)
def _compare_with(x, e, far, history, first, last, part, derivative, weights):  # type: ignore[no-untyped-def]
    """`_compare` for the pairs with the tracks first:last only.

    Args:
        e: exponentials of x minus a constant; unused if `far`.
        part: share of these pairs in the loss.
    """
    other_scores, others = x[first:last], e[first:last]
    one, share = np.float32(1), np.float32(part / (history * len(others)))
    pushed = np.zeros(len(others), np.float32)
    for i in range(history):
        row, exponential, total = weights[i, first - history : last - history], e[i], np.float32(0)
        if far:
            for j in range(len(others)):
                row[j] = 1 / (1 + np.exp(_within(x[i] - other_scores[j])))
        else:  # the same with an exponential a track, not a pair
            for j in range(len(others)):
                row[j] = others[j] / (others[j] + exponential)
        for j in range(len(others)):
            sigma = row[j]  # of x_j - x_i
            total += sigma
            pushed[j] += sigma
            row[j] = share * sigma * (one - sigma)
        derivative[i] -= share * total
    for j in range(len(others)):
        derivative[first + j] = share * pushed[j]


@njit(fastmath=True, cache=True)
def _compare(x, history, skips, share, derivative, weights):  # type: ignore[no-untyped-def]
    """First and second derivatives of the loss, the mean of -ln sigma(x_i - x_j).

    Args:
        x: scores of the history, then of the sample, then of the skipped tracks.
        history, skips: number of history tracks, and of skipped ones.
        share: share of the skipped tracks in the loss.
        derivative: derivative by each score. (tracks,)
        weights: sigma' (x_i - x_j) over the number of pairs. (history, sample + skips)
    """
    middle = 0.0
    for t in range(history, len(x)):
        middle += x[t] / (len(x) - history)
    e = np.empty(len(x), np.float32)
    far = False
    for t in range(len(x)):
        e[t] = np.exp(_within(x[t] - middle))
        far |= abs(x[t] - middle) > _FARTHEST
    end = len(x) - skips
    derivative[:history] = 0
    if history < end:
        part = 1 - share if skips else 1.0
        _compare_with(x, e, far, history, history, end, part, derivative, weights)
    if skips:
        _compare_with(x, e, far, history, end, len(x), share, derivative, weights)


@njit(fastmath=True, cache=True)
def _bend(weights, change, out):  # type: ignore[no-untyped-def]
    """Second derivative of the loss by the scores, times a change of the scores."""
    history, sample = weights.shape
    others, pushed = change[history:], out[history:]
    pushed[:] = 0
    for i in range(history):
        row, change_i, total = weights[i], change[i], np.float32(0)
        for j in range(sample):
            bent = row[j] * (change_i - others[j])
            total += bent
            pushed[j] -= bent
        out[i] = total


@njit(fastmath=True, cache=True)
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@njit(fastmath=True, cache=True)
def _newton_step(rows, weights, reg, gradient, step, change):  # type: ignore[no-untyped-def]
    """Solve Hessian step = -gradient, roughly; `change` is that of the scores.

    The nearer to the maximum, the more exactly: convergence is quadratic.
    """
    residual = -gradient
    towards = residual.copy()
    product = np.empty_like(step)
    moved, bent = np.empty_like(change), np.empty_like(change)
    step[:] = 0
    change[:] = 0
    square = _dot(residual, residual)
    enough = square * min(_FORCING, _FORCING * np.sqrt(square) / reg) ** 2
    for _ in range(_SOLVER_STEPS):
        project(rows, towards, moved)
        _bend(weights, moved, bent)
        product[:] = reg * towards
        accumulate(rows, bent, product)
        size = np.float32(square / _dot(towards, product))
        step += size * towards
        change += size * moved
        residual -= size * product
        before, square = square, _dot(residual, residual)
        if square <= enough:
            break
        towards[:] = residual + np.float32(square / before) * towards


@njit(fastmath=True, cache=True)
def _maximise(rows, bias, history, skips, share, reg, weights, u, derivative):  # type: ignore[no-untyped-def]
    """u of one query, from zero.

    Args:
        rows, bias: vectors and biases of history, sample and skipped tracks, in order. (tracks,
            factors), (tracks,)
        history, skips, share: see `_compare`.
        weights: room for all pairs. (history, sample)
        u: the result. (factors,)
        derivative: derivative of the loss by each score at u. (tracks,)
    """
    u[:] = 0
    x, reached = bias.copy(), np.empty_like(bias)
    change, gradient, step = np.empty_like(bias), np.empty_like(u), np.empty_like(u)
    _compare(x, history, skips, share, derivative, weights)
    for _ in range(_STEPS):
        gradient[:] = reg * u
        accumulate(rows, derivative, gradient)
        if _dot(gradient, gradient) <= (_TOLERANCE * reg) ** 2:
            break
        _newton_step(rows, weights, reg, gradient, step, change)
        # The slope along the step rises from below 0; far above 0 the step was too long.
        slope, projection, square = _dot(gradient, step), _dot(u, step), _dot(step, step)
        size = np.float32(1)
        for _ in range(_HALVINGS):
            reached[:] = x + size * change
            _compare(reached, history, skips, share, derivative, weights)
            if reg * (projection + size * square) + _dot(derivative, change) <= -slope / 2:
                break
            size *= np.float32(0.5)
        else:  # as near as float32 gets
            break
        u += size * step
        if size == 1:
            x[:] = reached
        else:  # a change far too long has cost x its last digits
            project(rows, u, x)
            x += bias


@njit(cache=True)
def _longest(offsets):  # type: ignore[no-untyped-def]
    longest = 0
    for q in range(len(offsets) - 1):
        longest = max(longest, offsets[q + 1] - offsets[q])
    return longest


@parallel(cache=True)
def _fold_in(  # type: ignore[no-untyped-def]
    offsets,
    tracks,
    skip_offsets,
    skipped,
    share,
    sample,
    vectors,
    bias,
    reg,
    out,
    shares,
    skip_shares,
):
    longest, others = _longest(offsets), len(sample) + _longest(skip_offsets)
    # Neighbouring queries go to different tasks: long histories often stand together.
    for task in prange(min(_TASKS, len(out))):
        rows = np.empty((longest + others, vectors.shape[1]), np.float32)
        biases = np.empty(len(rows), np.float32)
        derivative = np.empty(len(rows), np.float32)
        weights = np.empty((longest, others), np.float32)
        for q in range(task, len(out), _TASKS):
            first, query_skips = offsets[q], skipped[skip_offsets[q] : skip_offsets[q + 1]]
            history = tracks[first : offsets[q + 1]]
            length = count = len(history)
            for i in range(length):
                rows[i], biases[i] = vectors[history[i]], bias[history[i]]
            at = 0
            for j in sample:  # both rise
                while at < length and history[at] < j:
                    at += 1
                if at == length or history[at] != j:
                    rows[count], biases[count] = vectors[j], bias[j]
                    count += 1
            skips, part = len(query_skips), share if count > length else 1.0
            for j in query_skips:
                rows[count], biases[count] = vectors[j], bias[j]
                count += 1
            if length == 0 or count == length:
                out[q] = 0
                derivative[:count] = 0
            else:
                _maximise(
                    rows[:count],
                    biases[:count],
                    length,
                    skips,
                    part,
                    reg,
                    weights[:length, : count - length],
                    out[q],
                    derivative[:count],
                )
            shares[first : first + length] = -derivative[:length] / reg
            skip_shares[skip_offsets[q] : skip_offsets[q + 1]] = (
                -derivative[count - skips : count] / reg
            )


class SkipTerm(NamedTuple):
    """Skipped tracks of the queries."""

    tracks: Ragged
    """Skipped tracks of each query, none of its history."""
    share: float
    """Share of the skipped tracks in the loss."""


def fold_in(
    history: Ragged,
    skips: SkipTerm | None,
    sample: Int32,
    vectors: Float32,
    bias: Float32,
    reg: float,
) -> tuple[Float32, Float32, Float32]:
    """The vector of each query, and the share of each track of its history in it.

    At the maximum the gradient is 0, so u is the sum of share_t v_t over the history, the skipped
    tracks and the sample; the shares of the last two are below 0.

    Args:
        history: history of each query, rising and without repeats.
        skips: skipped tracks of the queries, or None.
        sample: negatives, rising; a query's history does not count as negative.
        vectors, bias: vectors and biases of the catalog.
        reg: regularisation, above 0.

    Returns:
        (queries, factors), and as long as the tracks of `history` and as the skipped tracks; 0
        where there is nothing to compare.
    """
    skips = skips or SkipTerm(Ragged.repeat(np.zeros(0, np.int32), len(history)), 0.0)
    out = np.empty((len(history), vectors.shape[1]), np.float32)
    shares = np.empty(len(history.values), np.float32)
    skip_shares = np.empty(len(skips.tracks.values), np.float32)
    _fold_in(
        history.offsets,
        history.values,
        skips.tracks.offsets,
        skips.tracks.values,
        skips.share,
        sample,
        vectors,
        bias,
        np.float32(reg),
        out,
        shares,
        skip_shares,
    )
    return out, shares, skip_shares
