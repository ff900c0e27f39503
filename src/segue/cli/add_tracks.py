"""The verb that adds tracks to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segue.cli.output import Json, emit, facts, say


def add(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="Bundle whose model reads audio.")
    ],
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Sound files, or folders of sound files."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--bundle", metavar="OUT", help="Bundle to write; by default the verb replaces BUNDLE."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Add new sound files to a bundle, ready to be recommended."""
    from segue.operations.add_tracks import add as add_tracks

    added = add_tracks(bundle, sources, out=out, progress=True)
    if json:
        emit(added)
        return
    rows = {"bundle": added.bundle, "files read": added.read, "tracks added": added.added}
    rows |= {f"left out: {reason}": n for reason, n in added.dropped.items()}
    facts(rows | added.notes | {"tracks now": added.tracks})
    if not added.added:
        say("nothing was added")
