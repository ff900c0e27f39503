"""Settings of title."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from segue.config import Config, Search


class TitleConfig(Config, frozen=True):
    """Settings of `title`."""

    features: Annotated[
        Literal["words", "name"],
        Meta(description="words and character n-grams, or the whole name as one category"),
    ] = "words"
    factors: Annotated[
        int,
        Meta(ge=1, le=4096, description="singular vectors; the paper has 200, for name"),
        Search(16, 256, log=True),
    ] = 64
    sharpness: Annotated[
        float,
        Meta(gt=0, description="(words) larger: only the most similar titles count"),
        Search(0.5, 10, log=True),
    ] = 3.0
    artists: Annotated[
        float,
        Meta(ge=0, description="(words) weight of artists' names against titles"),
        Search(0.5, 50, log=True),
    ] = 6.0
    smoothing: Annotated[
        float,
        Meta(ge=0, description="(words) weight of tracks that share playlists with voted tracks"),
        Search(0.5, 50, log=True),
    ] = 4.0
    popularity: Annotated[
        float,
        Meta(ge=0, description="(words) initial votes of the most popular track"),
        Search(0.03, 3, log=True),
    ] = 0.3
