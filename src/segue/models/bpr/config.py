"""Settings of bpr."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from segue.config import Config, Search
from segue.data.interactions import RowKind


class BPRConfig(Config, frozen=True):
    """Settings of `bpr`."""

    factors: Annotated[
        int, Meta(ge=1, le=4096, description="length of the vectors"), Search(32, 512, log=True)
    ] = 128
    epochs: Annotated[
        int,
        Meta(ge=1, description="passes; one has as many steps as the data has entries"),
        Search(20, 120),
    ] = 60
    learning_rate: Annotated[
        float, Meta(gt=0, description="step size"), Search(0.005, 0.3, log=True)
    ] = 0.05
    regularisation: Annotated[
        float, Meta(gt=0, description="regularisation of the vectors"), Search(1e-4, 0.1, log=True)
    ] = 0.004
    bias_regularisation: Annotated[
        float,
        Meta(ge=0, description="regularisation of the biases: more makes popularity count less"),
        Search(1e-3, 0.5, log=True),
    ] = 0.03
    skip_share: Annotated[
        float,
        Meta(ge=0, le=1, description="share of steps with a skipped track as negative; 0: none"),
        Search(0.05, 0.9, log=True),
    ] = 0.0
    skip_rate_weight: Annotated[
        float,
        Meta(ge=0, description="decrease of a track's score if all its listens are skips"),
    ] = 0.0
    rows: Annotated[
        RowKind, Meta(description='rows of the matrix: "listeners" or their "sessions"')
    ] = "listeners"
