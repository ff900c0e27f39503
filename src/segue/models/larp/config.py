"""Settings of `larp`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from segue.config import Config, Search
from segue.models.larp.encoders.transformers_config import BertConfig, HtsatConfig
from segue.models.larp.heads.config import ClcRecConfig, DropoutNetConfig, NearestConfig

Stage = Literal["wtc", "ttc", "tpc"]


class LARPConfig(Config, frozen=True):
    """Settings of `larp`."""

    sound: Annotated[
        Literal["none", "mel", "musicnn", "clap"],
        Meta(
            description='audio encoder: "mel" a small network, "musicnn" a frozen embedding, '
            '"clap" HTS-AT'
        ),
    ] = "mel"
    text: Annotated[
        Literal["none", "words", "names", "minilm", "bert"],
        Meta(
            description='text encoder: "words" a small transformer, "names" a weighted sum '
            'of words and pairs, "minilm" a frozen sentence encoder, "bert" BERT'
        ),
    ] = "words"
    template: Annotated[Literal["paper", "code"], Meta(description="template of the captions")] = (
        "paper"
    )
    stages: Annotated[
        tuple[Stage, ...],
        Meta(
            description='stages, each with the losses of those before it: "wtc" within a track, '
            '"ttc" tracks of a playlist, "tpc" tracks and playlists; none: frozen encoders'
        ),
    ] = ("wtc", "ttc", "tpc")
    aggregator: Annotated[
        Literal["mean", "fusion", "transformer", "ordered"],
        Meta(description='aggregator of the tracks of a playlist in the stage "tpc"'),
    ] = "fusion"
    pooling: Annotated[
        Literal["aggregator", "mean"],
        Meta(
            description="aggregation of a query's tracks: the aggregator, or always the mean, as "
            "published"
        ),
    ] = "aggregator"
    top: Annotated[
        Literal["item-knn", "nearest", "dropoutnet", "clcrec"],
        Meta(description="head that ranks tracks by their content"),
    ] = "item-knn"
    nearest: Annotated[NearestConfig, Meta(description="settings of this head")] = NearestConfig()
    dropoutnet: Annotated[DropoutNetConfig, Meta(description="settings of this head")] = (
        DropoutNetConfig()
    )
    clcrec: Annotated[ClcRecConfig, Meta(description="settings of this head")] = ClcRecConfig()
    htsat: Annotated[HtsatConfig, Meta(description='settings of the sound "clap"')] = HtsatConfig()
    bert: Annotated[BertConfig, Meta(description='settings of the text "bert"')] = BertConfig()
    dimensions: Annotated[
        int,
        Meta(ge=4, le=4096, multiple_of=4, description="d, length of the encoders' vectors"),
        Search(choices=(64, 128, 256, 512)),
    ] = 256
    seeds: Annotated[
        int, Meta(ge=1, le=1000, description="|J|, maximum number of seeds of a playlist")
    ] = 10
    temperature: Annotated[
        float,
        Meta(ge=0.001, le=0.5, description="τ, its start value if it is trained"),
        Search(0.02, 0.5, log=True),
    ] = 0.1
    learned_temperature: Annotated[bool, Meta(description="whether τ is trained")] = False
    soft: Annotated[
        float,
        Meta(ge=0, lt=1, description="α, share of the slow networks' distribution in targets"),
    ] = 0.0
    momentum: Annotated[
        float,
        Meta(ge=0, lt=1, description="m, momentum of the slow networks"),
        Search(0.9, 0.999),
    ] = 0.99
    queue: Annotated[
        int, Meta(ge=0, le=1_000_000, description="number of earlier features among the candidates")
    ] = 0
    spare: Annotated[
        bool,
        Meta(description="whether negatives leave out other tracks of the pair's playlist"),
    ] = True
    epochs: Annotated[
        int, Meta(ge=1, description="maximum number of passes over the tracks in a stage")
    ] = 20
    patience: Annotated[
        int, Meta(ge=0, description="epochs without gain before a stage ends; 0: never")
    ] = 10
    batch: Annotated[int, Meta(ge=2, description="pairs in a step")] = 64
    learning_rate: Annotated[
        float,
        Meta(gt=0, description="step size after the warm-up"),
        Search(1e-4, 0.01, log=True),
    ] = 0.001
    warm_up: Annotated[
        float, Meta(ge=0, lt=1, description="share of a stage with growing step size")
    ] = 0.1
    weight_decay: Annotated[
        float, Meta(ge=0, description="strength of the weight decay"), Search(1e-3, 0.1, log=True)
    ] = 0.01
    dropout: Annotated[
        float,
        Meta(ge=0, lt=1, description="dropout rate in the small encoders"),
        Search(0, 0.5),
    ] = 0.1
    channels: Annotated[
        int, Meta(ge=1, le=4096, description='channels of the first two convolutions of "mel"')
    ] = 64
    hidden: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=65536)], ...],
        Meta(description='outputs of each hidden layer of "mel", "musicnn" and "minilm"'),
    ] = (512,)
    precision: Annotated[
        Literal["bfloat16", "float32"], Meta(description="precision of convolutions in training")
    ] = "bfloat16"
