"""HTS-AT and BERT in torch, each with one linear layer to the shared space."""

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
    """Restore torch's random state after layers whose weights come from elsewhere."""
    with torch.random.fork_rng(devices=[]):
        yield


class PretrainedEncoder(nn.Module, ABC):
    """Layers of the library with a projection.

    Args:
        model: model of the library.
        width: length of its outputs.
        outputs: length of the vectors.
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
        """Inputs of `forward` from items; without `rng`, nothing is random."""

    @property
    @abstractmethod
    def lower(self) -> list[list[nn.Module]]:
        """Parts from the bottom up: the input part, then each layer."""

    def freeze(self, layers: int) -> None:
        """Freeze the lowest layers and the input part."""
        if layers:
            self._frozen = [part for parts in self.lower[: layers + 1] for part in parts]
        for part in self._frozen:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As of any module; frozen layers have no dropout and keep their running statistics."""
        super().train(mode)
        for part in self._frozen:
            part.train(False)
        return self

    def arrays(self) -> dict[str, Array]:
        """Weights and running statistics for `embed`, float32."""
        return {
            name: np.array(value.cpu().numpy())
            for name, value in self.state_dict().items()
            if value.is_floating_point()
        }

    def take(self, weights: Mapping[str, Array], part: str = "") -> str | None:
        """Load weights as `arrays` gives them, without a copy.

        Args:
            weights: weights by name; unknown names do not count.
            part: prefix of the parameters to load.

        Returns:
            The first mismatch, or None.
        """
        taken = {}
        for name, parameter in self.state_dict().items():
            if not (name.startswith(part) and parameter.is_floating_point()):
                continue
            if name not in weights:
                return f"tensor {name} is missing"
            weight = np.require(weights[name], np.float32, ["C", "W"])
            if weight.shape != tuple(parameter.shape):
                have, need = ("x".join(map(str, s)) for s in (weight.shape, parameter.shape))
                return f"tensor {name} is {have}, needs {need}"
            taken[name] = torch.from_numpy(weight)
        self.load_state_dict(taken, strict=False, assign=True)
        return None

    @torch.no_grad()
    def embed(self, items: Arrays) -> Float32:
        """Vectors of items, without randomness. (n, outputs)"""
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
        clip: frames of a clip.
        outputs: length of the vectors.
        dropout: dropout rate of layer outputs.
    """

    def __init__(self, form: Mapping[str, Any], clip: int, outputs: int, dropout: float) -> None:
        config = transformers.ClapAudioConfig(**form, hidden_dropout_prob=dropout)
        super().__init__(transformers.ClapAudioModel(config), form["hidden_size"], outputs)
        self.clip = clip

    def collate(
        self, items: Sequence[Array], rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        """Random clips of the frames, or middle clips without `rng`. ((n, 1, clip, bands),)"""
        return (torch.from_numpy(cropped(items, self.clip, rng))[:, None],)

    def forward(self, clips: Tensor) -> Tensor:
        """(n, 1, clip, bands) to (n, outputs)."""
        projected: Tensor = self.projection(self.model(input_features=clips).pooler_output)
        return projected.float()

    @property
    def lower(self) -> list[list[nn.Module]]:
        """Patch embedding, then layers; downsampling belongs to the last layer of its group."""
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
        vocabulary: bytes of a tokenizer.json, stored with the weights.
        outputs: length of the vectors.
        dropout: dropout rate of layer outputs and of attention.
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
        """Padded tokens and their mask. ((n, tokens), (n, tokens))"""
        tokens = np.zeros((len(items), max(map(len, items))), np.int64)
        attention_mask = np.zeros_like(tokens)
        for row, item in enumerate(items):
            tokens[row, : len(item)] = item
            attention_mask[row, : len(item)] = 1
        return torch.from_numpy(tokens), torch.from_numpy(attention_mask)

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """(n, tokens) each, to (n, outputs) of [CLS]."""
        read = self.model(input_ids=tokens, attention_mask=attention_mask).last_hidden_state
        projected: Tensor = self.projection(read[:, 0])
        return projected.float()

    @property
    def lower(self) -> list[list[nn.Module]]:
        """The tables of tokens and places, then each layer."""
        return [[self.model.embeddings], *([layer] for layer in self.model.encoder.layer)]

    def arrays(self) -> dict[str, Array]:
        """Weights, running statistics and the vocabulary."""
        return {**super().arrays(), "vocabulary": self.vocabulary}
