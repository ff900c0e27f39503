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
from segue.numeric.arrays import Int64, offsets_of
from segue.numeric.ragged import Ragged
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
        truth = asked.truth[rows]
        return per_query(slates.tracks, truth.offsets, truth.values, asked.artists, self.metrics)

    def samples(self, bundle: Bundle, asked: Translated, test: Test, rows: slice) -> Values:
        """Ask for the order of the truth and the candidates."""
        assert asked.candidates is not None
        queries = asked.queries[rows]
        truth = asked.truth[rows]
        drawn = asked.candidates[np.arange(rows.start, rows.start + len(queries)) // GROUP]
        wanted = np.concatenate([truth.values[:, None], drawn], axis=1)  # one right track each
        size = len(self.answered)
        wanted.sort(axis=1)
        known = (wanted >= 0) & (wanted < size)
        known[:, 1:] &= wanted[:, 1:] != wanted[:, :-1]  # two may be one in the catalog
        candidates = Ragged(offsets_of(known.sum(axis=1)), wanted[known])
        places = self._ask(bundle, queries, bundle.recommender.ranks_among, candidates)
        listed = places < min(self.n, len(candidates.values))
        lists = np.full((len(queries), self.n), -1, np.int32)
        lists[candidates.owners()[listed], places[listed]] = candidates.values[listed]
        return per_query(lists, truth.offsets, truth.values, asked.artists, self.metrics)

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
                Ragged.repeat(only, len(queries)),
            ).reshape(len(queries), len(only))
            truth = asked.truth[some]
            lists = np.full((len(queries), self.n), -1, np.int32)
            owners, columns = np.nonzero(places < min(self.n, len(only)))
            lists[owners, places[owners, columns]] = only[columns]
            others = [metric for metric in self.metrics if metric != "auc"]
            values = per_query(lists, truth.offsets, truth.values, asked.artists, others)
            values["auc"] = auc_of_ranks(places, only, truth.offsets, truth.values)
            blocks.append(values)
        return {metric: np.concatenate([b[metric] for b in blocks]) for metric in self.metrics}

    def contrasts(self, bundle: Bundle, asked: Translated, test: Test, rows: slice) -> Values:
        """Ask where the truth and what is against it stand in the full catalog."""
        assert asked.against is not None
        truth, against = asked.truth[rows], asked.against[rows]
        # The truth of a query, then what is against it, then the next query's.
        order = np.argsort(np.concatenate([truth.owners(), against.owners()]), kind="stable")
        tracks = np.concatenate([truth.values, against.values])[order]
        both = Ragged(truth.offsets + against.offsets, tracks)
        size = len(self.answered)
        known = tracks < size
        places = np.full(len(tracks), -1)
        places[order[known]] = self._ask(
            bundle, asked.queries[rows], bundle.recommender.ranks, both.where(known)
        )
        ends = len(truth.values)
        values = played_against_skipped(
            truth.offsets, places[:ends], against.offsets, places[ends:], size, self.n
        )
        return {metric: values[metric] for metric in self.metrics}

    def _ask(
        self,
        bundle: Bundle,
        queries: Queries,
        ranks: Callable[[Queries, Ragged], Int64],
        tracks: Ragged,
    ) -> Int64:
        began = time.perf_counter()
        found = ranks(queries, tracks)
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
