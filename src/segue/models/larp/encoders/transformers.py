"""Encoders of full size: HTS-AT for audio, BERT for captions; both import torch only in use.

LARP (Salganik et al., KDD 2024, section 4) pairs HTS-AT (Chen et al., ICASSP 2022) with BERT
(Devlin et al., NAACL 2019). The output of either is one linear layer of 768 numbers: the mean of
the last patches of the sound, or the vector of the token [CLS]. The layers are those of the library
transformers: `ClapAudioModel`, which is HTS-AT, and `BertModel`. They start at random, or from a
checkpoint on this machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from segue.errors import BundleError, ConfigError
from segue.models.larp.encoders.checkpoints import Checkpoint
from segue.models.larp.encoders.transformers_config import BertConfig, HtsatConfig
from segue.nn.items import Array, Arrays
from segue.numeric.arrays import Float32
from segue.numeric.tensors import expect
from segue.system.extras import EXTRAS, needs
from segue.text import sentence_encoder as sentences

if TYPE_CHECKING:
    from segue.models.larp.encoders.transformers_network import PretrainedEncoder

VOCABULARY = "vocabulary"
"""Array with the bytes of a tokenizer.json."""
_MODEL = "model."
"""Prefix of the library's weights."""
_TABLES = {
    "vocab_size": "word_embeddings",
    "max_position_embeddings": "position_embeddings",
    "type_vocab_size": "token_type_embeddings",
}
"""Sizes of BERT without a setting, and the tables that have them."""
_LONGEST_TOKEN = 32
"""Maximum length of a token in characters, so that endless captions take no time."""
_AT_ONCE = 4_096
"""Captions of a tokenizer batch."""


class TransformerEncoder(ABC):
    """Base class of both encoders.

    Attributes:
        trainable: True, because training changes the layers.
    """

    trainable: ClassVar[bool] = True
    config: HtsatConfig | BertConfig
    _kinds: ClassVar[tuple[str, ...]]
    """Model types of checkpoints."""
    _prefix: ClassVar[str]
    """Prefix of the weights in checkpoints of larger models."""

    def __init__(self) -> None:
        self._ready: tuple[Mapping[str, Array], PretrainedEncoder] | None = None

    def check(self) -> None:
        """Check the libraries and the checkpoint.

        Raises:
            ConfigError: one is missing, or the checkpoint does not fit.
        """
        _layers()
        self._checkpoint()

    def _checkpoint(self) -> Checkpoint | None:
        """The checkpoint to start from, checked; None: random weights."""
        if not self.config.checkpoint:
            return None
        checkpoint = Checkpoint.find(self.config.checkpoint)
        checkpoint.check(self._kinds, self.config.form)
        return checkpoint

    def network(self, items: Arrays, outputs: int, dropout: float) -> PretrainedEncoder:
        """The network to train; random weights come from torch's seed.

        Args:
            items: unused.
            outputs: length of the vectors.
            dropout: dropout rate of layer outputs.

        Raises:
            ConfigError: the checkpoint is missing or does not fit, or a library is missing.
        """
        layers, checkpoint = _layers(), self._checkpoint()
        weights: dict[str, Array] = {}
        if checkpoint is not None:
            loaded = checkpoint.weights(self._prefix)
            weights = {f"{_MODEL}{name}": weight for name, weight in loaded.items()}
        network = self._network(layers, weights, outputs, dropout)
        if checkpoint is not None and (trouble := network.take(weights, _MODEL)):
            raise ConfigError(trouble, where=checkpoint.folder, do="take another checkpoint")
        network.freeze(self.config.frozen_layers)
        return network

    def embed(self, arrays: Mapping[str, Array], items: Arrays, outputs: int) -> Float32:
        """Vectors of tracks by a trained network, not normalised; on a GPU if there is one.

        Args:
            arrays: arrays of the network or of a bundle.
            items: items of the tracks.
            outputs: length of the vectors.

        Returns:
            (n, outputs) float32

        Raises:
            BundleError: the arrays do not fit the settings.
            ConfigError: a library is missing.
        """
        if self._ready is None or self._ready[0] is not arrays:
            layers = _layers()
            with layers.undrawn():
                network = self._network(layers, arrays, outputs, 0.0)
            if trouble := network.take(arrays):
                raise BundleError(trouble, do="train again, or with the library of that time")
            self._ready = arrays, network  # building it takes longer than embedding a track
        return self._ready[1].embed(items)

    def restore(self, tensors: Mapping[str, Array], prefix: str, outputs: int) -> dict[str, Array]:
        """Arrays of a network, from the tensors of a bundle.

        Only torch knows all shapes, and loading does not need torch: `embed` checks the shapes
        within the model.

        Raises:
            BundleError: one is missing or does not fit.
        """
        width = self.config.form["hidden_size"]
        expect(tensors, f"{prefix}projection.weight", np.float32, outputs, width)
        expect(tensors, f"{prefix}projection.bias", np.float32, outputs)
        arrays = {}
        for name, tensor in tensors.items():
            short_name = name.removeprefix(prefix)
            if name.startswith(prefix):
                dtype = np.uint8 if short_name == VOCABULARY else np.float32
                arrays[short_name] = expect(tensors, name, dtype, *[None] * tensor.ndim)
        return arrays

    @abstractmethod
    def _network(
        self, layers: Any, weights: Mapping[str, Array], outputs: int, dropout: float
    ) -> PretrainedEncoder:
        """A network of the size of the weights, without their values."""


class HtsatEncoder(TransformerEncoder):
    """HTS-AT; items are frames by the extractor mel-clap-1, (frames, 64) each."""

    _kinds = "clap", "clap_audio_model"
    _prefix = "audio_model."

    def __init__(self, config: HtsatConfig) -> None:
        super().__init__()
        self.config: HtsatConfig = config
        self._form = config.form

    def items(self, known: Arrays) -> Arrays:
        """Features are the items."""
        return known

    def _network(
        self, layers: Any, weights: Mapping[str, Array], outputs: int, dropout: float
    ) -> PretrainedEncoder:
        network: PretrainedEncoder = layers.HtsatNetwork(
            self._form, self.config.clip, outputs, dropout
        )
        return network


class BertEncoder(TransformerEncoder):
    """BERT; items are the numbers of a caption's tokens, (tokens,) int32 each."""

    _kinds = ("bert",)
    _prefix = "bert."

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config: BertConfig = config
        self._form = config.form
        self._vocabulary: Array | None = None
        self._tokenizer: Any = None

    def items(self, known: Sequence[str | None]) -> Arrays:
        """Tokens of captions, from [CLS] to [SEP]; None counts as no words.

        Raises:
            ConfigError: the checkpoint or a package is missing.
        """
        longest = _LONGEST_TOKEN * self.config.tokens
        captions = [(caption or "")[:longest] for caption in known]
        items: list[Array] = []
        for start in range(0, len(captions), _AT_ONCE):
            read = self._reader().encode_batch(captions[start : start + _AT_ONCE])
            items += [np.array(one.ids, np.int32) for one in read]
        return items

    def restore(self, tensors: Mapping[str, Array], prefix: str, outputs: int) -> dict[str, Array]:
        arrays = super().restore(tensors, prefix, outputs)
        self._vocabulary = expect(tensors, prefix + VOCABULARY, np.uint8, None)
        self._tokenizer = None
        return arrays

    def _words(self) -> Array:
        """Bytes of a tokenizer.json: of the bundle, of the checkpoint, or of bert-base-uncased."""
        if self._vocabulary is None:
            if self.config.checkpoint:
                checkpoint = Checkpoint.find(self.config.checkpoint)
            else:
                checkpoint = Checkpoint(sentences.weights_folder())  # it has the same vocabulary
            self._vocabulary = np.frombuffer(
                checkpoint.file("tokenizer.json").read_bytes(), np.uint8
            )
        return self._vocabulary

    def _reader(self) -> Any:
        """The tokenizer."""
        if self._tokenizer is None:
            try:
                from tokenizers import Tokenizer
            except ImportError as error:
                raise needs("BERT", "larp", "tokenizers", where="larp", cause=error) from error
            words = self._words().tobytes()
            try:
                self._tokenizer = Tokenizer.from_str(words.decode())
            except Exception as error:  # the library has none of its own
                raise ConfigError(
                    "the tokenizer.json of BERT is damaged",
                    where=self.config.checkpoint or "larp",
                    do="download it again",
                ) from error
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(self.config.tokens)
        return self._tokenizer

    def _network(
        self, layers: Any, weights: Mapping[str, Array], outputs: int, dropout: float
    ) -> PretrainedEncoder:
        known = self._reader().get_vocab_size()
        rows = {"vocab_size": known, "max_position_embeddings": 512, "type_vocab_size": 2}
        for size, name in _TABLES.items():
            table = weights.get(f"{_MODEL}embeddings.{name}.weight")
            if table is not None and table.ndim:
                rows[size] = len(table)
        for size, needed in (
            ("vocab_size", known),
            ("max_position_embeddings", self.config.tokens),
        ):
            if rows[size] < needed:
                raise ConfigError(
                    f"{size} of the weights is {rows[size]}, needs to be {needed}", where="bert"
                )
        form = self._form | rows
        network: PretrainedEncoder = layers.BertNetwork(form, self._words(), outputs, dropout)
        return network


def _layers() -> ModuleType:
    """The layers in torch.

    Raises:
        ConfigError: a library is not there.
    """
    try:
        from segue.models.larp.encoders import transformers_network as larp_transformers_network
    except ImportError as error:
        # Name deep first: larp needs torch, too.
        extra, library = ("larp", "transformers") if EXTRAS["deep"].installed else ("deep", "torch")
        raise needs("HTS-AT or BERT", extra, library, where="larp", cause=error) from error
    return larp_transformers_network
