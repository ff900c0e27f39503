"""Boosted trees as flat arrays: scores, and what each feature added to them.

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

from segue.errors import BundleError, UsageError
from segue.numeric.arrays import Float32, Int32
from segue.numeric.tensors import expect

LEAF = -1
"""Feature of a leaf."""
_BLOCK = 64  # rows that pass all trees together: 15 KB of 60 features
_LOW = np.uint64(0xFFFFFFFF)


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

    @classmethod
    def none(cls) -> Self:
        """No trees: every score is 0."""
        whole, real = np.zeros(0, np.int32), np.zeros(0, np.float32)
        return cls(whole, real, whole, real, whole)

    @property
    def size(self) -> int:
        """How many trees."""
        return len(self.roots)

    def score(self, rows: Float32) -> Float32:
        """Score of each row. rows: (rows, features), finite. (rows,)

        Raises:
            UsageError: rows have fewer features than the trees look at.
        """
        self._check(rows)
        out = np.empty(len(rows), np.float32)
        ways, threshold, depths = self._steps
        rows = np.ascontiguousarray(rows, np.float32)
        _score(rows, ways, threshold, self.value, self.roots.astype(np.uint64), depths, out)
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

    def _check(self, rows: Float32) -> None:
        width = int(self.feature.max(initial=LEAF)) + 1
        if rows.ndim != 2 or rows.shape[1] < width:
            raise UsageError(f"rows are {rows.shape}, the trees look at {width} features")

    @cached_property
    def _steps(self) -> tuple[npt.NDArray[Any], ...]:
        """Nodes in which every leaf leads to itself, so that steps need not look for leaves.

        Returns:
            Of each node its left child in the upper and its feature in the lower 32 bits, and its
            threshold; of each tree its depth.
        """
        leaf = self.feature == LEAF
        left = np.where(leaf, np.arange(len(leaf)), self.left).astype(np.uint64)
        feature = np.where(leaf, 0, self.feature).astype(np.uint64)
        depths = np.zeros(len(leaf), np.int32)
        for node in np.flatnonzero(~leaf)[::-1]:
            child = self.left[node]
            depths[node] = 1 + max(depths[child], depths[child + 1])
        return (
            left << np.uint64(32) | feature,
            np.where(leaf, np.float32(np.inf), self.threshold),
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


@njit(inline="always")
def _step(node, row, ways, threshold):  # type: ignore[no-untyped-def]
    way = ways[node]
    return (way >> np.uint64(32)) + np.uint64(row[way & _LOW] >= threshold[node])


@njit(cache=True, nogil=True)
def _score(rows, ways, threshold, value, roots, depths, out):  # type: ignore[no-untyped-def]
    """Scores of rows; each is the same sum, wherever it stands.

    It runs on one thread and lets others run. A step waits for the one before it, so eight rows go
    down a tree at once (twice as fast as one), and a block of rows passes all trees while it stays
    in the cache.

    Args:
        rows: (rows, features)
        ways: left child and feature of each node, see `Trees._steps`. (nodes,) uint64
        threshold, value: of each node.
        roots, depths: of each tree.
        out: (rows,)
    """
    total = np.empty(_BLOCK, np.float64)
    for start in range(0, len(rows), _BLOCK):
        size = min(_BLOCK, len(rows) - start)
        total[:] = 0
        for tree in range(len(roots)):
            root, depth = roots[tree], depths[tree]
            for i in range(0, size - size % 8, 8):
                r0, r1, r2, r3 = (
                    rows[start + i],
                    rows[start + i + 1],
                    rows[start + i + 2],
                    rows[start + i + 3],
                )
                r4, r5, r6, r7 = (
                    rows[start + i + 4],
                    rows[start + i + 5],
                    rows[start + i + 6],
                    rows[start + i + 7],
                )
                n0 = n1 = n2 = n3 = n4 = n5 = n6 = n7 = root
                for _ in range(depth):
                    n0 = _step(n0, r0, ways, threshold)
                    n1 = _step(n1, r1, ways, threshold)
                    n2 = _step(n2, r2, ways, threshold)
                    n3 = _step(n3, r3, ways, threshold)
                    n4 = _step(n4, r4, ways, threshold)
                    n5 = _step(n5, r5, ways, threshold)
                    n6 = _step(n6, r6, ways, threshold)
                    n7 = _step(n7, r7, ways, threshold)
                total[i] += value[n0]
                total[i + 1] += value[n1]
                total[i + 2] += value[n2]
                total[i + 3] += value[n3]
                total[i + 4] += value[n4]
                total[i + 5] += value[n5]
                total[i + 6] += value[n6]
                total[i + 7] += value[n7]
            for i in range(size - size % 8, size):
                node = root
                for _ in range(depth):
                    node = _step(node, rows[start + i], ways, threshold)
                total[i] += value[node]
        for i in range(size):
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
