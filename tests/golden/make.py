"""Make a golden bundle: python tests/golden/make.py RECOMMENDER...

A golden bundle is a small bundle as this version writes it, with answers that it gave. Those of
earlier versions stay as they are for ever: they show that old bundles still load and still give
their answers. A folder that exists is left alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from segue.answers import Queries, Query
from segue.bundle import BUNDLE_VERSION, Bundle
from segue.data.dataset import Dataset, Receipt, writing_dataset
from segue.data.schema import Outcome
from segue.recipe import load_recipe
from segue.training import train

HERE = Path(__file__).parent
SMALL = {
    "bpr": ["factors=4", "epochs=5"],
    "playlist-cnn": ["blocks=2", "factors=4", "kernels=4", "epochs=3"],
    "wrmf": ["factors=4", "sweeps=3"],
    "title": ["factors=4"],
}
QUERIES = [
    {"tracks": [0]},
    {"tracks": [1, 3, 4], "outcomes": [int(Outcome.FINISHED), int(Outcome.SKIPPED), 0]},
    {"tracks": [0, 2], "bans": [4, 6], "title": "even songs"},
    {"title": "odd songs"},
    {"title": "oddly"},
    {},
]


def playlists(path: Path) -> Dataset:
    """Forty tracks, half of the playlists of even ones and half of odd ones, with some noise."""
    rng = np.random.default_rng(1)
    lists, titles = [], []
    for p in range(60):
        own = rng.choice(np.arange(p % 2, 40, 2), 6, replace=False)
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
        columns = {"uri": [f"golden:playlist:{p}" for p in range(60)], "title": titles}
        writer.add_playlists(columns, [len(some) for some in lists], np.concatenate(lists))
        writer.finish(
            [Receipt(format="golden", unit="playlists", read=60, kept=60)], simulated=True
        )
    return Dataset.open(path)


def make(name: str) -> None:
    """Train, save and ask one recommender."""
    place = HERE / f"bundle-v{BUNDLE_VERSION}-{name}"
    if place.exists():
        print(f"{place.name} is there already")
        return
    with tempfile.TemporaryDirectory() as folder:
        dataset = playlists(Path(folder) / "dataset")
        bundle, _ = train(load_recipe(name, SMALL.get(name, ())), dataset)
    bundle.save(place)
    recommender = Bundle.load(place).recommender
    answers = []
    for query in QUERIES:
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
        make(name)
