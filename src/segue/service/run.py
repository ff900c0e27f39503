"""`segue serve`: the service on uvicorn."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn

from segue.errors import UsageError
from segue.service.access import Tokens, is_loopback
from segue.service.app import create_app
from segue.service.live import Live
from segue.service.service import Service, sounds_of
from segue.service.settings import ServiceSettings

TOKENS = "tokens.json"
LOG = "feedback.sqlite3"
UPLOADS = "uploads"


def folder_of(bundle: Path, data: Path | None) -> Path:
    """Where a service keeps its log, tokens and uploads: beside the bundle, if nothing is said."""
    return data or bundle.absolute().with_name(f"{bundle.absolute().name}.service")


def serve(
    bundle: Path,
    *,
    host: str,
    port: int,
    data: Path | None = None,
    log: str | None = None,
    sounds: Path | None = None,
    report: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Serve a bundle until it is interrupted.

    Args:
        bundle: folder.
        host: address to listen on; beyond this machine everybody needs a token.
        port: 0 takes a free one.
        data: folder of the log, tokens and uploads.
        log: connection string of a PostgreSQL database instead of the SQLite file in `data`.
        sounds: dataset whose sound files may be played.
        report: page of `segue evaluate`, to show.
        settings: of `ServiceSettings`.

    Raises:
        ConfigError: a wrong setting.
        BundleError: not a bundle that answers.
        DataError: `sounds` is no dataset.
        StoreError: the log cannot be used.
        UsageError: the address cannot be listened on.
    """
    made = ServiceSettings.make(settings or {})
    folder = folder_of(bundle, data)
    folder.mkdir(parents=True, exist_ok=True)
    tokens = Tokens(folder / TOKENS)
    beyond = not is_loopback(host)
    live = Live.load(bundle)
    service = Service(
        live, log or str(folder / LOG), folder / UPLOADS, made,
        sounds=sounds_of(sounds) if sounds else {}, report=report,
    )  # fmt: skip
    service.open_log()
    logging.basicConfig(format="segue: %(message)s", level=logging.INFO, stream=sys.stderr)
    config = uvicorn.Config(
        create_app(service, tokens, beyond=beyond),
        host=host, port=port, log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=10,
    )  # fmt: skip
    listening = _bound(host, port)
    there = listening.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    if beyond and not tokens.tokens:
        print(f"segue: no token yet: segue token NAME --data {folder}", file=sys.stderr)
    server = _Server(config, f"segue: {live.version} answers on http://{name}:{there}/")
    asyncio.run(server.serve(sockets=[listening]))


def _bound(host: str, port: int) -> socket.socket:
    """A socket at an address. Raises UsageError."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    # On Windows SO_REUSEADDR would let two services listen on one port.
    alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    bound.setsockopt(socket.SOL_SOCKET, alone or socket.SO_REUSEADDR, 1)
    # Connections have it from here. Without, the end of an answer waits 40 ms for the client to
    # confirm its beginning.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise UsageError(
            f"cannot listen on {host} port {port} ({error.strerror})", do="name another --port"
        ) from error
    return bound


class _Server(uvicorn.Server):
    """One that says so when it has started."""

    def __init__(self, config: uvicorn.Config, said: str) -> None:
        super().__init__(config)
        self._said = said

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._said, file=sys.stderr, flush=True)
