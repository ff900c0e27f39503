"""Settings of playlist-cnn."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from segue.config import Config, Search


class PlaylistCNNConfig(Config, frozen=True):
    """Settings of `playlist-cnn`. The defaults train on two cores."""

    factors: Annotated[
        int,
        Meta(ge=1, le=4096, description="length of a track's vector"),
        Search(choices=(64, 128, 256)),
    ] = 128
    blocks: Annotated[int, Meta(ge=1, le=32, description="convolutions, one after another")] = 1
    kernels: Annotated[
        int,
        Meta(ge=1, le=4096, description="outputs of each convolution"),
        Search(choices=(64, 128, 256)),
    ] = 128
    width: Annotated[
        int, Meta(ge=1, le=32, description="tracks that an output of a convolution sees")
    ] = 3
    pooled: Annotated[
        int, Meta(ge=1, le=32, description="largest outputs of each kernel that are kept")
    ] = 3
    mean: Annotated[
        bool, Meta(description="whether the history's embeddings are also summed; published: no")
    ] = True
    length: Annotated[
        int, Meta(ge=1, le=1000, description="tracks of a history that are read, the last ones")
    ] = 100
    loss: Annotated[
        Literal["softmax", "logistic"],
        Meta(description='"softmax" over later and drawn tracks, or "logistic" as published'),
    ] = "softmax"
    epochs: Annotated[int, Meta(ge=1, description="passes over the playlists"), Search(1, 10)] = 3
    batch: Annotated[int, Meta(ge=2, le=65536, description="playlists in a step")] = 64
    cuts: Annotated[
        int, Meta(ge=1, le=100, description="prediction points drawn in each playlist of a step")
    ] = 4
    negatives: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="other tracks drawn for each step"),
        Search(500, 8000, log=True),
    ] = 2000
    learning_rate: Annotated[
        float, Meta(gt=0, description="size of a step"), Search(1e-4, 0.01, log=True)
    ] = 0.001
    dropout: Annotated[
        float,
        Meta(ge=0, lt=1, description="share of inputs and pooled outputs left out"),
        Search(0, 0.8),
    ] = 0.7
