"""Training examples of sequence models: windows of sessions, and the batches of a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.data.sessions import UNTIMED, Sessions
from segue.models.sequential.config import SequenceConfig
from segue.numeric.arrays import Int32, Int64, offsets_of
from segue.queries import MAX_PAST, Queries

Bool = npt.NDArray[np.bool_]
_MIXED = 50
"""Number of batches to sort by length together, so that a batch has nearly one length."""
_SHORTENED = 0.5
_VALIDATION = 0.05
_MOST_VALIDATION = 2000


@dataclass(frozen=True)
class Windows:
    """Runs of tracks of one session or playlist, cut to a length, one per row.

    Attributes:
        tracks: 0 after the end. (windows, length) int32
        negative: mask of skipped and disliked tracks. (windows, length)
        lengths: (windows,)
        starts: start of the session, `UNTIMED` for playlists. (windows,)
        long_term_spans: span in `long_term` of the listener's earlier sessions. (windows, 2)
        long_term: listens that were not negative, session after session.
    """

    tracks: Int32
    negative: Bool
    lengths: Int64
    starts: Int64
    long_term_spans: Int64
    long_term: Int32

    @classmethod
    def of(cls, dataset: Dataset, length: int) -> Windows:
        """Sessions and playlists in pieces of at most `length` tracks, without pieces of one."""
        sessions = Sessions.of(dataset)
        owners = np.concatenate([sessions.owners, len(sessions) + dataset.entry_playlists])
        tracks = np.concatenate([sessions.tracks, dataset.entries])
        negative = np.concatenate([sessions.negative, np.zeros(len(dataset.entries), np.bool_)])
        starts = np.concatenate([sessions.starts, np.full(dataset.playlist_count, UNTIMED)])
        sizes = np.bincount(owners, minlength=len(starts))
        place = np.arange(len(owners)) - (np.cumsum(sizes) - sizes)[owners]
        # Pieces of nearly equal size: one of a single track would be lost.
        pieces = np.maximum(1, -(-sizes // length))
        piece = place * pieces[owners] // np.maximum(sizes, 1)[owners]
        window = (np.cumsum(pieces) - pieces)[owners] + piece
        lengths = np.bincount(window, minlength=int(pieces.sum()))
        column = np.arange(len(window)) - (np.cumsum(lengths) - lengths)[window]
        long_enough = lengths > 1
        row = (np.cumsum(long_enough) - 1)[window]
        in_window = long_enough[window]
        shape = (int(long_enough.sum()), length)
        grid, negative_grid = np.zeros(shape, np.int32), np.zeros(shape, np.bool_)
        grid[row[in_window], column[in_window]] = tracks[in_window]
        negative_grid[row[in_window], column[in_window]] = negative[in_window]
        lengths = lengths[long_enough].astype(np.int64)
        spans, long_term = sessions.pasts(MAX_PAST)
        spans = np.concatenate([spans, np.zeros((dataset.playlist_count, 2), np.int64)])
        return cls(
            grid,
            negative_grid,
            lengths,
            np.repeat(starts, pieces)[long_enough],
            np.repeat(spans, pieces, axis=0)[long_enough],
            long_term,
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: Int64) -> Windows:
        """The windows of these rows."""
        return Windows(
            self.tracks[rows],
            self.negative[rows],
            self.lengths[rows],
            self.starts[rows],
            self.long_term_spans[rows],
            self.long_term,
        )

    @property
    def valid(self) -> Bool:
        """False after the end. (windows, length)"""
        valid: Bool = self._places < self.lengths[:, None]
        return valid

    @property
    def _places(self) -> Int64:
        return np.arange(self.tracks.shape[1])

    def with_targets(self, config: SequenceConfig) -> Windows:
        """The windows that hold something to predict: a track that differs from those before it."""
        positive = self.valid & ~self.negative
        read = positive if config.history == "positive" else self.valid
        tracks = np.sort(np.where(read, self.tracks, -1), axis=1)
        distinct = (tracks[:, :1] >= 0).sum(axis=1) + (
            (tracks[:, 1:] > tracks[:, :-1]) & (tracks[:, 1:] >= 0)
        ).sum(axis=1)
        keep = distinct > 1
        if config.targets == "next-positive":
            keep &= positive[:, 1:].any(axis=1)
        return self.take(np.flatnonzero(keep))

    def parted(self, rng: np.random.Generator) -> tuple[Windows, Windows]:
        """Training windows, and validation windows for early stopping: the latest, else any."""
        count = min(_MOST_VALIDATION, int(len(self) * _VALIDATION))
        order = np.lexsort([rng.random(len(self)), self.starts])
        return self.take(np.sort(order[: len(self) - count])), self.take(order[len(self) - count :])

    def asked(self) -> tuple[Queries, Int32]:
        """Validation queries: the last new positive track of each window, and the tracks before it.

        Windows without such a track are left out.
        """
        good = (
            self.valid & ~self.negative & (_first_places(self.tracks, self.valid) == self._places)
        )
        good[:, 0] = False
        rows = np.flatnonzero(good.any(axis=1))
        ends = self.tracks.shape[1] - 1 - good[rows, ::-1].argmax(axis=1)
        shown = self._places < ends[:, None]
        outcomes = np.where(self.negative[rows], Outcome.SKIPPED, Outcome.FINISHED)
        queries = Queries(
            offsets_of(ends),
            self.tracks[rows][shown],
            outcomes[shown].astype(np.int8),
            [None] * len(rows),
            np.zeros(len(rows) + 1, np.int64),
            np.zeros(0, np.int32),
            self.long_term_spans[rows],
            self.long_term,
        )
        return queries, self.tracks[rows, ends]


def next_positive(negative: Bool, lengths: Int64) -> Int64:
    """First place at or after each that is not negative; the width if there is none.

    Args:
        negative: (windows, length)
        lengths: (windows,)
    """
    width = negative.shape[1]
    places = np.arange(width)
    good = np.where(negative | (places >= lengths[:, None]), width, places)
    next_places: Int64 = np.minimum.accumulate(good[:, ::-1], axis=1)[:, ::-1]
    return next_places


def _to_front(selected: Bool) -> Int64:
    """Order of each row's places with the selected ones first, otherwise unchanged."""
    return np.argsort(~selected, axis=1, kind="stable")


def _first_places(tracks: npt.NDArray[Any], valid: Bool) -> Int64:
    """Place of the first occurrence of each place's track. (windows, width)"""
    same = (tracks[:, :, None] == tracks[:, None, :]) & valid[:, None, :]
    first: Int64 = same.argmax(axis=2)
    return first


class SequenceBatch(NamedTuple):
    """Training examples of one step. Tracks have numbers by `rows`."""

    rows: Int64
    """Distinct tracks of the step, rising."""
    inputs: Int64
    """Input tracks. (windows, width)"""
    valid: Bool
    """(windows, width)"""
    masked: Bool | None
    """Mask of hidden tracks (bert4rec). (windows, width)"""
    negative: Bool
    """(windows, width)"""
    at: Int64
    """Places that predict, in the flattened grid. (predictions,)"""
    target: Int64
    """(predictions,)"""
    drawn: Int64
    """Sampled negatives of every prediction. (negatives,)"""
    contexts: Bool
    """Places of the skip term. (windows, width)"""
    current: Int64
    """The track before the target of each place. (windows, width)"""
    positive: Int64
    """The next track that was not negative. (windows, width)"""
    skipped: Int64
    """Negative tracks of each window. (windows, most)"""
    skipped_valid: Bool
    """(windows, most)"""


class Batches:
    """Draws the batches of an epoch; the same for the same seed and epoch."""

    def __init__(self, windows: Windows, tracks: int, config: SequenceConfig, masks: bool) -> None:
        self.windows, self.config, self.masks = windows, config, masks
        self.column = np.zeros(tracks, np.int64)
        self.steps = -(-len(windows) // config.batch)

    def epoch(self, rng: np.random.Generator) -> Iterator[SequenceBatch]:
        """Every window once, in batches of nearly equal lengths."""
        order = rng.permutation(len(self.windows))
        chunk = _MIXED * self.config.batch
        lengths = self.windows.lengths
        sorted_parts = [
            part[np.argsort(lengths[part], kind="stable")]
            for part in np.split(order, range(chunk, len(order), chunk))
        ]
        order = np.concatenate(sorted_parts)
        starts = rng.permutation(self.steps) * self.config.batch
        epoch_negatives = self._draw(rng)
        for start in starts:
            drawn = epoch_negatives if self.config.redraw == "epoch" else self._draw(rng)
            yield self.batch(order[start : start + self.config.batch], drawn, rng)

    def _draw(self, rng: np.random.Generator) -> Int64:
        if self.config.loss == "full":
            return np.arange(len(self.column))
        return rng.integers(len(self.column), size=self.config.negatives)

    def batch(self, which: Int64, drawn: Int64, rng: np.random.Generator) -> SequenceBatch:
        """The batch of these windows."""
        chosen = self.windows.take(which)
        width = int(chosen.lengths.max())
        tracks, negative = chosen.tracks[:, :width].astype(np.int64), chosen.negative[:, :width]
        distinct = np.unique(np.concatenate([tracks[chosen.valid[:, :width]], drawn]))
        self.column[distinct] = np.arange(len(distinct))
        numbered, lengths = self.column[tracks], chosen.lengths
        negatives_first = _to_front(negative)
        negative_counts = negative.sum(axis=1)
        most = int(negative_counts.max(initial=0))
        skipped = np.take_along_axis(numbered, negatives_first, axis=1)[:, :most]
        if self.config.history == "positive":
            positives_first = _to_front(~negative & chosen.valid[:, :width])
            lengths = lengths - negative_counts
            width = max(1, int(lengths.max()))
            numbered = np.take_along_axis(numbered, positives_first, axis=1)[:, :width]
            negative = np.zeros(numbered.shape, np.bool_)
        if self.masks:
            lengths = self._shortened(lengths, rng)
        places = np.arange(width)
        valid = places < lengths[:, None]
        masked = self._masked(lengths, width, rng) if self.masks else None
        if masked is None:
            source, goal, current = valid, np.broadcast_to(places + 1, valid.shape), numbered
            ahead = np.full(valid.shape, width)
            ahead[:, :-1] = next_positive(negative, lengths)[:, 1:]
            contexts = valid & ~negative
        else:
            source, goal = masked, np.broadcast_to(places, valid.shape)
            ahead = next_positive(negative, lengths)
            current = np.concatenate([numbered[:, :1], numbered[:, :-1]], axis=1)
            contexts = masked.copy()
            contexts[:, 0] &= self.config.skip_context == "hidden"
        if self.config.targets == "next-positive":
            goal = ahead
        source = source & (goal < lengths[:, None])
        goal = np.minimum(goal, width - 1)
        row = np.arange(len(which))[:, None]
        # Recommendations never repeat a track of the window, so training targets do not either.
        seen = places[None] if masked is None else places[None] - 1
        source &= _first_places(numbered, valid)[row, goal] > seen
        at = np.flatnonzero(source)
        return SequenceBatch(
            rows=distinct,
            inputs=np.where(valid, numbered, 0),
            valid=valid,
            masked=masked,
            negative=negative,
            at=at,
            target=numbered[row, goal].ravel()[at],
            drawn=self.column[drawn],
            contexts=contexts & (ahead < width) & (negative_counts > 0)[:, None],
            current=np.where(valid, current, 0),
            positive=numbered[row, np.minimum(ahead, width - 1)],
            skipped=skipped,
            skipped_valid=np.arange(most) < negative_counts[:, None],
        )

    def _shortened(self, lengths: Int64, rng: np.random.Generator) -> Int64:
        """Half of the windows end early, so that training covers short histories, too.

        A causal model learns from every place anyway.
        """
        short = rng.integers(1, np.maximum(lengths, 1) + 1).clip(min=np.minimum(2, lengths))
        return np.where(rng.random(len(lengths)) < _SHORTENED, short, lengths)

    def _masked(self, lengths: Int64, width: int, rng: np.random.Generator) -> Bool:
        """Places to hide: a share of each window, and its last."""
        places = np.arange(width)
        last = places == lengths[:, None] - 1
        others = rng.random((len(lengths), width))
        others[(places >= lengths[:, None]) | last] = 1
        hidden: Bool = (others < self.config.mask_share) | last
        return hidden
