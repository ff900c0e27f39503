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
            description='what the side of sound hears: "mel" by a small network, "musicnn" a '
            'frozen one\'s embedding, "clap" by HTS-AT'
        ),
    ] = "mel"
    text: Annotated[
        Literal["none", "words", "names", "minilm", "bert"],
        Meta(
            description='what reads captions: "words" a small transformer, "names" a weighted '
            'sum of words and pairs, "minilm" a frozen sentence encoder, "bert" BERT'
        ),
    ] = "words"
    template: Annotated[Literal["paper", "code"], Meta(description="words of the captions")] = (
        "paper"
    )
    stages: Annotated[
        tuple[Stage, ...],
        Meta(
            description='stages, each with the losses of those before it: "wtc" within a track, '
            '"ttc" tracks of a playlist, "tpc" tracks and playlists; none: frozen sides as they are'
        ),
    ] = ("wtc", "ttc", "tpc")
    aggregator: Annotated[
        Literal["mean", "fusion", "transformer", "ordered"],
        Meta(description='what makes a playlist of tracks in the stage "tpc"'),
    ] = "fusion"
    pooling: Annotated[
        Literal["aggregator", "mean"],
        Meta(
            description="what makes a query of its tracks: the aggregator, or always the mean, as "
            "published"
        ),
    ] = "aggregator"
    top: Annotated[
        Literal["item-knn", "nearest", "dropoutnet", "clcrec"],
        Meta(description="who answers from what the sides tell"),
    ] = "item-knn"
    nearest: Annotated[NearestConfig, Meta(description="settings of this top")] = NearestConfig()
    dropoutnet: Annotated[DropoutNetConfig, Meta(description="settings of this top")] = (
        DropoutNetConfig()
    )
    clcrec: Annotated[ClcRecConfig, Meta(description="settings of this top")] = ClcRecConfig()
    htsat: Annotated[HtsatConfig, Meta(description='settings of the sound "clap"')] = HtsatConfig()
    bert: Annotated[BertConfig, Meta(description='settings of the text "bert"')] = BertConfig()
    dimensions: Annotated[
        int,
        Meta(ge=4, le=4096, multiple_of=4, description="d, numbers that each side gives"),
        Search(choices=(64, 128, 256, 512)),
    ] = 256
    seeds: Annotated[
        int, Meta(ge=1, le=1000, description="|J|, tracks that a playlist is made of, at most")
    ] = 10
    temperature: Annotated[
        float,
        Meta(ge=0.001, le=0.5, description="τ, at the start where it is learned"),
        Search(0.02, 0.5, log=True),
    ] = 0.1
    learned_temperature: Annotated[bool, Meta(description="whether τ is learned")] = False
    soft: Annotated[
        float, Meta(ge=0, lt=1, description="α, share of the slow networks' opinion in targets")
    ] = 0.0
    momentum: Annotated[
        float,
        Meta(ge=0, lt=1, description="m, how much slow networks keep in a step"),
        Search(0.9, 0.999),
    ] = 0.99
    queue: Annotated[
        int, Meta(ge=0, le=1_000_000, description="earlier features that are candidates, too")
    ] = 0
    spare: Annotated[
        bool,
        Meta(description="whether other tracks of the pair's playlist are no negatives"),
    ] = True
    epochs: Annotated[int, Meta(ge=1, description="passes over the tracks in a stage, at most")] = (
        20
    )
    patience: Annotated[
        int, Meta(ge=0, description="epochs without gain before a stage ends; 0 = never")
    ] = 10
    batch: Annotated[int, Meta(ge=2, description="pairs in a step")] = 64
    learning_rate: Annotated[
        float,
        Meta(gt=0, description="size of a step at its largest, after the warm-up"),
        Search(1e-4, 0.01, log=True),
    ] = 0.001
    warm_up: Annotated[
        float, Meta(ge=0, lt=1, description="share of a stage in which steps grow")
    ] = 0.1
    weight_decay: Annotated[
        float, Meta(ge=0, description="pull of weights to zero"), Search(1e-3, 0.1, log=True)
    ] = 0.01
    dropout: Annotated[
        float,
        Meta(ge=0, lt=1, description="share of the small sides' inner outputs left out"),
        Search(0, 0.5),
    ] = 0.1
    channels: Annotated[
        int, Meta(ge=1, le=4096, description='of the first two convolutions of "mel"')
    ] = 64
    hidden: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=65536)], ...],
        Meta(description='outputs of each hidden layer of "mel", "musicnn" and "minilm"'),
    ] = (512,)
    precision: Annotated[
        Literal["bfloat16", "float32"], Meta(description="of convolutions in training")
    ] = "bfloat16"
