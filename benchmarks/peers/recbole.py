"""SASRec of RecBole, in its own environment (`make peers`).

    python -m benchmarks.peers.recbole DATA.npz EPOCHS STEPS

Full softmax, which is the loss that it offers beside one negative; its own batch size, of 2,048
prefixes of sessions. Imports nothing of segue.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.common.sessions import (
    BEST,
    BLOCKS,
    DROPOUT,
    FACTORS,
    HEADS,
    LENGTH,
    RATE,
    Clock,
    Data,
    answer,
    places,
    words,
)

NAME = "sessions"
PREFIXES = 2048


class Watched:
    """A loader that marks when its batches are asked for, and may end early."""

    def __init__(self, loader: Any, clock: Clock, steps: int) -> None:
        self._loader, self._clock, self._steps = loader, clock, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        if not self._clock.ends:
            self._clock.mark()
        for step, batch in enumerate(self._loader, 1):
            yield batch
            self._clock.mark()
            if step == self._steps:
                return


def main() -> None:
    """Train, ask, report."""
    data, epochs, steps = words()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        write(data, Path(folder))
        config = Config(model="SASRec", dataset=NAME, config_dict=settings(folder, epochs))
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        loader, _, _ = data_preparation(config, dataset)
        model = SASRec(config, loader.dataset)
        watched = Watched(loader, clock, steps)
        Trainer(config, model).fit(watched, saved=False, verbose=False)
        found = [] if steps else places(best(model, dataset, data), data.truth)
    each = len(data) / len(loader)
    answer(clock.report(each, found, recbole=recbole.__version__, torch=torch.__version__))


def settings(folder: str, epochs: int) -> dict[str, Any]:
    """RecBole's configuration: the benchmark's sizes, its own loss and batches."""
    return {
        "data_path": folder,
        "checkpoint_dir": folder,
        "USER_ID_FIELD": "session_id",
        "load_col": {"inter": ["session_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": LENGTH,
        "hidden_size": FACTORS,
        "inner_size": FACTORS,
        "n_layers": BLOCKS,
        "n_heads": HEADS,
        "hidden_dropout_prob": DROPOUT,
        "attn_dropout_prob": DROPOUT,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": PREFIXES,
        "learning_rate": RATE,
        "epochs": epochs,
        "eval_args": {"split": {"LS": "test_only"}, "order": "TO", "mode": "full"},
        "use_gpu": False,
        "seed": 0,
        "state": "ERROR",
        "show_progress": False,
    }


def write(data: Data, folder: Path) -> None:
    """Sessions as RecBole reads them; it splits off a last track, so each gets one more."""
    ends = np.diff(data.offsets)
    frame = pd.DataFrame(
        {
            "session_id:token": np.concatenate([data.owners, np.arange(len(data))]),
            "item_id:token": np.concatenate([data.tracks, data.tracks[data.offsets[1:] - 1]]),
            "timestamp:float": np.concatenate([data.positions, ends]),
        }
    )
    (folder / NAME).mkdir()
    frame.to_csv(folder / NAME / f"{NAME}.inter", sep="\t", index=False)


@torch.inference_mode()
def best(model: SASRec, dataset: Any, data: Data) -> np.ndarray:
    """The best tracks after each history, none of its own. (queries, BEST)"""
    model.eval()
    track = np.full(dataset.item_num, -1)  # of RecBole's item; its first is padding
    track[1:] = dataset.field2id_token["item_id"][1:].astype(np.int64)
    item = np.zeros(data.size + 1, np.int64)  # of the rows of `Data.grid`
    item[track[1:] + 1] = np.arange(1, len(track))
    histories = torch.from_numpy(item[data.grid(LENGTH)[data.asked]])
    found = []
    for some in histories.split(256):
        asked = {model.ITEM_SEQ: some, model.ITEM_SEQ_LEN: (some != 0).sum(dim=1)}
        scores = model.full_sort_predict(Interaction(asked))
        scores.scatter_(1, some, -torch.inf)
        scores[:, 0] = -torch.inf
        found.append(scores.topk(BEST).indices.numpy())
    return track[np.concatenate(found)]


if __name__ == "__main__":
    main()
