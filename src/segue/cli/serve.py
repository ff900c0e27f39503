"""Verbs of the HTTP service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segue.cli.output import Json, emit, given_settings, overrides, say
from segue.cli.recommend import BundleIn
from segue.errors import UsageError
from segue.system.extras import require

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Folder of log, tokens and uploads; by default next to the bundle."
    ),
]


def serve(
    bundle: BundleIn,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond localhost, clients need a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    data: Data = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File with one more token in plain text (a mounted secret)."
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="PostgreSQL database of the log: postgresql://USER@HOST/DATABASE."
        ),
    ] = None,
    sounds: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Dataset with sound files for the page to play."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Report of segue evaluate for the page to show."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a limit of the service."),
    ] = None,
) -> None:
    """Serve a bundle over HTTP, with a web page.

    Feedback changes recommendations at once. SIGHUP reloads the bundle without losing a request.
    """
    require("the service", "service", where="segue serve")
    from segue.service.run import serve as run

    with given_settings():
        limits = overrides(settings)
    run(
        bundle,
        host=host,
        port=port,
        data=data,
        token_file=token_file,
        log=log,
        sounds=sounds,
        report=report,
        settings=limits,
    )


def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Owner of the token.")],
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="BUNDLE", help="Served bundle; its data folder is next to it."),
    ] = None,
    data: Data = None,
    remove: Annotated[bool, typer.Option("--remove", help="Revoke the token of NAME.")] = False,
    json: Json = False,
) -> None:
    """Create or revoke a token of the service.

    The verb prints the token only once. The service accepts it from its next start on.
    """
    require("the service", "service", where="segue token")
    from segue.service.access.tokens import Tokens
    from segue.service.run import TOKENS, folder_of

    if bundle is None and data is None:
        raise UsageError("whose service?", do="name --bundle or --data")
    folder = folder_of(bundle or Path(), data)
    tokens = Tokens(folder / TOKENS)
    if remove:
        tokens.remove(name)
        say(f"{name} has no token any more")
        return
    made = tokens.new(name)
    if json:
        emit({"name": name, "token": made})
        return
    print(made)
