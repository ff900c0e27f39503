"""How well are tracks placed that nobody has played? Every way to do it, on the same listeners.

    python -m benchmarks.cold DATASET --out FOLDER [--seeds 3] [--models a,b] [--quick]

The table of van den Oord, Dieleman and Schrauwen (2013) on a dataset with sound (``segue world
--audio`` makes one), with what came after: each way learns from the training side of the protocol
`cold` and is asked about its cold tracks. Beside it: how different the tracks are that each way
calls similar, as the paper shows for its query tracks; how many places cold tracks take in lists of
the full catalog, against their share of what people play; and the tracks in pictures.

What a run answered is kept in FOLDER/runs, so that an interrupted command goes on where it was.
Writes FOLDER/cold.md and FOLDER/cold.html, and PNG files beside them.
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

from benchmarks.common.cold_rows import AUDIO, ROWS, Setting, diversity, places_taken
from benchmarks.common.pictures import save_map, save_spectrogram
from benchmarks.common.run import machine
from benchmarks.common.tables import Table, write_pages
from segue.audio.mel import BLOG
from segue.data.dataset import Dataset
from segue.evaluation.evaluate import run_test
from segue.evaluation.significance import estimate
from segue.models.audio.model import Audio
from segue.protocols.base import find_protocol

METRICS = find_protocol("cold").metrics(find_protocol("cold").n)
PAIRS = (
    ("audio-cnn", "audio-linear"),
    ("audio-mlp", "audio-linear"),
    ("audio-cnn-wpe", "audio-cnn"),
    ("audio", "audio-cnn"),
    ("audio", "artist mean"),
    ("audio", "nearest sounds"),
    ("audio-linear", "random"),
    ("upper bound", "audio"),
)
USUAL = 50
"""Tracks, at least, that tell how active a filter is."""
QUICK = ("epochs=2", "channels=16", "hidden=[64]")
Values = dict[str, Any]


class Runs:
    """Ways to place cold tracks and what they answered, kept on disk."""

    def __init__(self, dataset: Path, out: Path, overrides: Sequence[str]) -> None:
        self.dataset = Dataset.open(dataset)
        # The split has seed 0 for every run, so that all answer the same queries.
        split = find_protocol("cold").split(self.dataset, 0)
        self.test = split.test
        self.setting = Setting(self.dataset, split, tuple(overrides))
        self.out = out

    def values(self, name: str, seed: int) -> Values:
        """Value of every metric for every query (NaN: undefined), and what else was measured."""
        told = f"{self.dataset.info.fingerprint} {self.setting.told(name)} {seed}"
        mark = hashlib.sha256(told.encode()).hexdigest()[:8]
        file = self.out / "runs" / f"{name.replace(' ', '-')}-{seed}-{mark}.npz"
        if not file.is_file():
            print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
            start = time.perf_counter()
            bundle = ROWS[name](self.setting, seed)
            seconds = time.perf_counter() - start
            how = find_protocol("cold")
            _, found = run_test(
                name, bundle, self.dataset, self.test, METRICS, how.n, lambda _: None
            )
            out: dict[str, Any] = {"seconds": np.array(seconds), **found}
            out |= diversity(bundle, self.setting) | places_taken(bundle, self.setting)
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(file, **out)
            if isinstance(bundle.recommender, Audio) and not seed:
                self._draw(name, bundle.recommender)
            print(f"  {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        with np.load(file) as saved:
            return {key: saved[key] for key in saved.files}

    def _draw(self, name: str, model: Audio) -> None:
        """The map of the catalog, and what a network with convolutions hears in one track."""
        save_map(
            self.out / f"map-{name.replace(' ', '-')}.png",
            model.vectors,
            model.catalog.table["artist"].to_pylist(),
            cold=self.setting.cold,
            title=f"{name}: tracks by where they are placed",
        )
        if model.config.sound == "mel" and model.tower is not None:
            sounds = self.setting.sounds("mel")
            # The cold track that is asked for most, before what sounds there are.
            track = int(np.bincount(self.test.truth.values).argmax())
            step = max(1, len(sounds.arrays) // USUAL)
            save_spectrogram(
                self.out / f"filters-{name}.png",
                sounds.arrays[int(np.flatnonzero(sounds.tracks == track)[0])],
                BLOG,
                model.tower,
                [sounds.arrays[i] for i in range(0, len(sounds.arrays), step)],
                title=f"{model.catalog.label(track)}, as {name} hears it",
            )


def _cell(mean: float | None, half: float | None = None, digits: int = 4) -> str:
    if mean is None or np.isnan(mean):
        return ""
    return f"{mean:.{digits}f}" + ("" if half is None else f" ± {half:.{digits}f}")


def tables(runs: Runs, names: Sequence[str], seeds: int) -> list[Table]:
    """Means of every row, differences of pairs, what is called similar, places of cold tracks."""
    known = {
        name: [runs.values(name, seed) for seed in range(seeds if _drawn(name) else 1)]
        for name in names
    }

    def mean(name: str, key: str) -> Any:
        return np.mean([values[key] for values in known[name]], axis=0)

    def interval(values: Any) -> str:
        found = estimate(values)
        half = None if found.ci95 is None else (found.ci95[1] - found.ci95[0]) / 2
        return _cell(found.mean, half)

    quality = [
        [
            name,
            str(len(some)),
            *(interval(mean(name, metric)) for metric in METRICS),
            f"{np.median([values['seconds'] for values in some]):.0f}",
        ]
        for name, some in known.items()
    ]
    changes = []
    for one, other in PAIRS:
        if one in known and other in known:
            for metric in METRICS:
                found = estimate(mean(one, metric) - mean(other, metric))
                if found.mean is not None and found.ci95 is not None:
                    sure = found.ci95[0] > 0 or found.ci95[1] < 0
                    told = ("better" if found.mean > 0 else "worse") if sure else "not shown"
                    half = (found.ci95[1] - found.ci95[0]) / 2
                    changes.append([f"{one} - {other}", metric, _cell(found.mean, half), told])
    similar = [
        [name, *(_cell(float(mean(name, k)), digits=3) for k in ("artists", "apart", "near"))]
        for name in names
        if not np.isnan(mean(name, "artists"))
    ]
    taken = [
        [name, *(_cell(float(mean(name, key)), digits=3) for key in ("taken", "due"))]
        for name in names
    ]
    return [
        Table(
            "Cold tracks ranked, means over listeners with 95 % intervals",
            ["row", "seeds", *METRICS, "s to learn"],
            quality,
        ),
        Table("Differences, listener by listener", ["rows", "metric", "difference", "so"], changes),
        Table(
            "The 20 cold tracks most similar to each cold track: different artists; mean distance "
            "(1 - cosine of who plays them) in the list; and the cosine with the track asked for",
            ["row", "artists", "distance", "cosine"],
            similar,
        ),
        Table(
            "Share of cold tracks in lists of 100 from the full catalog, for half a history; and "
            "in what these listeners played besides",
            ["row", "in the lists", "in the truth"],
            taken,
        ),
    ]


def _drawn(name: str) -> bool:
    """Whether learning it again gives something else."""
    return name == "random" or (name in AUDIO and name != "audio-linear")


def main() -> None:
    """Run what is missing and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", default=",".join(ROWS))
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--quick", action="store_true", help="small networks, few epochs, one seed")
    args = parser.parse_args()
    overrides = [*(QUICK if args.quick else ()), *args.overrides]
    runs = Runs(args.dataset, args.out, overrides)
    made = tables(runs, args.models.split(","), 1 if args.quick else args.seeds)
    words = ["python -m benchmarks.cold", args.dataset.name, f"--seeds {args.seeds}"]
    words += (["--quick"] if args.quick else []) + [f"--set {shlex.quote(o)}" for o in overrides]
    notes = [f"`{' '.join(words)}`; {len(runs.test):,} listeners; {machine()}", *runs.test.notes]
    if runs.dataset.info.simulated:
        notes.insert(0, "A simulated world, not real listening.")
    pictures = sorted(file.name for file in args.out.glob("*.png"))
    write_pages(args.out / "cold", "Tracks that nobody has played", notes, made, pictures)
    print(json.dumps({kind: str(args.out / f"cold.{kind}") for kind in ("md", "html")}))


if __name__ == "__main__":
    main()
