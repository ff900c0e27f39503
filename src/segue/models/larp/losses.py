"""The losses of LARP, in the order of the paper (Salganik et al., KDD 2024, section 4).

All vectors have length 1, so a product is a cosine. For queries q with one positive each among
candidates c_1 ... c_C, the features of the slow networks in the step's batch and in the queue,

    half(q, c) = mean over rows of  CE( y,  softmax_n(q · c_n / τ) )

y is 1 at the positive (the paper), or α softmax_n(q' · c_n / τ) + (1 − α) of that, with q' the slow
network's feature of the query (the authors' code). With a the sound and t the caption of a track:

    Contrast(a_i, t_j) = ½ [ half(a_i, t) + half(t_j, a) ]
    WTC = Contrast(a_i, t_i)
    TTC = ½ [ Contrast(a_i, t_j) + Contrast(t_i, a_j) ]       i and j share a playlist
    TPC = ½ [ Contrast(a_p, t_i) + Contrast(t_p, a_i) ]       i is in p; candidates: the batch's

With one encoder only, TTC is half(t_i, t) with the positive j, and TPC is Contrast(t_p, t_i).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def half(
    queries: Tensor,
    candidates: Tensor,
    positive: Tensor,
    temperature: Tensor,
    spared: Tensor | None = None,
    soft: float = 0.0,
    slow: Tensor | None = None,
) -> Tensor:
    """The contrastive loss of queries and their positives.

    Args:
        queries: (rows, d)
        candidates: (candidates, d)
        positive: column of each row's positive. (rows,)
        temperature: τ. ()
        spared: mask of candidates that are no negatives of a row; its positive always counts.
            (rows, candidates)
        soft: α, share of the slow network's distribution in the target.
        slow: its features of the queries, if α is above 0. (rows, d)

    Returns:
        ()
    """
    logits = queries @ candidates.t() / temperature
    is_positive = functional.one_hot(positive, len(candidates)).bool()
    out = None if spared is None else spared & ~is_positive
    if out is not None:
        logits = logits.masked_fill(out, -torch.inf)
    if not soft:
        return functional.cross_entropy(logits, positive)
    assert slow is not None
    with torch.no_grad():
        opinion = slow @ candidates.t() / temperature
        if out is not None:
            opinion = opinion.masked_fill(out, -torch.inf)
        target = soft * opinion.softmax(1) + (1 - soft) * is_positive.to(opinion.dtype)
    log_p = logits.log_softmax(1)
    return -(target * log_p.masked_fill(log_p == -torch.inf, 0.0)).sum(1).mean()


def across(
    queries: Sequence[Tensor],
    candidates: Sequence[Tensor],
    positive: Tensor,
    temperature: Tensor,
    spared: Tensor | None = None,
    soft: float = 0.0,
    slow: Sequence[Tensor] = (),
) -> Tensor:
    """Mean of `half` from each encoder to the other; from one encoder to itself if it is alone.

    With each row's own column as `positive` this is WTC. With the column of its partner it is TTC:
    the rows hold both half(a_i, t_j) and half(t_j, a_i).

    Args:
        queries: features of the rows by encoder. (rows, d) each
        candidates: slow features of the batch and the queue by encoder. (candidates, d) each
        positive: (rows,)
        temperature: ()
        spared: (rows, candidates)
        soft: α.
        slow: features of the rows by the slow networks, if α is above 0.
    """
    losses = []
    for side, features in enumerate(queries):
        other_candidates = candidates[(side + 1) % len(queries)]
        opinion = slow[side] if slow else None
        losses.append(
            half(features, other_candidates, positive, temperature, spared, soft, opinion)
        )
    return torch.stack(losses).mean()


def track_playlist(
    pooled: Sequence[Tensor],
    fast: Sequence[Tensor],
    temperature: Tensor,
    spared: Tensor | None,
) -> Tensor:
    """TPC: each playlist against the batch's tracks, and each track against its playlists.

    Args:
        pooled: a_p and t_p of each row's playlist, without the row's track. (rows, d) each
        fast: features of the rows' tracks. (rows, d) each
        temperature: ()
        spared: mask of tracks (columns) in the playlist of a row. (rows, rows)
    """
    diagonal = torch.arange(len(fast[0]), device=fast[0].device)
    losses = []
    for side, playlists in enumerate(pooled):
        tracks = fast[(side + 1) % len(fast)]
        back = None if spared is None else spared.t()
        losses.append(half(playlists, tracks, diagonal, temperature, spared))
        losses.append(half(tracks, playlists, diagonal, temperature, back))
    return torch.stack(losses).mean()
