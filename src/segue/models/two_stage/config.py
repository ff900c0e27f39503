"""Settings of `two-stage`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from segue.config import Config, Search
from segue.models.knn import ItemKNNConfig, UserKNNConfig
from segue.models.playlist_cnn.config import PlaylistCNNConfig
from segue.models.title.config import TitleConfig
from segue.models.two_stage.features.columns import FAMILIES
from segue.models.two_stage.ranker import RankerConfig
from segue.models.wrmf.config import WRMFConfig

Model = Literal["wrmf", "playlist-cnn", "user-knn", "item-knn", "title"]
Family = Literal["first stage", "track", "playlist", "pair", "playlists of the track"]
assert Family.__args__ == FAMILIES  # type: ignore[attr-defined]


class TwoStageConfig(Config, frozen=True):
    """Settings of both stages."""

    models: Annotated[
        tuple[Model, ...], Meta(min_length=1, description="of the first stage; wrmf is needed")
    ] = ("wrmf", "user-knn", "item-knn", "title")
    wrmf: Annotated[WRMFConfig, Meta(description="settings of the first stage's wrmf")] = (
        WRMFConfig(factors=256, artist_weight=0.3, album_weight=0.3, title_weight=0.7)
    )
    playlist_cnn: Annotated[PlaylistCNNConfig, Meta(description="of its playlist-cnn")] = (
        PlaylistCNNConfig()
    )
    user_knn: Annotated[UserKNNConfig, Meta(description="of its user-knn")] = UserKNNConfig()
    item_knn: Annotated[ItemKNNConfig, Meta(description="of its item-knn")] = ItemKNNConfig()
    title: Annotated[TitleConfig, Meta(description="of its title")] = TitleConfig()
    candidates: Annotated[
        Literal["union", "wrmf", "user-knn"],
        Meta(
            description="who retrieves: every model, wrmf (the paper), or user-knn filled up from "
            "wrmf (the authors' code)"
        ),
    ] = "union"
    retrieved: Annotated[
        int,
        Meta(ge=1, description="candidates of each model that retrieves"),
        Search(500, 5000, log=True),
    ] = 2500
    reranked: Annotated[
        int, Meta(ge=1, description="of them, the best by the blend go to the second stage")
    ] = 5000
    folds: Annotated[
        int, Meta(ge=1, le=20, description="parts of the playlists that labels come from in turn")
    ] = 6
    playlists: Annotated[
        int, Meta(ge=0, description="playlists that labels come from, at most")
    ] = 20_000
    seeds_kept: Annotated[
        float,
        Meta(ge=0, le=1, description="share of these whose seeds stay in training (the paper: 1)"),
    ] = 0.0
    positives: Annotated[
        int,
        Meta(ge=1, description="rows of a playlist's own tracks, at most"),
        Search(50, 1000, log=True),
    ] = 500
    negatives: Annotated[
        int,
        Meta(ge=1, description="rows of other candidates of a playlist, about"),
        Search(50, 1000, log=True),
    ] = 200
    families: Annotated[
        tuple[Family, ...],
        Meta(min_length=1, description="of features that the second stage looks at"),
    ] = FAMILIES  # type: ignore[assignment]
    albums: Annotated[
        int, Meta(ge=0, le=5000, description="most frequent albums counted among the seeds")
    ] = 0
    feature_factors: Annotated[
        int,
        Meta(ge=1, le=4096, description="of wrmf that features compare, the strongest first"),
        Search(16, 128, log=True),
    ] = 64
    name_factors: Annotated[
        int, Meta(ge=1, le=4096, description="length of the vectors of names in features")
    ] = 32
    side_factors: Annotated[
        int, Meta(ge=1, le=4096, description="of the vectors of artists and albums in features")
    ] = 32
    ranker: Annotated[RankerConfig, Meta(description="settings of the second stage")] = (
        RankerConfig()
    )

    @property
    def names(self) -> list[str]:
        """Models of the first stage without repeats, in the order of their scores."""
        return list(dict.fromkeys(self.models))
