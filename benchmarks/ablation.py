"""What each part of `two-stage` brings: families of features, models of the first stage.

    python -m benchmarks.ablation DATASET [--json] [--set key=value]...

Trains on the training side of the protocol `challenge`: once whole; for each family with only the
trees grown again, without its columns; for each model of the first stage with everything trained
again without it, and with `playlist-cnn` besides. Every row is compared with the whole on the
same queries: the mean difference with its 95 % interval.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.common.run import machine, show
from segue.catalog.catalog import Catalog
from segue.data.dataset import Dataset
from segue.evaluation.significance import estimate
from segue.metrics.ranking import per_query
from segue.models.base.recommender import Recommender, TrainingOptions
from segue.models.two_stage.cold_start import AddedTracks
from segue.models.two_stage.features.compute import FAMILIES
from segue.models.two_stage.model import TwoStage
from segue.models.two_stage.ranker import RankerRows, fit_ranker
from segue.models.two_stage.training import TwoStageTraining
from segue.models.two_stage.trees import Trees
from segue.protocols.base import Split, find_protocol
from segue.recipe import load_recipe

METRICS = ("rprec", "ndcg@500", "clicks")
Values = dict[str, np.ndarray[Any, np.dtype[np.float64]]]


class _KeepingTraining(TwoStageTraining):
    """Keeps the rows that trees learned from, and the models of all first stages."""

    rows: RankerRows
    known: ClassVar[dict[tuple[Any, ...], Recommender]] = {}
    """Models by their settings and the rows that they learned from: variants share most."""

    def fit_model(self, name: str, dataset: Dataset, plays: Any, catalog: Catalog) -> Recommender:
        mask = dataset.kept_entries
        rows = b"" if mask is None else hashlib.sha256(mask).digest()
        key = (name, getattr(self.config, name.replace("-", "_")), rows, self.run.seed)
        if key not in self.known:
            self.known[key] = super().fit_model(name, dataset, plays, catalog)
        return self.known[key]

    def _fit_trees(self, blocks: list[RankerRows]) -> Trees:
        self.rows = RankerRows(*(np.concatenate(field) for field in zip(*blocks, strict=True)))
        return super()._fit_trees(blocks)


class _Keeping(TwoStage):
    """`two-stage` with the rows that its trees learned from."""

    rows: RankerRows

    def _fit(self, dataset: Dataset, plays: Any, run: TrainingOptions) -> None:
        training = _KeepingTraining(self.config, run)
        self.first, self.tables, self.trees = training.fit(dataset, plays, self.catalog)
        self.cold, self.rows = AddedTracks.none(self.first.wrmf), training.rows


def _quality(model: TwoStage, split: Split) -> Values:
    test = split.test
    warm = test.slices != "title only"
    slates = model.recommend(test.queries, 500)
    truth = test.truth
    values = per_query(slates.tracks, truth.offsets, truth.values, model.catalog.artists, METRICS)
    return {metric: some[warm] for metric, some in values.items()}


def _variants(split: Split, overrides: list[str], seed: int) -> Iterator[tuple[str, Values]]:
    """Name and quality of each variant, the whole first."""

    def trained(*more: str) -> _Keeping:
        recipe = load_recipe("two-stage", [*overrides, *more])
        model: _Keeping = _Keeping(**recipe.settings).fit(
            split.train, TrainingOptions(seed, progress=True)
        )
        return model

    whole = trained()
    yield "whole", _quality(whole, split)
    trees, rows = whole.trees, whole.rows
    whole.trees = Trees.none()
    yield "without trees (the blend)", _quality(whole, split)
    for family in FAMILIES:
        of_it = [feature.family == family for feature in whole.features]
        features = np.where(of_it, np.float32(0), rows.features)  # a constant column splits nothing
        whole.trees = fit_ranker(
            rows._replace(features=features), whole.config.ranker, seed=seed, show=True
        )
        yield f"without features: {family}", _quality(whole, split)
    whole.trees = trees
    models = whole.config.names
    for name in models[1:]:
        rest = json.dumps([other for other in models if other != name])
        yield f"without model: {name}", _quality(trained(f"models={rest}"), split)
    plain = ("wrmf.artist_weight=0", "wrmf.album_weight=0", "wrmf.title_weight=0")
    yield "wrmf of tracks alone", _quality(trained(*plain), split)
    more = json.dumps([*models, "playlist-cnn"])
    yield "with playlist-cnn", _quality(trained(f"models={more}"), split)


def measure(dataset: Path, overrides: list[str], seed: int = 0) -> list[dict[str, Any]]:
    """A row a variant."""
    split = find_protocol("challenge").split(Dataset.open(dataset), seed)
    whole: Values = {}
    out = []
    start = time.perf_counter()
    for name, values in _variants(split, overrides, seed):
        whole = whole or values
        row: dict[str, Any] = {"variant": name}
        for metric in METRICS:
            row[metric] = float(values[metric].mean())
            if name != "whole":
                change = estimate(values[metric] - whole[metric])
                low, high = change.ci95 or (float("nan"),) * 2
                row[f"{metric} change"] = f"{change.mean:+.4f} ±{(high - low) / 2:.4f}"
        out.append(row)
        print(f"{name}: {time.perf_counter() - start:.0f} s", row, file=sys.stderr, flush=True)
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    args = parser.parse_args()
    rows = measure(args.dataset, args.overrides)
    if args.json:
        json.dump({"rows": rows, "machine": machine()}, sys.stdout)
        return
    show("Queries with tracks, each variant against the whole", rows, machine())


if __name__ == "__main__":
    main()
