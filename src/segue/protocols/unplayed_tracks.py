"""Cold tracks, those that nobody has played, as the protocols that ask about them draw them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segue.catalog.catalog import Catalog
from segue.catalog.matching import artist_codes, match_tracks
from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.numeric.arrays import Bools, Int64
from segue.numeric.ragged import Ragged
from segue.protocols.base import Test
from segue.queries import Queries

LEAST_DRAWN = 20
"""So many are drawn at least, but never more than half of what there is."""
MOST_QUERIES = 10_000
"""Queries of a held-out part."""
HEARD_ARTIST, NEW_ARTISTS = "of an artist heard before", "of other artists"


def share_of(count: int, share: float) -> int:
    """How many of `count` are drawn to be held out."""
    return min(max(LEAST_DRAWN, round(share * count)), count // 2)


def draw_cold(could: Bools, share: float, seed: int) -> Bools:
    """About this share of the tracks that could be cold; none where there are fewer than two.

    Args:
        could: (tracks,)

    Returns:
        (tracks,)
    """
    among = np.flatnonzero(could)
    cold = np.zeros(len(could), np.bool_)
    rng = np.random.default_rng([seed, 0])
    cold[rng.choice(among, share_of(len(among), share), replace=False)] = True
    return cold


def audible(dataset: Dataset) -> Bools:
    """Which tracks have audio. (tracks,)"""
    return np.isin(np.arange(dataset.track_count), dataset.audio["track"].to_numpy())


def new_to_all(
    dataset: Dataset, catalogs: Sequence[Catalog], had: Bools
) -> tuple[Bools, tuple[str, ...]]:
    """The tracks that every catalog has and none has plays of; and what is to be said of it.

    Args:
        had: which tracks were played in `dataset`; a note counts those that a catalog lacks.
            (tracks,)

    Raises:
        DataError: there is none.
    """
    found = np.stack([match_tracks(dataset.tracks, catalog) for catalog in catalogs])
    counts = [c.plays[rows] if len(c) else rows for c, rows in zip(catalogs, found, strict=True)]
    cold = (found >= 0).all(axis=0) & (np.stack(counts) == 0).all(axis=0)
    if not cold.any():
        raise DataError(
            "no track that every bundle has is without plays in all of them",
            where=dataset.path,
            do="give each bundle the new files with segue add",
        )
    lacking = int((had & (found < 0).any(axis=0)).sum())
    note = f"{lacking:,} played tracks that a bundle lacks are left out"
    return cold, (note,) if lacking else ()


def cold_test(
    dataset: Dataset,
    cold: Bools,
    queries: Queries,
    truth: Ragged,
    sources: Int64,
    notes: tuple[str, ...],
) -> Test:
    """A test that ranks the cold tracks alone and says so. Arguments as in `Test`."""
    only = np.flatnonzero(cold).astype(np.int32)
    note = (
        f"only the {len(only):,} cold tracks are ranked, so figures must not be compared with "
        "those of the full catalog"
    )
    return Test(
        queries=queries,
        truth=truth,
        slices=_slices(dataset, queries, truth),
        sources=sources,
        notes=(note, *notes),
        only=only,
    )


def _slices(dataset: Dataset, queries: Queries, truth: Ragged) -> npt.NDArray[np.str_]:
    """Whether an artist of the truth is in the query, as a label. (queries,)"""
    artists = artist_codes(dataset.tracks)

    def by_artist(tracks: Ragged) -> Int64:
        """`Ragged.keys` of the artists of tracks, -1 where the artist is unknown."""
        codes = artists[tracks.values]
        return np.where(codes < 0, -1, Ragged(tracks.offsets, codes).keys())

    keys = by_artist(truth)
    known = (keys >= 0) & np.isin(keys, by_artist(queries.history))
    labels: npt.NDArray[np.str_] = np.where(
        truth.where(known).lengths() > 0, HEARD_ARTIST, NEW_ARTISTS
    )
    return labels
