"""The verb that gives a bundle new tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segue.cli.output import Json, emit, facts, say


def add(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle whose model hears.")],
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Sound files, and folders of them.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="OUT", help="Bundle to write; else BUNDLE is replaced."),
    ] = None,
    json: Json = False,
) -> None:
    """Place new sound files in a bundle, so that they can be recommended at once."""
    from segue.operations.add_tracks import add as place

    added = place(bundle, sources, out=out, progress=True)
    if json:
        emit(added)
        return
    rows = {"bundle": added.bundle, "files read": added.read, "tracks added": added.added}
    rows |= {f"left out: {reason}": n for reason, n in added.dropped.items()}
    facts(rows | added.notes | {"tracks now": added.tracks})
    if not added.added:
        say("nothing was added")
