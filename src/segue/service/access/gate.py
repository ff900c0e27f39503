"""Access control: tokens, local clients, rate limits.

A client without a token must be on this machine, and the service must listen to this machine only.
A request with headers of a proxy counts as remote.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segue.service.access.rate_limit import Buckets
from segue.service.access.tokens import Tokens
from segue.service.api.problems import HTTPProblem, response
from segue.service.serving.limits import ServiceSettings

_LOG = logging.getLogger("segue.service")
OPEN = "/health/live"
"""The one path that needs no token."""
UPLOADS = ("/v1/tracks", "/upload")
"""Paths of uploads."""
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
]


def is_loopback(host: str) -> bool:
    """Whether an address is a loopback address."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback


class Gate:
    """Middleware that admits requests and adds security headers to responses.

    Args:
        app: app behind the gate.
        tokens: valid tokens.
        beyond: whether other machines can reach the service.
        settings: limits.
    """

    def __init__(
        self, app: ASGIApp, *, tokens: Tokens, beyond: bool, settings: ServiceSettings
    ) -> None:
        self.app, self.tokens, self.beyond, self.settings = app, tokens, beyond, settings
        self.buckets = Buckets(settings.rate, settings.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message.get("headers", [])}
                new = [pair for pair in _HEADERS if pair[0] not in present]
                message["headers"] = [*message.get("headers", []), *new]
                started.append(True)
            await send(message)

        started: list[bool] = []
        try:
            self._admit(scope)
            await self.app(scope, _counted(receive, self._limit(scope)), guarded)
        except ClientDisconnect:  # in the middle of its body
            return
        except Exception as error:
            if started:
                raise
            if not isinstance(error, HTTPProblem):
                _LOG.exception("%s %s", scope["method"], scope["path"])
                error = HTTPProblem(500, "unexpected; the log of the service says more")
            await response(error)(scope, receive, guarded)

    def _admit(self, scope: Scope) -> None:
        """Raises HTTPProblem for a request that has no access."""
        headers = Headers(scope=scope)
        scope["token"] = None
        if scope["path"] == OPEN:
            return
        host = (scope.get("client") or ("", 0))[0]
        local = (
            not self.beyond
            and is_loopback(host)
            and not any(name in headers for name in _FORWARDED)
        )
        given = _token_of(headers)
        if given is not None or not local:
            owner = self.tokens.owner(given) if given is not None else None
            if owner is None:
                raise HTTPProblem(
                    401,
                    "a token is needed; segue token makes one",
                    headers={"WWW-Authenticate": 'Bearer realm="segue", Basic realm="segue"'},
                )
            scope["token"] = owner
            wait = self.buckets.wait(owner)
            if wait:
                raise HTTPProblem(
                    429,
                    f"more than {self.settings.rate:g} requests a second",
                    headers={"Retry-After": str(int(wait) + 1)},
                )
        elif not is_loopback(_name_of(headers.get("host", ""))):
            # DNS rebinding: a foreign site may point its name to this machine.
            raise HTTPProblem(421, "without a token the service is called localhost")
        if scope["method"] not in _SAFE and _foreign(headers):
            raise HTTPProblem(403, "sent by the page of another site")

    def _limit(self, scope: Scope) -> int:
        """Maximum size of the body in bytes.

        Raises:
            HTTPProblem: the header announces more.
        """
        upload = scope["path"] in UPLOADS
        limit = self.settings.upload_mb << 20 if upload else self.settings.body_kb << 10
        content_length = Headers(scope=scope).get("content-length", "0")
        if content_length.isdecimal() and int(content_length) > limit:
            raise _too_large(limit)
        return limit


def _counted(receive: Receive, limit: int) -> Receive:
    """Receive the body, up to a limit."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> HTTPProblem:
    return HTTPProblem(413, f"more than {limit:,} bytes")


def _token_of(headers: Headers) -> str | None:
    """Token of a request: as Bearer, or as the password of Basic."""
    kind, _, text = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return text.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(text, validate=True).decode().partition(":")[2]
        except ValueError:  # no base64, or no UTF-8
            return ""
    return None


def _name_of(host: str) -> str:
    """Name in a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _foreign(headers: Headers) -> bool:
    """Whether the page of another site sent this."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != headers.get("host", "")
    except ValueError:
        return True
