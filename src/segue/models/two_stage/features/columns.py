"""The features of the second stage by name and family; `features` computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """One column.

    Attributes:
        name: words in kebab-case.
        family: one of `FAMILIES`.
        description: one line.
    """

    name: str
    family: str
    description: str


FAMILIES = ("first stage", "track", "playlist", "pair", "playlists of the track")
"""A to E of the paper."""

TRACK = (
    ("track-duration", "length of the track in seconds; unknown: mean of the known"),
    ("track-playlist-length", "mean number of tracks of the playlists that have it"),
    ("track-homogeneity", "mean of U_p.V_s over the playlists p that have it"),
    ("track-title-homogeneity", "mean of Uname_p.Vname_s over the titled playlists that have it"),
    ("track-popularity", "share of playlists that have the track"),
    ("artist-popularity", "share of playlists that have a track by the artist"),
    ("album-popularity", "share of playlists that have a track of the album"),
    ("place-in-artist", "ours: how many tracks of the artist are in more playlists"),
)
PLAYLIST = (
    ("seeds", "how many liked tracks the query has, repeats not counted"),
    ("seeds-popularity", "mean track-popularity of the seeds"),
    ("seeds-artist-popularity", "mean artist-popularity of the seeds"),
    ("seeds-album-popularity", "mean album-popularity of the seeds"),
    ("seeds-duration", "mean track-duration of the seeds"),
    ("seeds-playlist-length", "ours: mean track-playlist-length of the seeds"),
    ("seeds-homogeneity", "mean of U_q.V_s over the seeds s"),
    ("seeds-title-homogeneity", "mean of Uname_q.Vname_s over the seeds s"),
    ("seeds-artists", "different artists among the seeds, per seed"),
    ("seeds-albums", "different albums among the seeds, per seed"),
    ("has-title", "ours: 1 where the query has a title with a word in it"),
    ("title-known", "ours: 1 where a playlist of training has the same normalised title"),
    ("title-popularity", "ours: share of playlists with the same normalised title"),
)
PAIR = (
    ("same-artist", "share of seeds by the track's artist"),
    ("same-artist-seeds", "ours: number of seeds by the track's artist"),
    ("same-artist-as-last", "ours: 1 where the last seed is by the track's artist"),
    ("artist-heard", "ours: share of the artist's tracks that are seeds"),
    ("same-album", "share of seeds on the track's album"),
    ("same-album-as-last", "ours: 1 where the last seed is on the track's album"),
    ("album-heard", "ours: share of the album's tracks that are seeds"),
    ("duration-difference", "mean over the seeds of track's minus seed's length in seconds"),
    ("duration-distance", "ours: mean over the seeds of the absolute difference in seconds"),
    ("similarity", "mean of V_s.V_seed over the seeds"),
    ("similarity-most", "ours: largest cosine of V_s and a seed's V"),
    ("similarity-to-last", "ours: cosine of V_s and the last seed's V"),
    ("title-similarity", "mean of Vname_s.Vname_seed over the seeds"),
    ("title-track", "Uname_q.Vname_s"),
    ("artist-similarity", "mean dot of artist vectors of the track and of the seeds"),
    ("album-similarity", "mean dot of album vectors of the track and of the seeds"),
    ("query-track", "U_q.V_s"),
    ("title-in-track", "ours: share of the title's words that are in the track's title"),
    ("title-in-artist", "ours: share of the title's words that are in the artist's name"),
    ("title-in-album", "ours: share of the title's words that are in the album's name"),
)
PLAYLISTS = (
    ("same-title", "share of the track's titled playlists with the query's normalised title"),
    ("length-difference", "ours: track-playlist-length minus that of the seeds in the mean"),
    ("query-playlists", "mean of U_q.U_p over the playlists p that have the track"),
    ("title-playlists", "mean of Uname_q.Uname_p over the titled playlists that have the track"),
)


def features_of(
    models: Sequence[str], albums: int = 0, families: Sequence[str] = FAMILIES
) -> tuple[Feature, ...]:
    """Columns that `FeatureTables.compute` gives, in order.

    Args:
        models: first-stage models by name, in the order of their scores.
        albums: how many of the most frequent albums are counted among the seeds (paper: 500).
        families: those that are wanted.
    """
    scored = [
        (f"{model}-{kind}", text.format(model))
        for model in [*models, "blend"]
        for kind, text in (
            ("score", "score of {} for the track, standardised within the query"),
            ("place", "ours: log(1 + number of candidates that {} scores higher)"),
        )
    ]
    counted = [
        (f"seeds-on-album-{k}", f"how many seeds are on frequent album {k}")
        for k in range(1, albums + 1)
    ]
    columns = (scored, TRACK, [*PLAYLIST, *counted], PAIR, PLAYLISTS)
    return tuple(
        Feature(name, family, text)
        for family, some in zip(FAMILIES, columns, strict=True)
        if family in families
        for name, text in some
    )


FEATURES = features_of(["model"], 1)
"""Every kind of feature; `model-` stands for each first-stage model."""
