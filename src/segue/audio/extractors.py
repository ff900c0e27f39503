"""Extractors of audio features, by name.

An extractor has the attributes of `Extractor`; one that gives a single vector for a clip, as a
pretrained network does, is an `AudioEncoder`. To add one, add it to `EXTRACTORS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segue.audio.decode import Excerpt
from segue.audio.mel import BLOG, CLAP, PAPER, Mel, decibels, half, log_mel
from segue.audio.mfcc import mfcc
from segue.errors import ConfigError

Float32 = NDArray[np.float32]

MIDDLE = Excerpt(30.0)
"""The excerpt of all extractors here."""


class Extractor(Protocol):
    """Turns samples into features.

    Worker processes get it as a message, so it is an object of a module's class, and loads large
    data on its first call.
    """

    @property
    def name(self) -> str:
        """Name with a version, which rises when the features change; the cache key."""

    @property
    def rate(self) -> int:
        """Sample rate of its input in Hz."""

    @property
    def excerpt(self) -> Excerpt:
        """Excerpt of a file for its input."""

    def __call__(self, samples: Float32) -> NDArray[Any]:
        """Mono samples (n,) to (frames, values), or (values,) of a whole clip."""


class AudioEncoder(Extractor, Protocol):
    """An extractor that gives one vector for a clip."""

    @property
    def dims(self) -> int:
        """Length of the vector."""


@dataclass(frozen=True)
class MelFrames:
    """A log-mel-spectrogram, (frames, bands), in half precision."""

    name: str
    mel: Mel
    frames: int
    """Maximum number of frames: the last one of a clip is half empty."""
    excerpt: Excerpt = MIDDLE

    @property
    def rate(self) -> int:
        """Sample rate in Hz."""
        return self.mel.rate

    def __call__(self, samples: Float32) -> NDArray[np.float16]:
        """Shape (frames, bands)."""
        return half(log_mel(samples, self.mel)[: self.frames])


@dataclass(frozen=True)
class DecibelFrames:
    """A mel-spectrogram in decibels, (frames, bands), in half precision: to 1/32 of one."""

    name: str
    mel: Mel
    excerpt: Excerpt = MIDDLE

    @property
    def rate(self) -> int:
        """Sample rate in Hz."""
        return self.mel.rate

    def __call__(self, samples: Float32) -> NDArray[np.float16]:
        """Shape (frames, bands)."""
        return decibels(samples, self.mel).astype(np.float16)


@dataclass(frozen=True)
class MfccFrames:
    """Thirteen MFCC with first and second differences, (frames, 39), in half precision."""

    name: str = "mfcc-1"
    rate: int = PAPER.rate
    excerpt: Excerpt = MIDDLE

    def __call__(self, samples: Float32) -> NDArray[np.float16]:
        """Shape (frames, 39)."""
        return mfcc(samples, PAPER).astype(np.float16)


@dataclass(frozen=True)
class Musicnn:
    """The embedding by musicnn, (200,); see `segue.audio.musicnn`."""

    name: str = "musicnn-1"
    rate: int = 16_000
    excerpt: Excerpt = MIDDLE
    dims: int = 200

    def __call__(self, samples: Float32) -> Float32:
        """Shape (200,)."""
        from segue.audio.musicnn import embed

        return embed(samples)


MEL_PAPER = MelFrames("mel-paper-1", PAPER, frames=1_290)
"""Ten windows of 3 seconds, 129 frames each."""
MEL_BLOG = MelFrames("mel-blog-1", BLOG, frames=599)
MEL_CLAP = DecibelFrames("mel-clap-1", CLAP)
"""Input of HTS-AT, which takes ten seconds of it."""
MFCC = MfccFrames()
MUSICNN: AudioEncoder = Musicnn()

EXTRACTORS: dict[str, Extractor] = {
    e.name: e for e in (MEL_PAPER, MEL_BLOG, MEL_CLAP, MFCC, MUSICNN)
}
"""Extractors by name, for settings of models."""

SOUNDS: dict[str, Extractor] = {
    "bag-of-words": MFCC,
    "clap": MEL_CLAP,
    "mel": MEL_BLOG,
    "mel-windows": MEL_PAPER,
    "musicnn": MUSICNN,
}
"""Extractors of models, by the value of their setting `sound`."""


def extractor_named(name: str) -> Extractor:
    """The extractor of a name.

    Raises:
        ConfigError: unknown name, perhaps of another version.
    """
    if name not in EXTRACTORS:
        known = ", ".join(EXTRACTORS)
        raise ConfigError(f"no features are called {name!r}", do=f"there are: {known}")
    return EXTRACTORS[name]
