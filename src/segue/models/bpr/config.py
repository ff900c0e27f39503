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
        Meta(ge=1, description="passes; one has as many steps as there are entries"),
        Search(20, 120),
    ] = 60
    learning_rate: Annotated[
        float, Meta(gt=0, description="size of a step"), Search(0.005, 0.3, log=True)
    ] = 0.05
    regularisation: Annotated[
        float, Meta(gt=0, description="of the vectors, a step"), Search(1e-4, 0.1, log=True)
    ] = 0.004
    bias_regularisation: Annotated[
        float,
        Meta(ge=0, description="of the biases, a step: more makes popularity count less"),
        Search(1e-3, 0.5, log=True),
    ] = 0.03
    skip_share: Annotated[
        float,
        Meta(ge=0, le=1, description="share of steps whose j the row skipped; 0 = no skips"),
        Search(0.05, 0.9, log=True),
    ] = 0.0
    skip_rate_weight: Annotated[
        float,
        Meta(ge=0, description="what a track's score falls by if all its listens are skipped"),
    ] = 0.0
    rows: Annotated[
        RowKind, Meta(description='what a row of listens is: "listeners" or their "sessions"')
    ] = "listeners"
