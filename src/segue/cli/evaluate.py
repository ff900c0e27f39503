"""The verb that evaluates bundles."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from segue.cli.output import SIMULATED, Json, Seed, emit, say
from segue.errors import UsageError
from segue.system.extras import require
from segue.system.files import shown


def evaluate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="BUNDLE... DIR", help="Bundles, then the dataset. Several bundles are compared."
        ),
    ],
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="Protocol that makes queries and truth.")
    ],
    every: Annotated[
        bool, typer.Option("--all", help="Evaluate every eligible playlist or session.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a report with plots.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write a plot of quality by slice.")
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("-n", min=1, help="Tracks per list; the protocol sets the default."),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Score bundles on test rows that training did not use."""
    from segue.bundle import Bundle
    from segue.cli.evaluation_table import show_evaluation
    from segue.data.dataset import Dataset
    from segue.evaluation.evaluate import evaluate as test

    *folders, dataset = paths
    if not folders:
        raise UsageError("a bundle and a dataset are needed", where="segue evaluate")
    if report or plot:  # before minutes of work
        require("--report" if report else "--plot", "report", where="segue evaluate")
    bundles = [(shown(folder), Bundle.load(folder)) for folder in folders]
    result = test(
        bundles, Dataset.open(dataset), protocol, seed=seed, all_rows=every, n=n, progress=True
    )
    if result.simulated:
        say(SIMULATED)
    if report:
        from segue.evaluation.report import write_report

        asked = ["segue", "evaluate", *map(shown, paths), "--protocol", protocol]
        asked += ["-n", str(result.n), "--seed", str(seed), *(["--all"] if every else [])]
        write_report(result, report, command=shlex.join(asked))
        say(f"report written to {report}")
    if plot:
        from segue.evaluation.plots import save_plot

        save_plot(result, plot)
        say(f"plot written to {plot}")
    if json:
        emit(result)
    else:
        show_evaluation(result)
