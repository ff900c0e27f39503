"""The two sides of LARP: what hears a track, and what reads its caption.

A side turns what is known of tracks into items, gives a network that is trained on them, and tells
vectors of items from what that has learned, without it. Other encoders drop in by doing the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from segue.audio.mel import BLOG
from segue.models.base.audio_features import levels
from segue.models.larp.config import LARPConfig
from segue.nn.items import Arrays
from segue.nn.tower import Form, Tower
from segue.numeric.arrays import Float32
from segue.numeric.tensors import expect

_CLIP_SECONDS = 10.0
"""That a step hears of each track, from anywhere in it."""

Tensors = Mapping[str, npt.NDArray[Any]]


class Encoder(Protocol):
    """A side of LARP."""

    @property
    def trainable(self) -> bool:
        """False where items are vectors of something fixed, which say something as they are."""

    def check(self) -> None:
        """Look whether all that training needs is there, before hours of listening.

        Raises:
            ConfigError: something is not.
        """

    def items(self, known: Any) -> Arrays:
        """Items of tracks, of their features (Arrays) or of their captions (texts)."""

    def network(self, items: Arrays, outputs: int, dropout: float) -> Any:
        """A torch module to train on such items.

        It has ``collate(items, rng) -> tensors`` of a step (rng None: nothing is drawn),
        ``forward(*tensors) -> (tracks, outputs)`` and ``arrays()``, for the two below.
        """

    def restore(self, tensors: Tensors, prefix: str, outputs: int) -> dict[str, npt.NDArray[Any]]:
        """Arrays of a network out of the tensors of a bundle.

        Raises:
            BundleError: one is missing or does not fit.
        """

    def embed(self, arrays: Tensors, items: Arrays, outputs: int) -> Float32:
        """What the network tells of items, not of length 1. (tracks, outputs)"""


class TowerEncoder:
    """A tower (`nn.tower`) over frames, or over vectors of something fixed.

    Args:
        hidden: outputs of each hidden layer.
        channels: of the first two convolutions; 0: items are vectors.
        precision: of convolutions in training.
    """

    def __init__(
        self, hidden: tuple[int, ...], channels: int = 0, precision: str = "float32"
    ) -> None:
        c = channels
        self.hidden, self.precision = hidden, precision
        self.convolutions = ((c, 4), (c, 2), (2 * c, 2), (2 * c, 1)) if c else ()

    @property
    def trainable(self) -> bool:
        return bool(self.convolutions)

    def check(self) -> None:
        """Nothing is needed."""

    def items(self, known: Arrays) -> Arrays:
        return known

    def _form(self, inputs: int, outputs: int) -> Form:
        return Form(inputs, self.convolutions, 0, self.hidden, outputs, 0)

    def network(self, items: Arrays, outputs: int, dropout: float) -> Any:
        from segue.models.larp.network import TowerNetwork

        told = levels(items, alike=False)
        form = self._form(len(told["shift"]), outputs)
        frames = round(_CLIP_SECONDS * BLOG.rate / BLOG.hop) if self.convolutions else 0
        return TowerNetwork(form, told, dropout, frames, half=self.precision == "bfloat16")

    def restore(self, tensors: Tensors, prefix: str, outputs: int) -> dict[str, npt.NDArray[Any]]:
        inputs = len(expect(tensors, f"{prefix}shift", np.float32, None))
        shapes = self._form(inputs, outputs).shapes
        return {
            name: expect(tensors, prefix + name, np.float32, *shape)
            for name, shape in shapes.items()
        }

    def embed(self, arrays: Tensors, items: Arrays, outputs: int) -> Float32:
        tower = Tower(self._form(len(arrays["shift"]), outputs), arrays)
        return tower(items, np.zeros((len(items), 0), np.float32))


class SentenceEncoder(TowerEncoder):
    """A tower over what a frozen sentence encoder says of captions (`sentences`)."""

    def items(self, known: Sequence[str | None]) -> Arrays:  # type: ignore[override]
        from segue.text.sentence_encoder import Sentences

        return Sentences()([caption or "" for caption in known])


def sides_of(config: LARPConfig) -> dict[str, Encoder]:
    """The sides that a configuration has, "sound" before "text"."""
    sides: dict[str, Encoder] = {}
    if config.sound == "clap":
        from segue.models.larp.encoders.transformers import HtsatEncoder

        sides["sound"] = HtsatEncoder(config.htsat)
    elif config.sound != "none":
        channels = config.channels if config.sound == "mel" else 0
        sides["sound"] = TowerEncoder(config.hidden, channels, config.precision)
    if config.text == "bert":
        from segue.models.larp.encoders.transformers import BertEncoder

        sides["text"] = BertEncoder(config.bert)
    elif config.text == "minilm":
        sides["text"] = SentenceEncoder(config.hidden)
    elif config.text == "names":
        from segue.models.larp.encoders.names import NamesEncoder

        sides["text"] = NamesEncoder()
    elif config.text == "words":
        from segue.models.larp.encoders.words import WordsEncoder

        sides["text"] = WordsEncoder()
    return sides
