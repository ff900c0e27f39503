"""What a track is called, as a sentence: the text that text encoders read."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

Template = Literal["paper", "code"]
"""Wording of a caption: that of the paper on LARP (Salganik et al. 2024), or of its code."""


def caption(
    title: str | None, artist: str | None, album: str | None, template: Template = "paper"
) -> str | None:
    """A track's caption; what is not known of it is left out, None where nothing is.

    >>> caption("Hey Jude", "The Beatles", "1")
    'The track Hey Jude by The Beatles on album 1'
    >>> caption("Hey Jude", "The Beatles", None, "code")
    'Hey Jude is a song by the artist The Beatles'
    """
    title, artist, album = (" ".join((name or "").split()) for name in (title, artist, album))
    if not (title or artist or album):
        return None
    if template == "paper":
        parts = ["The track", title, artist and f"by {artist}", album and f"on album {album}"]
    else:
        parts = [
            title and f"{title} is",
            "a song",
            artist and f"by the artist {artist}",
            album and f"on the album {album}",
        ]
    return " ".join(part for part in parts if part)


def captions(tracks: pa.Table, template: Template = "paper") -> list[str | None]:
    """Captions of rows of the table `tracks`."""
    titles, artists, albums = (tracks[name].to_pylist() for name in ("title", "artist", "album"))
    known = zip(titles, artists, albums, strict=True)
    return [caption(title, artist, album, template) for title, artist, album in known]


def by_and_on(caption: str) -> tuple[str, str]:
    """Artist and album that a caption of either template names, "" where it names none.

    >>> by_and_on("The track Stand By Me by Ben E. King on album Don't Play That Song!")
    ('Ben E. King', "Don't Play That Song!")
    >>> by_and_on("Hey Jude is a song by the artist The Beatles")
    ('The Beatles', '')
    """
    album = ""
    for words in (" on album ", " on the album "):
        if words in caption:
            caption, _, album = caption.rpartition(words)
            break
    _, by, artist = caption.rpartition(" by ")
    return (artist.removeprefix("the artist ") if by else ""), album
