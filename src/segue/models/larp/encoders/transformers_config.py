"""Settings of the encoders of full size, and the sizes that follow from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from segue.audio.mel import CLAP
from segue.config import Config
from segue.errors import ConfigError

_PATCH, _WINDOW = 4, 8
"""Height and width of a patch of HTS-AT, and of an attention window in patches."""
_CLIP = 1_001
"""Frames of ten seconds."""

Checkpoints = Annotated[
    str,
    Meta(
        description="checkpoint to start from: a folder, or a name in this machine's cache of "
        "Hugging Face; empty: random weights"
    ),
]
Frozen = Annotated[int, Meta(ge=0, description="number of frozen layers, from the lowest up")]
Layers = Annotated[int, Meta(ge=1, le=64)]
Heads = Annotated[int, Meta(ge=1, le=256)]


class HtsatConfig(Config, frozen=True):
    """Settings of HTS-AT, the published ones by default."""

    checkpoint: Checkpoints = ""
    frozen_layers: Frozen = 0
    picture: Annotated[
        Literal[64, 128, 256],
        Meta(description="height and width of the picture that holds the frames of a clip"),
    ] = 256
    width: Annotated[
        int,
        Meta(ge=1, le=4096, description="length of a patch's vector; it doubles with each group"),
    ] = 96
    depths: Annotated[
        tuple[Layers, ...],
        Meta(min_length=1, max_length=4, description="layers of each group"),
    ] = (2, 2, 6, 2)
    heads: Annotated[
        tuple[Heads, ...],
        Meta(min_length=1, max_length=4, description="attention heads of each group"),
    ] = (4, 8, 16, 32)

    @property
    def clip(self) -> int:
        """Frames of a clip, of 10 ms: ten seconds, or as many as the picture holds."""
        return min(_CLIP, self.picture**2 // CLAP.bands)

    @property
    def form(self) -> dict[str, Any]:
        """These and the fixed settings under the library's names.

        Raises:
            ConfigError: the settings do not fit each other.
        """
        groups = len(self.depths)
        if len(self.heads) != groups:
            raise ConfigError(
                f"htsat.heads has {len(self.heads)} groups, htsat.depths {groups}", where="larp"
            )
        for group, heads in enumerate(self.heads):
            _check_heads(heads, self.width * 2**group, "htsat")
        least = _PATCH * _WINDOW * 2 ** (groups - 1)
        if self.picture < least:
            raise ConfigError(
                f"htsat.picture is {self.picture}, {groups} groups need {least}", where="larp"
            )
        _check_frozen(self.frozen_layers, sum(self.depths), "htsat")
        return {
            "spec_size": self.picture,
            "patch_embeds_hidden_size": self.width,
            "depths": list(self.depths),
            "num_attention_heads": list(self.heads),
            "hidden_size": self.width * 2 ** (groups - 1),
            "num_mel_bins": CLAP.bands,
            "patch_size": _PATCH,
            "patch_stride": [_PATCH, _PATCH],
            "window_size": _WINDOW,
            "mlp_ratio": 4.0,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-5,
            "qkv_bias": True,
            "enable_fusion": False,
        }


class BertConfig(Config, frozen=True):
    """Settings of BERT, the published ones by default."""

    checkpoint: Checkpoints = ""
    frozen_layers: Frozen = 0
    width: Annotated[int, Meta(ge=1, le=4096, description="length of a token's vector")] = 768
    layers: Annotated[Layers, Meta(description="number of layers")] = 12
    heads: Annotated[Heads, Meta(description="attention heads of each layer")] = 12
    tokens: Annotated[
        int, Meta(ge=3, le=512, description="maximum number of tokens of a caption")
    ] = 30

    @property
    def form(self) -> dict[str, Any]:
        """These and the fixed settings under the library's names; raises as `HtsatConfig.form`."""
        _check_heads(self.heads, self.width, "bert")
        _check_frozen(self.frozen_layers, self.layers, "bert")
        return {
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": 4 * self.width,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
        }


def _check_heads(heads: int, width: int, where: str) -> None:
    if width % heads:
        raise ConfigError(
            f"{where}.heads is {heads}, no divisor of a width of {width}", where="larp"
        )


def _check_frozen(frozen: int, layers: int, where: str) -> None:
    if frozen > layers:
        raise ConfigError(f"{where}.frozen_layers is {frozen} of {layers} layers", where="larp")
