"""Settings of wrmf."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from segue.config import Config, Search
from segue.data.interactions import RowKind


class WRMFConfig(Config, frozen=True):
    """Settings of WRMF."""

    factors: Annotated[
        int,
        Meta(ge=1, le=4096, description="length of a track's vector"),
        Search(32, 1024, log=True),
    ] = 512
    confidence: Annotated[
        Literal["linear", "log"],
        Meta(description='confidence of r plays: "linear" 1 + αr, "log" 1 + α log(1 + r/ε)'),
    ] = "linear"
    alpha: Annotated[
        float, Meta(gt=0, description="α: weight of a play"), Search(1, 400, log=True)
    ] = 50.0
    skip_confidence: Annotated[
        float,
        Meta(ge=0, description="β: weight of a skip; 0: none"),
        Search(1, 400, log=True),
    ] = 0.0
    skip_rate_weight: Annotated[
        float,
        Meta(ge=0, description="decrease of a track's score if all its listens are skips"),
    ] = 0.0
    rows: Annotated[
        RowKind, Meta(description='rows of the matrix: "listeners" or their "sessions"')
    ] = "listeners"
    epsilon: Annotated[float, Meta(gt=0, description="ε of the log confidence")] = 1.0
    regularisation: Annotated[
        float,
        Meta(gt=0, description="λ: regularisation of the factors"),
        Search(1e-4, 0.1, log=True),
    ] = 0.005
    frequency_exponent: Annotated[
        float,
        Meta(ge=0, le=2, description="ν: 0 = the published λ for all, 1 = scaled with data"),
        Search(0, 2),
    ] = 1.0
    sweeps: Annotated[int, Meta(ge=1, description="passes over rows and tracks"), Search(4, 16)] = 8
    solver_steps: Annotated[
        int, Meta(ge=1, description="conjugate gradient steps for each row in a sweep")
    ] = 3
    fold_in_exponent: Annotated[
        float,
        Meta(ge=0, le=2, description="κ: regularisation λ (16/n)^κ of a query of n tracks; 0: λ"),
        Search(0, 1.5),
    ] = 0.6
    artist_weight: Annotated[
        float,
        Meta(ge=0, description="weight of a play for the track's artist, in plays"),
        Search(0.03, 3, log=True),
    ] = 0.0
    album_weight: Annotated[
        float,
        Meta(ge=0, description="weight of a play for the track's album, in plays"),
        Search(0.03, 3, log=True),
    ] = 0.0
    title_weight: Annotated[
        float,
        Meta(ge=0, description="weight of a word of the title, in plays"),
        Search(0.03, 3, log=True),
    ] = 0.0
    company_share: Annotated[
        float,
        Meta(ge=0, description="share of artist's and album's vectors in a track's vector"),
    ] = 0.1
