"""The two encoders of LARP: one for the audio of a track, one for its caption.

An encoder turns features or captions into items, makes a network to train on them, and embeds items
with the trained arrays, without the network. Other encoders drop in by doing the same.
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
"""Length of the random crop of each track in a step."""

Tensors = Mapping[str, npt.NDArray[Any]]


class Encoder(Protocol):
    """An encoder of LARP."""

    @property
    def trainable(self) -> bool:
        """False if items are vectors of a frozen model, which need no training."""

    def check(self) -> None:
        """Check the requirements of training, before hours of audio analysis.

        Raises:
            ConfigError: a requirement is missing.
        """

    def items(self, known: Any) -> Arrays:
        """Items of tracks, from their features (Arrays) or their captions (texts)."""

    def network(self, items: Arrays, outputs: int, dropout: float) -> Any:
        """A torch module to train on such items.

        It has ``collate(items, rng) -> tensors`` of a step (rng None: nothing is drawn),
        ``forward(*tensors) -> (tracks, outputs)`` and ``arrays()``, for the two below.
        """

    def restore(self, tensors: Tensors, prefix: str, outputs: int) -> dict[str, npt.NDArray[Any]]:
        """Arrays of a network, from the tensors of a bundle.

        Raises:
            BundleError: one is missing or does not fit.
        """

    def embed(self, arrays: Tensors, items: Arrays, outputs: int) -> Float32:
        """Vectors of items, not normalised. (tracks, outputs)"""


class TowerEncoder:
    """A tower (`nn.tower`) over frames, or over vectors of a frozen model.

    Args:
        hidden: outputs of each hidden layer.
        channels: channels of the first two convolutions; 0: items are vectors.
        precision: precision of convolutions in training.
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

        input_stats = levels(items, alike=False)
        form = self._form(len(input_stats["shift"]), outputs)
        frames = round(_CLIP_SECONDS * BLOG.rate / BLOG.hop) if self.convolutions else 0
        return TowerNetwork(form, input_stats, dropout, frames, half=self.precision == "bfloat16")

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
    """A tower over a frozen sentence encoder's vectors of captions."""

    def items(self, known: Sequence[str | None]) -> Arrays:  # type: ignore[override]
        from segue.text.sentence_encoder import Sentences

        return Sentences()([caption or "" for caption in known])


def encoders_of(config: LARPConfig) -> dict[str, Encoder]:
    """The encoders of a configuration, "sound" before "text"."""
    encoders: dict[str, Encoder] = {}
    if config.sound == "clap":
        from segue.models.larp.encoders.transformers import HtsatEncoder

        encoders["sound"] = HtsatEncoder(config.htsat)
    elif config.sound != "none":
        channels = config.channels if config.sound == "mel" else 0
        encoders["sound"] = TowerEncoder(config.hidden, channels, config.precision)
    if config.text == "bert":
        from segue.models.larp.encoders.transformers import BertEncoder

        encoders["text"] = BertEncoder(config.bert)
    elif config.text == "minilm":
        encoders["text"] = SentenceEncoder(config.hidden)
    elif config.text == "names":
        from segue.models.larp.encoders.names import NamesEncoder

        encoders["text"] = NamesEncoder()
    elif config.text == "words":
        from segue.models.larp.encoders.words import WordsEncoder

        encoders["text"] = WordsEncoder()
    return encoders
