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
    truth: Int32
    against: Int32
    """Empty where the test has nothing against the truth."""
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
    taken = _pairs(offsets, queries.tracks)
    later = [_later(test.truth_offsets, rows[test.truth], own[test.truth], taken)]
    if test.against is not None and test.against_offsets is not None:
        taken = np.concatenate([taken, _pairs(test.truth_offsets, later[0])])
        against = test.against
        later.append(_later(test.against_offsets, rows[against], own[against], taken))
    missing = sum(int((some >= size).sum()) for some in later)
    columns = ["artist", "artist_uri"]
    return Translated(
        queries,
        later[0],
        later[1] if len(later) > 1 else np.zeros(0, np.int32),
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


def _pairs(offsets: Int64, tracks: Int32) -> Int64:
    """A number for each query with each of its tracks, -1 for none."""
    return np.where(tracks < 0, -1, Ragged(offsets, tracks).keys())


def _later(offsets: Int64, found: Int32, own: Int32, taken: Int64) -> Int32:
    """Tracks of the truth: `found`, but `own` where that is none, taken, or there before."""
    pairs = _pairs(offsets, found)
    lost = np.ones(len(found), np.bool_)
    lost[np.unique(pairs, return_index=True)[1]] = False
    lost |= (found < 0) | np.isin(pairs, taken)
    return np.where(lost, own, found)
