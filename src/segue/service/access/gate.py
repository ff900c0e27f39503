"""Who may ask, from where, and how often.

Without a token only this machine is answered, and only where the service listens to this machine
alone. A request that came through a proxy, by its headers, came from beyond.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segue.errors import DataError, UsageError
from segue.service.api.problems import Refused, response
from segue.service.serving.limits import ServiceSettings
from segue.system.files import write_file

_LOG = logging.getLogger("segue.service")
OPEN = "/health/live"
"""The one path that everybody is answered."""
SHORTEST_SECRET = 16
"""Characters that a token has at least where a person chose it."""
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


class Token(msgspec.Struct, frozen=True):
    """What is kept of a token: never the token itself."""

    name: str
    sha256: str
    created: str


class Tokens:
    """The tokens of a service, in a file of their hashes.

    A token is 256 random bits, so that a plain hash of it cannot be turned back.

    Args:
        file: JSON; it need not exist.
        secret: file with one more token in plain text, as containers and systemd hand secrets over.
            It is read now and never copied into `file`.

    Raises:
        DataError: the file is not what `new` writes, or `secret` holds no token.
    """

    def __init__(self, file: Path, secret: Path | None = None) -> None:
        self.file = file
        self.tokens: list[Token] = []
        self._secrets = [_secret_token(secret)] if secret is not None else []
        if file.is_file():
            try:
                self.tokens = msgspec.json.decode(file.read_bytes(), type=list[Token])
            except msgspec.MsgspecError as error:
                raise DataError(
                    f"is no file of tokens ({error})", where=file, do="remove it, make new tokens"
                ) from error

    def __bool__(self) -> bool:
        """Whether there is any token."""
        return bool(self.tokens or self._secrets)

    def new(self, name: str) -> str:
        """Make a token. It is shown this once; the file has its hash.

        Raises:
            UsageError: there is one of this name.
        """
        if any(token.name == name for token in self.tokens):
            raise UsageError(f"there is a token {name!r}", do="remove it first, or name another")
        text = secrets.token_urlsafe(32)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.tokens.append(Token(name, _hash(text), created))
        self._write()
        return text

    def remove(self, name: str) -> None:
        """Make a token worthless, from the next start on.

        Raises:
            UsageError: there is none of this name.
        """
        left = [token for token in self.tokens if token.name != name]
        if len(left) == len(self.tokens):
            raise UsageError(f"there is no token {name!r}")
        self.tokens = left
        self._write()

    def _write(self) -> None:
        write_file(self.file, msgspec.json.format(msgspec.json.encode(self.tokens)))
        self.file.chmod(0o600)

    def owner(self, text: str) -> str | None:
        """Whose token this is. Every one is compared, in constant time."""
        given, found = _hash(text), None
        for token in (*self.tokens, *self._secrets):
            if hmac.compare_digest(given, token.sha256):
                found = token.name
        return found


def _secret_token(file: Path) -> Token:
    """The token that a file holds in plain text. Raises DataError."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is not text"
        raise DataError(
            f"cannot be read ({what})", where=file, do="name a file that holds one token"
        ) from error
    if len(text) < SHORTEST_SECRET or len(text.split()) != 1:
        raise DataError(
            f"holds no token: one word of {SHORTEST_SECRET} characters or more",
            where=file,
            do="fill it with openssl rand -hex 32",
        )
    return Token(file.name, _hash(text), "")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


class Buckets:
    """How many requests each token has left: `burst` at once, `rate` a second on the long run."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, name: str) -> float:
        """Take one; seconds until there is one, 0 where it was taken."""
        now = self.clock()
        left, before = self._left.get(name, (float(self.burst), now))
        left = min(self.burst, left + (now - before) * self.rate)
        if left < 1:
            self._left[name] = (left, now)
            return (1 - left) / self.rate
        self._left[name] = (left - 1, now)
        return 0.0


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
            if not isinstance(error, Refused):
                _LOG.exception("%s %s", scope["method"], scope["path"])
                error = Refused(500, "unexpected; the log of the service says more")
            await response(error)(scope, receive, guarded)

    def _admit(self, scope: Scope) -> None:
        """Raises Refused where a request may not be answered."""
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
                raise Refused(
                    401,
                    "a token is needed; segue token makes one",
                    headers={"WWW-Authenticate": 'Bearer realm="segue", Basic realm="segue"'},
                )
            scope["token"] = owner
            wait = self.buckets.wait(owner)
            if wait:
                raise Refused(
                    429,
                    f"more than {self.settings.rate:g} requests a second",
                    headers={"Retry-After": str(int(wait) + 1)},
                )
        elif not is_loopback(_name_of(headers.get("host", ""))):
            # Another site may have its name point here, to read what only this machine may.
            raise Refused(421, "without a token the service is called localhost")
        if scope["method"] not in _SAFE and _foreign(headers):
            raise Refused(403, "sent by the page of another site")

    def _limit(self, scope: Scope) -> int:
        """Bytes that the body may have.

        Raises:
            Refused: it says that it has more.
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


def _too_large(limit: int) -> Refused:
    return Refused(413, f"more than {limit:,} bytes")


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
