"""The paper's own checks of LARP, as pictures: what agrees with what, against chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from segue.data.dataset import Dataset
from segue.models.larp.model import LARP
from segue.system.extras import needs

DRAWN = 5_000
"""Pairs of each kind."""


def save_agreement(folder: Path, name: str, model: LARP, dataset: Dataset) -> None:
    """Cosines of sound and caption of one track and of two; of a playlist's tracks and of any.

    Draws FOLDER/agreement-NAME.png.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise needs("a picture", "report", cause=error) from error

    rng = np.random.default_rng(0)
    panels = []
    if len(model.encoder_vectors) == 2:
        (rows, sound), (others, text) = model.encoder_vectors.values()
        both = np.intersect1d(rows, others)
        sound, text = sound[np.searchsorted(rows, both)], text[np.searchsorted(others, both)]
        one, two = rng.integers(len(both), size=(2, DRAWN))
        panels.append(
            (
                "sound and caption",
                {
                    "of one track": _cosines(sound[one], text[one]),
                    "of two tracks": _cosines(sound[one], text[two]),
                },
            )
        )
    known = np.flatnonzero(model.content.any(axis=1))
    playlists, entries = dataset.entry_playlists, dataset.entries
    first = rng.integers(len(entries) - 1, size=20 * DRAWN)
    first = first[playlists[first] == playlists[first + 1]][:DRAWN]
    shared = entries[first], entries[first + 1]
    drawn = known[rng.integers(len(known), size=(2, DRAWN))]
    panels.append(
        (
            "tracks",
            {
                "of one playlist": _cosines(model.content[shared[0]], model.content[shared[1]]),
                "any two": _cosines(model.content[drawn[0]], model.content[drawn[1]]),
            },
        )
    )
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.5 * len(panels), 3), squeeze=False, layout="constrained"
    )
    for axis, (what, kinds) in zip(axes[0], panels, strict=True):
        for label, cosines in kinds.items():
            axis.hist(cosines, 60, (-1, 1), density=True, alpha=0.6, label=label)
        axis.set_xlabel(f"cosine of {what}")
        axis.set_yticks([])
        axis.legend(frameon=False)
    figure.suptitle(name)
    figure.savefig(folder / f"agreement-{name}.png", dpi=110)
    plt.close(figure)


def _cosines(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: npt.NDArray[np.float32] = (a * b).sum(axis=1) / np.maximum(lengths, 1e-12)
    return cosines
