"""Settings of `larp`'s heads."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from segue.config import Config


class HeadConfig(Config, frozen=True):
    """Common settings of trained heads."""

    hidden: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=65536)], ...],
        Meta(description="outputs of each hidden layer"),
    ] = (256,)
    outputs: Annotated[
        int, Meta(ge=1, le=4096, description="length of the vectors in the product")
    ] = 64
    learning_rate: Annotated[float, Meta(gt=0, description="step size after the warm-up")] = 0.001
    weight_decay: Annotated[float, Meta(ge=0, description="strength of the weight decay")] = 0.01
    batch: Annotated[int, Meta(ge=1, description="playlists in a step")] = 64
    positives: Annotated[
        int, Meta(ge=1, description="maximum number of targets of a playlist in a step")
    ] = 8
    negatives: Annotated[int, Meta(ge=1, description="number of sampled negatives in a step")] = 512
    epochs: Annotated[
        int, Meta(ge=1, description="maximum number of passes over the playlists")
    ] = 40
    patience: Annotated[
        int, Meta(ge=0, description="epochs without gain before training ends; 0: never")
    ] = 10


class NearestConfig(Config, frozen=True):
    """Settings of the head "nearest"."""

    temperature: Annotated[
        Annotated[float, Meta(ge=0.001, le=10)] | None,
        Meta(
            description="θ: how soon neighbours of a seed fade out; none: the best for held-out "
            "tracks"
        ),
    ] = None


class DropoutNetConfig(HeadConfig, frozen=True):
    """Settings of the head "dropoutnet".

    Salganik et al. have hidden layers of 512 and 256, 256 outputs, `normalised`, "sgd" with a
    learning rate of 0.005 and a weight decay of 0.1, a dropout of 0.2 and 20 epochs.
    """

    factors: Annotated[
        int, Meta(ge=1, le=4096, description="length of preferences, the vectors of WRMF")
    ] = 64
    dropout: Annotated[
        float, Meta(ge=0, le=1, description="share of inputs without their preference")
    ] = 0.5
    target: Annotated[
        Literal["plays", "scores"],
        Meta(
            description='target of scores: "plays" 1 for a track of the playlist and 0 for '
            'others, "scores" the product of their preferences'
        ),
    ] = "plays"
    normalised: Annotated[bool, Meta(description="whether batch normalisation precedes tanh")] = (
        False
    )
    optimiser: Annotated[
        Literal["adamw", "sgd"],
        Meta(description='optimiser; the published one is "sgd", with momentum'),
    ] = "adamw"


class ClcRecConfig(HeadConfig, frozen=True):
    """Settings of the head "clcrec".

    Published are these layers, τ, λ and share, with a regularisation of 0.1.
    """

    temperature: Annotated[float, Meta(gt=0, description="τ, temperature of the loss")] = 2.0
    mix: Annotated[
        float, Meta(ge=0, le=1, description="λ, share of the loss between tracks and their content")
    ] = 0.5
    replaced: Annotated[
        float, Meta(ge=0, le=1, description="share of the vectors z that f of the content replaces")
    ] = 0.5
    regularisation: Annotated[float, Meta(ge=0, description="regularisation of the vectors z")] = (
        0.0
    )
