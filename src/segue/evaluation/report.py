"""Report of an evaluation: one self-contained HTML file for screen and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from segue.evaluation import plots
from segue.evaluation.evaluate import WARM, Evaluation, ModelResult
from segue.evaluation.plots import save_plot as save_plot
from segue.evaluation.significance import Comparison, Estimate
from segue.metrics.ranking import LESS_IS_BETTER
from segue.protocols.base import find_protocol
from segue.system.files import write_file

_CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: #1a1a1a; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
p, li { max-width: 46rem; }
.lead { font-size: 1.1rem; margin-top: 0; }
.simulated { border: 2px solid #b34700; background: #fff4ea; padding: .6rem .9rem;
  font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .7rem .3rem 0; text-align: right; vertical-align: top;
  border-bottom: 1px solid #d9d9d9; }
th:first-child, td:first-child, .words, .words th, .words td { text-align: left; }
thead th { border-bottom: 2px solid #808080; white-space: nowrap; vertical-align: bottom; }
td small { display: block; color: #595959; white-space: nowrap; }
.best { font-weight: 700; } td.best small { font-weight: 400; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .95rem; }
dt { color: #595959; } dd { margin: 0; overflow-wrap: anywhere; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
figure { margin: 1rem 0; } figure svg { width: 100%; height: auto; }
figcaption, .note { color: #404040; font-size: .9rem; max-width: 46rem; }
@page { size: A4; margin: 16mm 14mm; }
@media print {
  body { font-size: 10.5pt; max-width: none; margin: 0; padding: 0; }
  h2 { break-after: avoid; } figure, tr, dl { break-inside: avoid; }
  .wide { overflow: visible; } table { font-size: 8.5pt; }
  th, td { padding-right: .45rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

_GLOSSARY: dict[str, str] = {
    "rprec": "R-precision: of the first |G| answers, the share that is right, where G are the "
    "tracks held out. More is better.",
    "rprec_artist": "R-precision in which a wrong track by a right artist earns a quarter, once "
    "an artist. More is better.",
    "rprec_artist_literal": "The same by the challenge report's formula to the letter: a right "
    "track earns its artist's quarter too. More is better.",
    "ndcg": "Hits in the list, each worth less the further down it stands, over the same sum for "
    "the best possible list. More is better.",
    "recall": "The share of G that is anywhere in the list. More is better.",
    "hr": "Hit rate: the share of queries with at least one hit. More is better.",
    "mrr": "One over the rank of the first hit, 0 without one. More is better.",
    "clicks": "How often a listener who sees ten tracks at a time asks for ten more before the "
    "first hit; 51 where 500 hold none. Less is better.",
    "map": "The mean over the tracks held out of the share of hits down to each. More is better.",
    "cold auc": "The chance that of a track of G and another cold one the first stands higher; "
    "0.5 is what a ranking has that knows nothing. More is better.",
    "auc": "The chance that of a track played later and one skipped later in the session the "
    "played one stands higher; 0.5 is what a ranking blind to skips has. More is better.",
    "rank_played": "The mean place of the tracks played later, as a share of the catalog. Less is "
    "better.",
    "rank_skipped": "The same of the tracks skipped later. More is better.",
    "skip_mrr": "One over the rank of the highest track that is skipped later, 0 where the list "
    "has none. Less is better.",
    "delta_hr": "The share of the tracks played later that the list has, minus the same of those "
    "skipped later; 0 is what a list blind to skips has. More is better.",
    "coverage": "The share of the catalog that was answered to anybody. It is not a mean of "
    "queries, so it has no interval.",
}


_WORDS = ' class="words"'
_WORD_COLUMNS = ("Bundle", "Metric", "Model", "Answered by", "Meaning")


def write_report(evaluation: Evaluation, path: Path | str, *, command: str) -> None:
    """Write the report.

    Args:
        path: path of the HTML file.
        command: command line of the evaluation, for display.

    Raises:
        DataError: the file cannot be written.
    """
    write_file(Path(path), render_report(evaluation, command=command))


def render_report(evaluation: Evaluation, *, command: str) -> str:
    """The report as HTML text."""
    names = ", ".join(model.bundle for model in evaluation.models)
    title = escape(f"Evaluation of {names}")
    body = "\n".join(
        [
            f"<h1>{title}</h1>",
            _lead(evaluation),
            _header(evaluation, command),
            _overall(evaluation),
            _figure(
                "Quality by type of query",
                plots.quality,
                evaluation,
                "Each dot is a mean over the queries of one type; the line through it holds the "
                "true mean in 95 of 100 such samples. Bundles whose lines overlap may still "
                "differ surely: the comparison below pairs them query by query.",
            ),
            _paired(evaluation),
            *(_answers(evaluation) if evaluation.models[0].popularity else []),
            _by_slice(evaluation),
            _served(evaluation),
            _glossary(evaluation),
        ]
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _answers(evaluation: Evaluation) -> list[str]:
    """Figures of lists from the full catalog: popularity and coverage."""
    return [
        _figure(
            "Popularity of the answers",
            plots.popularity,
            evaluation,
            "The catalog is cut into ten groups with a tenth of all plays each, the few most "
            "played tracks first. A bundle above the dashed line of the truth plays these "
            "more than people do.",
        ),
        _figure(
            "Coverage of the catalog",
            plots.coverage,
            evaluation,
            "How much of its catalog a bundle ever plays, over all queries.",
        ),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of HTML cells."""
    columns = "".join(
        f'<th scope="col"{_WORDS if cell in _WORD_COLUMNS else ""}>{cell}</th>' for cell in head
    )
    lines = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{columns}</tr></thead>\n'
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def _cell(html: str) -> str:
    return html if html.startswith("<td") else f"<td>{html}</td>"


def _figure(heading: str, draw: Callable[..., object], data: Evaluation, caption: str) -> str:
    return (
        f'<h2>{heading}</h2>\n<figure role="img" aria-label="{heading}">'
        f"{plots.svg(draw, data)}<figcaption>{caption}</figcaption></figure>"
    )


def _lead(evaluation: Evaluation) -> str:
    protocol = find_protocol(evaluation.protocol)
    text = (
        f'<p class="lead">Protocol {evaluation.protocol}: {protocol.description}. '
        f"{evaluation.queries:,} queries, {protocol.asked(evaluation.n)}.</p>"
    )
    if evaluation.simulated:
        text += (
            '\n<p class="simulated">Simulated: these playlists and listeners come from a made-up '
            "world. The figures say nothing about people.</p>"
        )
    return text


def _header(evaluation: Evaluation, command: str) -> str:
    which = "every row that can be one" if evaluation.every else "a held-out part"
    versions = ", ".join(f"{name} {version}" for name, version in evaluation.libraries.items())
    facts = [
        ("Dataset", f"{escape(evaluation.dataset)} <code>{evaluation.fingerprint[:16]}</code>"),
        ("Queries from", which),
        ("Seed of the split", str(evaluation.seed)),
        *(("Note", escape(note)) for note in evaluation.notes),
        ("Command", f"<code>{escape(command)}</code>"),
        ("Versions", escape(versions)),
    ]
    return "<dl>" + "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in facts) + "</dl>"


def _number(value: float, metric: str) -> str:
    text = f"{value:.2f}" if metric == "clicks" else f"{value:.4f}"
    return text.replace("-", "−")


def _value(value: Estimate, metric: str, *, best: bool = False) -> str:
    if value.mean is None:
        return "–"
    text = _number(value.mean, metric)
    if value.ci95:
        low, high = (_number(end, metric) for end in value.ci95)
        text += f"<small>{low} to {high}</small>"
    return f'<td class="best">{text}</td>' if best else text


def _half_width(value: Estimate, metric: str) -> str:
    if value.mean is None or value.ci95 is None:
        return _value(value, metric)
    half = (value.ci95[1] - value.ci95[0]) / 2
    return f"{_number(value.mean, metric)} ± {_number(half, metric)}"


def _best(models: Sequence[ModelResult], metric: str) -> float | None:
    """The best mean; None for fewer than two means."""
    means = [m.metrics[metric].mean for m in models]
    known = [mean for mean in means if mean is not None]
    if len(known) < 2:
        return None
    return min(known) if metric.partition("@")[0] in LESS_IS_BETTER else max(known)


def _overall(evaluation: Evaluation) -> str:
    models = evaluation.models
    best = {metric: _best(models, metric) for metric in models[0].metrics}
    rows = [
        [
            metric,
            *(
                _value(
                    model.metrics[metric],
                    metric,
                    best=best[metric] is not None and model.metrics[metric].mean == best[metric],
                )
                for model in models
            ),
        ]
        for metric in models[0].metrics
    ]
    return (
        "<h2>Over all queries</h2>\n"
        + _table(["Metric", *(escape(model.bundle) for model in models)], rows)
        + '\n<p class="note">Below each mean is its 95 % interval. The best mean of a row is bold, '
        "which does not yet make it surely the best.</p>"
    )


def _by_slice(evaluation: Evaluation) -> str:
    metrics = find_protocol(evaluation.protocol).headline(evaluation.n)
    head = ["Type", "Bundle", "Queries", *metrics]
    rows = [
        [
            escape(label) if i == 0 else "",
            f"<td{_WORDS}>{escape(model.bundle)}</td>",
            f"{model.slice_queries[label]:,}" if i == 0 else "",
            *(_half_width(model.slices[label][metric], metric) for metric in metrics),
        ]
        for label in evaluation.models[0].slices
        for i, model in enumerate(evaluation.models)
    ]
    note = "± is half of the 95 % interval."
    if WARM in evaluation.models[0].slices:
        note += f" {WARM}: all types that show at least one track."
    table = _table(head, rows)
    return f'<h2>By type, in figures</h2>\n{table}\n<p class="note">{note}</p>'


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "&lt; 0.0001" if p < 0.0001 else f"{p:.4f}"


def _paired(evaluation: Evaluation) -> str:
    if not evaluation.paired:
        return ""

    def row(c: Comparison) -> list[str]:
        sure = c.p_holm is not None and c.p_holm < 0.05
        corrected = f'<td class="best">{_p(c.p_holm)}</td>' if sure else _p(c.p_holm)
        pair = f"{escape(c.a)} − {escape(c.b)}"
        metric = f"<td{_WORDS}>{c.metric}</td>"
        return [pair, metric, _value(c.difference, c.metric), _p(c.p), corrected]

    head = ["Bundles", "Metric", "Mean difference", "p", "p after Holm"]
    return (
        "<h2>Compared in pairs</h2>\n"
        + _table(head, (row(c) for c in evaluation.paired))
        + '\n<p class="note">Both bundles answered the same queries; the paired t-test asks '
        f"whether their differences are around 0. The last column corrects for all "
        f"{len(evaluation.paired)} comparisons of this table; below 0.05 it is bold: "
        "chance alone would seldom make such a difference anywhere in it.</p>"
    )


def _served(evaluation: Evaluation) -> str:
    rows = []
    for model in evaluation.models:
        served = ", ".join(f"{escape(name)} {count:,}" for name, count in model.served_by.items())
        matched = model.matched
        rows.append(
            [
                escape(model.bundle),
                f"<td{_WORDS}>{escape(model.recommender)}</td>",
                f"<td{_WORDS}>{served}</td>",
                f"{model.tracks:,}",
                f"{matched.seeds_missing:,} of {matched.seeds:,}",
                f"{matched.truth_missing:,} of {matched.truth:,}",
                f"{model.seconds:.1f} s",
            ]
        )
    head = ["Bundle", "Model", "Answered by", "Catalog", "Seeds unknown", "Truth unknown", "Took"]
    return (
        "<h2>Who answered, and what was unknown</h2>\n"
        + _table(head, rows)
        + '\n<p class="note">Where a model knows nothing about a query, popularity answers. '
        "Unknown seeds are not shown to the bundle; unknown truth counts as missed.</p>"
    )


def _glossary(evaluation: Evaluation) -> str:
    names = {metric: metric.partition("@")[0] for metric in evaluation.models[0].metrics}
    rows = [
        [metric, _GLOSSARY.get(f"{evaluation.protocol} {name}", _GLOSSARY[name])]
        for metric, name in names.items()
    ]
    return "<h2>What the metrics mean</h2>\n" + _table(["Metric", "Meaning"], rows, "words")
