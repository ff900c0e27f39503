"""Evaluation of bundles by a protocol: metrics with intervals, and paired comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.bundle import Bundle, libraries
from segue.data.dataset import Dataset
from segue.errors import UsageError
from segue.evaluation.leakage import refuse_training_rows
from segue.evaluation.scoring import Scores, Values
from segue.evaluation.significance import (
    MIN_CLUSTERS,
    Comparison,
    Estimate,
    compare,
    estimate,
    queries_needed,
)
from segue.evaluation.translate import Matched, translate
from segue.metrics.ranking import bounds_of
from segue.numeric.arrays import Int64
from segue.protocols.base import Test, find_protocol
from segue.system.files import shown
from segue.system.progress import Advance, task
from segue.system.tables import text_table, to_pandas

WARM = "warm"
"""Slice of the queries with at least one track."""
POPULARITY_GROUPS = 10
_BLOCK = 2048


class PopularityBias(msgspec.Struct, frozen=True):
    """Shares of recommendations and of truth by popularity of the track.

    Ten groups of tracks have a tenth of all training plays each: the few most played tracks first,
    the long tail last.
    """

    answers: list[float]
    truth: list[float]


class ModelResult(msgspec.Struct, frozen=True):
    """Results of one bundle.

    Attributes:
        bundle: name of the bundle.
        recommender: name of the model.
        recipe: name of the recipe.
        metrics: estimates over all queries.
        slices: estimates over the queries with each label, and over "warm": queries with a track.
        slice_queries: number of queries of each slice.
        served_by: number of queries by model (popularity serves queries that the bundle's model
            knows nothing about).
        matched: test tracks in the catalog.
        popularity: popularity of recommendations and truth; null if the protocol has no lists of
            the full catalog.
        tracks: size of the catalog.
        seconds: time to score the queries.
    """

    bundle: str
    recommender: str
    recipe: str
    metrics: dict[str, Estimate]
    slices: dict[str, dict[str, Estimate]]
    slice_queries: dict[str, int]
    served_by: dict[str, int]
    matched: Matched
    popularity: PopularityBias | None
    tracks: int
    seconds: float


class Evaluation(msgspec.Struct, frozen=True):
    """Output of ``segue evaluate --json``.

    Attributes:
        protocol, seed: protocol and seed of the queries.
        every: whether every eligible playlist or session was a query.
        n: length of the lists.
        queries: number of queries.
        dataset, fingerprint: folder name and content hash of the dataset.
        simulated: whether the dataset or one of the bundles comes from a simulated world.
        notes: notes of the protocol, and on the limits of the results.
        models: results in the order of the bundles.
        paired: comparison of every pair by every metric.
        libraries: versions of libraries.
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

    def to_arrow(self) -> pa.Table:
        """A row for each model and metric.

        Returns:
            columns ``model``, ``metric``, ``mean``, ``ci_low``, ``ci_high`` (95 %), and
            ``p_holm``: p-value of the paired comparison with the first model, after Holm's
            correction over all comparisons; null for the first model and for metrics that are not
            means of queries.
        """
        first = self.models[0].bundle
        p_holm = {(c.b, c.metric): c.p_holm for c in self.paired if c.a == first}
        rows = [
            {
                "model": model.bundle,
                "metric": metric,
                "mean": estimate.mean,
                "ci_low": estimate.ci95 and estimate.ci95[0],
                "ci_high": estimate.ci95 and estimate.ci95[1],
                "p_holm": p_holm.get((model.bundle, metric)),
            }
            for model in self.models
            for metric, estimate in model.metrics.items()
        ]
        return pa.Table.from_pylist(rows, _FRAME)

    def to_frame(self) -> Any:
        """`to_arrow` as a pandas DataFrame.

        Raises:
            ConfigError: pandas is not installed.
        """
        return to_pandas(self.to_arrow())

    def __repr__(self) -> str:
        names = [model.bundle for model in self.models]
        rows = [
            [metric, *(interval(model.metrics[metric]) for model in self.models)]
            for metric in self.models[0].metrics
        ]
        head = f"{self.protocol}: {self.queries:,} queries, 95 % intervals"
        made_up = ["simulated: not from real listening"] if self.simulated else []
        table = text_table(["metric", *names], rows, numeric=names)
        return "\n".join([head, *made_up, *self.notes, table])


_FRAME = pa.schema(
    [("model", pa.string()), ("metric", pa.string())]
    + [(name, pa.float64()) for name in ("mean", "ci_low", "ci_high", "p_holm")]
)


def interval(estimate: Estimate) -> str:
    """``mean ±half of the interval``; ``mean (low to high)`` where the mean is not its middle."""
    if estimate.mean is None:
        return "-"
    if estimate.ci95 is None:
        return f"{estimate.mean:.4f}"
    low, high = estimate.ci95
    if abs(low + high - 2 * estimate.mean) > 1e-4:
        return f"{estimate.mean:.4f} ({low:.4f} to {high:.4f})"
    return f"{estimate.mean:.4f} ±{(high - low) / 2:.4f}"


def evaluate(
    bundles: Sequence[tuple[str, Bundle]],
    dataset: Dataset,
    protocol: str,
    *,
    seed: int = 0,
    all_rows: bool = False,
    n: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """Evaluate bundles on the same queries.

    Tracks match by uri, else by artist and title (`match_tracks`).

    Args:
        bundles: names in the result, and bundles.
        dataset: whole dataset; the protocol splits it.
        protocol: name of one of `PROTOCOLS`.
        seed: seed of the split.
        all_rows: evaluate every eligible playlist or session, instead of a held-out part.
        n: length of the lists; None takes the protocol's default.
        progress: show progress on stderr.

    Raises:
        UsageError: unknown protocol, or a name for two bundles.
        DataError: the dataset has nothing to test on.
        BundleError: a bundle's training had rows of the test.
    """
    names = [name for name, _ in bundles]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"bundles are called {', '.join(names)}" if names else "no bundle to evaluate",
            do="give each bundle once" if names else "name at least one",
        )
    rules = find_protocol(protocol)
    n = rules.n if n is None else n
    if not 1 <= n < 2**31:
        raise UsageError(f"n is {n}", do="ask for at least 1 track, and fewer than 2^31")
    if all_rows:
        test = rules.every_for(dataset, seed, [bundle.catalog for _, bundle in bundles])
    else:
        test = rules.split(dataset, seed).test
    for name, bundle in bundles:
        refuse_training_rows(name, bundle, dataset, rules, seed, test, all_rows=all_rows)
    models, values = [], {}
    with task("evaluating", len(test) * len(bundles), "queries", show=progress) as advance:
        for name, bundle in bundles:
            result, values[name] = run_test(
                name, bundle, dataset, test, rules.metrics(n), n, advance
            )
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
        notes=[
            *test.notes,
            *_dependence(test),
            *_undefined(values),
            *_too_few(models, rules.headline(n)[0], len(test)),
        ],
        models=models,
        paired=compare(values, test.listeners),
        libraries=libraries(),
    )


def _popularity_groups(bundle: Bundle) -> Int64:
    """Group of each track, 0 = most popular; each group has a tenth of the plays. (tracks,)"""
    plays = bundle.catalog.plays.astype(np.int64)
    order = np.argsort(-plays, kind="stable")
    before = np.cumsum(plays[order]) - plays[order]
    groups = np.empty(len(plays), np.int64)
    groups[order] = before * POPULARITY_GROUPS // max(1, int(plays.sum()))
    return np.minimum(groups, POPULARITY_GROUPS - 1)


def _dependence(test: Test) -> list[str]:
    """Note on sessions of the same listeners."""
    count = len(np.unique(test.listeners)) if test.listeners is not None else len(test)
    if count == len(test):
        return []
    if count < MIN_CLUSTERS:
        who = "one listener" if count == 1 else f"{count} listeners"
        return [f"intervals take the sessions of {who} for independent"]
    return [f"intervals and tests take each of the {count:,} listeners for one, not each session"]


def _too_few(models: Sequence[ModelResult], metric: str, queries: int) -> list[str]:
    """Note on queries that cannot tell models apart."""
    needed = [queries_needed(model.metrics[metric], queries) for model in models]
    most = max((count for count in needed if count is not None), default=0)
    if not most:
        return []
    count = max(most, queries + 1)
    digits = len(str(count)) - 1
    about = -(-count // 10**digits) * 10**digits
    which = f"{queries:,} queries are" if queries != 1 else "1 query is"
    return [f"{which} too few to tell models apart by {metric}: about {about:,} would do"]


def _undefined(values: dict[str, Values]) -> list[str]:
    """Notes on undefined metrics, by bundle."""
    notes = []
    for name, metrics in values.items():
        counts: dict[int, list[str]] = {}
        for metric, query_values in metrics.items():
            counts.setdefault(int(np.isnan(query_values).sum()), []).append(metric)
        notes += [
            f"{name}: no {', '.join(metric_names)} of {missing:,} of {len(query_values):,} queries"
            for missing, metric_names in counts.items()
            if missing
        ]
    return notes


def run_test(
    name: str,
    bundle: Bundle,
    dataset: Dataset,
    test: Test,
    metrics: tuple[str, ...],
    n: int,
    advance: Advance,
) -> tuple[ModelResult, Values]:
    """Score one bundle on a test in batches; returns its result and each query's metrics."""
    translated = translate(test, dataset, bundle)
    size = len(bundle.catalog)
    scores = Scores(n, metrics, np.zeros(size, np.int64), Counter())
    score_block = scores.lists
    if test.against is not None:
        score_block = scores.contrasts
    elif test.candidates is not None:
        score_block = scores.samples
    elif test.only is not None:
        score_block = scores.parts
    lists = score_block == scores.lists
    blocks: list[Values] = []
    for start in range(0, len(test), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(test)))
        blocks.append(score_block(bundle, translated, test, rows))
        advance(rows.stop - rows.start)
    values = {metric: np.concatenate([b[metric] for b in blocks]) for metric in metrics}

    def means(rows: npt.NDArray[np.bool_] | slice) -> dict[str, Estimate]:
        clusters = None if test.listeners is None else test.listeners[rows]
        return {
            metric: estimate(v[rows], clusters, bounds_of(metric)) for metric, v in values.items()
        }

    overall = means(slice(None))
    popularity = None
    if lists:
        overall["coverage"] = Estimate(float((scores.answered > 0).mean()), None)
        groups = _popularity_groups(bundle)
        known_truth = translated.truth.values[translated.truth.values < size]
        popularity = PopularityBias(
            _shares(groups, scores.answered), _shares(groups[known_truth], None)
        )
    warm = np.diff(test.queries.offsets) > 0
    members = {label: test.slices == label for label in dict.fromkeys(test.slices.tolist())}
    if warm.any() and not warm.all():
        members[WARM] = warm
    result = ModelResult(
        bundle=name,
        recommender=bundle.manifest.recommender,
        recipe=bundle.manifest.recipe,
        metrics=overall,
        slices={label: means(rows) for label, rows in members.items()},
        slice_queries={label: int(rows.sum()) for label, rows in members.items()},
        served_by=dict(sorted(scores.served.items())),
        matched=translated.matched,
        popularity=popularity,
        tracks=size,
        seconds=round(scores.seconds, 3),
    )
    return result, values


def _shares(groups: Int64, weights: Int64 | None) -> list[float]:
    """Share of each popularity group; zeros if all weights are 0."""
    counts = np.bincount(groups, weights, minlength=POPULARITY_GROUPS)
    shares: list[float] = (counts / max(1, counts.sum())).round(6).tolist()
    return shares
