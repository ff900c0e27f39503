"""The verb that lists recipes and their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.output import Json, emit, say, table

if TYPE_CHECKING:
    from segue.recipe import SettingInfo


def recipe(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A shipped recipe, or a .toml file; by default, list all recipes.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the shipped recipes, or every setting of one recipe.

    To change a setting, use segue train --set KEY=VALUE, or write a recipe file.
    """
    from segue.recipe import load_recipe, settings_of, shipped

    if name is None:
        recipes = [load_recipe(known) for known in shipped()]
        if json:
            emit(
                [
                    {"name": r.name, "recommender": r.recommender, "description": r.description}
                    for r in recipes
                ]
            )
            return
        table(
            ("recipe", "recommender", "what it is"),
            [(known.name, known.recommender, known.description) for known in recipes],
        )
        return
    loaded = load_recipe(name)
    settings = settings_of(loaded)
    if json:
        emit(
            {
                "name": loaded.name,
                "recommender": loaded.recommender,
                "description": loaded.description,
                "settings": settings,
            }
        )
        return
    print(f"{loaded.name}: {loaded.description} (recommender {loaded.recommender})")
    table(
        ("setting", "value", "default", "may be", "meaning"),
        [_row(setting) for setting in settings],
    )
    say(f"change one with segue train {loaded.name} DIR --bundle OUT --set KEY=VALUE")


def _row(setting: SettingInfo) -> tuple[str, ...]:
    """A line of the table; the default appears only where the recipe's value differs."""
    default = "" if setting.value == setting.default else setting.shown(setting.default)
    value = setting.shown(setting.value)
    return setting.name, value, default, setting.values, setting.description
