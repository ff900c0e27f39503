"""SASRec as one would write it in PyTorch in an afternoon: the plain loop of the benchmark.

    python -m benchmarks.peers.plain_sasrec DATA.npz EPOCHS STEPS

Padded batches, torch's own transformer layers, 512 uniform negatives that the batch shares, scores
at the real positions only, dense Adam. Imports nothing of segue.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common.sessions import (
    BATCH,
    BEST,
    BLOCKS,
    DROPOUT,
    FACTORS,
    HEADS,
    LENGTH,
    NEGATIVES,
    RATE,
    Clock,
    answer,
    places,
    words,
)


class SASRec(nn.Module):
    """Kang & McAuley 2018, with the feed-forward width of the paper."""

    def __init__(self, tracks: int) -> None:
        super().__init__()
        self.items = nn.Embedding(tracks + 1, FACTORS, padding_idx=0)
        self.places = nn.Parameter(torch.randn(LENGTH, FACTORS) * 0.02)
        nn.init.normal_(self.items.weight, std=0.02)
        self.dropout = nn.Dropout(DROPOUT)
        layer = nn.TransformerEncoderLayer(
            FACTORS, HEADS, FACTORS, DROPOUT, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(
            layer, BLOCKS, nn.LayerNorm(FACTORS), enable_nested_tensor=False
        )

    def forward(self, tracks: Tensor) -> Tensor:
        """Hidden states. (batch, length) to (batch, length, factors)"""
        length = tracks.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.dropout(self.items(tracks) * FACTORS**0.5 + self.places[:length])
        return self.blocks(hidden, mask=causal, is_causal=True)

    def loss(self, rows: Tensor) -> Tensor:
        """Sampled softmax of the next tracks. rows: (batch, length + 1)"""
        inputs, targets = rows[:, :-1], rows[:, 1:]
        real = targets != 0
        hidden, target = self(inputs)[real], targets[real]
        drawn = torch.randint(1, self.items.num_embeddings, (NEGATIVES,))
        right = (hidden * self.items(target)).sum(dim=1, keepdim=True)
        wrong = hidden @ self.items(drawn).T
        wrong = wrong.masked_fill(drawn == target[:, None], -torch.inf)
        return F.cross_entropy(torch.cat([right, wrong], dim=1), torch.zeros_like(target))


def main() -> None:
    """Train, ask, report."""
    data, epochs, steps = words()
    torch.manual_seed(0)
    clock = Clock()
    grid = torch.from_numpy(data.grid(LENGTH))
    model = SASRec(data.size)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    model.train()
    clock.mark()
    batches = (rows for _ in range(epochs) for rows in torch.randperm(len(grid)).split(BATCH))
    for step, rows in enumerate(batches, 1):
        optimizer.zero_grad()
        model.loss(grid[rows]).backward()
        optimizer.step()
        clock.mark()
        if step == steps:
            break
    found = [] if steps else places(best(model, grid[data.asked]), data.truth)
    answer(clock.report(len(data) / -(-len(data) // BATCH), found, torch=torch.__version__))


@torch.inference_mode()
def best(model: SASRec, histories: Tensor) -> np.ndarray:
    """The best tracks after each history, none of its own. (queries, BEST)"""
    model.eval()
    found = []
    for some in histories.split(256):
        last = (some != 0).sum(dim=1) - 1
        hidden = model(some)[torch.arange(len(some)), last]
        scores = hidden @ model.items.weight.T
        scores.scatter_(1, some, -torch.inf)  # padding, too, is no answer
        scores[:, 0] = -torch.inf
        found.append(scores.topk(BEST).indices - 1)
    return torch.cat(found).numpy()


if __name__ == "__main__":
    main()
