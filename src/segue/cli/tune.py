"""The verb that tunes a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.output import Json, Seed, emit, given_settings, number, say, table
from segue.errors import DataError, UsageError

if TYPE_CHECKING:
    from segue.operations.tune import Tuning

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def tune(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="Recipe to start from: a name, or a .toml file."),
    ],
    dataset: Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE.toml", help="Recipe file to write or replace.")
    ],
    protocol: Annotated[
        str,
        typer.Option(metavar="NAME", help="Protocol that splits off the validation and scores it."),
    ],
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Metric to optimize; by default the protocol's main metric."
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option(metavar="M", help="Time limit of the search in minutes.")
    ] = 20.0,
    trials: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Limit on trials, those of earlier runs included."),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search", metavar="KEY", help="Search this setting only; repeat it for more."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting of the recipe before the search."
        ),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Search for the settings that score best on validation.

    The search never reads the protocol's test rows: train the written recipe with --holdout and
    the same seed, then evaluate it. FILE.toml.study stores every trial: the same command resumes
    from it, after an interrupt, too.
    """
    from segue.data.dataset import Dataset
    from segue.operations.tune import tune as search_settings
    from segue.recipe import load_recipe, toml_of
    from segue.system.files import write_file

    if out.suffix != ".toml":
        raise UsageError(f"{out.name} is no .toml file", where="--out")
    if not out.parent.is_dir():
        raise DataError("is not a folder", where=out.parent, do="make it first")
    load_recipe(recipe)
    with given_settings():
        start = load_recipe(recipe, settings or ())
    tuning = search_settings(
        start,
        Dataset.open(dataset),
        protocol=protocol,
        metric=metric,
        minutes=minutes,
        trials=trials,
        names=search or (),
        study=out.with_name(f"{out.name}.study"),
        seed=seed,
        progress=True,
    )
    write_file(out, toml_of(tuning.recipe))
    if json:
        emit(tuning)
    else:
        _show(tuning)
    say(f"recipe written to {out}")
    if tuning.interrupted:
        say("interrupted: the same command goes on")
        raise typer.Exit(INTERRUPTED)


def _show(tuning: Tuning) -> None:
    """Print the first and the best settings with their scores."""
    best = max(
        (trial for trial in tuning.trials if trial.score == tuning.best), key=lambda t: -t.number
    )
    start = next(trial for trial in tuning.trials if trial.state == "complete")
    table(
        ("setting", "start", "best"),
        [
            (name, number(start.settings[name]), number(value))
            for name, value in best.settings.items()
        ]
        + [(tuning.metric, f"{tuning.start:.4f}", f"{tuning.best:.4f}")],
        numeric=("start", "best"),
    )
    states = [trial.state for trial in tuning.trials]
    print(
        f"{len(states):,} trials: {states.count('complete'):,} complete, "
        f"{states.count('pruned'):,} pruned, {states.count('failed'):,} failed; "
        f"{tuning.queries:,} queries of validation"
    )
    if tuning.difference.ci95 is not None and tuning.best != tuning.start:
        low, high = tuning.difference.ci95
        print(
            f"best - start: {tuning.difference.mean:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} "
            "(slightly optimistic: the best of many)"
        )
