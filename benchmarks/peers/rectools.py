"""SASRec of RecTools, in its own environment (`make peers`).

    python -m benchmarks.peers.rectools DATA.npz EPOCHS STEPS

Sampled softmax with 512 negatives, which RecTools draws for each position. Imports nothing of
segue.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns, __version__
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.common.sessions import (
    BATCH,
    BEST,
    BLOCKS,
    DROPOUT,
    FACTORS,
    HEADS,
    LENGTH,
    NEGATIVES,
    RATE,
    Clock,
    Data,
    answer,
    places,
    words,
)


def main() -> None:
    """Train, ask, report."""
    data, epochs, steps = words()
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    seed_everything(0)
    clock = Clock()
    dataset = Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: data.owners,
                Columns.Item: data.tracks,
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(data.positions, unit="s"),
            }
        )
    )

    class Watch(Callback):
        """Marks the steps; lightning copies callbacks, so the clock is the outer one."""

        def on_train_start(self, trainer: Trainer, module: object) -> None:
            clock.mark()

        def on_train_batch_end(self, *_: object) -> None:
            clock.mark()

    def trainer() -> Trainer:
        """As RecTools makes it itself, with the marks and perhaps fewer steps."""
        return Trainer(
            max_epochs=epochs,
            max_steps=steps or -1,
            callbacks=[Watch()],
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )

    model = SASRecModel(
        n_blocks=BLOCKS,
        n_heads=HEADS,
        n_factors=FACTORS,
        dropout_rate=DROPOUT,
        session_max_len=LENGTH,
        loss="sampled_softmax",
        n_negatives=NEGATIVES,
        lr=RATE,
        batch_size=BATCH,
        epochs=epochs,
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )
    model.fit(dataset)
    found = [] if steps else places(best(model, dataset, data), data.truth)
    each = len(data) / -(-len(data) // BATCH)
    answer(clock.report(each, found, rectools=__version__, torch=torch.__version__))


def best(model: SASRecModel, dataset: Dataset, data: Data) -> np.ndarray:
    """The best tracks after each history, none of its own. (queries, BEST)"""
    answers = model.recommend(data.asked, dataset, k=BEST, filter_viewed=True)
    row = np.empty(len(data), np.int64)
    row[data.asked] = np.arange(len(data.asked))
    found = np.full((len(data.asked), BEST), -1, np.int64)
    found[row[answers[Columns.User]], answers[Columns.Rank] - 1] = answers[Columns.Item]
    return found


if __name__ == "__main__":
    main()
