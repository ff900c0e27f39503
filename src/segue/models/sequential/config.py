"""Settings of the sequential models."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from segue.config import Config, Search
from segue.errors import ConfigError


class SequenceConfig(Config, frozen=True):
    """Common settings of the sequence models."""

    factors: Annotated[
        int,
        Meta(ge=1, le=4096, description="length of a track's vector"),
        Search(choices=(32, 64, 128, 256)),
    ] = 64
    blocks: Annotated[int, Meta(ge=1, le=32, description="number of layers"), Search(1, 3)] = 2
    length: Annotated[
        int,
        Meta(ge=2, le=1000, description="maximum number of input tracks, the last of a history"),
        Search(10, 100, log=True),
    ] = 20
    dropout: Annotated[float, Meta(ge=0, lt=1, description="dropout rate"), Search(0, 0.6)] = 0.2
    history: Annotated[
        Literal["all", "positive"],
        Meta(description='"positive": without skipped and disliked tracks'),
    ] = "all"
    read_skips: Annotated[
        bool, Meta(description="whether inputs mark the skipped tracks of a history")
    ] = False
    read_past: Annotated[
        bool,
        Meta(description="whether tracks of the listener's earlier sessions may rank higher"),
    ] = True
    half_life: Annotated[
        float,
        Meta(gt=0, le=1e6, description="listens after which an earlier play counts half"),
        Search(10, 1000, log=True),
    ] = 100.0
    targets: Annotated[
        Literal["next", "next-positive"],
        Meta(description="training target: the next track, or the next one not skipped"),
    ] = "next"
    loss: Annotated[
        Literal["sampled", "full"],
        Meta(description="softmax over the target and sampled negatives, or over the catalog"),
    ] = "sampled"
    negatives: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="uniformly sampled negatives of a step"),
        Search(64, 4096, log=True),
    ] = 512
    redraw: Annotated[
        Literal["batch", "epoch"], Meta(description="how often negatives are sampled")
    ] = "batch"
    in_batch: Annotated[
        bool, Meta(description="whether the other targets of a step are negatives, too")
    ] = False
    log_q: Annotated[
        bool,
        Meta(description="whether scores of negatives are corrected by their sampling probability"),
    ] = False
    skip_weight: Annotated[
        float, Meta(ge=0, description="weight of the skip-informed loss"), Search(0.03, 3, log=True)
    ] = 0.0
    skip_context: Annotated[
        Literal["hidden", "item"],
        Meta(description="vector that skipped tracks move away from: state, or current track"),
    ] = "hidden"
    temperature: Annotated[
        float, Meta(gt=0, description="temperature of the skip-informed loss")
    ] = 0.1
    feedback_weight: Annotated[
        float,
        Meta(ge=0, description="weight of a head that predicts skips"),
        Search(0.03, 3, log=True),
    ] = 0.0
    twin_weight: Annotated[
        float,
        Meta(ge=0, description="weight of a second encoder of the skipped tracks only (PNFRec)"),
        Search(0.03, 3, log=True),
    ] = 0.0
    epochs: Annotated[int, Meta(ge=1, description="maximum number of passes over the sessions")] = (
        20
    )
    patience: Annotated[
        int,
        Meta(ge=0, description="epochs without gain on validation before training ends; 0: never"),
    ] = 2
    batch: Annotated[
        int,
        Meta(ge=1, le=65536, description="sessions in a step"),
        Search(choices=(64, 128, 256, 512)),
    ] = 128
    precision: Annotated[
        Literal["float32", "bfloat16"],
        Meta(description="precision of training; bfloat16 pays on large models and devices"),
    ] = "float32"
    learning_rate: Annotated[
        float, Meta(gt=0, description="step size"), Search(5e-4, 0.03, log=True)
    ] = 0.005
    mask_share: Annotated[
        float, Meta(ge=0, le=1, description="share of tracks that bert4rec masks besides the last")
    ] = 0.15


class TransformerConfig(SequenceConfig, frozen=True):
    """Settings of `sasrec` and `bert4rec`."""

    heads: Annotated[
        int,
        Meta(ge=1, description="attention heads; they divide factors"),
        Search(choices=(1, 2, 4)),
    ] = 2
    width: Annotated[
        int, Meta(ge=1, le=65536, description="width of the inner layer, in factors")
    ] = 2

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

    window: Annotated[
        int, Meta(ge=1, le=100, description="maximum height of a filter, in tracks")
    ] = 5
    horizontal: Annotated[
        int, Meta(ge=1, le=1024, description="filters of each height from 1 to `window`")
    ] = 16
    vertical: Annotated[int, Meta(ge=1, le=1024, description="filters over single factors")] = 4
