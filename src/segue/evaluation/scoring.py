"""Asking a bundle a test, block by block: lists, samples, or places of what is known."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from segue.bundle import Bundle
from segue.evaluation.translate import Translated
from segue.metrics.contrast import auc_of_ranks, played_against_skipped
from segue.metrics.ranking import CLICK_WINDOW, Float64, per_query
from segue.numeric.arrays import Int32, Int64, offsets_of
from segue.protocols.base import GROUP, Test
from segue.queries import Queries

Values = dict[str, Float64]
"""Each metric of each query of a block."""
_PAIRS = 1 << 22
"""Scores of queries with tracks that are held at a time."""


@dataclass
class Scores:
    """What the answers to a test add up to, block by block."""

    n: int
    metrics: tuple[str, ...]
    answered: Int64
    """How often each track was in a list. (tracks,)"""
    served: Counter[str]
    seconds: float = 0.0

    def lists(self, bundle: Bundle, asked: Translated, test: Test, rows: slice) -> Values:
        """Ask for lists of the full catalog."""
        began = time.perf_counter()
        slates = bundle.recommender.recommend(asked.queries[rows], self.n)
        self.seconds += time.perf_counter() - began
        self.served.update(slates.served_by)
        given = slates.tracks[:, :CLICK_WINDOW]
        self.answered += np.bincount(given[given >= 0], minlength=len(self.answered))
        offsets, truth = _part(test.truth_offsets, asked.truth, rows)
        return per_query(slates.tracks, offsets, truth, asked.artists, self.metrics)

    def samples(self, bundle: Bundle, asked: Translated, test: Test, rows: slice) -> Values:
        """Ask for the order of the truth and the candidates."""
        assert asked.candidates is not None
        queries = asked.queries[rows]
        offsets, truth = _part(test.truth_offsets, asked.truth, rows)
        drawn = asked.candidates[np.arange(rows.start, rows.start + len(queries)) // GROUP]
        wanted = np.concatenate([truth[:, None], drawn], axis=1)  # one right track each
        size = len(self.answered)
        wanted.sort(axis=1)
        known = (wanted >= 0) & (wanted < size)
        known[:, 1:] &= wanted[:, 1:] != wanted[:, :-1]  # two may be one in the catalog
        ends, tracks = offsets_of(known.sum(axis=1)), wanted[known]
        places = self._ask(bundle, queries, bundle.recommender.ranks_among, ends, tracks)
        listed = places < min(self.n, len(tracks))
        owners = np.repeat(np.arange(len(queries)), np.diff(ends))
        lists = np.full((len(queries), self.n), -1, np.int32)
        lists[owners[listed], places[listed]] = tracks[listed]
        return per_query(lists, offsets, truth, asked.artists, self.metrics)

    def parts(self, bundle: Bundle, asked: Translated, test: Test, rows: slice) -> Values:
        """Ask for the order of a part of the catalog, the same for every query."""
        assert asked.only is not None
        only = asked.only
        step = max(1, _PAIRS // max(1, len(only)))
        blocks = []
        for start in range(rows.start, rows.stop, step):
            some = slice(start, min(start + step, rows.stop))
            queries = asked.queries[some]
            drawn = _drawn(some.start * len(only), len(queries) * len(only))
            places = self._ask(
                bundle,
                queries,
                partial(bundle.recommender.ranks_among, ties=drawn),
                len(only) * np.arange(len(queries) + 1),
                np.tile(only, len(queries)),
            ).reshape(len(queries), len(only))
            offsets, truth = _part(test.truth_offsets, asked.truth, some)
            lists = np.full((len(queries), self.n), -1, np.int32)
            owners, columns = np.nonzero(places < min(self.n, len(only)))
            lists[owners, places[owners, columns]] = only[columns]
            values = per_query(
                lists, offsets, truth, asked.artists, [m for m in self.metrics if m != "auc"]
            )
            values["auc"] = auc_of_ranks(places, only, offsets, truth)
            blocks.append(values)
        return {metric: np.concatenate([b[metric] for b in blocks]) for metric in self.metrics}

    def contrasts(self, bundle: Bundle, asked: Translated, test: Test, rows: slice) -> Values:
        """Ask where the truth and what is against it stand in the full catalog."""
        assert test.against_offsets is not None
        queries = asked.queries[rows]
        parts = [
            _part(test.truth_offsets, asked.truth, rows),
            _part(test.against_offsets, asked.against, rows),
        ]
        # The truth of a query, then what is against it, then the next query's.
        owner = np.concatenate([np.repeat(np.arange(len(queries)), np.diff(o)) for o, _ in parts])
        order = np.argsort(owner, kind="stable")
        wanted = np.concatenate([tracks for _, tracks in parts])
        size = len(self.answered)
        known = wanted[order] < size
        offsets = offsets_of(known)[parts[0][0] + parts[1][0]]
        places = np.full(len(wanted), -1)
        places[order[known]] = self._ask(
            bundle, queries, bundle.recommender.ranks, offsets, wanted[order[known]]
        )
        ends = len(parts[0][1])
        values = played_against_skipped(
            parts[0][0], places[:ends], parts[1][0], places[ends:], size, self.n
        )
        return {metric: values[metric] for metric in self.metrics}

    def _ask(
        self,
        bundle: Bundle,
        queries: Queries,
        places: Callable[[Queries, Int64, Int32], Int64],
        offsets: Int64,
        tracks: Int32,
    ) -> Int64:
        began = time.perf_counter()
        found = places(queries, offsets, tracks)
        self.seconds += time.perf_counter() - began
        self.served.update(bundle.recommender.serves(queries))
        return found


def _drawn(first: int, count: int) -> Int64:
    """Numbers that look drawn, the same for the same row whatever the block.

    SplitMix64 (Steele, Lea and Flood 2014) of `first` and the next ones. (count,)
    """
    with np.errstate(over="ignore"):
        z = np.arange(first + 1, first + count + 1).astype(np.uint64)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z >> np.uint64(1)).astype(np.int64)


def _part(offsets: Int64, tracks: Int32, rows: slice) -> tuple[Int64, Int32]:
    """Some of the runs of tracks."""
    some = offsets[rows.start : rows.stop + 1]
    return some - some[0], tracks[some[0] : some[-1]]
