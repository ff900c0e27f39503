"""Boosted trees as flat arrays: scores, what each feature added to them, and a lower bound.

A node sends a row to its left child where ``row[feature] < threshold``, else to the right one, in
float32. The score of a row is the sum, over the trees in their order, of the value of the leaf it
ends in, in float64 and rounded to float32 once: it depends on nothing but the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numba import njit

from segue.answers import Float32, Int32
from segue.errors import BundleError, UsageError
from segue.models.base import expect

LEAF = -1
"""Feature of a leaf."""


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees, the nodes of each from its root downwards: children come after their parent.

    Attributes:
        feature: what a node looks at, `LEAF` for a leaf. (nodes,)
        threshold: rows at or above it go right; 0 for a leaf. (nodes,) float32
        left: left child; the right one is the next node. 0 for a leaf. (nodes,)
        value: of a leaf its part of the score, of an inner node the mean of the leaves below,
            weighted by how much of the training data each got. (nodes,) float32
        roots: of each tree. (trees,)
    """

    feature: Int32
    threshold: Float32
    left: Int32
    value: Float32
    roots: Int32

    def score(self, rows: Float32) -> Float32:
        """Score of each row. rows: (rows, features), finite. (rows,)

        Raises:
            UsageError: rows have fewer features than the trees look at.
        """
        self._check(rows)
        out = np.empty(len(rows), np.float32)
        feature, threshold, left, depths = self._steps
        rows = np.ascontiguousarray(rows, np.float32)
        _score(rows, feature, threshold, left, self.value, self.roots, depths, out)
        return out

    def explain(self, rows: Float32) -> tuple[float, npt.NDArray[np.float64]]:
        """What the score of each row is made of: ``bias + contributions.sum(1)`` is the score.

        On the way down, the feature of each node gets what the value changes by (Saabas 2014,
        "Interpreting random forests"); the bias is the sum of the values of the roots.

        Returns:
            The bias, and contributions (rows, features).

        Raises:
            UsageError: rows have fewer features than the trees look at.
        """
        self._check(rows)
        out = np.zeros(rows.shape, np.float64)
        rows = np.ascontiguousarray(rows, np.float32)
        _explain(rows, self.feature, self.threshold, self.left, self.value, self.roots, out)
        return float(self.value[self.roots].sum(dtype=np.float64)), out

    def lowest(self) -> float:
        """A number that no score is below: the sum of the smallest leaf of each tree.

        Added in the order of the scores, so that rounding cannot put it above one.
        """
        smallest = np.where(self.feature == LEAF, self.value, np.float32(np.inf))
        for node in range(len(smallest) - 1, -1, -1):
            if self.feature[node] != LEAF:
                child = self.left[node]
                smallest[node] = min(smallest[child], smallest[child + 1])
        return float(np.float32(sum(smallest[self.roots].tolist())))

    def _check(self, rows: Float32) -> None:
        width = int(self.feature.max(initial=LEAF)) + 1
        if rows.ndim != 2 or rows.shape[1] < width:
            raise UsageError(f"rows are {rows.shape}, the trees look at {width} features")

    @cached_property
    def _steps(self) -> tuple[npt.NDArray[Any], ...]:
        """Nodes in which every leaf leads to itself, so that steps need not look for leaves."""
        leaf = self.feature == LEAF
        here = np.arange(len(leaf), dtype=np.int32)
        depths = np.zeros(len(leaf), np.int32)
        for node in np.flatnonzero(~leaf)[::-1]:
            child = self.left[node]
            depths[node] = 1 + max(depths[child], depths[child + 1])
        return (
            np.where(leaf, 0, self.feature),
            np.where(leaf, np.float32(np.inf), self.threshold),
            np.where(leaf, here, self.left),
            depths[self.roots],
        )

    def tensors(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """All arrays, by name."""
        names = ("feature", "threshold", "left", "value", "roots")
        return {f"{prefix}.{name}": getattr(self, name) for name in names}

    @classmethod
    def restore(cls, tensors: Mapping[str, npt.NDArray[Any]], prefix: str, width: int) -> Self:
        """Trees that `tensors` gave, over rows of `width` features.

        Raises:
            BundleError: they are missing, or are not trees.
        """
        feature = expect(tensors, f"{prefix}.feature", np.int32, None)
        nodes = len(feature)
        threshold = expect(tensors, f"{prefix}.threshold", np.float32, nodes)
        left = expect(tensors, f"{prefix}.left", np.int32, nodes)
        value = expect(tensors, f"{prefix}.value", np.float32, nodes)
        roots = expect(tensors, f"{prefix}.roots", np.int32, None)
        if nodes and not LEAF <= feature.min() <= feature.max() < width:
            raise BundleError(f"points outside 0..{width - 1}", where=f"tensor {prefix}.feature")
        inner = np.flatnonzero(feature != LEAF)
        children = left[inner].astype(np.int64)
        if (children <= inner).any() or (children >= nodes - 1).any():
            raise BundleError("holds children out of place", where=f"tensor {prefix}.left")
        if len(roots) and not 0 <= roots.min() <= roots.max() < nodes:
            raise BundleError(f"points outside 0..{nodes - 1}", where=f"tensor {prefix}.roots")
        reached = np.concatenate([roots, children, children + 1])
        if (np.bincount(reached, minlength=nodes) != 1).any():
            raise BundleError("does not reach every node once", where=f"tensor {prefix}.left")
        return cls(feature, threshold, left, value, roots)


@njit(cache=True)
def _score(rows, feature, threshold, left, value, roots, depths, out):  # type: ignore[no-untyped-def]
    block = 32
    at = np.empty(block, np.int32)
    total = np.empty(block, np.float64)
    for start in range(0, len(rows), block):
        some = rows[start : start + block]
        total[:] = 0
        for tree in range(len(roots)):
            at[:] = roots[tree]
            for _ in range(depths[tree]):
                for i in range(len(some)):
                    node = at[i]
                    at[i] = left[node] + (some[i, feature[node]] >= threshold[node])
            for i in range(len(some)):
                total[i] += value[at[i]]
        for i in range(len(some)):
            out[start + i] = total[i]


@njit(cache=True)
def _explain(rows, feature, threshold, left, value, roots, out):  # type: ignore[no-untyped-def]
    for i in range(len(rows)):
        for root in roots:
            node = root
            while feature[node] >= 0:
                child = left[node] + (rows[i, feature[node]] >= threshold[node])
                out[i, feature[node]] += np.float64(value[child]) - np.float64(value[node])
                node = child
