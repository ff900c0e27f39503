"""Tables of evaluation results."""

from __future__ import annotations

from segue.cli.output import table
from segue.evaluation.evaluate import Evaluation, interval
from segue.protocols.base import find_protocol


def _show_unmatched(result: Evaluation) -> None:
    """Count the test tracks that each catalog lacks, if any."""
    matched = [model.matched for model in result.models]
    if not any(m.seeds_missing or m.truth_missing for m in matched):
        return
    names = [model.bundle for model in result.models]
    print()
    table(
        ("not in the catalog", *names),
        [
            ("seeds", *(f"{m.seeds_missing:,} of {m.seeds:,}" for m in matched)),
            ("truth", *(f"{m.truth_missing:,} of {m.truth:,}" for m in matched)),
        ],
        numeric=names,
    )


def show_evaluation(result: Evaluation) -> None:
    """Print all metrics, unmatched tracks, one metric by slice, and the paired comparisons."""
    protocol = find_protocol(result.protocol)
    names = [model.bundle for model in result.models]
    print(
        f"{result.protocol}: {result.queries:,} queries, {protocol.asked(result.n)}, 95 % intervals"
    )
    for note in result.notes:
        print(note)
    print()
    metrics = list(result.models[0].metrics)
    table(
        ("metric", *names),
        [(m, *(interval(model.metrics[m]) for model in result.models)) for m in metrics],
        numeric=names,
    )
    _show_unmatched(result)
    headline = protocol.headline(result.n)
    by_slice = headline[1]
    print()
    table(
        (f"{by_slice} by slice", "queries", *names),
        [
            (label, f"{queries:,}", *(interval(m.slices[label][by_slice]) for m in result.models))
            for label, queries in result.models[0].slice_queries.items()
        ],
        numeric=("queries", *names),
    )
    if result.paired:
        print()
        table(
            ("paired", "metric", "difference", "p (Holm)"),
            [
                (
                    f"{pair.a} - {pair.b}",
                    pair.metric,
                    interval(pair.difference),
                    "-" if pair.p_holm is None else f"{pair.p_holm:.2g}",
                )
                for pair in result.paired
                if pair.metric in headline
            ],
            numeric=("difference", "p (Holm)"),
        )
