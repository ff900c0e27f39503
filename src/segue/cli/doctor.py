"""The verb that checks the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from segue.cli.output import Json, emit, facts, say
from segue.system.extras import install

if TYPE_CHECKING:
    from segue.operations.doctor import Examination, ExtraState


def doctor(
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Compile all kernels now, not at their first use."),
    ] = False,
    json: Json = False,
) -> None:
    """List the installed parts and check that they work."""
    from segue.operations.doctor import compile_kernels, examine

    if compile:
        compile_kernels(say)
    report = examine()
    if json:
        emit(report)
    else:
        facts(
            report.versions
            | {
                "platform": report.platform,
                "cores": report.cores,
                "threads": report.threads,
                "BLAS": report.blas,
            }
            | {
                name.replace("_", " "): ", ".join(getattr(report, name))
                for name in ("recommenders", "recipes", "protocols", "formats", "playlist_formats")
            }
            | _recipe_lines(report)
            | {f"extra {name}": _extra_line(extra) for name, extra in report.extras.items()}
            | {f"limit {at}": limit for at, limit in enumerate(report.limits, 1)}
            | {"training and answering": "work" if report.works else f"fail: {report.trouble}"}
        )
    if not report.works:
        say(f"training and answering fail: {report.trouble}")
        raise typer.Exit(1)


def _recipe_lines(report: Examination) -> dict[str, str]:
    """Recipes that can be trained here; for each other set of them, the command that it needs."""
    recipes: dict[tuple[str, ...], list[str]] = {}
    for name, extras in report.recipe_extras.items():
        missing = tuple(extra for extra in extras if not report.extras[extra].installed)
        recipes.setdefault(missing, []).append(name)
    lines = {"recipes to train": ", ".join(recipes.pop((), []))}
    for missing, names in sorted(recipes.items()):
        lines[f"needs {' + '.join(missing)}"] = f"{', '.join(names)}: {install(*missing)}"
    return lines


def _extra_line(extra: ExtraState) -> str:
    """One line about an extra: its versions, or its purpose and the command that installs it."""
    if extra.installed:
        return ", ".join(f"{name} {version}" for name, version in extra.versions.items())
    return f"lacks {', '.join(extra.missing)}, for {extra.purpose}: {extra.install}"
