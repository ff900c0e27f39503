"""Verbs that train recommenders and find out how good they are."""

from __future__ import annotations

import glob
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from segue.cli.output import SIMULATED, Json, Seed, emit, facts, given_settings, say
from segue.errors import UsageError
from segue.system.extras import require
from segue.system.files import shown


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe that ships (segue recipe lists them), or your own .toml file.",
        ),
    ],
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")],
    bundle: Annotated[Path, typer.Option(metavar="OUT", help="Bundle to write or replace.")],
    holdout: Annotated[
        str | None,
        typer.Option(metavar="PROTOCOL", help="Leave out what this protocol tests on."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting; segue recipe RECIPE names them."
        ),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train a recommender by a recipe.

    Sequence models leave what they have learned in OUT.checkpoint after every epoch: the same
    command goes on from there after it was interrupted.
    """
    from segue.bundle import Bundle
    from segue.data.dataset import Dataset
    from segue.operations.train import train as fit
    from segue.recipe import load_recipe

    loaded = load_recipe(recipe)
    with given_settings():
        loaded = load_recipe(recipe, settings or ())
    opened = Dataset.open(dataset)
    Bundle.refuse_place(bundle)
    checkpoint = bundle.with_name(f"{bundle.name}.checkpoint")
    trained, cost = fit(
        loaded, opened, seed=seed, holdout=holdout, progress=True, checkpoint=checkpoint
    )
    trained.save(bundle)
    for left in (checkpoint, *bundle.parent.glob(f"{glob.escape(checkpoint.name)}.*")):
        if left.is_file():
            left.unlink()
    if opened.info.simulated:
        say(SIMULATED)
    result: dict[str, Any] = {
        "bundle": shown(bundle),
        "recipe": loaded.name,
        "seconds": cost.seconds,
        "peak_rss_mb": cost.peak_rss_mb,
        "metrics": cost.metrics,
        "seed": seed,
        "holdout": holdout,
        "simulated": opened.info.simulated,
    }
    if json:
        emit(result)
        return
    learned = ", ".join(f"{int(n):,} {name}" for name, n in result.pop("metrics").items())
    facts({"learned from": learned} | result)


def evaluate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="BUNDLE... DIR", help="Bundles, then the dataset; several are compared."
        ),
    ],
    protocol: Annotated[str, typer.Option(metavar="NAME", help="How to make queries and truth.")],
    every: Annotated[
        bool, typer.Option("--all", help="Evaluate every eligible playlist or session.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a report with plots.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write the plot of quality by slice.")
    ] = None,
    n: Annotated[
        int | None,
        typer.Option("-n", min=1, help="Length of the lists; else as the protocol has it."),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Test bundles on rows that they have not learned from."""
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
