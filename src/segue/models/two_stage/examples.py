"""What the second stage learns from: candidates of held-out playlists, and which belong to them.

Each held-out playlist is cut as one of the challenge's types with tracks: what is shown is the
query, what is hidden are the labels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segue.data.dataset import Dataset
from segue.models.two_stage.config import TwoStageConfig
from segue.numeric.arrays import Float32, Int32, Int64
from segue.protocols.playlist_cuts import TYPES, UNUSED, Cuts, PlaylistRows, cut, draw_types

_WITH_TRACKS = tuple(kind for kind in TYPES if kind.seeds)
_HEAD = 100
"""Ranks at the top that are sampled alike; below, sampling thins out as 1 / rank."""
_PAPER_POOL = 1000


def deal(dataset: Dataset, folds: int, most: int, rng: np.random.Generator) -> list[Int64]:
    """Playlists with tracks, dealt into folds; at most half of them into one, `most` into all."""
    filled = rng.permutation(np.flatnonzero(np.diff(dataset.offsets)))
    size = min(most // folds, len(filled) // max(folds, 2))
    return [filled[k * size : (k + 1) * size] for k in range(folds)]


def cut_fold(rows: PlaylistRows, fold: Int64, rng: np.random.Generator) -> Cuts | None:
    """Queries and labels of a fold, all types with tracks alike; None where no playlist fits.

    Where titles or long playlists are lacking, the types that are left share all playlists.
    """
    types = tuple(kind for kind in _WITH_TRACKS if rows.fit(kind)[fold].any())
    drawn = draw_types(rows, fold, -(-len(fold) // max(1, len(types))), types)
    return cut(rows, drawn, rng) if (drawn != UNUSED).any() else None


def without(
    dataset: Dataset,
    rows: PlaylistRows,
    fold: Int64,
    cuts: Cuts,
    kept: float,
    rng: np.random.Generator,
) -> Dataset:
    """The dataset without the playlists of a fold; a share of those that were cut keep their seeds.

    Some queries come from playlists that training has seen the beginning of, some do not; trees
    that saw only one kind mistake the other. A title that the query lacks is hidden here too.
    """
    keep = ~np.isin(dataset.entry_playlists, fold)
    some = rng.random(dataset.playlist_count) < kept
    shown = np.flatnonzero(rows.first)[cuts.shown]
    keep[shown[some[dataset.entry_playlists[shown]]]] = True
    untitled = [
        playlist
        for playlist, kind in zip(cuts.playlists, cuts.kinds, strict=True)
        if not kind.title
    ]
    return dataset.narrowed(keep).without_titles(np.array(untitled, np.int32))


def labels_of(cuts: Cuts, q: int, tracks: Int32) -> npt.NDArray[np.bool_]:
    """Which of some tracks were hidden from query q."""
    return np.isin(tracks, cuts.truth.row(q))


class Sample(NamedTuple):
    """Some of a query's candidates.

    Attributes:
        at: places among the candidates.
        weights: how many candidates each stands for.
    """

    at: npt.NDArray[np.int64]
    weights: Float32


def sample(
    blend: Float32,
    labels: npt.NDArray[np.bool_],
    config: TwoStageConfig,
    rng: np.random.Generator,
) -> Sample:
    """Candidates to learn from.

    For the pointwise objective negatives are drawn with a chance that falls as 1 / rank in the
    blend, and weigh one over their chance: many at the top, where the order matters, and as a
    whole in their true proportion. For the paper's objectives, positives and negatives are drawn
    alike from the 1,000 best of the blend, as its authors' code does.
    """
    order = np.argsort(-blend, kind="stable")
    pointwise = config.ranker.objective == "pointwise"
    if not pointwise:
        order = order[:_PAPER_POOL]
    positives, negatives = order[labels[order]], order[~labels[order]]
    if len(positives) > config.positives:
        positives = np.sort(rng.choice(positives, config.positives, replace=False))
    if pointwise:
        chance = 1 / (_HEAD + np.arange(len(negatives)))
        chance = np.minimum(1, chance * config.negatives / max(chance.sum(), 1e-9))
        taken = rng.random(len(negatives)) < chance
        weights = 1 / chance[taken]
        negatives = negatives[taken]
    else:
        count = min(config.negatives, len(negatives))
        negatives = rng.choice(negatives, count, replace=False)
        weights = np.ones(count)
    at = np.concatenate([positives, negatives])
    return Sample(at, np.concatenate([np.ones(len(positives)), weights]).astype(np.float32))
