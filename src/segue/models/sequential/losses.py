"""Losses of the sequence models, in torch.

Next track (sampled or full softmax):

    L_next = −1/M Σ_i log( e^{ŷ_i·e_t} / (e^{ŷ_i·e_t} + Σ_{n∈N, n≠t} e^{ŷ_i·e_n}) ),  t the target

The skip-informed term (Seshadri and Knees 2023; Seshadri, Shashaani and Knees 2024): with N(s)
the negative tracks of the session s, p_i the next track after i that was not negative, and c_i
either ŷ_i or e of the current track,

    L_skip = −1/Q Σ_i log( e^{cos(c_i,p_i)/τ} / (e^{cos(c_i,p_i)/τ} + Σ_{n∈N(s)} e^{cos(c_i,n)/τ}) )

over the places i that were not negative, have a later p_i, and whose session has a negative track.
Nothing else enters: no padding, no other session, no zero in the place of a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_NEVER = -1e9


def softmax_loss(y: Tensor, target: Tensor, drawn: Tensor, same: Tensor, shift: Tensor) -> Tensor:
    """Sum of L_next over predictions.

    Args:
        y: queries' vectors. (predictions, d)
        target: vectors of the target tracks. (predictions, d)
        drawn: vectors of the sampled negatives. (drawn, d)
        same: whether a negative equals the target. (predictions, drawn)
        shift: added to the scores of negatives (−log q). (drawn,) or ()
    """
    right = (y * target).sum(1)
    others = (y @ drawn.T + shift).masked_fill(same, _NEVER)
    both = torch.logaddexp(others.logsumexp(1), right)
    return (both - right).sum()


def skip_loss(
    context: Tensor,
    positive: Tensor,
    skipped: Tensor,
    at: Tensor,
    skipped_valid: Tensor,
    temperature: float,
) -> Tensor:
    """L_skip of a batch; 0 if no place takes part.

    Args:
        context: c_i of every place. (windows, width, d)
        positive: p_i of every place. (windows, width, d)
        skipped: negative tracks of each window. (windows, most, d)
        at: which places take part. (windows, width)
        skipped_there: false after the last of a window. (windows, most)
    """
    if not bool(at.any()):
        return context.sum() * 0
    c = functional.normalize(context, dim=2)
    near = (c * functional.normalize(positive, dim=2)).sum(2) / temperature
    far = c @ functional.normalize(skipped, dim=2).transpose(1, 2) / temperature
    far = far.masked_fill(~skipped_valid[:, None, :], -torch.inf)
    # At the places that do not take part all of `far` may be -inf, whose gradient is NaN.
    far = far[at].logsumexp(1)
    return functional.softplus(far - near[at]).mean()


def twin_loss(near: Tensor, skipped: Tensor, skipped_valid: Tensor) -> Tensor:
    """PNFRec (Ivanova et al. 2025): mean of log(e^{s_next} + Σ_n e^{s_n}) − s_next.

    Args:
        near: score of the target of each prediction. (predictions,)
        skipped: scores of the window's negative tracks. (predictions, most)
        skipped_there: (predictions, most)
    """
    has_skips = skipped_valid.any(1)
    if not bool(has_skips.any()):
        return near.sum() * 0
    far = skipped[has_skips].masked_fill(~skipped_valid[has_skips], -torch.inf).logsumexp(1)
    return functional.softplus(far - near[has_skips]).mean()


def feedback_loss(scores: Tensor, negative: Tensor, at: Tensor) -> Tensor:
    """Whether the track at each place is negative: mean logistic loss over the places `at`."""
    return functional.binary_cross_entropy_with_logits(scores[at], negative[at].to(scores.dtype))
