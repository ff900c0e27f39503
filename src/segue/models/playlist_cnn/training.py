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
from segue.models.playlist_cnn.batches import PlaylistSampler
from segue.models.playlist_cnn.config import PlaylistCNNConfig
from segue.models.playlist_cnn.inference import PlaylistCNNLayers
from segue.models.playlist_cnn.network import PlaylistCNNNetwork, loss
from segue.nn.devices import reproducible
from segue.nn.optim import Table
from segue.numeric.arrays import Float32, Int32, Int64

_LONGEST_GRADIENT = 5.0


def _start(vectors: Float32, plays: Int32) -> Tensor:
    """Vectors scaled so that their squared length, averaged over plays, is 1."""
    square = np.square(vectors).sum(axis=1, dtype=np.float64) @ plays / plays.sum()
    return torch.from_numpy((vectors / np.sqrt(max(square, 1e-30))).astype(np.float32))


def train(
    offsets: Int64,
    tracks: Int32,
    start: Float32,
    plays: Int32,
    config: PlaylistCNNConfig,
    seed: int,
    advance: Callable[[float], None],
) -> tuple[Float32, Float32, PlaylistCNNLayers]:
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
        drawing = PlaylistSampler(offsets, tracks, plays, config, np.random.default_rng(seed))
        return _train(drawing, start, plays, config, advance)


def _train(
    drawing: PlaylistSampler,
    start: Float32,
    plays: Int32,
    config: PlaylistCNNConfig,
    advance: Callable[[float], None],
) -> tuple[Float32, Float32, PlaylistCNNLayers]:
    scale = float(np.sqrt(config.factors))
    begin = _start(start, plays)
    inputs, vectors = Table(begin * scale), Table(begin)
    network = PlaylistCNNNetwork(config)
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
