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

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from scipy.optimize import nnls

from benchmarks.common.run import asked, child, machine, peak_mb, show
from segue.bundle import Bundle
from segue.data.dataset import Dataset
from segue.models.knn import ItemKNN, UserKNN
from segue.models.two_stage import candidates as first_stage
from segue.models.two_stage.candidates import FirstStage
from segue.models.two_stage.features.compute import FeatureTables
from segue.models.two_stage.model import TwoStage
from segue.models.two_stage.ranker import trees_of
from segue.models.two_stage.training import TwoStageTraining
from segue.models.two_stage.trees import Trees
from segue.models.wrmf.model import WRMF
from segue.operations.train import train
from segue.protocols.playlist_cuts import TYPES, PlaylistRows, cut, draw_types
from segue.queries import Queries, Query
from segue.recipe import load_recipe
from segue.simulation import World, make_world

N = 500
SIZES = ((5_000, 50_000), (10_000, 100_000), (20_000, 100_000), (20_000, 200_000))
"""Playlists and tracks of worlds that training is measured on; the last one is answered from."""
LABELLED = 1000
"""Playlists that the second stage learns from here; the recipe's number is read from it."""
MILLION = {"playlists": 1e6, "tracks": 2_262_292.0, "entries": 66_346_428.0}
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

        setattr(owner, name, watched)

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
            for q in np.resize(rng.permutation(len(found)), count).tolist()
        ]
    )


# In processes of their own


def _train(folder: Path, playlists: int, tracks: int) -> dict[str, Any]:
    """Make a world, train on it, save; what training cost, and of which part."""
    make_world(folder / "world", World(tracks=tracks, listeners=0, sessions=0, playlists=playlists))
    dataset = Dataset.open(folder / "world")
    labelled = min(LABELLED, playlists // 4)
    recipe = load_recipe("two-stage", ["folds=1", f"playlists={labelled}"])
    watch = Watch()
    watch.on("first stage and tables", TwoStageTraining, "fit_stages")
    watch.on("weights and candidates", TwoStageTraining, "_find_weights")
    watch.on("weights and candidates", TwoStageTraining, "_examples")
    watch.on("trees", TwoStageTraining, "_fit_trees")
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
        recommender.first.pool(queries[q : q + 1], queries[q : q + 1].excluded().values)
        for q in range(min(count, 40))
    ]
    rows = [recommender.tables.compute(queries[q : q + 1], pool) for q, pool in enumerate(pools)]
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
    works: dict[str, Callable[[Any], Any]] = {
        "segue": ours.score,
        "xgboost inplace_predict": booster.inplace_predict,
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
    watch.on("scores of user-knn", UserKNN, "known_scores")
    watch.on("scores of item-knn", ItemKNN, "known_scores")
    if "title" in recommender.first.models:
        watch.on("scores of title", type(recommender.first.models["title"]), "known_scores")
    watch.on("best of each model", FirstStage, "_retrieve")
    watch.on("standardise, blend", first_stage, "_standardised")
    watch.on("standardise, blend", first_stage, "top_n")
    watch.on("features", FeatureTables, "compute")
    watch.on("trees", Trees, "score")
    watch.on("order", TwoStage, "_order")
    for q in range(len(queries)):
        query = queries[q : q + 1]
        watch.run("the rest", partial(recommender.recommend, query, N))
    return {label: seconds / len(queries) * 1e3 for label, seconds in watch.spent.items()}


def _batch(folder: Path, count: int) -> dict[str, Any]:
    """Seconds of one batch."""
    recommender = Bundle.load(folder / "bundle").recommender
    queries = queries_of(Dataset.open(folder / "world"), count)
    recommender.recommend(queries[:5], N)
    start = time.perf_counter()
    recommender.recommend(queries, N)
    return {"seconds": time.perf_counter() - start, "peak_mb": peak_mb()}


_CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {
    "train": _train,
    "single": _single,
    "batch": _batch,
}


# Together


def _growth(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What training cost at each size, and what the recipe on the whole dataset would.

    Seconds and memory are extrapolated as sums of a constant, a part of the tracks and a part of
    the entries, none below 0, that fit the sizes best; the trees' seconds grow with their rows.
    """
    rows = [
        {
            "playlists": float(run["playlists"]),
            "tracks": float(run["tracks"]),
            "entries": float(run["entries"]),
            _FIT: run["spent"]["first stage and tables"] / 2,
            _EACH: 1e3 * run["spent"]["weights and candidates"] / run["labelled"],
            _TREES: run["spent"]["trees"],
            "s in all": run["seconds"],
            "peak MB": run["peak_mb"],
            "bundle MB": run["bundle_mb"],
        }
        for run in runs
    ]
    config = load_recipe("two-stage").make().config
    labelled, folds = config.playlists, config.folds
    sizes = np.array([[1.0, row["tracks"], row["entries"]] for row in rows])
    target = np.array([1.0, MILLION["tracks"], MILLION["entries"]])

    def at_target(column: str) -> float:
        scale = sizes.max(axis=0)
        parts, _ = nnls(sizes / scale, np.array([row[column] for row in rows]))
        return float(parts @ (target / scale))

    fit, each = at_target(_FIT), at_target(_EACH)
    trees = rows[-1][_TREES] * labelled / runs[-1]["labelled"]
    whole = {
        **MILLION,
        _FIT: fit,
        _EACH: each,
        _TREES: trees,
        "s in all": (folds + 1) * fit + labelled * each / 1e3 + trees,
        "peak MB": at_target("peak MB") + labelled * _ROWS_MB,
        "bundle MB": at_target("bundle MB"),
    }
    notes = [f"1 fold, {run['labelled']} labelled" for run in runs]
    notes.append(f"extrapolated: {folds} folds, {labelled} labelled")
    return [{**row, "": note} for row, note in zip([*rows, whole], notes, strict=True)]


_FIT, _EACH, _TREES = "s a fit of the first stage", "ms a labelled playlist", "s for trees"
_ROWS_MB = 2 * 300 * 60 * 4 / 1e6
"""Of a labelled playlist: 300 rows of 60 features, once in blocks and once together."""


def measure(quick: bool) -> dict[str, Any]:
    """All figures."""
    part = 10 if quick else 1
    count, many = (60, 300) if quick else (360, 10_000)
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for playlists, tracks in SIZES:
            runs.append(_run(TWO_CORES, "train", folder, playlists // part, tracks // part))
        single = _run(ONE_CORE, "single", folder, count)
        batch = _run(TWO_CORES, "batch", folder, many)
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


def _run(threads: dict[str, str], *words: object) -> dict[str, Any]:
    return child("benchmarks.two_stage", "--child", *words, **threads)


def main() -> None:
    """Measure and print."""
    args = asked(__doc__, _CHILDREN)
    if args is None:
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
