"""The verb that looks at the installation."""

from __future__ import annotations

import typer

from segue.cli.output import Json, emit, facts, say


def doctor(json: Json = False) -> None:
    """Show what is installed, and check that it works."""
    from segue.doctor import examine

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
            | {f"limit {at}": limit for at, limit in enumerate(found.limits, 1)}
            | {"training and answering": "work" if found.works else f"fail: {found.trouble}"}
        )
    if not found.works:
        say(f"training and answering fail: {found.trouble}")
        raise typer.Exit(1)
