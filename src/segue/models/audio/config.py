"""Settings of `audio`, and the sizes that follow from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from segue.config import Config, Search
from segue.models.bpr.config import BPRConfig
from segue.models.larp.config import LARPConfig
from segue.models.sequential.config import (
    BERT4RecConfig,
    CaserConfig,
    SequenceConfig,
    TransformerConfig,
)
from segue.models.wrmf.config import WRMFConfig
from segue.nn.tower import WINDOW, Form


class AudioConfig(Config, frozen=True):
    """Settings of `audio`."""

    base: Annotated[
        Literal["wrmf", "bpr", "two-stage", "sasrec", "bert4rec", "gru4rec", "caser"],
        Meta(description="who learns from plays, and answers"),
    ] = "wrmf"
    wrmf: Annotated[WRMFConfig, Meta(description="settings of the base wrmf")] = WRMFConfig(
        factors=64, confidence="log", alpha=10.0, epsilon=1.0, regularisation=0.02
    )
    bpr: Annotated[BPRConfig, Meta(description="of the base bpr")] = BPRConfig()
    two_stage: Annotated[
        dict[str, Any], Meta(description="of the base two-stage; what it leaves out is as there")
    ] = field(default_factory=dict)  # two-stage checks them: models come before it
    sasrec: Annotated[TransformerConfig, Meta(description="of the base sasrec")] = (
        TransformerConfig()
    )
    bert4rec: Annotated[BERT4RecConfig, Meta(description="of the base bert4rec")] = BERT4RecConfig()
    gru4rec: Annotated[SequenceConfig, Meta(description="of the base gru4rec")] = SequenceConfig()
    caser: Annotated[CaserConfig, Meta(description="of the base caser")] = CaserConfig()
    sound: Annotated[
        Literal["bag-of-words", "mel", "mel-windows", "musicnn", "larp", "none"],
        Meta(description="what is heard"),
    ] = "musicnn"
    larp: Annotated[
        LARPConfig, Meta(description='of the sound "larp": what LARP tells of a track; no top')
    ] = LARPConfig()
    tower: Annotated[
        Literal["linear", "mlp", "cnn", "mean"],
        Meta(
            description='layers; "mean": the vector is the artist\'s mean, and nothing is learned'
        ),
    ] = "mlp"
    objective: Annotated[
        Literal["mse", "wpe", "contrastive"], Meta(description="what a tower is trained for")
    ] = "mse"
    artist: Annotated[
        bool, Meta(description="whether towers are told the mean of the artist's other tracks")
    ] = True
    channels: Annotated[
        int,
        Meta(ge=1, le=4096, description="of the first two convolutions; later ones have twice"),
    ] = 256
    hidden: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=65536)], ...],
        Meta(min_length=1, description="outputs of each hidden dense layer"),
    ] = (64,)
    temperature: Annotated[
        float, Meta(gt=0, description="τ of the contrastive objective"), Search(0.02, 0.5, log=True)
    ] = 0.1
    decoupled: Annotated[bool, Meta(description="whether its sum leaves out the track itself")] = (
        True
    )
    epochs: Annotated[
        int, Meta(ge=1, description="passes over the tracks, at most"), Search(20, 100)
    ] = 50
    patience: Annotated[
        int, Meta(ge=0, description="epochs without gain before training ends; 0 = never")
    ] = 0
    batch: Annotated[int, Meta(ge=1, description="tracks in a step")] = 128
    learning_rate: Annotated[
        float,
        Meta(gt=0, description="size of a step, at its largest"),
        Search(1e-4, 0.01, log=True),
    ] = 0.001
    weight_decay: Annotated[
        float, Meta(ge=0, description="pull of weights to zero"), Search(1e-3, 0.3, log=True)
    ] = 0.01
    dropout: Annotated[
        float,
        Meta(ge=0, lt=1, description="share of layers' outputs left out in training"),
        Search(0, 0.7),
    ] = 0.5
    precision: Annotated[
        Literal["bfloat16", "float32"], Meta(description="of convolutions in training")
    ] = "bfloat16"


def form_of(config: AudioConfig, inputs: int, factors: int) -> Form:
    """Sizes of the layers of a tower.

    Args:
        config: of the recommender.
        inputs: numbers of a sound, or bands of its frames.
        factors: of the base.
    """
    c = config.channels
    convolutions: tuple[tuple[int, int], ...] = ()
    if config.sound == "mel":
        convolutions = ((c, 4), (c, 2), (2 * c, 2), (2 * c, 1))
    elif config.sound == "mel-windows":
        convolutions = ((c, 4), (c, 4))
    return Form(
        inputs=inputs,
        convolutions=convolutions,
        window=WINDOW if config.sound == "mel-windows" else 0,
        hidden=() if config.tower == "linear" else config.hidden,
        outputs=factors + (config.objective == "contrastive"),
        artist=factors if config.artist else 0,
    )
