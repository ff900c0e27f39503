"""Training of LARP's encoders on a dataset: examples, holdout, stages."""

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

_HELD = 0.1
"""Share of held-out tracks and playlists, for early stopping of a stage."""
_HELD_PLAYLISTS = 500
_NEEDED = {"sound": "sound", "text": "titles"}

ItemsByEncoder = dict[str, tuple[Int64, Arrays]]
"""Rows of the known tracks and their items, by encoder."""


class TrainedEncoders(NamedTuple):
    """Result of the stages.

    Attributes:
        arrays: arrays of each encoder's network.
        vectors: vectors of the known tracks by encoder, of length 1.
        pooling: aggregator of a query's tracks; None: the mean.
        held: held-out tracks.
        lists: held-out rows of the dataset's plays.
    """

    arrays: dict[str, dict[str, npt.NDArray[Any]]]
    vectors: dict[str, Float32]
    pooling: Pooling | None
    held: Int64
    lists: Int64


def train_encoders(
    encoders: Mapping[str, Encoder],
    known: ItemsByEncoder,
    dataset: Dataset,
    config: LARPConfig,
    run: TrainingOptions,
) -> TrainedEncoders:
    """Train encoders on the tracks that all of them know.

    A tenth of the tracks and of the playlists is held out. Held-out playlists keep only held-out
    tracks, and the others keep none of these.

    Raises:
        DataError: too little training data.
        ConfigError: torch is missing, or training diverged.
    """
    examples, owners, tracks = _examples(dataset, known)
    torch_part = needed(encoders)
    rng = np.random.default_rng([run.seed, 6])
    held_tracks = np.sort(rng.permutation(len(examples))[: round(_HELD * len(examples))])
    count = int(owners.max(initial=-1)) + 1
    held_lists = np.zeros(count, np.bool_)
    held_lists[rng.permutation(count)[: min(_HELD_PLAYLISTS, round(_HELD * count))]] = True
    is_held = np.zeros(len(examples), np.bool_)
    is_held[held_tracks] = True
    in_held, in_training = held_lists[owners], ~held_lists[owners]
    training = examples.only(np.flatnonzero(~is_held), owners[in_training], tracks[in_training])
    held = examples.only(held_tracks, owners[in_held], tracks[in_held])
    if not len(training.playlists) and config.stages != ("wtc",):
        raise DataError(
            f"no two of the {len(training):,} tracks that are known share a playlist",
            where=dataset.path,
            do='stage "wtc" alone needs no playlists'
            if len(encoders) > 1
            else "give it playlists of two such tracks or more",
        )
    aside = torch_part.HeldOutPlaylists(
        held, *halves(held.playlists.offsets, held.playlists.tracks, rng)
    )
    if not aside.shown:
        run.note("larp: too little to tell when a stage ends: all epochs are run")
    stages = torch_part.TrainingStages(
        list(encoders.values()), training, aside, config, run, dataset.info.fingerprint
    )
    stages.train()
    run.note("larp: embedding all tracks")
    vectors = {
        name: stages.embedded(at, items) for at, (name, (_, items)) in enumerate(known.items())
    }
    arrays = dict(zip(encoders, stages.arrays(), strict=True))
    lists = np.flatnonzero(held_lists)
    if not len(dataset.entries):  # listeners come after the playlists
        lists += dataset.playlist_count
    return TrainedEncoders(arrays, vectors, stages.pooling(), held.tracks.astype(np.int64), lists)


def needed(encoders: Mapping[str, Encoder]) -> ModuleType:
    """Import `segue.models.larp.stages`, which needs torch, and check the encoders.

    Raises:
        ConfigError: torch or a requirement of an encoder is missing.
    """
    try:
        from segue.models.larp import stages
    except ImportError as error:
        raise needs("training", "deep", where="larp", cause=error) from error
    for side in encoders.values():
        side.check()
    return stages


def _examples(dataset: Dataset, known: ItemsByEncoder) -> tuple[TrainingExamples, Int64, Int64]:
    """Tracks that every encoder knows; and the rows of playlists, as indexes among them.

    Raises:
        DataError: too few such tracks.
    """
    rows = known[next(iter(known))][0]
    for other, _ in known.values():
        rows = np.intersect1d(rows, other)
    if len(rows) < 2:
        count = f"{len(rows)} track{' is' if len(rows) == 1 else 's are'} known"
        if len(known) > 1:
            message, do = f"{count} to both sides", "take one side only, or give more tracks both"
        else:
            message, do = (
                f"{count}, two are needed",
                f"give more tracks {_NEEDED[next(iter(known))]}",
            )
        raise DataError(message, where=dataset.path, do=do)
    items = tuple(
        Subset(encoder_items, np.searchsorted(encoder_rows, rows))
        for encoder_rows, encoder_items in known.values()
    )
    owners, tracks = dataset.entry_playlists.astype(np.int64), dataset.entries
    if not len(tracks):  # a listener counts as a playlist, as in the paper's second dataset
        offsets, tracks = sequences(dataset)
        owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    place = np.full(dataset.track_count, -1)
    place[rows] = np.arange(len(rows))
    known_entries = place[tracks] >= 0
    owners, at = owners[known_entries], place[tracks[known_entries]]
    examples = TrainingExamples(
        rows.astype(np.int32), items, PlaylistSets.of(owners, at, len(rows))
    )
    return examples, owners, at
