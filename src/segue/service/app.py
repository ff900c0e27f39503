"""The app: routes, gate, errors, metrics."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segue import __version__
from segue.service.access.gate import Gate
from segue.service.access.tokens import Tokens
from segue.service.api import problems
from segue.service.api import routes as api
from segue.service.api.openapi import describe
from segue.service.api.wire import BundleRequest
from segue.service.serving.metrics import Metrics
from segue.service.serving.service import Service
from segue.service.web import routes as pages

_LOG = logging.getLogger("segue.service")


def create_app(service: Service, tokens: Tokens, *, beyond: bool = False) -> FastAPI:
    """The app of a service.

    Args:
        service: service before its start; the app starts and closes it.
        tokens: tokens of the clients.
        beyond: whether other machines can reach it: then every client needs a token.
    """

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        with suppress(ValueError, RuntimeError):  # only the main thread takes signals
            if not _on_hangup(reload):
                _LOG.info("no SIGHUP on this system: POST /v1/admin/bundle loads a bundle again")
        yield
        await service.close()

    swaps: set[asyncio.Task[object]] = set()

    def reload() -> None:
        """Reload the bundle's folder; errors go to the log."""
        task = asyncio.ensure_future(_quietly(service))
        swaps.add(task)
        task.add_done_callback(swaps.discard)

    app = FastAPI(
        title="Segue",
        version=__version__,
        description="Music recommendation that learns from what people play and skip.",
        lifespan=running,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(api.v1)
    app.include_router(api.health)
    pages.install(app)
    problems.install(app)
    app.openapi = lambda: describe(app, beyond)  # type: ignore[method-assign]
    app.add_middleware(Gate, tokens=tokens, beyond=beyond, settings=service.settings)
    app.add_middleware(Measured, metrics=service.metrics)  # outermost: refusals count, too
    return app


def _on_hangup(call: Callable[[], None]) -> bool:
    """Call a function on SIGHUP; False if the system has no SIGHUP."""
    if not hasattr(signal, "SIGHUP"):
        return False
    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, call)
    except NotImplementedError:  # is a RuntimeError
        return False
    return True


async def _quietly(service: Service) -> None:
    with suppress(problems.HTTPProblem):
        await service.bundles.swap(BundleRequest())


class Measured:
    """Middleware that records the time of every request, by route."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def recorded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, recorded)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            seconds = self.metrics.seconds.labels(route, _method(scope["method"]), status)
            seconds.observe(time.perf_counter() - start)


def _method(name: str) -> str:
    """A known method, or "other": clients could invent any number."""
    return name if name in problems.METHODS else "other"
