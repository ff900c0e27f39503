"""What a playlist file calls its tracks: addresses as they are, paths confined to the source."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from urllib.parse import unquote, urlsplit

from segue.data.ingestion.limits import Input

MAX_PATH = 4096
"""Longest path or address of a track, in characters."""

# Two letters or more before the colon: C:/Music is a drive.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|(?:spotify|urn|isrc|name):")
_FILE_URL = re.compile(r"file:/", re.IGNORECASE)
_DRIVE = re.compile(r"/?[A-Za-z]:(?:/|$)|//")
_DRIVE_OF_URL = re.compile(r"/[A-Za-z]:/")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class UnusablePath(Exception):
    """A track that is not taken; the text is the reason that is counted."""


def track_uri(source: Input, text: str, *, quoted: bool) -> str:
    """The uri of a track that a playlist file names.

    Args:
        source: the playlist file; relative paths start at its folder.
        text: an address (``https://...``, ``spotify:track:...``), a file URL, or a path with
            slashes or backslashes.
        quoted: whether a path is percent-encoded (it is in XSPF, it is not in M3U).

    Returns:
        An address as it is; a path relative to the source folder, with slashes, in NFC. The file
        need not exist.

    Raises:
        UnusablePath: not a path, or one that leaves the source folder by itself or by a link.
    """
    text = text.strip()
    if not text or len(text) > MAX_PATH or _CONTROL.search(text):
        raise UnusablePath("not a path")
    if _FILE_URL.match(text):
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise UnusablePath("not a path") from error
        if parts.netloc not in ("", "localhost"):
            raise UnusablePath("path on another machine")
        return _confined(source, unquote(parts.path))
    if _ADDRESS.match(text):
        return text
    return _confined(source, unquote(text) if quoted else text)


def _confined(source: Input, path: str) -> str:
    path = path.replace("\\", "/")
    if _CONTROL.search(path) or posixpath.basename(path) in ("", ".", ".."):
        raise UnusablePath("not a path")
    outside = UnusablePath("path outside the source folder")
    if os.sep == "\\" and _DRIVE_OF_URL.match(path):
        path = path[1:]
    drive = os.path.splitdrive(path)[0]  # on Windows alone
    if (_DRIVE.match(path) and not drive) or (drive and not os.path.isabs(path)):
        raise outside
    if drive or path.startswith("/"):
        if source.member is not None:
            raise outside
        try:
            below = os.path.relpath(os.path.normpath(path), os.path.abspath(source.root))
        except ValueError as error:  # on another drive
            raise outside from error
    else:
        below = posixpath.normpath(posixpath.join(posixpath.dirname(source.name), path))
    below = unicodedata.normalize("NFC", below.replace(os.sep, "/"))
    if below in (".", "..") or below.startswith("../"):
        raise outside
    if source.member is None:
        root = os.path.realpath(source.root)
        real = os.path.realpath(os.path.join(source.path.parent, path))
        same_drive = os.path.splitdrive(root)[0].lower() == os.path.splitdrive(real)[0].lower()
        if not same_drive or os.path.commonpath([root, real]) != root:
            raise UnusablePath("link out of the source folder")
    return below
