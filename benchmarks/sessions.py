"""Training of SASRec: sessions a second and quality, beside RecTools, RecBole and a plain loop.

    python -m benchmarks.sessions [--json] [--sessions N] [--quick]

RecTools and RecBole run in environments of their own (`make peers`); without one its row says so.
The data is a simulated world in the shape of the Music Streaming Sessions Dataset: sessions of 10
to 20 tracks. Everybody learns from the same sessions without their last tracks (64 factors, 2
blocks, 2 heads, dropout 0.2, learning rate 0.001), and is asked for the last track of 10,000 of
them among all tracks but those of the history. Segue, the plain loop and RecTools take batches of
128 sessions and 512 negatives; Segue and the loop share these in a batch, RecTools draws them for
each position; RecBole has its own batches and a full softmax.

The ratio is Segue's sessions a second against the fastest peer's whose NDCG@10 after as many epochs
is not significantly above Segue's. Rates leave out what happens before the first step, which has a
column. Each figure is of a process of its own, two threads, Segue and the plain loop in turns.
Slow peers do some steps of the large data, and all epochs of a small one, where quality is
compared, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.run import child, machine, show
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
    gains,
    places,
)

SEGUE, PLAIN, RECTOOLS, RECBOLE = "segue", "plain torch loop", "RecTools", "RecBole"
LOSS = {
    SEGUE: "512 for a batch",
    PLAIN: "512 for a batch",
    RECTOOLS: "512 for a position",
    RECBOLE: "full softmax",
}
ROOT = Path(__file__).parents[1]
PYTHON = {
    RECTOOLS: ROOT / ".venv-rectools/bin/python",
    RECBOLE: ROOT / ".venv-recbole/bin/python",
}
MODULE = {
    SEGUE: "benchmarks.sessions",
    PLAIN: "benchmarks.peers.plain_sasrec",
    RECTOOLS: "benchmarks.peers.rectools",
    RECBOLE: "benchmarks.peers.recbole",
}
ABSENT = "not installed: make peers"
QUERIES = 10_000
THREADS = {f"{name}_NUM_THREADS": "2" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}

Result = dict[str, Any]


def make_data(folder: Path, tracks: int, sessions: int) -> Path:
    """Make a world and the sessions of it that every system gets; the file of these."""
    from segue.data.dataset import Dataset
    from segue.data.sessions import Sessions
    from segue.simulation import World, make_world

    world = World(tracks=tracks, listeners=sessions // 10, sessions=sessions, playlists=0)
    make_world(folder, world)
    made = Sessions.of(Dataset.open(folder))
    last = made.offsets[1:] - 1
    rest = np.ones(len(made.tracks), np.bool_)
    rest[last] = False
    asked = np.random.default_rng(0).permutation(sessions)[:QUERIES]
    file = folder / "sessions.npz"
    Data(
        tracks,
        made.offsets - np.arange(sessions + 1),
        made.tracks[rest],
        asked,
        made.tracks[last][asked],
    ).save(file)
    return file


def train_segue(file: Path, epochs: int) -> Result:
    """Train and ask Segue, from the world beside the file."""
    import torch

    from segue.data.dataset import Dataset
    from segue.data.sessions import Sessions
    from segue.models.base.recommender import TrainingOptions
    from segue.models.sequential.model import SASRec
    from segue.models.sequential.training import SequenceTrainer
    from segue.queries import Queries

    data = Data.load(file)
    world = Dataset.open(file.parent)
    made = Sessions.of(world)
    kept = np.ones(len(world.listens), np.bool_)
    kept[made.rows[made.offsets[1:] - 1]] = False
    histories = [made.offsets[data.asked], made.offsets[data.asked + 1] - 1]
    clock, inner = Clock(), SequenceTrainer.run

    def run(self: SequenceTrainer, advance: Any, *rest: Any) -> Any:
        clock.mark()
        return inner(self, lambda share: (clock.mark(), advance(share)), *rest)

    SequenceTrainer.run = run  # type: ignore[method-assign]
    model = SASRec(
        factors=FACTORS,
        blocks=BLOCKS,
        heads=HEADS,
        width=1,
        length=LENGTH,
        dropout=DROPOUT,
        negatives=NEGATIVES,
        batch=BATCH,
        learning_rate=RATE,
        epochs=epochs,
        patience=0,
    ).fit(world.keeping(listens=kept), TrainingOptions(seed=0))
    rows = np.concatenate([np.arange(a, b) for a, b in zip(*histories, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(histories[1] - histories[0])])
    nobody = np.zeros(len(data.asked) + 1, np.int64)
    queries = Queries(
        offsets,
        made.tracks[rows],
        made.outcomes[rows],
        [None] * len(data.asked),
        nobody,
        np.zeros(0, np.int32),
    )
    best = model.recommend(queries, BEST).tracks
    steps = -(-len(data) // BATCH)
    return clock.report(
        len(data) / steps,
        places(best, data.truth),
        segue=version("segue"),
        torch=torch.__version__,
    )


def run(system: str, file: Path, epochs: int, steps: int = 0) -> Result | None:
    """One system on its own; None where it is not installed."""
    python = PYTHON.get(system, Path(sys.executable))
    if not python.exists():
        return None
    words = ("--child",) if system == SEGUE else ()
    asked = (file, epochs) if system == SEGUE else (file, epochs, steps)
    return child(MODULE[system], *words, *asked, python=python, **THREADS)


def row(system: str, runs: list[Result | None], epochs: int) -> dict[str, Any]:
    """A line of a table."""
    done = [result for result in runs if result is not None]
    if not done:
        return {"system": system, "negatives": LOSS[system], "versions": ABSENT}
    last = done[-1]
    found = gains(last["places"])
    return {
        "system": system,
        "negatives": LOSS[system],
        "sessions/s": statistics.median(result["rate"] for result in done),
        "all runs": " ".join(f"{result['rate']:.0f}" for result in done),
        "steps": last["steps"],
        "s before": last["prepared"],
        f"ndcg@10, {epochs} epochs": float(found.mean()) if len(found) else None,
        "±": float(1.96 * found.std() / len(found) ** 0.5) if len(found) else None,
        "peak MB": max(result["peak_mb"] for result in done),
        "versions": " ".join(f"{name} {number}" for name, number in last["versions"].items()),
    }


def not_better(peer: Result, ours: Result) -> bool:
    """Whether the peer's NDCG@10 is not significantly above ours, query by query."""
    more = gains(peer["places"]) - gains(ours["places"])
    return bool(more.mean() <= 1.96 * more.std() / len(more) ** 0.5)


def measure(sessions: int, quick: bool) -> dict[str, Any]:
    """All figures."""
    tracks, small, small_tracks = (2_000, 1_000, 500) if quick else (50_000, 10_000, 2_500)
    rounds, epochs, small_epochs, steps = (1, 1, 1, 12) if quick else (2, 3, 5, 30)
    large_runs: dict[str, list[Result | None]] = {system: [] for system in MODULE}
    with tempfile.TemporaryDirectory() as name:
        file = make_data(Path(name) / "large", tracks, sessions)
        for turn in range(rounds):
            large_runs[PLAIN].append(run(PLAIN, file, epochs))
            large_runs[SEGUE].append(run(SEGUE, file, epochs))
            if not turn:
                for system in PYTHON:
                    large_runs[system].append(run(system, file, 1, steps))
        file = make_data(Path(name) / "small", small_tracks, small)
        small_runs = {system: run(system, file, small_epochs) for system in MODULE}
    rows = [row(system, runs, epochs) for system, runs in large_runs.items()]
    # Whose quality is known on the large data is judged there, the others on the small one.
    equal = {
        PLAIN: not_better(large_runs[PLAIN][-1], large_runs[SEGUE][-1])  # type: ignore[arg-type]
    } | {
        system: not_better(small_runs[system], small_runs[SEGUE])  # type: ignore[arg-type]
        for system in PYTHON
        if small_runs[system] is not None
    }
    rate = {one["system"]: one.get("sessions/s") for one in rows}
    ratios = {system: rate[SEGUE] / rate[system] for system in equal}
    for one in rows:
        one["segue / system"] = ratios.get(one["system"])
    return {
        "ratio": min((ratios[system] for system in equal if equal[system]), default=None),
        "ratios": ratios,
        "equal_quality": equal,
        "machine": machine(),
        "large": f"{sessions:,} sessions, {tracks:,} tracks",
        "small": f"{small:,} sessions, {small_tracks:,} tracks",
        "rows": rows,
        "quality": [row(system, [one], small_epochs) for system, one in small_runs.items()],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sessions", type=int, help="of the large data (200,000)")
    parser.add_argument("--quick", action="store_true", help="2,000 sessions, 1 epoch, few steps")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        file, epochs = args.child
        answer(train_segue(Path(file), int(epochs)))
        return
    result = measure(args.sessions or (2_000 if args.quick else 200_000), args.quick)
    if args.json:
        json.dump(result, sys.stdout)
        return
    ratio = "none" if result["ratio"] is None else f"{result['ratio']:.2f}"
    note = f"Ratio (segue / fastest peer that is not better): {ratio}"
    show(f"Training, {result['large']}", result["rows"], note)
    show(f"Quality, {result['small']}", result["quality"], result["machine"])


if __name__ == "__main__":
    main()
