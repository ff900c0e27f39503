"""Playlists of tracks that nobody has played: what sound, captions and the stages of LARP bring.

    python -m benchmarks.larp DATASET --out FOLDER [--seeds 3] [--rows a,b] [--tops a,b]
        [--set key=value]... [--quick]

The ablation of the paper on LARP (Salganik et al. 2024) on a dataset with titles, and sound where
rows need it (``segue world --audio`` makes one): each row learns from the training side of the
protocol `cold-playlists`, each top answers from what the row tells of the tracks. Beside them what
needs no learning: chance, the same artist and album, the frozen encoders. Differences are paired,
query by query. Where a world has outliers planted or themes mixed, the last table tells rows apart
by how alike the tracks of a playlist sound.

What a run answered is kept in FOLDER/runs, so that an interrupted command goes on where it was, and
rows that begin with the same stages share them. Writes FOLDER/larp.md, FOLDER/larp.html and
pictures of what the sides agree on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common.cold_rows import Given
from benchmarks.common.larp_pictures import save_agreement
from benchmarks.common.run import machine
from benchmarks.common.tables import Table, write_pages
from segue.bundle import Bundle, Manifest
from segue.catalog.catalog import catalog_of
from segue.data.dataset import Dataset
from segue.evaluation.evaluate import run_test
from segue.evaluation.significance import estimate
from segue.models.base.recommender import TrainingOptions
from segue.models.larp.model import LARP
from segue.protocols.base import find_protocol
from segue.protocols.fingerprints import learned_hashes
from segue.recipe import load_recipe

METRICS = find_protocol("cold-playlists").metrics(find_protocol("cold-playlists").n)
TOPS = ("item-knn", "dropoutnet", "clcrec")
TEXT, SOUND = ("sound=none",), ("text=none",)
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "text alone": ("larp", ("text=minilm", "stages=[]", *TEXT)),
    "sound alone": ("larp", ("sound=musicnn", "stages=[]", *SOUND)),
    "text frozen + TTC + TPC": ("larp", ("text=minilm", 'stages=["ttc","tpc"]', *TEXT)),
    # Steps too small to change anything; for what there is before any training.
    "names untrained": ("larp-names", ('stages=["ttc"]', "epochs=1", "learning_rate=1e-30")),
    "names + TTC": ("larp-names", ('stages=["ttc"]',)),
    "names + TTC + TPC": ("larp-names", ()),
    "text + TTC": ("larp", ('stages=["ttc"]', *TEXT)),
    "text + TTC + TPC": ("larp", ('stages=["ttc","tpc"]', *TEXT)),
    "text + TTC + TPC mean": ("larp-mean", ('stages=["ttc","tpc"]', *TEXT)),
    "sound + TTC": ("larp", ('stages=["ttc"]', *SOUND)),
    "WTC": ("larp-wtc", ()),
    "+ TTC": ("larp-ttc", ()),
    "+ TPC mean": ("larp-mean", ()),
    "+ TPC fusion": ("larp", ()),
    "+ TPC transformer": ("larp", ("aggregator=transformer",)),
    "+ TPC ordered": ("larp", ("aggregator=ordered",)),
}
"""Rows that learn: recipe and settings."""
PLAIN = ("random", "same artist", "same artist or album")
FIXED = (*PLAIN[1:], "text alone", "sound alone")
"""Rows whose content no seed changes."""
PAIRS = (
    ("+ TTC", "WTC"),
    ("+ TPC mean", "+ TTC"),
    ("+ TPC fusion", "+ TTC"),
    ("+ TPC fusion", "+ TPC mean"),
    ("+ TPC fusion", "text alone"),
    ("+ TPC fusion", "sound alone"),
    ("+ TPC fusion", "text + TTC"),
    ("+ TPC fusion", "sound + TTC"),
    ("+ TPC fusion", "same artist or album"),
    ("+ TPC transformer", "+ TPC fusion"),
    ("+ TPC ordered", "+ TPC fusion"),
    ("text + TTC", "text alone"),
    ("text + TTC + TPC", "text alone"),
    ("text + TTC + TPC", "same artist or album"),
    ("text + TTC + TPC", "text + TTC"),
    ("text + TTC + TPC", "text + TTC + TPC mean"),
    ("names + TTC", "names untrained"),
    ("names + TTC + TPC", "names + TTC"),
    ("names + TTC + TPC", "names untrained"),
    ("names + TTC + TPC", "text alone"),
    ("names + TTC + TPC", "same artist"),
    ("names + TTC + TPC", "same artist or album"),
    ("text frozen + TTC + TPC", "text alone"),
    ("text frozen + TTC + TPC", "same artist or album"),
)
NAMES = 512
"""Numbers that stand for an artist, drawn: two artists' are at nearly right angles."""
QUICK = ("epochs=2", "channels=16", "hidden=[64]")
Values = dict[str, npt.NDArray[Any]]


class Runs:
    """Rows with their tops and what they answered, kept on disk."""

    def __init__(self, dataset: Path, out: Path, overrides: Sequence[str]) -> None:
        self.dataset = Dataset.open(dataset)
        # The split has seed 0 for every run, so that all answer the same queries.
        split = find_protocol("cold-playlists").split(self.dataset, 0)
        self.train, self.test = split.train, split.test
        self.overrides, self.out = tuple(overrides), out
        (out / "runs").mkdir(parents=True, exist_ok=True)

    @cached_property
    def plays(self) -> Any:
        """Of the training side."""
        return self.train.plays()

    def values(self, name: str, top: str, seed: int) -> Values:
        """Value of every metric for every query, and the seconds it took."""
        recipe, settings = ROWS.get(name, ("", ()))
        settings = (*self.overrides, *settings) if recipe else ()
        config = load_recipe(recipe, settings).make().config if recipe else ""
        mark = _mark(self.dataset.info.fingerprint, name, config, top, seed)
        file = self.out / "runs" / f"{_short(name)}-{top}-{seed}-{mark}.npz"
        if not file.is_file():
            start = time.perf_counter()
            model: Any = self._plain(name, seed) if not recipe else None
            if recipe:
                model = self._row(name, seed)
                if top != model.config.top:
                    model = model.with_top(top, self.plays, TrainingOptions(seed))
            seconds = time.perf_counter() - start
            bundle = self._bundle(model)
            how = find_protocol("cold-playlists")
            _, found = run_test(
                name, bundle, self.dataset, self.test, METRICS, how.n, lambda _: None
            )
            np.savez_compressed(file, **{"seconds": np.array(seconds), **found})
            print(f"{name}, {top}, seed {seed}: {seconds:.0f} s", file=sys.stderr, flush=True)
        with np.load(file) as saved:
            return {key: saved[key] for key in saved.files}

    def _row(self, name: str, seed: int) -> LARP:
        """A row's model with the top of its recipe; the last one is kept."""
        if getattr(self, "_last", None) != (name, seed):
            recipe, settings = ROWS[name]
            made = load_recipe(recipe, (*self.overrides, *settings)).make()
            assert isinstance(made, LARP)
            sides = _mark(made.config.sound, made.config.text, made.config.learning_rate)
            run = TrainingOptions(
                seed, True, self.out / "runs" / f"stages-{sides}-{seed}.checkpoint"
            )
            self._model, self._last = made.fit(self.train, run), (name, seed)
            if not seed:
                save_agreement(self.out, _short(name), self._model, self.train)
        return self._model

    def _plain(self, name: str, seed: int) -> Given:
        """What needs no learning, as vectors."""
        rng = np.random.default_rng(seed)
        catalog = catalog_of(self.train, self.plays)
        if name == "random":
            return Given.over(catalog, rng.normal(size=(len(catalog), 64)))
        vectors = np.zeros((len(catalog), NAMES), np.float32)
        told = catalog.table.to_pylist()
        by = [row["artist_uri"] or row["artist"] for row in told]
        on = [row["album_uri"] or (row["album"] and (row["artist"], row["album"])) for row in told]
        for values, weight in ((by, 2**0.5), (on, 0.5))[: 2 if "album" in name else 1]:
            place = {value: at for at, value in enumerate(dict.fromkeys(filter(None, values)), 1)}
            drawn = rng.normal(size=(len(place) + 1, NAMES)).astype(np.float32)
            drawn *= weight / np.linalg.norm(drawn, axis=1, keepdims=True)
            drawn[0] = 0  # nobody
            vectors += drawn[[place.get(value, 0) for value in values]]
        return Given.over(catalog, vectors)

    def _bundle(self, model: Any) -> Bundle:
        manifest = Manifest(
            recommender=model.name, recipe=model.name, config={}, seed=0, holdout=None,
            dataset=self.dataset.info.fingerprint, simulated=self.dataset.info.simulated,
            trained_at="",
        )  # fmt: skip
        return Bundle(model, manifest, learned_hashes(self.train))

    @cached_property
    def homogeneity(self) -> npt.NDArray[np.float64]:
        """Mean cosine of the sounds of a query's tracks and truth, by the frozen encoder. (q,)"""
        heard = self._row("sound alone", 0).content
        test, out = self.test, []
        for q in range(len(test)):
            shown = test.queries.tracks[test.queries.offsets[q] : test.queries.offsets[q + 1]]
            truth = test.truth.row(q)
            some = heard[np.union1d(shown, truth)]
            cosines = some @ some.T
            n = len(some)
            out.append((cosines.sum() - np.trace(cosines)) / (n * (n - 1)))
        return np.array(out)


def _mark(*parts: object) -> str:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:8]


def _short(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")


def _cell(values: npt.NDArray[Any]) -> str:
    found = estimate(values)
    if found.mean is None:
        return ""
    half = "" if found.ci95 is None else f" ± {(found.ci95[1] - found.ci95[0]) / 2:.4f}"
    return f"{found.mean:.4f}{half}"


def tables(runs: Runs, names: Sequence[str], tops: Sequence[str], seeds: int) -> list[Table]:
    """Means of every row and top; differences of pairs; and by how alike playlists sound."""
    known: dict[tuple[str, str], list[Values]] = {}
    for seed in range(seeds):
        for name in names:
            for top in ("item-knn",) if name in PLAIN else tops:
                if not seed or top != "item-knn" or name not in FIXED:
                    known.setdefault((name, top), []).append(runs.values(name, top, seed))

    def mean(row: tuple[str, str], metric: str) -> npt.NDArray[Any]:
        return np.mean([values[metric] for values in known[row]], axis=0)

    quality = [
        [
            name,
            "" if name in PLAIN else top,
            str(len(some)),
            *(_cell(mean((name, top), metric)) for metric in METRICS),
            f"{np.median([values['seconds'] for values in some]):.0f}",
        ]
        for (name, top), some in known.items()
    ]
    changes = []
    for one, other in PAIRS:
        for top in tops:
            beside = "item-knn" if other in PLAIN else top
            if (one, top) not in known or (other, beside) not in known:
                continue
            for metric in METRICS:
                found = estimate(mean((one, top), metric) - mean((other, beside), metric))
                if found.mean is None or found.ci95 is None:
                    continue
                sure = found.ci95[0] > 0 or found.ci95[1] < 0
                told = ("better" if found.mean > 0 else "worse") if sure else "not shown"
                half = (found.ci95[1] - found.ci95[0]) / 2
                each = [
                    f"{float(np.nanmean(a[metric] - b[metric])):+.4f}"
                    for a, b in zip(
                        known[one, top], _repeated(known[other, beside], seeds), strict=False
                    )
                ]
                changes.append(
                    [f"{one} - {other}", top, metric, f"{found.mean:+.4f} ± {half:.4f}", told,
                     ", ".join(each)]
                )  # fmt: skip
    alike = []
    if "sound alone" in names:
        ends = np.quantile(runs.homogeneity, [0, 1 / 3, 2 / 3, 1])
        for name in names:
            row = (name, "item-knn")
            if row in known:
                third = np.clip(np.searchsorted(ends, runs.homogeneity, side="right") - 1, 0, 2)
                parts = [mean(row, "recall@10")[third == k] for k in range(3)]
                alike.append([name, *map(_cell, parts)])
    return [
        Table(
            "Cold tracks ranked, means over playlists with 95 % intervals",
            ["row", "top", "seeds", *METRICS, "s to learn"],
            quality,
        ),
        Table(
            "Differences, playlist by playlist",
            ["rows", "top", "metric", "difference ± 95 %", "so", "by seed"],
            changes,
        ),
        Table(
            "Recall@10 by how alike the tracks of a playlist sound (thirds of the mean cosine), "
            "item-knn",
            ["row", "mixed", "middle", "alike"],
            alike,
        ),
    ]


def _repeated(some: list[Values], seeds: int) -> list[Values]:
    return some if len(some) > 1 else some * seeds


def main() -> None:
    """Run what is missing and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", default=",".join([*PLAIN, *ROWS]))
    parser.add_argument("--tops", default=",".join(TOPS))
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--quick", action="store_true", help="small networks, few epochs, one seed")
    args = parser.parse_args()
    if unknown := set(args.rows.split(",")) - {*PLAIN, *ROWS}:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    overrides = [*(QUICK if args.quick else ()), *args.overrides]
    runs = Runs(args.dataset, args.out, overrides)
    seeds = 1 if args.quick else args.seeds
    made = tables(runs, args.rows.split(","), args.tops.split(","), seeds)
    words = ["python -m benchmarks.larp", args.dataset.name, f"--seeds {args.seeds}"]
    words += [f"--rows {shlex.quote(args.rows)}"] if args.rows != parser.get_default("rows") else []
    words += [f"--tops {args.tops}"] if args.tops != parser.get_default("tops") else []
    words += (["--quick"] if args.quick else []) + [f"--set {shlex.quote(o)}" for o in overrides]
    notes = [f"`{' '.join(words)}`; {len(runs.test):,} playlists; {machine()}", *runs.test.notes]
    if runs.dataset.info.simulated:
        notes.insert(0, "A simulated world, not real listening.")
    pictures = sorted(file.name for file in args.out.glob("*.png"))
    title = "Playlists of tracks that nobody has played"
    write_pages(args.out / "larp", title, notes, made, pictures)
    print(json.dumps({kind: str(args.out / f"larp.{kind}") for kind in ("md", "html")}))


if __name__ == "__main__":
    main()
