"""Protocol `challenge`: the ten playlist types of the RecSys Challenge 2018, from any dataset."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.numeric.arrays import Int64
from segue.protocols.base import Protocol, Split, Test
from segue.protocols.playlist_cuts import MIN_TRUTH, TYPES, UNUSED, PlaylistRows, cut, draw_types

MOST_PER_TYPE = 1000
"""Playlists of each type, as in the challenge ..."""
SHARE_PER_TYPE = 60
"""... but not more than one in this many of the dataset's: all ten leave 5/6 of it alone."""


class Challenge(Protocol):
    """Ten types of playlists, from a title alone to 100 tracks; the rest of each is the truth."""

    name = "challenge"
    description = "continue playlists of ten types, from a title alone to 100 tracks"
    n = 500

    def metrics(self, n: int) -> tuple[str, ...]:
        return (
            *("rprec", "rprec_artist", "rprec_artist_literal", f"ndcg@{n}", f"recall@{n}"),
            *("hr@10", f"mrr@{n}", "clicks"),
        )

    def headline(self, n: int) -> tuple[str, ...]:
        return "rprec", f"ndcg@{n}", "clicks"

    def split(self, dataset: Dataset, seed: int) -> Split:
        """Draw min(1000, playlists // 60) playlists of each type and hide their other tracks.

        The seeds stay in training, as the challenge's do: each playlist of the test is there with
        exactly the tracks that its query shows.
        """
        rows = PlaylistRows.of(dataset)
        rng = np.random.default_rng([seed, 0])
        size = min(MOST_PER_TYPE, max(1, dataset.playlist_count // SHARE_PER_TYPE))
        drawn = draw_types(rows, rng.permutation(dataset.playlist_count), size)
        test, shown = _make(rows, drawn, rng, dataset)
        keep = np.ones(len(dataset.entries), np.bool_)
        keep[drawn[dataset.entry_playlists] != UNUSED] = False
        keep[np.flatnonzero(rows.first)[shown]] = True
        return Split(dataset.narrowed(keep), test)

    def every(self, dataset: Dataset, seed: int) -> Test:
        """Make a query of every playlist of at least 5 distinct tracks.

        Playlists that fit the same types go round these types in a drawn order.
        """
        rows = PlaylistRows.of(dataset)
        rng = np.random.default_rng([seed, 1])
        order = rng.permutation(dataset.playlist_count)
        possible = np.stack([rows.fit(kind) for kind in TYPES], axis=1)
        drawn = np.full(dataset.playlist_count, UNUSED, np.int8)
        for fits in np.unique(possible, axis=0):
            alike = order[(possible[order] == fits).all(axis=1)]
            if fits.any():
                drawn[alike] = np.resize(np.flatnonzero(fits), len(alike))
        return _make(rows, drawn, rng, dataset)[0]


def _make(
    rows: PlaylistRows,
    drawn: npt.NDArray[np.int8],
    rng: np.random.Generator,
    dataset: Dataset,
) -> tuple[Test, Int64]:
    """A test of the playlists that drew a type; and which of `rows.tracks` it shows.

    Raises:
        DataError: no playlist drew a type.
    """
    if not (drawn != UNUSED).any():
        raise DataError(
            f"has no playlist of {MIN_TRUTH} distinct tracks with a title, "
            f"nor one of {MIN_TRUTH + 5} without",
            where=dataset.path,
            do="the protocol challenge needs playlists",
        )
    cuts = cut(rows, drawn, rng)
    present = {kind.name for kind in cuts.kinds}
    notes = [
        f"no playlist for the type {kind.name!r}" for kind in TYPES if kind.name not in present
    ]
    test = Test(
        cuts.queries,
        cuts.truth,
        np.array([kind.name for kind in cuts.kinds]),
        cuts.playlists.astype(np.int64),
        tuple(notes),
    )
    return test, cuts.shown
