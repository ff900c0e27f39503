"""What the first call of a verb costs, when nothing is compiled yet, and the next one.

    python -m benchmarks.cold_start [--json] [--rounds N] [--source DIR]

Numba compiles a kernel when it is first called and keeps it for later processes. Every round begins
with an empty cache: from a CSV file of 1,000 playlists come a dataset, a bundle and an answer, each
by a process of its own; then the same again with what was compiled. `doctor` stands apart, with a
cache of its own. Medians of the rounds, in seconds, by the clock and of the processor; a busy
machine stretches the first more.

`--source` measures another tree: the `src` of an earlier commit, for a comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common.locked import ROOT
from benchmarks.common.run import machine
from benchmarks.common.tables import Table
from benchmarks.install_size import write_playlists

RECIPES = {
    "user-knn": [],
    "wrmf": ["--set", "factors=32"],
    "title": [],
    "bpr": ["--set", "factors=32", "--set", "epochs=2"],
}
"""With settings that leave little work beside the compiling."""
_START = "from segue.cli import main; main()"


def measured(folder: Path, source: Path, compiled: Path, *words: str, **more: str) -> list[float]:
    """Run a verb to its end; seconds by the clock and of the processor."""
    variables = {"PYTHONPATH": str(source), "NUMBA_CACHE_DIR": str(compiled), **more}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", _START, *words],
        cwd=folder, env=os.environ | variables, capture_output=True, check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [time.perf_counter() - start, used]


def one_round(folder: Path, source: Path) -> dict[str, dict[str, Any]]:
    """Seconds of every step, first and again, and how many kernels it compiled."""
    write_playlists(folder / "playlists.csv")
    found: dict[str, dict[str, Any]] = {}

    def step(name: str, compiled: Path, *words: str) -> None:
        there = len(list(compiled.rglob("*.nbc")))
        first = measured(folder, source, compiled, *words)
        made = len(list(compiled.rglob("*.nbc"))) - there
        again = measured(folder, source, compiled, *words)
        found[name] = {"kernels": made, "first": first, "again": again}

    ingest = ("ingest", "csv", "playlists.csv", "--dataset", "data")
    step("doctor", folder / "doctor.cache", "doctor")
    step("ingest csv", folder / "ingest.cache", *ingest)
    for recipe, settings in RECIPES.items():
        compiled = folder / f"{recipe}.cache"
        train = ("train", recipe, "data", "--bundle", recipe, *settings)
        step(f"train {recipe}", compiled, *train)
        ask = ["--title", "music"] if recipe == "title" else ["--track", "song:2"]
        step(f"continue {recipe}", compiled, "continue", recipe, *ask)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", type=Path, default=ROOT / "src")
    given = parser.parse_args()
    rounds = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory(prefix="segue-cold-") as place:
            rounds.append(one_round(Path(place), given.source.resolve()))
    rows = [
        {
            "step": step,
            "kernels": rounds[0][step]["kernels"],
            **{
                f"{when}_{how}": statistics.median(some[step][when][i] for some in rounds)
                for when in ("first", "again")
                for i, how in enumerate(("seconds", "cpu_seconds"))
            },
        }
        for step in rounds[0]
    ]
    if given.json:
        print(json.dumps({"machine": machine(), "rounds": given.rounds, "rows": rows}))
        return
    head = ["verb", "compiled", "first, s", "first, CPU s", "again, s", "again, CPU s"]
    lines = [
        [f"`{row['step']}`", str(row["kernels"]), *(f"{row[key]:.1f}" for key in list(row)[2:])]
        for row in rows
    ]
    table = Table("First call and next one", head, lines)
    print(f"{machine()}, median of {given.rounds} rounds\n\n{table.markdown()}")


if __name__ == "__main__":
    main()
