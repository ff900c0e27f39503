"""Tokens of the service's clients."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from pathlib import Path

import msgspec

from segue.errors import DataError, UsageError
from segue.system.files import write_file

SHORTEST_SECRET = 16
"""Minimum length of a token that a person chose."""


class Token(msgspec.Struct, frozen=True):
    """The stored hash of a token."""

    name: str
    sha256: str
    created: str


class Tokens:
    """The tokens of a service, in a file of their hashes.

    A token is 256 random bits, so that nobody can reverse a plain hash of it.

    Args:
        file: JSON file; it need not exist.
        secret: file with one more token in plain text, as containers and systemd mount secrets.
            `Tokens` reads it once and never copies it to `file`.

    Raises:
        DataError: `file` is no file of tokens, or `secret` holds no token.
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
        """Make a token. The file stores only its hash.

        Raises:
            UsageError: `name` has a token.
        """
        if any(token.name == name for token in self.tokens):
            raise UsageError(f"there is a token {name!r}", do="remove it first, or name another")
        text = secrets.token_urlsafe(32)
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.tokens.append(Token(name, _hash(text), created))
        self._write()
        return text

    def remove(self, name: str) -> None:
        """Revoke a token, from the next start on.

        Raises:
            UsageError: `name` has no token.
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
        """Owner of a token, or None. The comparison with all tokens takes constant time."""
        given, name = _hash(text), None
        for token in (*self.tokens, *self._secrets):
            if hmac.compare_digest(given, token.sha256):
                name = token.name
        return name


def _secret_token(file: Path) -> Token:
    """Read a token in plain text from a file. Raises DataError."""
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
