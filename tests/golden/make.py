"""Make a golden bundle, or the golden dataset: python tests/golden/make.py NAME... | dataset

A golden bundle is a small bundle as this version writes it, with answers that it gave; the golden
dataset is a small dataset with what was read from it. Those of earlier versions stay as they are
for ever: they show that old bundles still load and still give their answers, and that old datasets
are still read. A folder that exists is left alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from segue.bundle import BUNDLE_VERSION, Bundle
from segue.data.dataset import Dataset
from segue.data.receipt import Receipt
from segue.data.schema import DATASET_VERSION, Outcome
from segue.data.writer import writing_dataset
from segue.models.base import audio_features
from segue.models.base.recommender import TrainingOptions
from segue.operations.train import train
from segue.queries import Queries, Query
from segue.recipe import load_recipe

HERE = Path(__file__).parent
SEQUENCE = ["sasrec", "bert4rec", "gru4rec", "caser"]
_TINY = [
    "factors=4",
    "epochs=3",
    "length=8",
    "skip_weight=0.5",
    "feedback_weight=0.3",
    "read_skips=true",
]
_SIDES = ["sound=musicnn", "text=minilm", "hidden=[6]", "dimensions=8", "epochs=2"]
_TOP = ["hidden=[6]", "outputs=4", "epochs=2"]
SMALL = {
    "audio": ["wrmf.factors=4", "hidden=[6]", "epochs=3"],
    "audio-mlr": ["factors=3", "epochs=3"],
    "sasrec": _TINY,
    "bert4rec": _TINY,
    "gru4rec": _TINY,
    "caser": [*_TINY, "window=3", "horizontal=2", "vertical=1"],
    "bpr": ["factors=4", "epochs=5"],
    "larp": _SIDES,
    "larp-dropoutnet": [*_SIDES, "top=dropoutnet", *(f"dropoutnet.{some}" for some in _TOP)],
    "larp-clcrec": [*_SIDES, "top=clcrec", *(f"clcrec.{some}" for some in _TOP)],
    "playlist-cnn": ["blocks=2", "factors=4", "kernels=4", "epochs=3"],
    "wrmf": ["factors=4", "sweeps=3"],
    "wrmf-in-company": [
        "factors=4",
        "sweeps=3",
        "artist_weight=0.3",
        "album_weight=0.3",
        "title_weight=0.7",
    ],
    "title": ["factors=4"],
    "two-stage": [
        "wrmf.factors=4",
        "title.factors=4",
        "folds=4",
        "feature_factors=4",
        "name_factors=2",
        "side_factors=2",
        "ranker.trees=4",
        "ranker.depth=3",
        "ranker.leaf_weight=1",
    ],
}
LARGER = {"two-stage": (120, 10)}
"""How many playlists, of how many tracks, where 60 of 6 are too few."""
NAMES = {"wrmf-in-company": "wrmf", "larp-dropoutnet": "larp", "larp-clcrec": "larp"}
"""Further bundles of a recommender."""
QUERIES = [
    {"tracks": [0]},
    {"tracks": [1, 3, 4], "outcomes": [int(Outcome.FINISHED), int(Outcome.SKIPPED), 0]},
    {"tracks": [0, 2], "bans": [4, 6], "title": "even songs"},
    {"title": "odd songs"},
    {"title": "oddly"},
    {},
]
_PAST = [{"past": [3, 8, 3, 5]}, {"tracks": [3], "past": [3, 8, 3, 5], "bans": [5]}]
FURTHER = dict.fromkeys(("personal", *SEQUENCE), _PAST)
"""What only some recommenders heed."""
SESSIONS = 80
"""Of the dataset of sequence models."""


def listens(sessions: int) -> dict[str, Any]:
    """Four listeners come back to ten tracks each, in sessions of eight, and skip some."""
    rng = np.random.default_rng(2)
    tracks = [4 * rng.permutation(10)[:8] + s * 4 // sessions for s in range(sessions)]
    at = np.arange(8 * sessions)
    outcomes = np.where(rng.random(len(at)) < 0.2, Outcome.SKIPPED, Outcome.FINISHED)
    return {
        "listener": at // 8 * 4 // sessions,
        "session": at // 8,
        "position": at % 8,
        "track": np.concatenate(tracks),
        "time": at * 60_000,
        "outcome": outcomes,
        "plays": np.ones(len(at), np.int32),
    }


def playlists(path: Path, count: int = 60, length: int = 6, sessions: int = 0) -> Dataset:
    """Forty tracks, half of the playlists of even ones and half of odd ones, with some noise."""
    rng = np.random.default_rng(1)
    lists, titles = [], []
    for p in range(count):
        own = rng.choice(np.arange(p % 2, 40, 2), length, replace=False)
        lists.append([*own, rng.integers(40)] if p % 5 == 0 else own)
        titles.append(f"{('even', 'odd')[p % 2]} {('songs', 'mix', 'tracks')[p % 3]}")
    with writing_dataset(path) as writer:
        writer.track_ids(
            [f"golden:track:{t}" for t in range(40)],
            lambda t: [
                f"Song {t}",
                f"Artist {t % 7}",
                None,
                f"Album {t % 11}",
                None,
                200_000,
                None,
            ],
        )
        columns = {"uri": [f"golden:playlist:{p}" for p in range(count)], "title": titles}
        writer.add_playlists(columns, [len(some) for some in lists], np.concatenate(lists))
        if sessions:
            writer.add("listeners", {"uri": [f"golden:listener:{i}" for i in range(4)]})
            writer.add("listens", listens(sessions))
        writer.finish(
            [Receipt(format="golden", unit="playlists", read=count, kept=count)], simulated=True
        )
    return Dataset.open(path)


def heard(dataset: Dataset, sound: str, _run: TrainingOptions) -> audio_features.Sounds:
    """Sounds that tell even tracks from odd ones, in the place of files."""
    rng = np.random.default_rng(3)
    size = (50, 39) if sound == "bag-of-words" else (8,)
    arrays = [rng.normal(2 * (t % 2), 1, size).astype(np.float32) for t in range(40)]
    return audio_features.Sounds(np.arange(40, dtype=np.int32), arrays)


def rows(dataset: Dataset) -> dict[str, Any]:
    """What is read from a dataset, for JSON."""
    tables = {name: getattr(dataset, name) for name in ("tracks", "playlists", "listens")}
    told = {name: [list(map(str, row.values())) for row in table.to_pylist()]
            for name, table in tables.items()}  # fmt: skip
    entries = {"entries": dataset.entries.tolist(), "offsets": dataset.offsets.tolist()}
    return {"counts": dataset.describe(), **entries, **told}


def make_dataset() -> None:
    """Write a dataset of all tables but that of sounds, and what is read from it."""
    place = HERE / f"dataset-v{DATASET_VERSION}"
    if place.exists():
        print(f"{place.name} is there already")
        return
    text = json.dumps(rows(playlists(place, count=6, sessions=4)), indent=None)
    (HERE / f"{place.name}.json").write_text(f"{text}\n", encoding="utf-8")
    print(f"made {place.name}, {sum(f.stat().st_size for f in place.iterdir()):,} bytes")


def make(name: str) -> None:
    """Train, save and ask a recommender, or a further one of `NAMES`."""
    audio_features.extracted = heard
    place = HERE / f"bundle-v{BUNDLE_VERSION}-{name}"
    if place.exists():
        print(f"{place.name} is there already")
        return
    with tempfile.TemporaryDirectory() as folder:
        dataset = playlists(
            Path(folder) / "dataset",
            *LARGER.get(name, ()),
            sessions=SESSIONS if name in SEQUENCE else 0,
        )
        recipe = load_recipe(NAMES.get(name, name), SMALL.get(name, ()))
        bundle, _ = train(recipe, dataset)
    bundle.save(place)
    recommender = Bundle.load(place).recommender
    answers = []
    for query in QUERIES + FURTHER.get(name, []):
        slate = recommender.recommend(Queries.of([Query(**query)]), 10)[0]
        answers.append(
            {
                "query": query,
                "tracks": slate.tracks.tolist(),
                "scores": [float(f"{score:.7g}") for score in slate.scores],
                "served_by": slate.served_by,
            }
        )
    lines = ",\n".join(json.dumps(answer) for answer in answers)
    (HERE / f"{place.name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"made {place.name}, {sum(f.stat().st_size for f in place.iterdir()):,} bytes")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if name == "dataset":
            make_dataset()
        else:
            make(name)
