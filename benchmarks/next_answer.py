"""How fast `sasrec` says what comes next, and how fast it is evaluated on a whole catalog.

    python -m benchmarks.next_answer [--json] [--quick]

Single answers: the best 20 of 200,000 tracks for one session after the other, on one core, from a
bundle loaded from disk. Evaluation: the protocol `next` on every one of 100,000 sessions over
50,000 tracks, on two cores, from the dataset to the figures with their intervals; beside the bare
matrix product of the sessions' vectors, ready made, with all tracks and a top-k, in blocks. The
ratio is the time of the fastest of these against the evaluation's, each the median of three turns.

The data are simulated worlds. The bundles are the recipe `sasrec` trained for one epoch on a few
sessions: what an answer costs does not depend on how good it is.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.run import asked, child, machine, peak_mb, show
from benchmarks.evaluation import in_blocks, times_in_turns
from segue.bundle import Bundle
from segue.data.dataset import Dataset
from segue.evaluation.evaluate import evaluate
from segue.models.sequential.model import SequenceRecommender
from segue.operations.train import train
from segue.protocols.base import find_protocol
from segue.recipe import load_recipe
from segue.simulation import World, make_world

N = 20
ROUNDS = 3
"""Turns of the evaluation and of the bare work; what is beside them is timed once."""
TRAINED, ASKED = 0, 1
"""Seeds of the world that is learned from and of the one that is asked for."""
ONE_CORE = {
    f"{name}_NUM_THREADS": "1" for name in ("NUMBA", "OMP", "OPENBLAS", "MKL")
} | {"OMP_WAIT_POLICY": "passive"}  # fmt: skip
TWO_CORES = {**ONE_CORE, **{f"{name}_NUM_THREADS": "2" for name in ("NUMBA", "OMP", "OPENBLAS")}}
BARE = {
    "torch product + topk, 256 sessions": in_blocks(256, "torch", "torch"),
    "torch product + topk, 1024 sessions": in_blocks(1024, "torch", "torch"),
    "numpy product + torch topk, 256 sessions": in_blocks(256, "numpy", "torch"),
}


def _world(folder: Path, tracks: int, sessions: int, seed: int) -> Dataset:
    sizes = World(tracks=tracks, listeners=sessions // 10, sessions=sessions, playlists=0)
    make_world(folder, sizes, seed=seed)
    return Dataset.open(folder)


def _bundle(folder: Path) -> tuple[Bundle, SequenceRecommender]:
    bundle = Bundle.load(folder)
    assert isinstance(bundle.recommender, SequenceRecommender)
    return bundle, bundle.recommender


# In processes of their own


def _train(folder: Path, tracks: int, learned: int, asked: int) -> dict[str, Any]:
    """A bundle, and a dataset of other sessions of the same tracks."""
    dataset = _world(folder / "learned", tracks, learned, TRAINED)
    bundle, _ = train(load_recipe("sasrec", ["epochs=1", "patience=0"]), dataset)
    bundle.save(folder / "bundle")
    _world(folder / "asked", tracks, asked, ASKED)
    return {}


def _single(folder: Path, count: int) -> dict[str, Any]:
    """Milliseconds of single answers, and of the part that reads the session."""
    start = time.perf_counter()
    _, recommender = _bundle(folder / "bundle")
    loaded = time.perf_counter() - start
    test = find_protocol("next").every(Dataset.open(folder / "asked"), 0)
    queries = test.queries[:count]

    def milliseconds(work: Callable[[Any], Any]) -> list[float]:
        took = []
        for q in range(len(queries)):
            one = queries[q : q + 1]
            start = time.perf_counter()
            work(one)
            took.append((time.perf_counter() - start) * 1e3)
        return took[5:]  # the first compile

    answers = milliseconds(lambda one: recommender.recommend(one, N))
    vectors = milliseconds(recommender.query_vectors)
    return {
        "queries": len(answers),
        "tracks": len(recommender.catalog),
        "median ms": float(np.median(answers)),
        "p95 ms": float(np.percentile(answers, 95)),
        "p99 ms": float(np.percentile(answers, 99)),
        "of it the session's vector": float(np.median(vectors)),
        "s to load": loaded,
        "peak MB": peak_mb(),
    }


def _evaluation(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of a whole evaluation and of the bare work, in turns; of parts of it, once."""
    bundle, recommender = _bundle(folder / "bundle")
    dataset = Dataset.open(folder / "asked")
    queries = find_protocol("next").every(dataset, 0).queries
    recommender.recommend(queries[:100], N)  # compiles
    vectors = recommender.query_vectors(queries)
    tracks = recommender.vectors

    def run(protocol: str) -> Callable[[], object]:
        return lambda: evaluate([("sasrec", bundle)], dataset, protocol, all_rows=True)

    def bare(name: str) -> Callable[[], object]:
        return lambda: BARE[name](vectors, tracks, N)

    compared = {
        "segue, evaluation by next": run("next"),
        **{name: bare(name) for name in BARE},
    }
    once: dict[str, Callable[[], object]] = {
        "segue, answers alone": lambda: recommender.recommend(queries, N),
        "segue, the sessions' vectors alone": lambda: recommender.query_vectors(queries),
        "segue, evaluation by skips": run("skips"),
    }
    for protocol in ("next", "skips"):  # compiles
        evaluate([("sasrec", bundle)], _some(dataset), protocol, all_rows=True)
    seconds = times_in_turns(compared, rounds) | times_in_turns(once, 1)
    return {"sessions": len(queries), "tracks": len(tracks), "seconds": seconds}


def _some(dataset: Dataset) -> Dataset:
    """The listens of the first sessions."""
    return dataset.keeping(listens=np.arange(len(dataset.listens)) < 2000)


_CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {
    "train": _train,
    "single": _single,
    "evaluation": _evaluation,
}


# Together


def measure(quick: bool) -> dict[str, Any]:
    """All figures."""
    tracks, few, many = (5_000, 2_000, 5_000) if quick else (50_000, 20_000, 100_000)
    count = 200 if quick else 2_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "answer"
        _run(TWO_CORES, "train", folder, 4 * tracks, few, few)
        single = _run(ONE_CORE, "single", folder, count + 5)
        folder = Path(name) / "evaluation"
        _run(TWO_CORES, "train", folder, tracks, few, many)
        found = _run(TWO_CORES, "evaluation", folder, ROUNDS)
    seconds = found["seconds"]
    bare = min(seconds[name] for name in BARE)
    return {
        "ratio": bare / seconds["segue, evaluation by next"],
        "machine": machine(),
        "rows": [single],
        "sessions": found["sessions"],
        "tracks": found["tracks"],
        "evaluation": [
            {"what": what, "seconds": took, "times the fastest bare": took / bare}
            for what, took in seconds.items()
        ],
    }


def _run(threads: dict[str, str], *words: object) -> dict[str, Any]:
    return child("benchmarks.next_answer", "--child", *words, **threads)


def main() -> None:
    """Measure and print."""
    args = asked(__doc__, _CHILDREN)
    if args is None:
        return
    result = measure(args.quick)
    if args.json:
        json.dump(result, sys.stdout)
        return
    show(f"One session after the other, one core, best {N}", result["rows"])
    title = "Evaluation of {sessions:,} sessions, {tracks:,} tracks, two cores".format(**result)
    ratio = f"Ratio (fastest bare / evaluation by next): {result['ratio']:.2f}"
    show(title, result["evaluation"], ratio, result["machine"])


if __name__ == "__main__":
    main()
