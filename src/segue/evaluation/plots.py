"""The plots of a report, as SVG text or a PNG file. The same evaluation gives the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segue.evaluation.evaluate import POPULARITY_GROUPS, WARM, Evaluation, ModelResult
from segue.evaluation.significance import Estimate
from segue.protocols.base import find_protocol
from segue.system.extras import needs
from segue.system.files import write_file

try:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
except ImportError as error:
    raise needs("a report or a plot", "report", cause=error) from error

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette without its yellow, which white paper swallows."""
_MARKERS = "osD^vPX"
_TEXT = "#1a1a1a"
_GRID = "#d9d9d9"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": _TEXT,
    "text.parse_math": False,
    "axes.edgecolor": "#808080",
    "axes.labelcolor": _TEXT,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "grid.color": _GRID,
    "svg.fonttype": "none",
}
_TITLES = {"rprec": "R-precision"}
_QUIET = {"Date": None, "Creator": None, "Format": None, "Type": None}


def _look(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)], "marker": _MARKERS[i % len(_MARKERS)]}


def _name(model: ModelResult) -> str:
    """A label; matplotlib hides those with a leading underscore."""
    name = model.bundle if len(model.bundle) <= 40 else model.bundle[:39] + "…"
    return f" {name}" if name.startswith("_") else name


def _dots(axes: Any, models: Sequence[ModelResult], labels: Sequence[str], metric: str) -> None:
    """A row for each slice, in it a dot with its interval for each bundle."""
    step = min(0.26, 0.75 / len(models))
    for i, model in enumerate(models):
        rows, means, errors = [], [], []
        for row, label in enumerate(labels):
            value = model.slices.get(label, {}).get(metric, Estimate(None, None))
            if value.mean is None:
                continue
            low, high = value.ci95 or (value.mean, value.mean)
            rows.append(row + step * (i - (len(models) - 1) / 2))
            means.append(value.mean)
            errors.append((value.mean - low, high - value.mean))
        axes.errorbar(
            means,
            rows,
            xerr=list(zip(*errors, strict=True)) or None,
            linestyle="none",
            markersize=5.5,
            elinewidth=1.4,
            label=_name(model),
            **_look(i),
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(left=-0.02 * axes.get_xlim()[1])  # room for a dot at 0
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    for row in range(1, len(labels)):
        axes.axhline(row - 0.5, color=_GRID, linewidth=0.6)


def quality(evaluation: Evaluation) -> Figure:
    """The protocol's two first metrics by slice, with intervals."""
    models = evaluation.models
    protocol = find_protocol(evaluation.protocol)
    labels = [label for label in models[0].slices if label != WARM]
    height = 1.3 + len(labels) * max(0.34, 0.13 * len(models) + 0.08)
    figure = Figure(figsize=(9, height), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, metric in zip((left, right), protocol.headline(evaluation.n), strict=False):
        _dots(axes, models, labels, metric)
        axes.set_title(_TITLES.get(metric, metric.upper()))
        axes.set_xlabel(f"mean over {protocol.unit}, with its 95 % interval", fontsize=9)
    handles, names = left.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside upper left", ncols=min(4, len(models)), frameon=False
    )
    return figure


def popularity(evaluation: Evaluation) -> Figure:
    """Share of answers in each popularity group, against the truth's."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    groups = range(1, POPULARITY_GROUPS + 1)
    drawn: list[list[float]] = []
    shares = [(model, model.popularity) for model in evaluation.models if model.popularity]
    for model, share in shares:
        truth = share.truth
        if truth not in drawn:
            # One line where the catalogs agree, as those of one training set do.
            label = "truth" if not drawn else f"truth, catalog of {_name(model)}"
            axes.plot(groups, _percent(truth), "--", color="#555555", linewidth=1.6, label=label)
            drawn.append(truth)
    for i, (model, share) in enumerate(shares):
        answers = _percent(share.answers)
        axes.plot(groups, answers, label=_name(model), markersize=5.5, linewidth=1.6, **_look(i))
    names = [str(group) for group in groups]
    names[0], names[-1] = "1\nmost played", f"{names[-1]}\nlong tail"
    axes.set_xticks(list(groups), names)
    axes.set_xlabel("tracks by popularity, each group with a tenth of all plays", fontsize=9)
    axes.set_ylabel("% of answers")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.legend(frameon=False)
    return figure


def coverage(evaluation: Evaluation) -> Figure:
    """Share of its catalog that each bundle recommends at least once."""
    models = evaluation.models
    figure = Figure(figsize=(9, 0.9 + 0.42 * len(models)), layout="constrained")
    axes = figure.subplots()
    values = _percent([model.metrics["coverage"].mean or 0 for model in models])
    colours = [_look(i)["color"] for i in range(len(models))]
    bars = axes.barh(range(len(models)), values, color=colours, height=0.6)
    axes.bar_label(bars, [f"{value:.3g} %" for value in values], padding=4)
    axes.set_yticks(range(len(models)), [_name(model) for model in models])
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_xlim(0, max([*values, 1e-6]) * 1.12)
    axes.set_xlabel("% of the catalog that was answered at least once", fontsize=9)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    return figure


def _percent(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]


def svg(draw: Any, evaluation: Evaluation) -> str:
    """An <svg> element of one of the plots above, with text as text."""
    # The salt keeps the ids of several plots in one page apart.
    with mpl.rc_context(STYLE | {"svg.hashsalt": draw.__name__}):
        figure = draw(evaluation)
        buffer = io.BytesIO()
        FigureCanvasSVG(figure)
        figure.savefig(buffer, format="svg", metadata=_QUIET)
    text = buffer.getvalue().decode()
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])
    return re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)


def save_plot(evaluation: Evaluation, path: Path | str) -> None:
    """Write the plot of quality by slice as PNG.

    Raises:
        DataError: the file cannot be written.
    """
    with mpl.rc_context(STYLE):
        figure = quality(evaluation)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_file(Path(path), buffer.getvalue())
