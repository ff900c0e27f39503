"""Settings of the sequential models."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from segue.config import Config, Search
from segue.errors import ConfigError


class SequenceConfig(Config, frozen=True):
    """Settings that all sequence models have."""

    factors: Annotated[
        int,
        Meta(ge=1, le=4096, description="length of a track's vector"),
        Search(choices=(32, 64, 128, 256)),
    ] = 64
    blocks: Annotated[
        int, Meta(ge=1, le=32, description="layers, one after another"), Search(1, 3)
    ] = 2
    length: Annotated[
        int,
        Meta(ge=2, le=1000, description="tracks of a history that are read, the last ones"),
        Search(10, 100, log=True),
    ] = 20
    dropout: Annotated[
        float, Meta(ge=0, lt=1, description="share of numbers left out"), Search(0, 0.6)
    ] = 0.2
    history: Annotated[
        Literal["all", "positive"],
        Meta(description='"positive": skipped and disliked tracks are neither read nor learned'),
    ] = "all"
    read_skips: Annotated[
        bool, Meta(description="whether the model is told which tracks of a history were skipped")
    ] = False
    read_past: Annotated[
        bool,
        Meta(description="whether what a listener played in earlier sessions may be ranked higher"),
    ] = True
    half_life: Annotated[
        float,
        Meta(gt=0, le=1e6, description="listens after which a play of the past counts half"),
        Search(10, 1000, log=True),
    ] = 100.0
    targets: Annotated[
        Literal["next", "next-positive"],
        Meta(description="what is learned to come next: any track, or the next one not skipped"),
    ] = "next"
    loss: Annotated[
        Literal["sampled", "full"],
        Meta(description="softmax over drawn tracks and the right one, or over the whole catalog"),
    ] = "sampled"
    negatives: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="tracks drawn for a step, evenly"),
        Search(64, 4096, log=True),
    ] = 512
    redraw: Annotated[
        Literal["batch", "epoch"], Meta(description="how often they are drawn anew")
    ] = "batch"
    in_batch: Annotated[
        bool, Meta(description="whether the other targets of a step count as drawn, too")
    ] = False
    log_q: Annotated[
        bool,
        Meta(
            description="whether scores of drawn tracks are corrected by their chance to be drawn"
        ),
    ] = False
    skip_weight: Annotated[
        float, Meta(ge=0, description="weight of the skip-informed loss"), Search(0.03, 3, log=True)
    ] = 0.0
    skip_context: Annotated[
        Literal["hidden", "item"],
        Meta(description="what skipped tracks are moved away from: state, or current track"),
    ] = "hidden"
    temperature: Annotated[float, Meta(gt=0, description="of the skip-informed loss")] = 0.1
    feedback_weight: Annotated[
        float,
        Meta(ge=0, description="weight of a head that tells whether a track will be skipped"),
        Search(0.03, 3, log=True),
    ] = 0.0
    twin_weight: Annotated[
        float,
        Meta(ge=0, description="weight of an encoder of the skipped tracks alone (PNFRec)"),
        Search(0.03, 3, log=True),
    ] = 0.0
    epochs: Annotated[int, Meta(ge=1, description="passes over the sessions, at most")] = 20
    patience: Annotated[
        int,
        Meta(ge=0, description="epochs without gain on validation before it stops; 0: never"),
    ] = 2
    batch: Annotated[
        int,
        Meta(ge=1, le=65536, description="sessions in a step"),
        Search(choices=(64, 128, 256, 512)),
    ] = 128
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Meta(description="of products in training; bfloat16 pays on large models and devices"),
    ] = "float32"
    learning_rate: Annotated[
        float, Meta(gt=0, description="size of a step"), Search(5e-4, 0.03, log=True)
    ] = 0.005
    mask_share: Annotated[
        float, Meta(ge=0, le=1, description="share of tracks that bert4rec hides besides the last")
    ] = 0.15


class TransformerConfig(SequenceConfig, frozen=True):
    """Settings of `sasrec` and `bert4rec`."""

    heads: Annotated[
        int, Meta(ge=1, description="of attention; divide factors"), Search(choices=(1, 2, 4))
    ] = 2
    width: Annotated[int, Meta(ge=1, le=65536, description="of the layer between, in factors")] = 2

    def __post_init__(self) -> None:
        if self.factors % self.heads:
            raise ConfigError(
                f"{self.factors} factors cannot be shared by {self.heads} heads",
                where=type(self).__name__,
                do="take factors that heads divides",
            )


class BERT4RecConfig(TransformerConfig, frozen=True):
    """Settings of `bert4rec`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.twin_weight:
            raise ConfigError(
                "twin_weight needs a causal trunk",
                where=type(self).__name__,
                do="take sasrec, gru4rec or caser, or leave it 0",
            )


class CaserConfig(SequenceConfig, frozen=True):
    """Settings of `caser`."""

    window: Annotated[int, Meta(ge=1, le=100, description="tracks that a filter sees, at most")] = 5
    horizontal: Annotated[
        int, Meta(ge=1, le=1024, description="filters of each height from 1 to `window`")
    ] = 16
    vertical: Annotated[int, Meta(ge=1, le=1024, description="filters over single factors")] = 4
