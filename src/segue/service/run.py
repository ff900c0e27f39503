"""`segue serve`: the service on uvicorn."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from segue.errors import UsageError
from segue.service.access.gate import is_loopback
from segue.service.access.tokens import Tokens
from segue.service.app import create_app
from segue.service.serving.limits import ServiceSettings
from segue.service.serving.live_bundle import LiveBundle
from segue.service.serving.service import Service, sounds_of

TOKENS = "tokens.json"
LOG = "feedback.sqlite3"
UPLOADS = "uploads"


def folder_of(bundle: Path, data: Path | None) -> Path:
    """Folder of log, tokens and uploads; by default next to the bundle."""
    return data or bundle.absolute().with_name(f"{bundle.absolute().name}.service")


def serve(
    bundle: Path,
    *,
    host: str,
    port: int,
    data: Path | None = None,
    token_file: Path | None = None,
    log: str | None = None,
    sounds: Path | None = None,
    report: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Serve a bundle until an interrupt.

    Args:
        bundle: folder of the bundle.
        host: address to listen on; beyond localhost, every client needs a token.
        port: 0 takes a free one.
        data: folder of the log, tokens and uploads.
        token_file: file with one more token in plain text.
        log: connection string of a PostgreSQL database instead of the SQLite file in `data`.
        sounds: dataset with sound files for the page to play.
        report: report of `segue evaluate` for the page.
        settings: settings of `ServiceSettings`.

    Raises:
        ConfigError: a wrong setting.
        BundleError: no bundle, or one that answers wrongly.
        DataError: `sounds` is no dataset, or `token_file` holds no token.
        StoreError: the log cannot be used.
        UsageError: the address cannot be listened on.
    """
    early = _remember_reloads()
    made = ServiceSettings.make(settings or {})
    folder = folder_of(bundle, data)
    folder.mkdir(parents=True, exist_ok=True)
    tokens = Tokens(folder / TOKENS, token_file)
    beyond = not is_loopback(host)
    live = LiveBundle.load(bundle)
    service = Service(
        live,
        log or str(folder / LOG),
        folder / UPLOADS,
        made,
        sounds=sounds_of(sounds) if sounds else {},
        report=report,
    )
    service.log.open()
    logging.basicConfig(format="segue: %(message)s", level=logging.INFO, stream=sys.stderr)
    config = uvicorn.Config(
        create_app(service, tokens, beyond=beyond),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    listening = _bound(host, port)
    bound_port = listening.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    if beyond and not tokens:
        print(f"segue: no token yet: segue token NAME --data {folder}", file=sys.stderr)
    server = _Server(config, f"segue: {live.version} answers on http://{name}:{bound_port}/", early)
    asyncio.run(server.serve(sockets=[listening]))


def _bound(host: str, port: int) -> socket.socket:
    """A socket at an address. Raises UsageError."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    # On Windows SO_REUSEADDR would let two services listen on one port.
    alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    bound.setsockopt(socket.SOL_SOCKET, alone or socket.SO_REUSEADDR, 1)
    # Connections inherit this. Without it, the end of a reply waits 40 ms for the client's ACK.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise UsageError(
            f"cannot listen on {host} port {port} ({error.strerror})", do="name another --port"
        ) from error
    return bound


def _remember_reloads() -> list[int]:
    """Collect SIGHUP until the service can reload: by default it would end the process."""
    early: list[int] = []
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, lambda number, _: early.append(number))
    return early


def _notify(state: str) -> None:
    """Notify the service manager, if any (sd_notify of systemd)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    if address.startswith("@"):  # a name in Linux's abstract namespace
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(state.encode(), address)


class _Server(uvicorn.Server):
    """Reports its start on stderr, and start and stop to the service manager."""

    def __init__(self, config: uvicorn.Config, message: str, early: list[int]) -> None:
        super().__init__(config)
        self._message, self._early = message, early

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._message, file=sys.stderr, flush=True)
            _notify("READY=1")
            for number in self._early[:1]:  # the app handles it by now
                signal.raise_signal(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _notify("STOPPING=1")
        await super().shutdown(sockets)
