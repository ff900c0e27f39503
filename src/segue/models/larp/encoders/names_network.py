"""`larp.encoders.names` in torch, for training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from segue.nn.items import Array
from segue.nn.layers import end_to_end
from segue.numeric.arrays import Float32


class NamesNetwork(nn.Module):
    """A vector for each bucket.

    Args:
        rarity: lengths of the vectors at the start, before a common factor. (buckets,)
        outputs: length of a caption's vector.
        dropout: dropout rate of a caption's features.
    """

    def __init__(self, rarity: Float32, outputs: int, dropout: float) -> None:
        super().__init__()
        self.outputs, self.dropout = outputs, dropout
        start = torch.randn(len(rarity), outputs) * torch.from_numpy(rarity)[:, None]
        self.features = nn.Parameter(start)

    def collate(
        self, items: Sequence[Array], rng: np.random.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs of `forward` from items; with `rng`, dropout removes features."""
        buckets, starts = end_to_end(items)
        weights = np.ones(len(buckets), np.float32)
        if rng is not None and self.dropout:
            weights = (rng.random(len(buckets)) >= self.dropout).astype(np.float32)
        return torch.from_numpy(buckets), torch.from_numpy(starts), torch.from_numpy(weights)

    def forward(self, buckets: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
        """Vectors of captions, not normalised; zeros for one without words.

        Args:
            buckets: buckets of the features of all captions. (features,)
            starts: start of each caption's features. (captions,)
            weights: 1, or 0 for dropped features. (features,)

        Returns:
            (captions, outputs) float32
        """
        return functional.embedding_bag(
            buckets, self.features, starts, mode="sum", per_sample_weights=weights, sparse=True
        )

    def arrays(self) -> dict[str, npt.NDArray[np.float16]]:
        """For `NamesEncoder.embed`."""
        return {"features": self.features.detach().cpu().numpy().astype(np.float16)}
