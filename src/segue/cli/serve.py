"""Verbs that serve a bundle."""

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
    typer.Option(metavar="FOLDER", help="Log, tokens and uploads; beside the bundle by default."),
]


def serve(
    bundle: BundleIn,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine tokens are needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    data: Data = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="One more token, in plain text: a mounted secret."),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="PostgreSQL for the log: postgresql://USER@HOST/DATABASE."
        ),
    ] = None,
    sounds: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Dataset whose sound files may be played.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Report of segue evaluate, to show.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a limit of the service."),
    ] = None,
) -> None:
    """Serve a bundle over HTTP, with a page; feedback changes answers at once.

    SIGHUP loads the bundle's folder again without losing a request.
    """
    require("the service", "service", where="segue serve")
    from segue.service.run import serve as run

    with given_settings():
        wanted = overrides(settings)
    run(
        bundle,
        host=host,
        port=port,
        data=data,
        token_file=token_file,
        log=log,
        sounds=sounds,
        report=report,
        settings=wanted,
    )


def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is.")],
    bundle: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="That is served from beside its data.")
    ] = None,
    data: Data = None,
    remove: Annotated[bool, typer.Option("--remove", help="Make it worthless.")] = False,
    json: Json = False,
) -> None:
    """Make a token for the service, shown this once; valid from the next start on."""
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
