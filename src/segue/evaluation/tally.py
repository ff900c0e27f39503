"""Asking a bundle a test, block by block: lists, samples, or places of what is known."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from segue.answers import Int32, Int64, Queries
from segue.bundle import Bundle
from segue.evaluation.heard import offsets_of
from segue.evaluation.metrics import CLICK_WINDOW, Float64, per_query, played_against_skipped
from segue.evaluation.protocols import GROUP, Test
from segue.evaluation.translate import Translated

Values = dict[str, Float64]
"""Each metric of each query of a block."""


@dataclass
class Tally:
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
        places = self._places(bundle, queries, np.arange(len(wanted) + 1) * wanted.shape[1], wanted)
        for _ in range(2):  # of two that are one, the first stays
            order = np.argsort(places, axis=1, kind="stable")
            wanted = np.take_along_axis(wanted, order, axis=1)
            places = np.take_along_axis(places, order, axis=1)
            places[:, 1:][places[:, 1:] == places[:, :-1]] = len(self.answered)
        lists = np.where(places < len(self.answered), wanted, -1)[:, : self.n]
        return per_query(lists, offsets, truth, asked.artists, self.metrics)

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
        places = np.empty(len(wanted), np.int64)
        offsets = parts[0][0] + parts[1][0]
        places[order] = self._places(bundle, queries, offsets, wanted[order])
        places[places == len(self.answered)] = -1
        ends = len(parts[0][1])
        size = len(self.answered)
        values = played_against_skipped(
            parts[0][0], places[:ends], parts[1][0], places[ends:], size, self.n
        )
        return {metric: values[metric] for metric in self.metrics}

    def _places(self, bundle: Bundle, queries: Queries, offsets: Int64, wanted: Int32) -> Int64:
        """`Recommender.places`, of which those that the catalog lacks have its size.

        Args:
            offsets: of the queries in `wanted`, which may have any shape that they fit.
        """
        size = len(self.answered)
        flat = wanted.ravel()
        known = (flat >= 0) & (flat < size)
        began = time.perf_counter()
        found = bundle.recommender.places(queries, offsets_of(known)[offsets], flat[known])
        self.seconds += time.perf_counter() - began
        self.served.update(bundle.recommender.serves(queries))
        places = np.full(len(flat), size)
        places[known] = found
        return places.reshape(wanted.shape)


def _part(offsets: Int64, tracks: Int32, rows: slice) -> tuple[Int64, Int32]:
    """Some of the runs of tracks."""
    some = offsets[rows.start : rows.stop + 1]
    return some - some[0], tracks[some[0] : some[-1]]
