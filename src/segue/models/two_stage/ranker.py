"""Trains the second stage: boosted trees that order the candidates of a query.

XGBoost (Chen and Guestrin 2016) grows them, as in Volkovs et al. 2018, "Two-stage Model for
Automatic Playlist Continuation at Scale", section 3.3; answering needs the `Trees` alone. A seed
gives the same trees on any number of threads.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Meta
from numba import get_num_threads

from segue.config import Config, Search
from segue.errors import DataError
from segue.models.two_stage.trees import LEAF, Trees
from segue.numeric.arrays import Float32, Int64
from segue.system.extras import needs
from segue.system.progress import task

CUT_OFF = 500
"""Ranks that the pairwise and the listwise objective look at."""


class RankerConfig(Config, frozen=True, kw_only=True):
    """Settings of the ranker."""

    objective: Annotated[
        Literal["pointwise", "pairwise", "listwise", "ungrouped"],
        Meta(
            description="pointwise: how likely a track continues the playlist; pairwise: a "
            "positive above a negative of the same query; listwise: the "
            "same, weighted by the change of NDCG@500; ungrouped: pairwise over all rows, as if "
            "of one query"
        ),
    ] = "pointwise"
    trees: Annotated[
        int, Meta(ge=0, le=5000, description="at most so many trees"), Search(50, 600, log=True)
    ] = 200
    depth: Annotated[int, Meta(ge=1, le=14, description="of a tree"), Search(4, 12)] = 8
    learning_rate: Annotated[
        float, Meta(gt=0, le=1, description="shrinks each tree"), Search(0.01, 0.3, log=True)
    ] = 0.05
    leaf_weight: Annotated[
        float, Meta(ge=0, description="least curvature in a leaf"), Search(5, 1000, log=True)
    ] = 200.0
    rows: Annotated[
        float, Meta(gt=0, le=1, description="share of rows that a tree learns from")
    ] = 0.7
    columns: Annotated[float, Meta(gt=0, le=1, description="share of features of a tree")] = 0.6


class RankerRows(NamedTuple):
    """Rows to order, those of a query together.

    Attributes:
        features: (rows, features) float32, finite.
        labels: 1 for a track that continues the playlist, else 0. (rows,)
        sizes: rows of each query. (queries,)
        weights: how many rows each stands for; the pointwise objective alone looks at them.
            (rows,) float32
    """

    features: Float32
    labels: npt.NDArray[Any]
    sizes: Int64
    weights: Float32


def fit_ranker(
    rows: RankerRows,
    config: RankerConfig,
    *,
    seed: int = 0,
    show: bool = False,
) -> Trees:
    """Trees whose scores put the positive rows of a query above the negative ones.

    Args:
        rows: to learn from.
        config: settings.
        seed: of the pairs and the features that a tree looks at.
        show: whether to report progress.

    Raises:
        UsageError: XGBoost is not installed.
        DataError: features are not finite, or rows do not fit together.
    """
    xgboost = library()
    threads = get_num_threads()
    if config.trees == 0 or len(rows.labels) == 0:
        return _flat([])
    data = _matrix(xgboost, rows, threads, config.objective)
    with task("fitting ranker", config.trees, "trees", show=show) as advance:

        class Count(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                advance(1)
                return False

        booster = xgboost.train(
            _parameters(rows, config, seed, threads),
            data,
            config.trees,
            verbose_eval=False,
            callbacks=[Count()],
        )
    return trees_of(booster)


def library() -> Any:
    """XGBoost.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import xgboost
    except ImportError as error:
        raise needs("training the ranker", "ranker", cause=error) from error
    return xgboost


def _parameters(rows: RankerRows, config: RankerConfig, seed: int, threads: int) -> dict[str, Any]:
    common = {
        "tree_method": "hist",
        "max_depth": config.depth,
        "eta": config.learning_rate,
        "min_child_weight": config.leaf_weight,
        "subsample": config.rows,
        "colsample_bytree": config.columns,
        "seed": seed,
        "nthread": threads,
    }
    if config.objective == "pointwise":
        # Trees start from the share of positives; as a constant it orders nothing and is dropped.
        share = np.average(rows.labels, weights=rows.weights)
        return common | {
            "objective": "binary:logistic",
            "base_score": float(np.clip(share, 1e-6, 1 - 1e-6)),
        }
    grouped = config.objective != "ungrouped"
    return common | {
        "objective": "rank:ndcg" if config.objective == "listwise" else "rank:pairwise",
        # In a query the best 500 against all below them; over all rows a random pair for each.
        "lambdarank_pair_method": "topk" if grouped else "mean",
        "lambdarank_num_pair_per_sample": CUT_OFF if grouped else 1,
        "ndcg_exp_gain": False,
        "base_score": 0.0,
    }


def _matrix(xgboost: Any, rows: RankerRows, threads: int, objective: str) -> Any:
    """Rows as XGBoost takes them.

    Raises:
        DataError: features are not finite, or rows do not fit together.
    """
    count = len(rows.features)
    lengths = {len(rows.labels), len(rows.weights), int(np.sum(rows.sizes))}
    if lengths != {count}:
        raise DataError(f"{count} rows have labels, weights and queries of {sorted(lengths)} rows")
    for start in range(0, count, 1 << 16):
        if not np.isfinite(rows.features[start : start + (1 << 16)]).all():
            raise DataError("features are not finite", where="rows of the ranker")
    pointwise = objective == "pointwise"
    data = xgboost.QuantileDMatrix(
        rows.features,
        np.asarray(rows.labels, np.float32),
        group=rows.sizes if objective in ("pairwise", "listwise") else None,
        nthread=threads,
    )
    if pointwise:
        # Only now: thresholds are spread over the rows, not over what they stand for, or the few
        # at the top would share one.
        data.set_weight(rows.weights)
    return data


def trees_of(booster: Any) -> Trees:
    """The trees of an XGBoost model, with the same decisions and the same leaves."""
    model = json.loads(booster.save_raw("json"))
    return _flat(model["learner"]["gradient_booster"]["model"]["trees"])


def _flat(trees: list[dict[str, Any]]) -> Trees:
    """Trees as XGBoost writes them, one after the other, each from the root down by levels."""
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    values: list[npt.NDArray[np.float64]] = []
    roots: list[int] = []
    for tree in trees:
        roots.append(len(feature))
        order = [0]
        for node in order:
            first = tree["left_children"][node]
            inner = first >= 0
            feature.append(tree["split_indices"][node] if inner else LEAF)
            threshold.append(tree["split_conditions"][node] if inner else 0.0)
            left.append(roots[-1] + len(order) if inner else 0)
            if inner:
                order += [first, tree["right_children"][node]]
        values.append(_values(tree, order, left[roots[-1] :], roots[-1]))
    return Trees(
        np.array(feature, np.int32),
        np.array(threshold, np.float32),
        np.array(left, np.int32),
        np.concatenate([np.zeros(0), *values]).astype(np.float32),
        np.array(roots, np.int32),
    )


def _values(
    tree: dict[str, Any], order: list[int], left: list[int], root: int
) -> npt.NDArray[np.float64]:
    """Value of each node of a tree, in `order`: of inner ones the mean below, by curvature."""
    value = np.array([tree["split_conditions"][node] for node in order], np.float64)
    cover = [tree["sum_hessian"][node] for node in order]
    for place in range(len(order) - 1, -1, -1):
        if tree["left_children"][order[place]] >= 0:
            child = left[place] - root
            a, b = cover[child], cover[child + 1]
            share = a / (a + b) if a + b > 0 else 0.5
            value[place] = share * value[child] + (1 - share) * value[child + 1]
    return value
