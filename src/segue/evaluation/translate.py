"""A test in rows of the catalog of a bundle, which may be another one's than the dataset's."""

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
    """Tracks of the test that a bundle's catalog has.

    What is missing among the seeds is not shown to the bundle; what is missing in the truth (or
    against it) cannot be answered and counts as missed.
    """

    seeds: int
    seeds_missing: int
    truth: int
    truth_missing: int


@dataclass(frozen=True)
class Translated:
    """A test in rows of a bundle; what its catalog lacks has rows beyond the catalog's."""

    queries: Queries
    truth: Ragged
    against: Ragged | None
    candidates: Int32 | None
    """-1 where the catalog lacks one."""
    only: Int32 | None
    """What the catalog has of them, rising."""
    artists: Int32
    """Of every row, those beyond the catalog included."""
    matched: Matched


def translate(test: Test, dataset: Dataset, bundle: Bundle) -> Translated:
    """Match the tracks of a test."""
    size = len(bundle.catalog)
    rows = match_tracks(dataset.tracks, bundle.catalog)
    own = size + np.arange(len(rows), dtype=np.int32)  # where the catalog lacks a track

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
    truth, against = _later(test.truth, rows, own, queries.history.keys()), None
    later = [truth.values]
    if test.against is not None:
        taken = np.concatenate([queries.history.keys(), truth.keys()])
        against = _later(test.against, rows, own, taken)
        later.append(against.values)
    missing = sum(int((tracks >= size).sum()) for tracks in later)
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
        Matched(len(seeds), int((~known).sum()), sum(map(len, later)), missing),
    )


def _known(rows: Int32) -> Int32:
    """What is not -1, rising and without repeats."""
    return np.unique(rows[rows >= 0])


def _later(tracks: Ragged, rows: Int32, own: Int32, taken: Int64) -> Ragged:
    """Tracks of the truth in rows of the catalog.

    Args:
        tracks: in rows of the dataset.
        rows: of the catalog, for each of the dataset; -1 where the catalog lacks it.
        own: rows beyond the catalog, for tracks that it lacks, and where two tracks of a query
            share a row, or the row is taken.
        taken: `Ragged.keys` of rows that are taken.
    """
    found = rows[tracks.values]
    keys = np.where(found < 0, -1, Ragged(tracks.offsets, found).keys())
    lost = np.ones(len(found), np.bool_)
    lost[np.unique(keys, return_index=True)[1]] = False
    lost |= (found < 0) | np.isin(keys, taken)
    return Ragged(tracks.offsets, np.where(lost, own[tracks.values], found))
