"""Settings of the tops of `larp` that learn."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from segue.config import Config


class HeadConfig(Config, frozen=True):
    """What settings of the tops that learn have in common."""

    hidden: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=65536)], ...],
        Meta(description="outputs of each hidden layer"),
    ] = (256,)
    outputs: Annotated[
        int, Meta(ge=1, le=4096, description="length of the vectors whose products score")
    ] = 64
    learning_rate: Annotated[float, Meta(gt=0, description="size of a step at its largest")] = 0.001
    weight_decay: Annotated[float, Meta(ge=0, description="pull of weights to zero")] = 0.01
    batch: Annotated[int, Meta(ge=1, description="playlists in a step")] = 64
    positives: Annotated[
        int, Meta(ge=1, description="tracks that a step wants for each playlist, at most")
    ] = 8
    negatives: Annotated[
        int, Meta(ge=1, description="tracks that are drawn in a step, wanted for none")
    ] = 512
    epochs: Annotated[int, Meta(ge=1, description="passes over the playlists, at most")] = 40
    patience: Annotated[
        int, Meta(ge=0, description="epochs without gain before training ends; 0 = never")
    ] = 10


class NearestConfig(Config, frozen=True):
    """Settings of the top "nearest"."""

    temperature: Annotated[
        Annotated[float, Meta(ge=0.001, le=10)] | None,
        Meta(
            description="θ: how soon neighbours of a seed fade out; none: what is best for tracks "
            "kept aside"
        ),
    ] = None


class DropoutNetConfig(HeadConfig, frozen=True):
    """Settings of the top "dropoutnet".

    Salganik et al. have hidden layers of 512 and 256, 256 outputs, `normalised`, "sgd" with a
    learning rate of 0.005 and a weight decay of 0.1, a dropout of 0.2 and 20 epochs.
    """

    factors: Annotated[
        int, Meta(ge=1, le=4096, description="length of preferences, the vectors of WRMF")
    ] = 64
    dropout: Annotated[
        float, Meta(ge=0, le=1, description="share of the inputs whose preference is left out")
    ] = 0.5
    target: Annotated[
        Literal["plays", "scores"],
        Meta(
            description='what scores should be: "plays" 1 for a track of the playlist and 0 for '
            'others, "scores" the product of their preferences'
        ),
    ] = "plays"
    normalised: Annotated[
        bool, Meta(description="whether what tanh takes is normalised over a step")
    ] = False
    optimiser: Annotated[
        Literal["adamw", "sgd"], Meta(description='"sgd", with momentum, is the published one')
    ] = "adamw"


class ClcRecConfig(HeadConfig, frozen=True):
    """Settings of the top "clcrec".

    Published are these layers, τ, λ and share, with a regularisation of 0.1.
    """

    temperature: Annotated[float, Meta(gt=0, description="τ")] = 2.0
    mix: Annotated[
        float, Meta(ge=0, le=1, description="λ, share of the loss between tracks and their content")
    ] = 0.5
    replaced: Annotated[
        float, Meta(ge=0, le=1, description="share of the vectors z that content stands for")
    ] = 0.5
    regularisation: Annotated[float, Meta(ge=0, description="pull of the vectors z to zero")] = 0.0
