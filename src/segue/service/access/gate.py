"""Who may ask, from where, and how often.

Without a token only this machine is answered, and only where the service listens to this machine
alone. A request that came through a proxy, by its headers, came from beyond.
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
"""The one path that everybody is answered."""
UPLOADS = ("/v1/tracks", "/upload")
"""Paths that take sound files."""
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
    """Whether an address is this machine's own."""
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
    """Every request goes through here, and every response gets the headers of safety.

    Args:
        app: behind it.
        tokens: that are valid.
        beyond: whether the service can be reached from other machines.
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
                there = {name.lower() for name, _ in message.get("headers", [])}
                new = [pair for pair in _HEADERS if pair[0] not in there]
                message["headers"] = [*message.get("headers", []), *new]
                begun.append(True)
            await send(message)

        begun: list[bool] = []
        try:
            self._admit(scope)
            await self.app(scope, _counted(receive, self._limit(scope)), guarded)
        except ClientDisconnect:  # in the middle of its body: nobody is left to be answered
            return
        except Exception as error:
            if begun:
                raise
            if not isinstance(error, HTTPProblem):
                _LOG.exception("%s %s", scope["method"], scope["path"])
                error = HTTPProblem(500, "unexpected; the log of the service says more")
            await response(error)(scope, receive, guarded)

    def _admit(self, scope: Scope) -> None:
        """Raises HTTPProblem where a request may not be answered."""
        headers = Headers(scope=scope)
        scope["token"] = None
        if scope["path"] == OPEN:
            return
        host = (scope.get("client") or ("", 0))[0]
        near = (
            not self.beyond
            and is_loopback(host)
            and not any(name in headers for name in _FORWARDED)
        )
        given = _token_of(headers)
        if given is not None or not near:
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
            # Another site may have its name point here, to read what only this machine may.
            raise HTTPProblem(421, "without a token the service is called localhost")
        if scope["method"] not in _SAFE and _foreign(headers):
            raise HTTPProblem(403, "sent by the page of another site")

    def _limit(self, scope: Scope) -> int:
        """Bytes that the body may have.

        Raises:
            HTTPProblem: it says that it has more.
        """
        upload = scope["path"] in UPLOADS
        limit = self.settings.upload_mb << 20 if upload else self.settings.body_kb << 10
        told = Headers(scope=scope).get("content-length", "0")
        if told.isdecimal() and int(told) > limit:
            raise _too_large(limit)
        return limit


def _counted(receive: Receive, limit: int) -> Receive:
    """The body as it comes, up to a limit."""
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
    """The token that a request has: as Bearer, or as the password that a browser asked for."""
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
    """Of a Host header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _foreign(headers: Headers) -> bool:
    """Whether a browser sent this for the page of another site."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc != headers.get("host", "")
    except ValueError:
        return True
