"""Translation of a test from rows of the dataset to rows of a bundle's catalog."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa

from segue.bundle import Bundle
from segue.catalog.matching import artist_codes, match_tracks
from segue.data.dataset import Dataset
from segue.numeric.arrays import Int32, Int64, offsets_of
from segue.numeric.ragged import Ragged
from segue.protocols.base import Test
from segue.queries import Queries


class Matched(msgspec.Struct, frozen=True):
    """Counts of test tracks, and of those that a bundle's catalog lacks.

    The bundle does not see missing seeds; missing truth (or skips) counts as missed.
    """

    seeds: int
    seeds_missing: int
    truth: int
    truth_missing: int


@dataclass(frozen=True)
class Translated:
    """A test in rows of a bundle; tracks that its catalog lacks have rows beyond its end."""

    queries: Queries
    truth: Ragged
    against: Ragged | None
    candidates: Int32 | None
    """-1 for a track that the catalog lacks."""
    only: Int32 | None
    """Rows of those in the catalog, rising."""
    artists: Int32
    """Artist of every row, rows beyond the catalog included."""
    matched: Matched


def translate(test: Test, dataset: Dataset, bundle: Bundle) -> Translated:
    """Translate a test to rows of a bundle's catalog."""
    size = len(bundle.catalog)
    rows = match_tracks(dataset.tracks, bundle.catalog)
    # For tracks that the catalog lacks.
    unmatched_rows = size + np.arange(len(rows), dtype=np.int32)

    seeds = rows[test.queries.tracks]
    known = seeds >= 0
    offsets = offsets_of(known)[test.queries.offsets]
    past = rows[test.queries.past]
    queries = Queries(
        offsets,
        seeds[known],
        test.queries.outcomes[known],
        test.queries.titles,
        np.zeros(len(test) + 1, np.int64),
        np.zeros(0, np.int32),
        offsets_of(past >= 0)[test.queries.past_spans],
        past[past >= 0],
    )

    # Two tracks of the dataset may be one in the catalog. It can be answered once, and not at all
    # if it is a seed; the other one stays in the truth as missed, so that |G| is the same for all.
    truth, against = _later_tracks(test.truth, rows, unmatched_rows, queries.history.keys()), None
    later_tracks = [truth.values]
    if test.against is not None:
        taken = np.concatenate([queries.history.keys(), truth.keys()])
        against = _later_tracks(test.against, rows, unmatched_rows, taken)
        later_tracks.append(against.values)
    missing = sum(int((tracks >= size).sum()) for tracks in later_tracks)
    columns = ["artist", "artist_uri"]
    return Translated(
        queries,
        truth,
        against,
        None if test.candidates is None else rows[test.candidates],
        None if test.only is None else _known(rows[test.only]),
        artist_codes(
            pa.concat_tables([bundle.catalog.table.select(columns), dataset.tracks.select(columns)])
        ),
        Matched(len(seeds), int((~known).sum()), sum(map(len, later_tracks)), missing),
    )


def _known(rows: Int32) -> Int32:
    """The rows without -1, rising and without repeats."""
    return np.unique(rows[rows >= 0])


def _later_tracks(tracks: Ragged, rows: Int32, unmatched_rows: Int32, taken: Int64) -> Ragged:
    """Tracks of the truth in rows of the catalog.

    Args:
        tracks: tracks in rows of the dataset.
        rows: catalog row of each dataset row; -1 where the catalog lacks it.
        unmatched_rows: rows beyond the catalog, for tracks that it lacks, and where two tracks of a
            query share a row, or the row is taken.
        taken: `Ragged.keys` of the taken rows.
    """
    matched = rows[tracks.values]
    keys = np.where(matched < 0, -1, Ragged(tracks.offsets, matched).keys())
    lost = np.ones(len(matched), np.bool_)
    lost[np.unique(keys, return_index=True)[1]] = False
    lost |= (matched < 0) | np.isin(keys, taken)
    return Ragged(tracks.offsets, np.where(lost, unmatched_rows[tracks.values], matched))
