"""The verb that looks at the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from segue.cli.output import Json, emit, facts, say

if TYPE_CHECKING:
    from segue.operations.doctor import ExtraState


def doctor(json: Json = False) -> None:
    """Show what is installed, and check that it works."""
    from segue.operations.doctor import examine

    found = examine()
    if json:
        emit(found)
    else:
        facts(
            found.versions
            | {
                "platform": found.platform,
                "cores": found.cores,
                "threads": found.threads,
                "BLAS": found.blas,
            }
            | {
                name.replace("_", " "): ", ".join(getattr(found, name))
                for name in ("recommenders", "recipes", "protocols", "formats", "playlist_formats")
            }
            | {f"extra {name}": _told(extra) for name, extra in found.extras.items()}
            | {f"limit {at}": limit for at, limit in enumerate(found.limits, 1)}
            | {"training and answering": "work" if found.works else f"fail: {found.trouble}"}
        )
    if not found.works:
        say(f"training and answering fail: {found.trouble}")
        raise typer.Exit(1)


def _told(extra: ExtraState) -> str:
    """An extra in one line: what is there, or what it would be for and how to get it."""
    if extra.installed:
        return ", ".join(f"{name} {version}" for name, version in extra.versions.items())
    return f"lacks {', '.join(extra.missing)}, for {extra.purpose}: {extra.install}"
