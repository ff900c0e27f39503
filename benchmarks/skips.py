"""Do skips help? Every model without and with them, on the same sessions, over several seeds.

    python -m benchmarks.skips DATASET --out FOLDER [--seeds 3] [--term-seeds 3] [--models a,b]
        [--set key=value]...

Trains each recipe and its `-skips` twin on the training side of the protocol `next`, for every
seed, and asks both protocols that share this side: `next` and `skips`. Sequence models are also
trained as published, with the skip-informed loss and nothing else ("+ term"); settings given are
theirs. What a run answered is kept in FOLDER/runs, so that an interrupted command goes on where it
was. Writes FOLDER/skips.md and FOLDER/skips.html: means over queries and seeds, and the paired
differences between twins.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.run import machine
from benchmarks.common.tables import Table, write_pages
from segue.data.dataset import Dataset
from segue.evaluation.evaluate import run_test
from segue.evaluation.significance import estimate
from segue.operations.train import train
from segue.protocols.base import Test, find_protocol
from segue.recipe import load_recipe

TWINS = ("sasrec", "bert4rec", "gru4rec", "caser", "wrmf", "bpr")
BASELINES = ("popularity", "personal", "item-knn")
PUBLISHED = ("sasrec", "bert4rec", "gru4rec", "caser")
TERM = " + term"
FIXED = BASELINES
"""Recipes that one seed says enough about."""
METRICS = {
    "next": ("hr@1", "hr@5", "hr@10", "hr@20", "map@10", "ndcg@10", "mrr@20"),
    "skips": ("auc", "rank_played", "rank_skipped", "skip_mrr@10", "hr@10", "delta_hr@10"),
}
LESS = ("rank_played", "skip_mrr@10")
Values = dict[str, np.ndarray[Any, np.dtype[np.float64]]]


class Runs:
    """Trained recipes and what they answered, kept on disk."""

    def __init__(self, dataset: Path, out: Path, overrides: Sequence[str]) -> None:
        self.dataset = Dataset.open(dataset)
        self.out, self.overrides = out, overrides
        # The split has seed 0 for every run, so that all answer the same queries. Both protocols
        # leave the same side to training.
        splits = {name: find_protocol(name).split(self.dataset, 0) for name in METRICS}
        self.learned = splits["next"].train
        self.tests: dict[str, Test] = {name: split.test for name, split in splits.items()}

    def values(self, name: str, seed: int) -> Values:
        """Value of every metric for every query, as ``protocol metric``; NaN: undefined."""
        recipe = name.removesuffix(TERM)
        own = list(self.overrides) if recipe.removesuffix("-skips") in PUBLISHED else []
        own += ["skip_weight=0.5"] if name.endswith(TERM) else []
        loaded = load_recipe(recipe, own)
        told = f"{self.dataset.info.fingerprint} {loaded.make().config} {seed}"
        mark = hashlib.sha256(told.encode()).hexdigest()[:8]
        file = self.out / "runs" / f"{name.replace(' ', '')}-{seed}-{mark}.npz"
        if not file.is_file():
            print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
            start = time.perf_counter()
            checkpoint = file.with_suffix(".checkpoint")
            file.parent.mkdir(parents=True, exist_ok=True)
            bundle, facts = train(
                loaded, self.learned, seed=seed, progress=True, checkpoint=checkpoint
            )
            out: dict[str, Any] = {"seconds": np.array(facts.seconds)}
            for protocol, test in self.tests.items():
                how = find_protocol(protocol)
                _, found = run_test(
                    recipe, bundle, self.dataset, test, METRICS[protocol], how.n, lambda _: None
                )
                out |= {f"{protocol} {metric}": some for metric, some in found.items()}
            np.savez_compressed(file, **out)
            checkpoint.unlink(missing_ok=True)
            print(f"  {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        with np.load(file) as saved:
            return {metric: saved[metric] for metric in saved.files}


def _with_skips(name: str) -> list[str]:
    return [*([name + TERM] if name in PUBLISHED else []), f"{name}-skips"]


def _keys() -> list[str]:
    return [f"{protocol} {metric}" for protocol, some in METRICS.items() for metric in some]


def _cell(mean: float | None, half: float | None = None) -> str:
    if mean is None:
        return ""
    digits = f"{mean:.4f}".replace("0.", ".", 1) if abs(mean) < 1 else f"{mean:.3g}"
    return digits if half is None else f"{digits} ± {half:.4f}".replace("± 0.", "± .")


def tables(runs: Runs, twins: Sequence[str], seeds: int, term_seeds: int) -> list[Table]:
    """Means of every recipe; differences of twins, over the seeds that both have."""
    keys = _keys()
    known: dict[str, list[Values]] = {}
    for name in (*BASELINES, *(r for t in twins for r in (t, *_with_skips(t)))):
        count = term_seeds if name.endswith(TERM) else seeds
        if name.removesuffix("-skips") in FIXED:
            count = 1
        known[name] = [runs.values(name, seed) for seed in range(count)]

    def mean(some: Sequence[Values], key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.mean([values[key] for values in some], axis=0)

    who = {p: test.listeners for p, test in runs.tests.items()}
    means, changes = [], []
    for name, some in known.items():
        row = [name, str(len(some))]
        row += [_cell(estimate(mean(some, key), who[key.split()[0]]).mean) for key in keys]
        seconds = float(np.median([values["seconds"] for values in some]))
        means.append([*row, f"{seconds:.0f}"])
    pairs = [(twin, other) for twin in twins for other in _with_skips(twin)]
    for twin, other in pairs:
        both = list(zip(known[twin], known[other], strict=False))
        for key in keys:
            protocol, metric = key.split()
            before, after = (mean(some, key) for some in zip(*both, strict=True))
            found = estimate(after - before, who[protocol])
            if found.mean is None or found.ci95 is None:
                continue
            each = [float(np.nanmean(after[key] - before[key])) for before, after in both]
            half = (found.ci95[1] - found.ci95[0]) / 2
            sure = found.ci95[0] > 0 or found.ci95[1] < 0
            good = (found.mean > 0) != (metric in LESS)
            verdict = ("better" if good else "worse") if sure else "no difference shown"
            base = float(np.nanmean(before))
            percent = f"{100 * found.mean / base:+.1f} %" if base else ""
            told = ", ".join(_cell(x) for x in each)
            changes.append([other, protocol, metric, _cell(base), _cell(found.mean, half), percent,
                            verdict, told])  # fmt: skip
    return [
        Table("Means over queries and seeds", ["recipe", "seeds", *keys, "s to train"], means),
        Table(
            "With skips minus without, on the same queries",
            [
                "model",
                "protocol",
                "metric",
                "without",
                "difference ± 95 %",
                "of it",
                "so",
                "by seed",
            ],
            changes,
        ),
    ]


def main() -> None:
    """Run what is missing and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--term-seeds", type=int, help="of the published term alone")
    parser.add_argument("--models", default=",".join(TWINS))
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    args = parser.parse_args()
    runs = Runs(args.dataset, args.out, args.overrides)
    term_seeds = args.seeds if args.term_seeds is None else args.term_seeds
    made = tables(runs, args.models.split(","), args.seeds, term_seeds)
    words = ["python -m benchmarks.skips", args.dataset.name, f"--seeds {args.seeds}"]
    words += [f"--term-seeds {term_seeds}"] if term_seeds != args.seeds else []
    words += [f"--set {shlex.quote(o)}" for o in args.overrides]
    counts = ", ".join(f"{len(test):,} queries of {p}" for p, test in runs.tests.items())
    notes = [f"`{' '.join(words)}`; {counts}; {machine()}"]
    notes += sorted({note for test in runs.tests.values() for note in test.notes})
    if runs.dataset.info.simulated:
        notes.insert(0, "A simulated world, not real listening.")
    write_pages(args.out / "skips", "Without and with skips", notes, made)
    print(
        json.dumps({"markdown": str(args.out / "skips.md"), "html": str(args.out / "skips.html")})
    )


if __name__ == "__main__":
    main()
