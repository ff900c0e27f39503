"""Run bundles through a protocol: figures with intervals, and every pair compared."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa

from segue.answers import Int32, Int64, Queries
from segue.bundle import Bundle, libraries
from segue.data.dataset import Dataset
from segue.errors import UsageError
from segue.evaluation.matching import artist_codes, match_tracks
from segue.evaluation.metrics import CLICK_WINDOW, Float64, per_query
from segue.evaluation.protocols import Test, find_protocol, refuse_learned
from segue.evaluation.significance import Comparison, Estimate, compare, estimate
from segue.files import shown
from segue.progress import Advance, task

WARM = "warm"
"""Slice of the queries that show at least one track."""
POPULARITY_GROUPS = 10
_BLOCK = 2048


def reported(n: int) -> tuple[str, ...]:
    """The metrics that are reported for lists of n tracks, besides coverage."""
    return (
        *("rprec", "rprec_artist", "rprec_artist_literal", f"ndcg@{n}", f"recall@{n}"),
        *("hr@10", f"mrr@{n}", "clicks"),
    )


class Matched(msgspec.Struct, frozen=True):
    """Tracks of the test that a bundle's catalog has.

    What is missing among the seeds is not shown to the bundle; what is missing in the truth
    cannot be answered and counts as missed.
    """

    seeds: int
    seeds_missing: int
    truth: int
    truth_missing: int


class Popularity(msgspec.Struct, frozen=True):
    """Share of answers and of truth by popularity of the track.

    The catalog is cut into ten groups of tracks, each with a tenth of all plays in training: the
    few most played ones first, the long tail last.
    """

    answers: list[float]
    truth: list[float]


class ModelResult(msgspec.Struct, frozen=True):
    """One bundle's figures.

    Attributes:
        bundle: its name.
        recommender: its model.
        recipe: what it was trained with.
        metrics: over all queries.
        slices: the same for the queries with each label, and for "warm": those that show a track.
        slice_queries: how many queries each slice has.
        served_by: how many queries each model answered (popularity stands in where the bundle's
            model knows nothing about a query).
        matched: tracks of the test that its catalog has.
        popularity: of its answers, against the truth's.
        tracks: size of its catalog.
        seconds: answering took.
    """

    bundle: str
    recommender: str
    recipe: str
    metrics: dict[str, Estimate]
    slices: dict[str, dict[str, Estimate]]
    slice_queries: dict[str, int]
    served_by: dict[str, int]
    matched: Matched
    popularity: Popularity
    tracks: int
    seconds: float


class Evaluation(msgspec.Struct, frozen=True):
    """What ``segue evaluate --json`` prints.

    Attributes:
        protocol, seed: how the queries were made.
        every: whether everything that can be a query was one.
        n: length of the lists.
        queries: how many.
        dataset, fingerprint: folder name and content hash of the dataset.
        simulated: whether the dataset or one of the bundles comes from a simulated world.
        notes: of the protocol.
        models: in the order given.
        paired: every pair of them by every metric.
        libraries: versions.
    """

    protocol: str
    queries: int
    models: list[ModelResult]
    paired: list[Comparison]
    seed: int
    every: bool
    n: int
    dataset: str
    fingerprint: str
    simulated: bool
    notes: list[str]
    libraries: dict[str, str]


def evaluate(
    bundles: Sequence[tuple[str, Bundle]],
    dataset: Dataset,
    protocol: str,
    *,
    seed: int = 0,
    all_rows: bool = False,
    n: int = 500,
    progress: bool = False,
) -> Evaluation:
    """Test bundles on the same queries.

    Tracks are matched by uri, else by artist and title (`match_tracks`).

    Args:
        bundles: with the names that they go by in the result.
        dataset: whole; the protocol splits it.
        protocol: name of one of `PROTOCOLS`.
        seed: of the split.
        all_rows: make a query of everything that can be one, instead of a held-out part.
        n: length of the lists.
        progress: report on stderr.

    Raises:
        UsageError: no such protocol, or names of bundles that are not distinct.
        DataError: the dataset has nothing to test on.
        BundleError: a bundle learned from rows of the test.
    """
    names = [name for name, _ in bundles]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"bundles are called {', '.join(names)}" if names else "no bundle to evaluate",
            do="give each bundle once" if names else "name at least one",
        )
    if not 1 <= n < 2**31:
        raise UsageError(f"n is {n}", do="ask for at least 1 track, and fewer than 2^31")
    how = find_protocol(protocol)
    test = how.every(dataset, seed) if all_rows else how.split(dataset, seed).test
    for name, bundle in bundles:
        refuse_learned(name, bundle, dataset, how, seed, test, all_rows=all_rows)
    models, values = [], {}
    with task("evaluating", len(test) * len(bundles), "queries", show=progress) as advance:
        for name, bundle in bundles:
            result, values[name] = _run(name, bundle, dataset, test, n, advance)
            models.append(result)
    return Evaluation(
        protocol=protocol,
        seed=seed,
        every=all_rows,
        n=n,
        queries=len(test),
        dataset=shown(dataset.path.resolve().name),
        fingerprint=dataset.info.fingerprint,
        simulated=dataset.info.simulated or any(b.manifest.simulated for _, b in bundles),
        notes=list(test.notes),
        models=models,
        paired=compare(values),
        libraries=libraries(),
    )


@dataclass(frozen=True)
class _Translated:
    """A test in rows of a bundle; what its catalog lacks has rows beyond the catalog's."""

    queries: Queries
    truth: Int32
    artists: Int32
    """Of every row, those beyond the catalog included."""
    matched: Matched


def _translate(test: Test, dataset: Dataset, bundle: Bundle) -> _Translated:
    size = len(bundle.catalog)
    rows = match_tracks(dataset.tracks, bundle.catalog)
    own = size + np.arange(len(rows), dtype=np.int32)  # where the catalog lacks a track

    seeds = rows[test.queries.tracks]
    known = seeds >= 0
    offsets = np.concatenate([[0], np.cumsum(known)])[test.queries.offsets]
    queries = Queries(
        offsets,
        seeds[known],
        test.queries.outcomes[known],
        test.queries.titles,
        np.zeros(len(test) + 1, np.int64),
        np.zeros(0, np.int32),
    )

    truth = rows[test.truth]
    # Two tracks of the dataset may be one in the catalog. It can be answered once, and not at all
    # if it is a seed; the other one stays in the truth as missed, so that |G| is the same for all.
    key = np.repeat(np.arange(len(test)), np.diff(test.truth_offsets)) * (size + 1) + truth
    taken = np.repeat(np.arange(len(test)), np.diff(offsets)) * (size + 1) + queries.tracks
    lost = np.ones(len(truth), np.bool_)
    lost[np.unique(key, return_index=True)[1]] = False
    lost |= (truth < 0) | np.isin(key, taken)
    truth = np.where(lost, own[test.truth], truth)
    matched = Matched(len(seeds), int((~known).sum()), len(truth), int(lost.sum()))
    columns = ["artist", "artist_uri"]
    artists = artist_codes(
        pa.concat_tables([bundle.catalog.table.select(columns), dataset.tracks.select(columns)])
    )
    return _Translated(queries, truth, artists, matched)


def _popularity_groups(bundle: Bundle) -> Int64:
    """Group of each track, 0 = most popular; each group has a tenth of the plays. (tracks,)"""
    plays = bundle.catalog.plays.astype(np.int64)
    order = np.argsort(-plays, kind="stable")
    before = np.cumsum(plays[order]) - plays[order]
    groups = np.empty(len(plays), np.int64)
    groups[order] = before * POPULARITY_GROUPS // max(1, int(plays.sum()))
    return np.minimum(groups, POPULARITY_GROUPS - 1)


def _run(
    name: str, bundle: Bundle, dataset: Dataset, test: Test, n: int, advance: Advance
) -> tuple[ModelResult, dict[str, Float64]]:
    """Ask one bundle everything, in blocks; and its value of each metric for each query."""
    asked = _translate(test, dataset, bundle)
    size = len(bundle.catalog)
    groups = _popularity_groups(bundle)
    metrics = reported(n)
    blocks: list[dict[str, Float64]] = []
    served: Counter[str] = Counter()
    answered = np.zeros(size, np.int64)
    seconds = 0.0
    for start in range(0, len(test), _BLOCK):
        queries = asked.queries[start : start + _BLOCK]
        began = time.perf_counter()
        slates = bundle.recommender.recommend(queries, n)
        seconds += time.perf_counter() - began
        offsets = test.truth_offsets[start : start + len(queries) + 1]
        truth = asked.truth[offsets[0] : offsets[-1]]
        blocks.append(per_query(slates.tracks, offsets - offsets[0], truth, asked.artists, metrics))
        served.update(slates.served_by)
        given = slates.tracks[:, :CLICK_WINDOW]
        answered += np.bincount(given[given >= 0], minlength=size)
        advance(len(queries))
    values = {metric: np.concatenate([b[metric] for b in blocks]) for metric in metrics}

    warm = np.diff(test.queries.offsets) > 0
    members = {label: test.slices == label for label in dict.fromkeys(test.slices.tolist())}
    if warm.any() and not warm.all():
        members[WARM] = warm
    found = asked.truth[asked.truth < size]
    result = ModelResult(
        bundle=name,
        recommender=bundle.manifest.recommender,
        recipe=bundle.manifest.recipe,
        metrics={m: estimate(v) for m, v in values.items()}
        | {"coverage": Estimate(float((answered > 0).mean()), None)},
        slices={
            label: {metric: estimate(v[rows]) for metric, v in values.items()}
            for label, rows in members.items()
        },
        slice_queries={label: int(rows.sum()) for label, rows in members.items()},
        served_by=dict(sorted(served.items())),
        matched=asked.matched,
        popularity=Popularity(_shares(groups, answered), _shares(groups[found], None)),
        tracks=size,
        seconds=round(seconds, 3),
    )
    return result, values


def _shares(groups: Int64, weights: Int64 | None) -> list[float]:
    """Share of each popularity group; zeros where there is nothing to share."""
    counts = np.bincount(groups, weights, minlength=POPULARITY_GROUPS)
    shares: list[float] = (counts / max(1, counts.sum())).round(6).tolist()
    return shares
