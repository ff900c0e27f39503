"""Training of `playlist-cnn` with torch, which nothing else of segue imports.

At prediction points drawn in a playlist, u is computed from the tracks so far. Every later track
j is a positive (at most 100 of them, drawn), N are drawn tracks that the playlist lacks:

    logistic    mean_j −log σ(u·v_j)  +  mean_{n in N} −log(1 − σ(u·v_n))
    softmax     mean_j −log( e^{u·v_j} / (e^{u·v_j} + Σ_{n in N} e^{u·v_n} / p_n) )

N is the same for a whole step, drawn in proportion to plays^¾; p_n is the probability that n is
drawn, so the sum estimates that over the whole catalog (Bengio and Senécal 2008).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from segue.errors import ConfigError
from segue.models.playlist_cnn.batches import Batch, Drawing
from segue.models.playlist_cnn.inference import Layers, PlaylistCnnConfig
from segue.nn.training import Table, reproducible
from segue.queries import Float32, Int32, Int64

_LONGEST_GRADIENT = 5.0
_NEVER = -1e9


class _Block(nn.Module):
    """See `Layers`. (playlists, tracks, inputs) -> (playlists, tracks, kernels)"""

    def __init__(self, inputs: int, kernels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, 2 * kernels, width)
        self.norm = nn.BatchNorm1d(kernels)

    def forward(self, h: Tensor, there: Tensor) -> Tensor:
        back = self.conv.kernel_size[0] - 1
        both = self.conv(functional.pad(h.transpose(1, 2), (back, 0))).transpose(1, 2)
        gated = functional.glu(both, 2)
        # Places after a playlist's end say nothing about means and variances.
        normed = torch.zeros_like(gated).masked_scatter(there[..., None], self.norm(gated[there]))
        if h.shape[2] == normed.shape[2]:
            normed = normed + h
        return functional.relu(normed) * there[..., None]


class Network(nn.Module):
    """Everything between the embeddings and the vectors of playlists."""

    def __init__(self, config: PlaylistCnnConfig) -> None:
        super().__init__()
        factors, kernels = config.factors, config.kernels
        self.config = config
        self.blocks = nn.ModuleList(
            _Block(kernels if b else factors, kernels, config.width) for b in range(config.blocks)
        )
        self.pooled = nn.Linear(kernels * config.pooled, factors)
        self.mean = nn.Linear(factors, factors, bias=False)
        with torch.no_grad():
            self.mean.weight.copy_(torch.eye(factors) * config.mean)
        self.mean.weight.requires_grad_(config.mean)

    def forward(self, x: Tensor, there: Tensor, cuts: Tensor) -> Tensor:
        """Vectors of the playlists at their prediction points.

        Args:
            x: embeddings, zero after a playlist's end. (playlists, tracks, factors)
            there: false after a playlist's end. (playlists, tracks)
            cuts: how many tracks are seen, at least 1. (playlists, points)

        Returns:
            (playlists, points, factors)
        """
        share = self.config.dropout
        x = functional.dropout(x, share, self.training)
        h = x
        for block in self.blocks:
            h = block(h, there)
        h = functional.pad(h, (0, 0, 0, max(0, self.config.pooled - h.shape[1])))
        seen = torch.arange(h.shape[1]) < cuts[..., None]
        # Outputs are at least 0, so 0 stands for what is not seen.
        largest = (h[:, None] * seen[..., None]).topk(self.config.pooled, dim=2).values
        kept = functional.dropout(largest.transpose(2, 3).flatten(2), share, self.training)
        sums = seen[..., : x.shape[1]].float() @ x / cuts[..., None].sqrt()
        vectors: Tensor = self.pooled(kept) + self.mean(sums)
        return vectors

    @torch.no_grad()
    def layers(self) -> Layers:
        """The arrays for answering: batch normalisation folded into what stands before it."""
        convolutions, biases, shifts = [], [], []
        for block in self.blocks:
            assert isinstance(block, _Block)
            norm, conv = block.norm, block.conv
            assert norm.running_var is not None
            assert norm.running_mean is not None
            assert conv.bias is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            both = torch.cat([scale, torch.ones_like(scale)])
            convolutions.append((conv.weight * both[:, None, None]).permute(2, 1, 0))
            biases.append(conv.bias * both)
            shifts.append(norm.bias - norm.running_mean * scale)
        shapes = Layers.shapes(self.config)
        pooled = self.pooled.weight.T.reshape(shapes[4])
        rest = torch.stack(convolutions[1:]) if len(convolutions) > 1 else torch.zeros(shapes[1])
        parts = (
            convolutions[0], rest, torch.stack(biases), torch.stack(shifts),
            pooled, self.pooled.bias, self.mean.weight.T,
        )  # fmt: skip
        return Layers(*(np.array(part.numpy(), np.float32, order="C") for part in parts))


def loss(u: Tensor, v: Tensor, batch: Batch, kind: str, likely: Tensor) -> Tensor:
    """Mean loss of the prediction points.

    Args:
        u: their vectors. (points, factors)
        v: vectors of `batch.wanted`. (columns, factors)
        kind: "softmax" or "logistic".
        likely: probability that each column is drawn. (columns,)
    """
    scores = u @ v.T
    points, columns = torch.from_numpy(batch.points), torch.from_numpy(batch.columns)
    cuts = batch.cuts.shape[1]
    negative = torch.from_numpy(batch.negative).repeat_interleave(cuts, 0)
    positive = scores[points, columns]
    share = 1 / torch.bincount(points, minlength=len(u))[points]
    if kind == "softmax":
        others = (scores - likely.log()).masked_fill(~negative, _NEVER).logsumexp(1)
        total = (functional.softplus(others[points] - positive) * share).sum()
    else:
        against = functional.softplus(scores) * negative
        total = (functional.softplus(-positive) * share).sum()
        total = total + (against.sum(1) / negative.sum(1).clamp(min=1)).sum()
    return total / len(u)


def _start(vectors: Float32, plays: Int32) -> Tensor:
    """Vectors scaled so that their squared length, averaged over plays, is 1."""
    square = np.square(vectors).sum(axis=1, dtype=np.float64) @ plays / plays.sum()
    return torch.from_numpy((vectors / np.sqrt(max(square, 1e-30))).astype(np.float32))


def train(
    offsets: Int64,
    tracks: Int32,
    start: Float32,
    plays: Int32,
    config: PlaylistCnnConfig,
    seed: int,
    advance: Callable[[float], None],
) -> tuple[Float32, Float32, Layers]:
    """Learn from sequences of at least two tracks each.

    Args:
        offsets, tracks: the sequences; none holds a track twice.
        start: what embeddings and track vectors start from. (tracks, factors)
        plays: of each track.
        config: of the network and its training.
        seed: of everything random.
        advance: called with the share of an epoch after every step.

    Returns:
        embeddings and track vectors, (tracks, factors) each, and the layers between them.

    Raises:
        ConfigError: it diverged.
    """
    with reproducible():
        torch.manual_seed(seed)
        drawing = Drawing(offsets, tracks, plays, config, np.random.default_rng(seed))
        return _train(drawing, start, plays, config, advance)


def _train(
    drawing: Drawing,
    start: Float32,
    plays: Int32,
    config: PlaylistCnnConfig,
    advance: Callable[[float], None],
) -> tuple[Float32, Float32, Layers]:
    scale = float(np.sqrt(config.factors))
    begin = _start(start, plays)
    inputs, vectors = Table(begin * scale), Table(begin)
    network = Network(config)
    optimiser = torch.optim.Adam(p for p in network.parameters() if p.requires_grad)
    likely = torch.from_numpy(drawing.likely.astype(np.float32))
    for epoch in range(config.epochs):
        steps = drawing.epoch()
        for number, which in enumerate(steps):
            left = 1 - (epoch + number / len(steps)) / config.epochs
            rate = config.learning_rate * left
            batch = drawing.batch(which)
            heard, place = np.unique(batch.tracks, return_inverse=True)
            at, scored = torch.from_numpy(heard), torch.from_numpy(batch.wanted)
            x, v = inputs.take(at), vectors.take(scored)
            there = torch.from_numpy(batch.there)
            # `functional.embedding` adds up gradients in a fixed order.
            rows = functional.embedding(torch.from_numpy(place.reshape(there.shape)), x)
            u = network(rows * there[..., None], there, torch.from_numpy(batch.cuts))
            error = loss(u.flatten(0, 1), v, batch, config.loss, likely[scored])
            if not bool(torch.isfinite(error)):
                raise ConfigError(
                    f"diverged in epoch {epoch + 1}",
                    where="playlist-cnn",
                    do="lower learning_rate",
                )
            optimiser.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), _LONGEST_GRADIENT)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            inputs.step(at, x, rate * scale)
            vectors.step(scored, v, rate)
            advance(1 / len(steps))
    learned = vectors.rows.numpy()
    learned[plays == 0] = learned[drawing.unplayed]
    return inputs.rows.numpy(), learned, network.layers()
