"""What a tower is trained for: how far its predictions y' are from the learned vectors y.

Van den Oord, Dieleman and Schrauwen 2013, section 3.3:

    mse          Σ_i |y_i − y'_i|²
    wpe          Σ_ui c_ui (p_ui − x_u · y'_i)²                      rows x fixed (Hu et al. 2008)

The sum of wpe over all rows u is, for each track, a quadratic form of its normal equations:

    y'ᵀ A y' − 2 bᵀy' + const,   A = XᵀX + Xᵀ(C_i − I)X,   b = XᵀC_i p_i

where only rows that have the track enter beside XᵀX. It is computed row by row, without A:

    y'ᵀ XᵀX y' + Σ_{u has i} [ (c_ui − 1) s² − 2 c_ui p_ui s ],   s = x_u · y'_i

Ours, after Tamm and Aljanaki 2024 (arXiv 2409.08987), who align sound with collaborative vectors:

    contrastive  −log( e^{cos(y'_i, y_i)/τ} / Σ_j e^{cos(y'_i, y_j)/τ} )   and both ways round

over the tracks j of a step; decoupled (Yeh et al. 2022), j is not i. A further output tells ln |y|.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional

from segue.numeric.arrays import Float32, Int64


def mse(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Mean over tracks of the squared distance. Both (tracks, factors)"""
    return (predicted - wanted).square().sum(1).mean()


class FactorRows(NamedTuple):
    """Rows of the factorisation with what they have, for `wpe`."""

    x: Float32
    """Vectors of the rows. (rows, factors)"""
    gram: Float32
    """XᵀX. (factors, factors)"""
    plays: Any
    """c − 1 of each track with each row. CSR (tracks, rows) float32"""
    liked: npt.NDArray[np.bool_]
    """Whether p = 1, for each entry of `plays`; else 0."""
    unit: float
    """What the loss is divided by: Σ c p² of a track, on average."""

    @classmethod
    def of(cls, x: Float32, counts: sp.csr_matrix, extra: Float32) -> FactorRows:
        """From the row vectors, plays minus skips (rows, tracks) and c − 1 of its entries."""
        weighted = sp.csr_matrix((extra, counts.indices, counts.indptr), counts.shape)
        signs = sp.csr_matrix((counts.data, counts.indices, counts.indptr), counts.shape)
        plays, signs = weighted.T.tocsr(), signs.T.tocsr()
        liked = signs.data > 0
        tracks = int(np.count_nonzero(np.diff(plays.indptr)))
        unit = float(((1 + plays.data) * liked).sum()) / max(1, tracks)
        return cls(x, x.T @ x, plays, liked, max(unit, 1e-9))

    def scaled(self, size: float) -> FactorRows:
        """The same for predictions of vectors that are divided by `size`."""
        return self._replace(x=self.x * np.float32(size), gram=self.gram * np.float32(size**2))


def wpe(predicted: Tensor, rows: FactorRows, tracks: Int64) -> Tensor:
    """Mean over tracks of the weighted prediction error without its constant, over `unit`.

    Args:
        predicted: (tracks, factors)
        rows: of the factorisation.
        tracks: which tracks of `rows.plays` they are. (tracks,)
    """
    like = predicted.new_tensor
    starts, ends = rows.plays.indptr[tracks], rows.plays.indptr[tracks + 1]
    counts = ends - starts
    owners = torch.from_numpy(np.repeat(np.arange(len(tracks)), counts)).to(predicted.device)
    first = np.repeat(starts - np.cumsum(counts) + counts, counts)
    at = first + np.arange(counts.sum())
    extra, liked = like(rows.plays.data[at]), like(rows.liked[at].astype(np.float32))
    s = (like(rows.x[rows.plays.indices[at]]) * predicted[owners]).sum(1)
    seen = (extra * s.square() - 2 * (1 + extra) * liked * s).sum()
    everywhere = ((predicted @ like(rows.gram)) * predicted).sum()
    loss: Tensor = (everywhere + seen) / (len(tracks) * rows.unit)
    return loss


def contrastive(
    predicted: Tensor, wanted: Tensor, temperature: float, *, decoupled: bool
) -> Tensor:
    """Mean over tracks, both ways round, of the loss above.

    Args:
        predicted: y' with one more output, ln |y|. (tracks, factors + 1)
        wanted: y. (tracks, factors)
        temperature: τ.
        decoupled: leave the track itself out of the sum.
    """
    y, length = predicted[:, :-1], predicted[:, -1]
    target = functional.normalize(wanted, dim=1)
    cosines = functional.normalize(y, dim=1) @ target.T / temperature
    own = cosines.diagonal()
    others = cosines
    if decoupled and len(cosines) > 1:
        others = cosines.masked_fill(torch.eye(len(cosines), device=y.device) > 0, -torch.inf)
    aligned = (others.logsumexp(1) + others.logsumexp(0)) / 2 - own
    lengths = wanted.norm(dim=1).clamp(min=1e-6).log()
    loss: Tensor = (aligned + (length - lengths).square()).mean()
    return loss
