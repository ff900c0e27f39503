"""Title, artist, album and recording id of a sound file, from its tags or its name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from segue.system.extras import needs

MOST_CHARACTERS = 1000
"""Maximum length of a text from a tag."""

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MBID = re.compile(_UUID, re.IGNORECASE)
_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")
# The tag reader leaves out this frame of ID3, where Picard writes the recording of an MP3.
_UFID = re.compile(rb"UFID.{6}http://musicbrainz\.org\x00(" + _UUID.encode() + rb")", re.I | re.S)
_HEAD_BYTES = 1 << 20
_RECORDINGS = ("musicbrainz_trackid", "musicbrainz track id", "musicbrainz recording id")
"""Fields with the id of the recording, in Vorbis comments, MP4 and others."""
_NUMBERED = re.compile(r"(?:\d-)?(?:\d{1,3}\s*[.-]|0\d\s|(?<=-)\d\d\s)\s*(?=\D)")
"""Number before a name: ``07 Title``, ``7. Title``, ``1-07 Title``, but not ``99 Luftballons``."""


class Tags(NamedTuple):
    """Tags of a track; None is unknown."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    recording: str | None = None
    """MusicBrainz recording id in lower case, else ISRC."""


def read_tags(path: Path) -> Tags:
    """The tags of a sound file; a file without a title gets its name.

    Unreadable tags count as missing.

    Raises:
        ConfigError: tinytag is not there.
    """
    try:
        from tinytag import TinyTag
    except ImportError as error:
        raise needs("reading tags", "audio", "tinytag", cause=error) from error
    try:
        tags = TinyTag.get(path, duration=False)
    except Exception:  # damaged in one of many ways: the name has to do
        return named_by_file(path)
    title, artist, album = (_text(text) for text in (tags.title, tags.artist, tags.album))
    artist = artist or _text(tags.albumartist)
    if title is None:
        title, file_artist = named_by_file(path)[:2]
        artist = artist or file_artist
    return Tags(title, artist, album, _recording(tags.other) or _id3_recording(path))


def named_by_file(path: Path) -> Tags:
    """Title and artist by the name of a file: ``Artist - Title``, ``07 Title``, ``Title``."""
    name = path.stem.replace("_", " ").strip()
    number = _NUMBERED.match(name)
    plain = name[number.end() :] if number else name
    artist, dash, title = plain.partition(" - ")
    if dash and artist.strip() and title.strip():
        return Tags(_text(title), _text(artist))
    return Tags(_text(plain) or _text(path.name))


def _text(value: object) -> str | None:
    """Text of a tag in one line, without control characters; None if nothing is left."""
    if not isinstance(value, str):
        return None
    plain = "".join(sign if sign.isprintable() else " " for sign in value[:MOST_CHARACTERS])
    return " ".join(plain.encode(errors="replace").decode().split()) or None


def _recording(other: dict[str, Any]) -> str | None:
    texts = {name.lower(): " ".join(map(str, values)) for name, values in other.items()}
    for name in _RECORDINGS:
        if match := _MBID.search(texts.get(name, "")):
            return match[0].lower()
    match = _ISRC.search(texts.get("isrc", "").upper().replace("-", ""))
    return match[0] if match else None


def _id3_recording(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES if file.read(3) == b"ID3" else 0)
    match = _UFID.search(head)
    return match[1].decode().lower() if match else None
