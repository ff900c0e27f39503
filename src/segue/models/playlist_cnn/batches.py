"""What `playlist-cnn` learns from: sequences of tracks, and what is drawn from them for a step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segue.models.playlist_cnn.config import PlaylistCNNConfig
from segue.numeric.arrays import Int32, Int64

_POSITIVES = 100
_NEGATIVE_EXPONENT = 0.75
_SHORT = 0.5
"""Share of prediction points drawn evenly in their logarithm: many short histories."""


class PlaylistBatch(NamedTuple):
    """What one step learns from. Columns are rows of `wanted`; points go playlist by playlist."""

    tracks: Int64
    """(playlists, longest), 0 after an end"""
    there: npt.NDArray[np.bool_]
    cuts: Int64
    """(playlists, points)"""
    wanted: Int64
    """Tracks that are scored, rising."""
    points: Int64
    """Point of each positive."""
    columns: Int64
    """Column of each positive."""
    negative: npt.NDArray[np.bool_]
    """Which columns were drawn and are not in the playlist. (playlists, columns)"""


class PlaylistSampler:
    """Draws batches."""

    def __init__(
        self,
        offsets: Int64,
        tracks: Int32,
        plays: Int32,
        config: PlaylistCNNConfig,
        rng: np.random.Generator,
    ) -> None:
        self.playlists = np.split(tracks.astype(np.int64), offsets[1:-1])
        self.config, self.rng = config, rng
        shares = plays.astype(np.float64) ** _NEGATIVE_EXPONENT
        shares /= shares.sum()
        self.ends = np.cumsum(shares)
        self.likely = -np.expm1(config.negatives * np.log1p(-shares))
        """Probability that a track is drawn as a negative. (tracks,)"""
        self.unplayed = np.flatnonzero(plays == 0)[:1]
        """Stands for all tracks that nobody played: a negative in every step."""
        self.likely[self.unplayed] = 1
        self.column = np.full(len(plays), -1)

    def epoch(self) -> Int64:
        """Playlists of every step; some come twice to fill the last. (steps, batch)"""
        size, batch = len(self.playlists), self.config.batch
        order = self.rng.permutation(size)
        return np.resize(order, (-(-size // batch), batch))

    def batch(self, which: Int64) -> PlaylistBatch:
        config, rng = self.config, self.rng
        playlists = [self.playlists[p] for p in which]
        starts = [self._start(len(playlist)) for playlist in playlists]
        heard = [
            playlist[start : min(start + config.length, len(playlist) - 1)]
            for playlist, start in zip(playlists, starts, strict=True)
        ]
        lengths = np.array([len(some) for some in heard])
        there = np.arange(lengths.max()) < lengths[:, None]
        tracks = np.zeros(there.shape, np.int64)
        tracks[there] = np.concatenate(heard)
        cuts = self._cuts(lengths)
        later = [
            self._some(playlist[start + cut :])
            for playlist, start, row in zip(playlists, starts, cuts, strict=True)
            for cut in row
        ]
        drawn = np.searchsorted(self.ends, rng.random(config.negatives) * self.ends[-1], "right")
        drawn = np.concatenate([drawn, self.unplayed])
        wanted = np.unique(np.concatenate([*later, drawn]))
        self.column[wanted] = np.arange(len(wanted))
        negative = np.zeros((len(which), len(wanted)), np.bool_)
        negative[:, self.column[drawn]] = True
        for row, playlist in zip(negative, playlists, strict=True):
            own = self.column[playlist]
            row[own[own >= 0]] = False
        points = np.repeat(np.arange(len(later)), [len(some) for some in later])
        columns = self.column[np.concatenate(later)]
        self.column[wanted] = -1
        return PlaylistBatch(tracks, there, cuts, wanted, points, columns, negative)

    def _start(self, size: int) -> int:
        """Long playlists are read from their start or from anywhere, half and half."""
        beyond = size - 1 - self.config.length
        return int(self.rng.integers(beyond + 1)) if beyond > 0 and self.rng.random() < 0.5 else 0

    def _cuts(self, lengths: Int64) -> Int64:
        shape = (len(lengths), self.config.cuts)
        even = self.rng.integers(1, lengths[:, None] + 1, shape)
        short = np.exp(self.rng.random(shape) * np.log(lengths + 1)[:, None]).astype(np.int64)
        drawn = np.where(self.rng.random(shape) < _SHORT, short, even)
        return np.minimum(drawn, lengths[:, None]).astype(np.int64)

    def _some(self, later: Int64) -> Int64:
        if len(later) <= _POSITIVES:
            return later
        return self.rng.choice(later, _POSITIVES, replace=False)
