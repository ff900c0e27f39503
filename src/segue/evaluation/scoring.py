"""Scores a bundle on a test set in batches: by lists, candidates, or ranks of known tracks."""

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
"""Values of each metric for each query of a batch."""
_PAIRS = 1 << 22
"""Maximum number of query-track scores in memory."""


@dataclass
class Scores:
    """Sums over the batches of a test."""

    n: int
    metrics: tuple[str, ...]
    answered: Int64
    """Number of lists with each track. (tracks,)"""
    served: Counter[str]
    seconds: float = 0.0

    def lists(self, bundle: Bundle, translated: Translated, test: Test, rows: slice) -> Values:
        """Score lists from the full catalog."""
        start_time = time.perf_counter()
        slates = bundle.recommender.recommend(translated.queries[rows], self.n)
        self.seconds += time.perf_counter() - start_time
        self.served.update(slates.served_by)
        given = slates.tracks[:, :CLICK_WINDOW]
        self.answered += np.bincount(given[given >= 0], minlength=len(self.answered))
        truth = translated.truth[rows]
        return per_query(
            slates.tracks, truth.offsets, truth.values, translated.artists, self.metrics
        )

    def samples(self, bundle: Bundle, translated: Translated, test: Test, rows: slice) -> Values:
        """Score the ranking of the truth among sampled candidates."""
        assert translated.candidates is not None
        queries = translated.queries[rows]
        truth = translated.truth[rows]
        sampled = translated.candidates[np.arange(rows.start, rows.start + len(queries)) // GROUP]
        # One true track for each query; two test tracks may match one catalog track.
        grid = np.concatenate([truth.values[:, None], sampled], axis=1)
        size = len(self.answered)
        grid.sort(axis=1)
        known = (grid >= 0) & (grid < size)
        known[:, 1:] &= grid[:, 1:] != grid[:, :-1]
        candidates = Ragged(offsets_of(known.sum(axis=1)), grid[known])
        ranks = self._ask(bundle, queries, bundle.recommender.ranks_among, candidates)
        in_list = ranks < min(self.n, len(candidates.values))
        lists = np.full((len(queries), self.n), -1, np.int32)
        lists[candidates.owners()[in_list], ranks[in_list]] = candidates.values[in_list]
        return per_query(lists, truth.offsets, truth.values, translated.artists, self.metrics)

    def parts(self, bundle: Bundle, translated: Translated, test: Test, rows: slice) -> Values:
        """Score the ranking of a part of the catalog, the same for every query."""
        assert translated.only is not None
        only = translated.only
        step = max(1, _PAIRS // max(1, len(only)))
        blocks = []
        for start in range(rows.start, rows.stop, step):
            query_rows = slice(start, min(start + step, rows.stop))
            queries = translated.queries[query_rows]
            tie_order = _pseudo_random(query_rows.start * len(only), len(queries) * len(only))
            ranks = self._ask(
                bundle,
                queries,
                partial(bundle.recommender.ranks_among, ties=tie_order),
                Ragged.repeat(only, len(queries)),
            ).reshape(len(queries), len(only))
            truth = translated.truth[query_rows]
            lists = np.full((len(queries), self.n), -1, np.int32)
            owners, columns = np.nonzero(ranks < min(self.n, len(only)))
            lists[owners, ranks[owners, columns]] = only[columns]
            others = [metric for metric in self.metrics if metric != "auc"]
            values = per_query(lists, truth.offsets, truth.values, translated.artists, others)
            values["auc"] = auc_of_ranks(ranks, only, truth.offsets, truth.values)
            blocks.append(values)
        return {metric: np.concatenate([b[metric] for b in blocks]) for metric in self.metrics}

    def contrasts(self, bundle: Bundle, translated: Translated, test: Test, rows: slice) -> Values:
        """Score the ranks of the truth and of skipped tracks in the full catalog."""
        assert translated.against is not None
        truth, against = translated.truth[rows], translated.against[rows]
        # For each query the truth, then the skipped tracks.
        order = np.argsort(np.concatenate([truth.owners(), against.owners()]), kind="stable")
        tracks = np.concatenate([truth.values, against.values])[order]
        both = Ragged(truth.offsets + against.offsets, tracks)
        size = len(self.answered)
        known = tracks < size
        ranks = np.full(len(tracks), -1)
        ranks[order[known]] = self._ask(
            bundle, translated.queries[rows], bundle.recommender.ranks, both.where(known)
        )
        ends = len(truth.values)
        values = played_against_skipped(
            truth.offsets, ranks[:ends], against.offsets, ranks[ends:], size, self.n
        )
        return {metric: values[metric] for metric in self.metrics}

    def _ask(
        self,
        bundle: Bundle,
        queries: Queries,
        rank_method: Callable[[Queries, Ragged], Int64],
        tracks: Ragged,
    ) -> Int64:
        start_time = time.perf_counter()
        ranks = rank_method(queries, tracks)
        self.seconds += time.perf_counter() - start_time
        self.served.update(bundle.recommender.serves(queries))
        return ranks


def _pseudo_random(first: int, count: int) -> Int64:
    """Pseudo-random numbers that depend on the row only, not on the batch. (count,)

    SplitMix64 (Steele, Lea and Flood 2014) of `first` and its successors.
    """
    with np.errstate(over="ignore"):
        z = np.arange(first + 1, first + count + 1).astype(np.uint64)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z >> np.uint64(1)).astype(np.int64)
