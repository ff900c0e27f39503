"""HTS-AT and BERT in torch, each with one linear layer to the space that sides share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from segue.nn.devices import device
from segue.nn.items import Array, Arrays
from segue.nn.tower import cropped
from segue.numeric.arrays import Float32

_AT_ONCE = 32


@contextmanager
def undrawn() -> Iterator[None]:
    """Layers whose weights come from elsewhere leave torch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        yield


class PretrainedEncoder(nn.Module, ABC):
    """Layers of the library, and what of their outputs is told.

    Args:
        model: of the library.
        width: numbers of its outputs.
        outputs: numbers that are told.
    """

    def __init__(self, model: Any, width: int, outputs: int) -> None:
        super().__init__()
        self.model = model
        self.projection = nn.Linear(width, outputs)
        self._frozen: list[nn.Module] = []

    @abstractmethod
    def collate(
        self, items: Sequence[Array], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        """What `forward` takes, of some items; rng None: nothing is left to chance."""

    @property
    @abstractmethod
    def lower(self) -> list[list[nn.Module]]:
        """From the bottom up: what stands below all layers, and then each layer."""

    def freeze(self, layers: int) -> None:
        """Leave some of the lowest layers as they are, and what stands below them."""
        if layers:
            self._frozen = [part for parts in self.lower[: layers + 1] for part in parts]
        for part in self._frozen:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As of any module; frozen layers leave nothing out, and keep their running levels."""
        super().train(mode)
        for part in self._frozen:
            part.train(False)
        return self

    def arrays(self) -> dict[str, Array]:
        """All that `embed` of the side needs: weights and running levels, float32."""
        return {
            name: np.array(value.cpu().numpy())
            for name, value in self.state_dict().items()
            if value.is_floating_point()
        }

    def take(self, weights: Mapping[str, Array], part: str = "") -> str | None:
        """Take weights as `arrays` gives them, without a copy.

        Args:
            weights: by name; others are passed over.
            part: what names begin with that are meant.

        Returns:
            What does not fit, or None where all does.
        """
        taken = {}
        for name, own in self.state_dict().items():
            if not (name.startswith(part) and own.is_floating_point()):
                continue
            if name not in weights:
                return f"tensor {name} is missing"
            weight = np.require(weights[name], np.float32, ["C", "W"])
            if weight.shape != tuple(own.shape):
                have, need = ("x".join(map(str, s)) for s in (weight.shape, own.shape))
                return f"tensor {name} is {have}, needs {need}"
            taken[name] = torch.from_numpy(weight)
        self.load_state_dict(taken, strict=False, assign=True)
        return None

    @torch.no_grad()
    def embed(self, items: Arrays) -> Float32:
        """What is told of some items, as they are when nothing is left to chance. (n, outputs)"""
        self.train(False).to(device())
        out = np.empty((len(items), self.projection.out_features), np.float32)
        for start in range(0, len(items), _AT_ONCE):
            rows = range(start, min(start + _AT_ONCE, len(items)))
            batch = self.collate([items[i] for i in rows], None)
            out[rows] = self(*(tensor.to(device()) for tensor in batch)).cpu().numpy()
        return out


class HtsatNetwork(PretrainedEncoder):
    """HTS-AT.

    Args:
        form: see `larp.encoders.transformers.HtsatConfig.form`.
        clip: frames that are heard at once.
        outputs: numbers that are told.
        dropout: share of layers' outputs that is left out.
    """

    def __init__(self, form: Mapping[str, Any], clip: int, outputs: int, dropout: float) -> None:
        config = transformers.ClapAudioConfig(**form, hidden_dropout_prob=dropout)
        super().__init__(transformers.ClapAudioModel(config), form["hidden_size"], outputs)
        self.clip = clip

    def collate(
        self, items: Sequence[Array], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        """Clips from anywhere in the frames, or from their middle. ((n, 1, clip, bands),)"""
        return (torch.from_numpy(cropped(items, self.clip, rng))[:, None],)

    def forward(self, clips: Tensor) -> Tensor:
        """(n, 1, clip, bands) to (n, outputs)."""
        told: Tensor = self.projection(self.model(input_features=clips).pooler_output)
        return told.float()

    @property
    def lower(self) -> list[list[nn.Module]]:
        """A group's way to the next belongs to its last layer."""
        encoder = self.model.audio_encoder
        parts: list[list[nn.Module]] = [[encoder.batch_norm, encoder.patch_embed]]
        for group in encoder.layers:
            parts += [[block] for block in group.blocks]
            if group.downsample is not None:
                parts[-1].append(group.downsample)
        return parts


class BertNetwork(PretrainedEncoder):
    """BERT.

    Args:
        form: see `larp.encoders.transformers.BertConfig.form`, with the rows of its tables.
        vocabulary: bytes of a tokenizer.json, kept beside the weights.
        outputs: numbers that are told.
        dropout: share of layers' outputs, and of attention, that is left out.
    """

    def __init__(
        self, form: Mapping[str, Any], vocabulary: Array, outputs: int, dropout: float
    ) -> None:
        config = transformers.BertConfig(
            **form, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout
        )
        model = transformers.BertModel(config, add_pooling_layer=False)
        super().__init__(model, form["hidden_size"], outputs)
        self.vocabulary = vocabulary

    def collate(
        self, items: Sequence[Array], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        """Tokens and where they are, of the longest caption's length. ((n, tokens), (n, tokens))"""
        tokens = np.zeros((len(items), max(map(len, items))), np.int64)
        there = np.zeros_like(tokens)
        for row, item in enumerate(items):
            tokens[row, : len(item)] = item
            there[row, : len(item)] = 1
        return torch.from_numpy(tokens), torch.from_numpy(there)

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """(n, tokens) each, to (n, outputs) of [CLS]."""
        read = self.model(input_ids=tokens, attention_mask=there).last_hidden_state
        told: Tensor = self.projection(read[:, 0])
        return told.float()

    @property
    def lower(self) -> list[list[nn.Module]]:
        """The tables of tokens and places, then each layer."""
        return [[self.model.embeddings], *([layer] for layer in self.model.encoder.layer)]

    def arrays(self) -> dict[str, Array]:
        """Also the vocabulary."""
        return {**super().arrays(), "vocabulary": self.vocabulary}
