"""The verb that trains a recommender."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated, Any

import typer

from segue.cli.output import SIMULATED, Json, Seed, emit, facts, given_settings, say
from segue.system.files import shown


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="A shipped recipe (segue recipe lists them), or a .toml file.",
        ),
    ],
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")],
    bundle: Annotated[Path, typer.Option(metavar="OUT", help="Bundle to write or replace.")],
    holdout: Annotated[
        str | None,
        typer.Option(metavar="PROTOCOL", help="Hold out the test rows of this protocol."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting; segue recipe RECIPE lists them."
        ),
    ] = None,
    seed: Seed = 0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show each epoch.")] = False,
    json: Json = False,
) -> None:
    """Train a recommender from a recipe and write it as a bundle.

    Sequence and audio networks save OUT.checkpoint after every epoch. After an interrupt, the same
    command resumes from this file.
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
        loaded,
        opened,
        seed=seed,
        holdout=holdout,
        progress=True,
        checkpoint=checkpoint,
        verbose=verbose,
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
    training_rows = ", ".join(f"{int(n):,} {name}" for name, n in result.pop("metrics").items())
    facts({"learned from": training_rows} | result)
