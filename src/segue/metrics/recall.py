"""Recall of held-out tracks, for choosing settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segue.numeric.arrays import Float32, Int64

HITS = 10
"""Neighbours among which those wanted are counted, when θ is chosen."""


def recalls_by(
    choices: Sequence[float], units: Float32, shown: Sequence[Int64], wanted: Sequence[Int64]
) -> npt.NDArray[np.float64]:
    """Mean Recall@10 over playlists, with each θ.

    Args:
        choices: θ.
        units: of the tracks that are ranked. (n, d)
        shown, wanted: places of tracks of each playlist: seeds, and what they should find.

    Returns:
        (choices,)
    """
    recalls = np.zeros(len(choices))
    for seeds, others in zip(shown, wanted, strict=True):
        away = units @ units[seeds].T - 1
        for at, temperature in enumerate(choices):
            scores = np.exp(away / np.float32(temperature)).sum(axis=1)
            recalls[at] += recall(scores, seeds, others) / len(shown)
    return recalls


def recall(scores: npt.NDArray[Any], shown: Int64, wanted: Int64) -> float:
    """Share of the wanted tracks among the 10 best that are not shown; changes the scores."""
    scores[shown] = -np.inf
    best = np.argpartition(-scores, min(HITS, len(scores) - 1))[:HITS]
    return float(np.isin(wanted, best).mean())
