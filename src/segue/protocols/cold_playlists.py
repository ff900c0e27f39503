"""Protocol `cold-playlists`: playlists of tracks that nobody has played, from half of them.

Salganik et al., "LARP: Language Audio Relational Pre-training for Cold-Start Playlist
Continuation" (2024): tracks and playlists of training and test have nothing in common.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from segue.catalog.catalog import Catalog
from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.errors import DataError
from segue.numeric.arrays import Bools, Int64, begins, offsets_of, positions
from segue.numeric.ragged import Ragged
from segue.protocols.base import Protocol, Split, Test
from segue.protocols.unplayed_tracks import (
    MOST_QUERIES,
    audible,
    cold_test,
    draw_cold,
    new_to_all,
    share_of,
)
from segue.queries import Queries

COLD_SHARE = 0.2
"""Of the tracks that could be cold."""
TEST_SHARE = 0.2
"""Of the playlists that have enough cold tracks."""
LEAST_TRACKS = 4
"""Cold tracks that a playlist has at least to be asked about; the paper's have more than 10."""
CUTOFFS = (10, 20, 40)


class ColdPlaylists(Protocol):
    """A drawn fifth of the tracks loses all its plays, and a fifth of the playlists is tested.

    A query shows a random half of a playlist's cold tracks; the truth is the other half. Only cold
    tracks are ranked.
    """

    name = "cold-playlists"
    description = "continue playlists of tracks that nobody has played"
    n = 40

    def split(self, dataset: Dataset, seed: int) -> Split:
        """Take the tested playlists away whole, and all other plays of the cold tracks.

        Tracks keep their rows, their names and their audio. Where the dataset has audio, only
        tracks with audio are cold, else only tracks with a title.
        """
        cold = _drawn(dataset, seed)
        among = _askable(_cold_lists(dataset, cold))
        size = min(share_of(len(among), TEST_SHARE), MOST_QUERIES)
        tested = np.sort(np.random.default_rng([seed, 1]).choice(among, size, replace=False))
        gone = np.zeros(dataset.playlist_count, np.bool_)
        gone[tested] = True
        train = dataset.narrowed(
            ~(cold[dataset.entries] | gone[dataset.entry_playlists]),
            ~cold[dataset.listens["track"].to_numpy()],
        ).without_titles(tested.astype(np.int32))
        return Split(train, _test(dataset, cold, tested, seed, ()))

    def every(self, dataset: Dataset, seed: int) -> Test:
        """The same cold tracks, asked of every playlist that has enough of them."""
        cold = _drawn(dataset, seed)
        return _test(dataset, cold, _askable(_cold_lists(dataset, cold)), seed, ())

    def every_for(self, dataset: Dataset, seed: int, catalogs: Sequence[Catalog]) -> Test:
        """All tracks are cold that every catalog has and none has plays of, as in `cold`."""
        cold, notes = new_to_all(dataset, catalogs, _in_playlists(dataset))
        return _test(dataset, cold, _askable(_cold_lists(dataset, cold)), seed, notes)

    def metrics(self, n: int) -> tuple[str, ...]:
        return tuple(f"{name}@{k}" for name in ("recall", "ndcg") for k in _cutoffs(n))

    def headline(self, n: int) -> tuple[str, ...]:
        least, most = _cutoffs(n)[0], _cutoffs(n)[-1]
        return tuple(dict.fromkeys((f"recall@{least}", f"ndcg@{least}", f"recall@{most}")))

    def asked(self, n: int) -> str:
        return f"lists of {n} tracks from the cold ones alone"


def _cutoffs(n: int) -> tuple[int, ...]:
    """Those that lists of n tracks reach; n itself where they reach none."""
    return tuple(k for k in CUTOFFS if k <= n) or (n,)


def _in_playlists(dataset: Dataset) -> Bools:
    """Which tracks a playlist has. (tracks,)"""
    had = np.zeros(dataset.track_count, np.bool_)
    had[dataset.entries] = True
    return had


def _drawn(dataset: Dataset, seed: int) -> Bools:
    """Which tracks are cold. (tracks,)

    Raises:
        DataError: there are fewer than two that could be.
    """
    if len(dataset.audio):
        known, what = audible(dataset), "audio"
    else:
        lengths = pc.utf8_length(pc.utf8_trim_whitespace(dataset.tracks["title"]))
        known, what = lengths.fill_null(0).to_numpy() > 0, "a title"
    cold = draw_cold(_in_playlists(dataset) & known, COLD_SHARE, seed)
    if not cold.any():
        raise DataError(
            f"has no tracks to hold out that are in playlists and have {what}",
            where=dataset.path,
            do="the protocol cold-playlists needs playlists of such tracks",
        )
    return cold


def _cold_lists(dataset: Dataset, cold: Bools) -> Ragged:
    """The cold tracks of each playlist, rising."""
    rows = cold[dataset.entries]
    return Ragged.of_pairs(
        dataset.entry_playlists[rows], dataset.entries[rows], dataset.playlist_count
    )


def _askable(lists: Ragged) -> Int64:
    """Playlists with enough cold tracks, rising."""
    return np.flatnonzero(lists.lengths() >= LEAST_TRACKS)


def _test(dataset: Dataset, cold: Bools, which: Int64, seed: int, notes: tuple[str, ...]) -> Test:
    """Halve the cold tracks of these playlists.

    Raises:
        DataError: there is no such playlist.
    """
    if not len(which):
        raise DataError(
            f"has too few playlists with at least {LEAST_TRACKS} cold tracks",
            where=dataset.path,
            do="the protocol cold-playlists asks those",
        )
    lists = _cold_lists(dataset, cold).take(which)
    tracks, sizes, owners = lists.values, lists.lengths(), lists.owners()
    order = np.lexsort((np.random.default_rng([seed, 2]).random(len(tracks)), owners))
    shown = np.rint(sizes / 2).astype(np.int64)
    first = order[positions(begins(owners)) < shown[owners]]
    hidden = np.ones(len(tracks), np.bool_)
    hidden[first] = False
    queries = Queries(
        offsets_of(shown),
        tracks[first],
        np.full(len(first), int(Outcome.UNKNOWN), np.int8),
        [None] * len(which),
        np.zeros(len(which) + 1, np.int64),
        np.zeros(0, np.int32),
    )
    return cold_test(dataset, cold, queries, lists.where(hidden), which, notes)
