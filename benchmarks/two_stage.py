"""How fast `two-stage` answers, where the time goes, and how its training grows.

    python -m benchmarks.two_stage [--json] [--quick]

The data are simulated worlds in the shape of the Million Playlist Dataset, with titles, artists and
albums. The bundles are the recipe `two-stage` with one fold and few playlists for the second stage:
that changes how long training takes and what the trees say, not what an answer costs. Every figure
is of a process of its own. Queries are of the challenge's nine types with tracks (1 to 100 of
them), the best 500 are asked for, and each bundle is loaded from disk first.

The ratio compares the second stage's trees with XGBoost's own predictor on the same trees and rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from benchmarks._run import child, machine, peak_mb, show
from segue.answers import Queries, Query
from segue.bundle import Bundle
from segue.continuation import first_stage
from segue.continuation.feature_tables import Texts
from segue.continuation.features import FeatureTables
from segue.continuation.first_stage import FirstStage
from segue.continuation.ranker import trees_of
from segue.continuation.trees import Trees
from segue.continuation.two_stage import TwoStage
from segue.data.dataset import Dataset
from segue.data.world import World, make_world
from segue.models.knn import ItemKnn, UserKnn
from segue.models.title import Title
from segue.models.wrmf import WRMF
from segue.playlist_types import TYPES, PlaylistRows, cut, draw_types
from segue.recipe import load_recipe
from segue.training import train

N = 500
TRACKS_A_PLAYLIST = 10
"""Tracks of a world for each of its playlists."""
LABELLED = 1000
"""Playlists that the second stage learns from here; the recipe's number is read from it."""
MILLION = {"playlists": 1_000_000, "tracks": 2_262_292, "entries": 66_346_428}
"""The whole Million Playlist Dataset."""
ONE_CORE = {
    f"{name}_NUM_THREADS": "1" for name in ("NUMBA", "OMP", "OPENBLAS", "MKL")
} | {"OMP_WAIT_POLICY": "passive"}  # fmt: skip
TWO_CORES = {**ONE_CORE, "NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}


class Watch:
    """Seconds spent in functions, each without what the watched ones below it took."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._below: list[float] = []

    def on(self, label: str, owner: Any, name: str) -> None:
        """Watch a function or method from now on."""
        inner = getattr(owner, name)

        def watched(*args: Any, **settings: Any) -> Any:
            return self.run(label, lambda: inner(*args, **settings))

        static = isinstance(owner.__dict__.get(name), classmethod)
        setattr(owner, name, staticmethod(watched) if static else watched)

    def run(self, label: str, work: Callable[[], Any]) -> Any:
        """Do something under a label."""
        self._below.append(0.0)
        start = time.perf_counter()
        result = work()
        took = time.perf_counter() - start
        self.spent[label] = self.spent.get(label, 0.0) + took - self._below.pop()
        if self._below:
            self._below[-1] += took
        return result


def queries_of(dataset: Dataset, count: int) -> Queries:
    """About `count` queries, mixed, the nine types with tracks as alike as playlists allow."""
    rows, rng = PlaylistRows.of(dataset), np.random.default_rng(0)
    types = tuple(kind for kind in TYPES if kind.seeds)
    order = rng.permutation(dataset.playlist_count)
    found = cut(rows, draw_types(rows, order, -(-count // len(types)), types), rng).queries
    return Queries.of(
        [
            Query(
                found.tracks[found.offsets[q] : found.offsets[q + 1]].tolist(),
                title=found.titles[q],
            )
            for q in np.resize(rng.permutation(len(found)), count)
        ]
    )


# In processes of their own


def _train(folder: Path, playlists: int) -> dict[str, Any]:
    """Make a world, train on it, save; what training cost, and of which part."""
    make_world(
        folder / "world",
        World(tracks=TRACKS_A_PLAYLIST * playlists, listeners=0, sessions=0, playlists=playlists),
    )
    dataset = Dataset.open(folder / "world")
    labelled = min(LABELLED, playlists // 4)
    recipe = load_recipe("two-stage", ["folds=1", f"playlists={labelled}"])
    before = peak_mb()
    watch = Watch()
    watch.on("first stage and tables", TwoStage, "_learn")
    watch.on("weights and candidates", TwoStage, "_weigh")
    watch.on("weights and candidates", TwoStage, "_examples")
    watch.on("trees", TwoStage, "_rank")
    bundle, facts = train(recipe, dataset)
    bundle.save(folder / "bundle")
    files = sum(file.stat().st_size for file in (folder / "bundle").iterdir())
    return {
        "playlists": playlists,
        "tracks": dataset.track_count,
        "entries": len(dataset.entries),
        "labelled": labelled,
        "seconds": facts.seconds,
        "spent": watch.spent,
        "peak_mb": peak_mb(),
        "data_mb": before,
        "bundle_mb": files / 1e6,
    }


def _single(folder: Path, count: int) -> dict[str, Any]:
    """Milliseconds of single queries, where they go, and the trees beside XGBoost."""
    bundle = Bundle.load(folder / "bundle")
    recommender = bundle.recommender
    assert isinstance(recommender, TwoStage)
    queries = queries_of(Dataset.open(folder / "world"), count)
    for q in range(5):
        recommender.recommend(queries[q : q + 1], N)  # compiles
    milliseconds = []
    for q in range(count):
        start = time.perf_counter()
        recommender.recommend(queries[q : q + 1], N)
        milliseconds.append((time.perf_counter() - start) * 1e3)
    pools = [
        recommender.first.pool(queries[q : q + 1], queries[q : q + 1].excluded()[1])
        for q in range(min(count, 40))
    ]
    rows = [recommender._features(queries[q : q + 1], pool) for q, pool in enumerate(pools)]
    return {
        "milliseconds": milliseconds,
        "candidates": float(np.median([len(pool.tracks) for pool in pools])),
        "tracks": len(recommender.catalog),
        "peak_mb": peak_mb(),
        "trees": _beside_xgboost(recommender.trees, rows),
        "parts": _parts(recommender, queries),
    }


def _beside_xgboost(trees: Trees, rows: list[Any]) -> dict[str, float]:
    """Milliseconds for the rows of a query: as many trees, as deep, ours and XGBoost's own."""
    every = np.concatenate(rows)
    settings = {"max_depth": 8, "eta": 0.1, "tree_method": "hist", "nthread": 1, "base_score": 0.0}
    booster = xgboost.train(
        settings, xgboost.QuantileDMatrix(every, trees.score(every), nthread=1), trees.size
    )
    ours = trees_of(booster)
    works = {
        "segue": lambda some: ours.score(some),
        "xgboost inplace_predict": lambda some: booster.inplace_predict(some),
        "xgboost predict": lambda some: booster.predict(xgboost.DMatrix(some, nthread=1)),
    }
    took: dict[str, list[float]] = {name: [] for name in works}
    for some in rows:
        for name, work in works.items():
            start = time.perf_counter()
            scores = work(some)
            took[name].append((time.perf_counter() - start) * 1e3)
            assert np.allclose(scores, ours.score(some), atol=1e-4)
    return {name: float(np.median(times)) for name, times in took.items()}


def _parts(recommender: TwoStage, queries: Queries) -> dict[str, float]:
    """Milliseconds of a query by what is done, means."""
    watch = Watch()
    watch.on("query's vector (wrmf fold-in)", WRMF, "query_vectors")
    watch.on("scores of wrmf", FirstStage, "_scores")
    watch.on("scores of user-knn", UserKnn, "known_scores")
    watch.on("scores of item-knn", ItemKnn, "known_scores")
    watch.on(
        "scores of title", type(recommender.first.models.get("title", Title())), "known_scores"
    )
    watch.on("best of each model", FirstStage, "_retrieve")
    watch.on("standardise, blend", first_stage, "_standardised")
    watch.on("standardise, blend", first_stage, "_best")
    watch.on("features", FeatureTables, "compute")
    watch.on("features", Texts, "share")
    watch.on("trees", Trees, "score")
    watch.on("order", TwoStage, "_order")
    for q in range(len(queries)):
        query = queries[q : q + 1]
        watch.run("the rest", lambda query=query: recommender.recommend(query, N))
    return {label: seconds / len(queries) * 1e3 for label, seconds in watch.spent.items()}


def _batch(folder: Path, count: int) -> dict[str, Any]:
    """Seconds of one batch."""
    recommender = Bundle.load(folder / "bundle").recommender
    queries = queries_of(Dataset.open(folder / "world"), count)
    recommender.recommend(queries[:5], N)
    start = time.perf_counter()
    recommender.recommend(queries, N)
    return {"seconds": time.perf_counter() - start, "peak_mb": peak_mb()}


_CHILDREN: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "train": _train,
    "single": _single,
    "batch": _batch,
}


# Together


def _growth(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What training cost at each size, and what the recipe on the whole dataset would.

    A fit grows with the entries, the candidates of a playlist with the tracks (both linearly,
    through the last two sizes), the trees with the rows. Memory is that of the data and tables,
    which grow with entries and tracks, and of the rows that the trees learn from.
    """
    rows = [
        {
            "playlists": run["playlists"],
            "tracks": run["tracks"],
            "entries": run["entries"],
            "s a fit of the first stage": run["spent"]["first stage and tables"] / 2,
            "ms a labelled playlist": 1e3
            * run["spent"]["weights and candidates"]
            / run["labelled"],
            "s for trees": run["spent"]["trees"],
            "s in all": run["seconds"],
            "peak MB": run["peak_mb"],
            "bundle MB": run["bundle_mb"],
            "": f"1 fold, {run['labelled']} labelled",
        }
        for run in runs
    ]
    config = load_recipe("two-stage").make().config
    labelled, folds = config.playlists, config.folds

    def line(column: str, by: str) -> float:
        (x0, y0), (x1, y1) = ((row[by], row[column]) for row in rows[-2:])
        return max(y1, y1 + (y1 - y0) / (x1 - x0) * (MILLION[by] - x1))

    fit = line("s a fit of the first stage", "entries")
    each = line("ms a labelled playlist", "tracks")
    trees = rows[-1]["s for trees"] * labelled / runs[-1]["labelled"]
    rows.append(
        {
            **MILLION,
            "s a fit of the first stage": fit,
            "ms a labelled playlist": each,
            "s for trees": trees,
            "s in all": (folds + 1) * fit + labelled * each / 1e3 + trees,
            "peak MB": line("peak MB", "entries") + labelled * _ROW_KB / 1e3,
            "bundle MB": line("bundle MB", "entries"),
            "": f"extrapolated: {folds} folds, {labelled} labelled",
        }
    )
    return rows


_ROW_KB = 2 * 300 * 60 * 4 / 1e3
"""Of a labelled playlist: 300 rows of 60 features, once in blocks and once together."""


def measure(quick: bool) -> dict[str, Any]:
    """All figures."""
    sizes = (500, 1000, 2000) if quick else (5_000, 10_000, 20_000)
    count, many = (60, 300) if quick else (360, 10_000)
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for playlists in sizes:
            runs.append(_run("train", folder, playlists, TWO_CORES))
        single = _run("single", folder, count, ONE_CORE)
        batch = _run("batch", folder, many, TWO_CORES)
    took = single["milliseconds"]
    trees = single["trees"]
    row = {
        "queries": count,
        "tracks": single["tracks"],
        "candidates": single["candidates"],
        "median ms": float(np.median(took)),
        "p95 ms": float(np.percentile(took, 95)),
        "p99 ms": float(np.percentile(took, 99)),
        "peak MB": single["peak_mb"],
    }
    whole = sum(single["parts"].values())
    return {
        "ratio": trees["xgboost inplace_predict"] / trees["segue"],
        "machine": machine(),
        "rows": [row],
        "parts": [
            {"part": part, "ms": ms, "%": 100 * ms / whole}
            for part, ms in sorted(single["parts"].items(), key=lambda item: -item[1])
        ],
        "trees": [{"trees scored by": who, "ms": ms} for who, ms in trees.items()],
        "batch": [
            {
                "queries": many,
                "seconds": batch["seconds"],
                "queries a second": many / batch["seconds"],
                "peak MB": batch["peak_mb"],
            }
        ],
        "growth": _growth(runs),
    }


def _run(what: str, folder: Path, size: int, threads: dict[str, str]) -> dict[str, Any]:
    return child("benchmarks.two_stage", "--child", what, folder, size, **threads)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, few queries")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        what, folder, size = args.child
        print(json.dumps(_CHILDREN[what](Path(folder), int(size))))
        return
    result = measure(args.quick)
    if args.json:
        json.dump(result, sys.stdout)
        return
    show(f"One query after the other, one core, best {N}", result["rows"])
    show("Where the time goes (means, watched)", result["parts"])
    show("The trees on one query's candidates, one core", result["trees"],
         f"Ratio (xgboost inplace_predict / segue): {result['ratio']:.2f}")  # fmt: skip
    show("One batch, two cores", result["batch"])
    show("Training", result["growth"], machine())


if __name__ == "__main__":
    main()
