"""The sides of LARP from a dataset: what is learned from, what is kept aside, and training."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from segue.data.dataset import Dataset
from segue.data.sequences import sequences
from segue.errors import DataError
from segue.models.base.recommender import TrainingOptions
from segue.models.larp.config import LARPConfig
from segue.models.larp.encoders.contract import Encoder
from segue.models.larp.examples import PlaylistSets, TrainingExamples, halves
from segue.models.larp.pooling import Pooling
from segue.nn.items import Arrays, Subset
from segue.numeric.arrays import Float32, Int64
from segue.system.extras import needs
from segue.system.progress import note

_HELD = 0.1
"""Share of the tracks, and of the playlists, that tell when a stage ends."""
_HELD_PLAYLISTS = 500
_NEEDED = {"sound": "sound", "text": "titles"}

ItemsByEncoder = dict[str, tuple[Int64, Arrays]]
"""By side, rows of the tracks that it knows and their items."""


class TrainedEncoders(NamedTuple):
    """What the stages have left.

    Attributes:
        arrays: of each side's network.
        vectors: what each side tells of the tracks that it knows, of length 1.
        pooling: what makes a query of its tracks; None: the mean.
        held: tracks that nothing was learned from.
        lists: rows of the dataset's plays that nothing was learned from.
    """

    arrays: dict[str, dict[str, npt.NDArray[Any]]]
    vectors: dict[str, Float32]
    pooling: Pooling | None
    held: Int64
    lists: Int64


def learn_sides(
    sides: Mapping[str, Encoder],
    known: ItemsByEncoder,
    dataset: Dataset,
    config: LARPConfig,
    run: TrainingOptions,
) -> TrainedEncoders:
    """Train sides on the tracks that all of them know.

    A tenth of the tracks and of the playlists is kept aside; a held playlist has held tracks only,
    and no other one has any.

    Raises:
        DataError: there is too little to learn from.
        ConfigError: torch is needed and not there, or training diverged.
    """
    material, owners, tracks = _material(dataset, known)
    torch_part = needed(sides)
    rng = np.random.default_rng([run.seed, 6])
    held_tracks = np.sort(rng.permutation(len(material))[: round(_HELD * len(material))])
    count = int(owners.max(initial=-1)) + 1
    held_lists = np.zeros(count, np.bool_)
    held_lists[rng.permutation(count)[: min(_HELD_PLAYLISTS, round(_HELD * count))]] = True
    is_held = np.zeros(len(material), np.bool_)
    is_held[held_tracks] = True
    away, kept = held_lists[owners], ~held_lists[owners]
    learned = material.only(np.flatnonzero(~is_held), owners[kept], tracks[kept])
    held = material.only(held_tracks, owners[away], tracks[away])
    if not len(learned.playlists) and config.stages != ("wtc",):
        raise DataError(
            f"no two of the {len(learned):,} tracks that are known share a playlist",
            where=dataset.path,
            do='stage "wtc" alone needs no playlists'
            if len(sides) > 1
            else "give it playlists of two such tracks or more",
        )
    aside = torch_part.HeldOutPlaylists(
        held, *halves(held.playlists.offsets, held.playlists.tracks, rng)
    )
    if not aside.shown:
        note("larp: too little to tell when a stage ends: all epochs are run", show=run.progress)
    stages = torch_part.TrainingStages(
        list(sides.values()), learned, aside, config, run, dataset.info.fingerprint
    )
    stages.train()
    note("larp: embedding all tracks", show=run.progress)
    vectors = {
        name: stages.embedded(at, items) for at, (name, (_, items)) in enumerate(known.items())
    }
    arrays = dict(zip(sides, stages.arrays(), strict=True))
    lists = np.flatnonzero(held_lists)
    if not len(dataset.entries):  # listeners, which come after the playlists
        lists += dataset.playlist_count
    return TrainedEncoders(arrays, vectors, stages.pooling(), held.tracks.astype(np.int64), lists)


def needed(sides: Mapping[str, Encoder]) -> ModuleType:
    """`segue.models.larp.stages`, which needs torch.

    Raises:
        ConfigError: torch is not there, or what a side needs.
    """
    try:
        from segue.models.larp import stages
    except ImportError as error:
        raise needs("training", "deep", where="larp", cause=error) from error
    for side in sides.values():
        side.check()
    return stages


def _material(dataset: Dataset, known: ItemsByEncoder) -> tuple[TrainingExamples, Int64, Int64]:
    """Tracks that every side knows; and the rows of playlists, in places among them.

    Raises:
        DataError: there are too few.
    """
    rows = known[next(iter(known))][0]
    for other, _ in known.values():
        rows = np.intersect1d(rows, other)
    if len(rows) < 2:
        count = f"{len(rows)} track{' is' if len(rows) == 1 else 's are'} known"
        if len(known) > 1:
            told, do = f"{count} to both sides", "take one side only, or give more tracks both"
        else:
            told, do = f"{count}, two are needed", f"give more tracks {_NEEDED[next(iter(known))]}"
        raise DataError(told, where=dataset.path, do=do)
    items = tuple(Subset(found, np.searchsorted(own, rows)) for own, found in known.values())
    owners, tracks = dataset.entry_playlists.astype(np.int64), dataset.entries
    if not len(tracks):  # who listened stands for a playlist, as in the paper's second dataset
        offsets, tracks = sequences(dataset)
        owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    place = np.full(dataset.track_count, -1)
    place[rows] = np.arange(len(rows))
    kept = place[tracks] >= 0
    owners, at = owners[kept], place[tracks[kept]]
    material = TrainingExamples(
        rows.astype(np.int32), items, PlaylistSets.of(owners, at, len(rows))
    )
    return material, owners, at
