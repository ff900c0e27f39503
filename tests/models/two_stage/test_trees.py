"""Trees as arrays: scores, explanations, bounds, and what a bundle may not hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.errors import BundleError, UsageError
from segue.models.two_stage.trees import LEAF, Trees


def two_trees() -> Trees:
    """x1 < 2 ? -1 : (x0 < 0.5 ? 3 : 5), and x2 < 10 ? 0.25 : 0.75; 3/4 and 1/2 go left."""
    return Trees(
        feature=np.array([1, LEAF, 0, LEAF, LEAF, 2, LEAF, LEAF], np.int32),
        threshold=np.array([2, 0, 0.5, 0, 0, 10, 0, 0], np.float32),
        left=np.array([1, 0, 3, 0, 0, 6, 0, 0], np.int32),
        value=np.array([0.25, -1, 4, 3, 5, 0.5, 0.25, 0.75], np.float32),
        roots=np.array([0, 5], np.int32),
    )


JUST_BELOW_2 = np.nextafter(np.float32(2), np.float32(0))
ROWS = np.array([[0, 0, 0], [0, 2, 10], [0.5, 3, 9], [9, JUST_BELOW_2, 11]], np.float32)


def no_trees() -> Trees:
    none = np.zeros(0, np.int32)
    return Trees(none, none.astype(np.float32), none, none.astype(np.float32), none)


def some_trees(seed: int, count: int, width: int) -> Trees:
    """Random trees of uneven depth, whose thresholds are values that rows have too."""
    rng = np.random.default_rng(seed)
    feature: list[int] = []
    left: list[int] = []
    roots: list[int] = []
    for _ in range(count):
        roots.append(len(feature))
        feature.append(LEAF)
        left.append(0)
        for node in range(roots[-1], roots[-1] + 30):
            if node < len(feature) and rng.random() < 0.7:
                feature[node], left[node] = int(rng.integers(width)), len(feature)
                feature += [LEAF, LEAF]
                left += [0, 0]
    nodes = len(feature)
    inner = np.array(feature) != LEAF
    return Trees(
        np.array(feature, np.int32),
        np.where(inner, rng.integers(-3, 4, nodes), 0).astype(np.float32),
        np.array(left, np.int32),
        rng.standard_normal(nodes).astype(np.float32),
        np.array(roots, np.int32),
    )


def rows_of(seed: int, count: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-4, 5, (count, width)).astype(np.float32)


def walked(trees: Trees, row: np.ndarray) -> np.float32:
    """The score by its definition."""
    total = 0.0
    for root in trees.roots:
        node = root
        while trees.feature[node] != LEAF:
            right = row[trees.feature[node]] >= trees.threshold[node]
            node = trees.left[node] + int(right)
        total += float(trees.value[node])
    return np.float32(total)


def test_scores_by_hand():
    assert two_trees().score(ROWS).tolist() == [-0.75, 3.75, 5.25, -0.25]


def test_explanation_by_hand():
    bias, parts = two_trees().explain(ROWS[:2])
    assert bias == 0.75
    assert parts.tolist() == [[0, -1.25, -0.25], [-1, 3.75, 0.25]]


def test_without_trees_every_score_is_zero():
    trees = Trees.restore(no_trees().tensors("r"), "r", 3)
    assert trees.score(ROWS).tolist() == [0, 0, 0, 0]
    assert trees.explain(ROWS)[0] == 0
    assert not trees.explain(ROWS)[1].any()


def test_no_rows():
    assert two_trees().score(ROWS[:0]).shape == (0,)
    assert two_trees().explain(ROWS[:0])[1].shape == (0, 3)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 150))
def test_scores_are_those_of_the_definition(seed, count, n):
    trees, rows = some_trees(seed, count, 5), rows_of(seed, n, 5)
    assert trees.score(rows).tolist() == [walked(trees, row) for row in rows]


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(0, 149))
def test_a_row_alone_gets_the_bytes_it_gets_among_others(seed, at):
    trees, rows = some_trees(seed, 7, 5), rows_of(seed, 150, 5)
    assert trees.score(rows[at : at + 1]).tobytes() == trees.score(rows)[at : at + 1].tobytes()
    assert trees.score(rows[at:])[:1].tobytes() == trees.score(rows)[at : at + 1].tobytes()


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_an_explanation_adds_up(seed):
    trees, rows = some_trees(seed, 7, 5), rows_of(seed, 20, 5)
    bias, parts = trees.explain(rows)
    np.testing.assert_allclose(bias + parts.sum(1), trees.score(rows), atol=1e-5)
    unused = np.setdiff1d(np.arange(5), trees.feature)
    assert not parts[:, unused].any()


def test_rows_in_another_memory_order_score_the_same():
    trees, rows = some_trees(3, 7, 5), rows_of(3, 70, 5)
    assert trees.score(np.asfortranarray(rows)).tobytes() == trees.score(rows).tobytes()
    assert np.array_equal(trees.explain(np.asfortranarray(rows))[1], trees.explain(rows)[1])


def test_tensors_give_the_same_trees():
    trees = some_trees(4, 7, 5)
    back = Trees.restore(trees.tensors("ranker"), "ranker", 5)
    rows = rows_of(4, 50, 5)
    assert back.score(rows).tobytes() == trees.score(rows).tobytes()
    assert set(trees.tensors("ranker")) == {
        f"ranker.{name}" for name in ("feature", "threshold", "left", "value", "roots")
    }


def test_rows_with_too_few_features_are_refused():
    with pytest.raises(UsageError, match="look at 3 features"):
        two_trees().score(ROWS[:, :2])
    with pytest.raises(UsageError, match="look at 3 features"):
        two_trees().explain(ROWS[:, :2])


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("feature", 0, 3),  # beyond the width
        ("feature", 0, -2),
        ("feature", 1, 0),  # a leaf made a node without children
        ("feature", 0, LEAF),  # a node made a leaf: its children hang loose
        ("left", 0, 0),  # a circle
        ("left", 2, 1),  # a child before its parent
        ("left", 5, 7),  # the right child beyond the end
        ("left", 5, 2**31 - 1),
        ("left", 5, -5),
        ("left", 0, 3),  # a child of two parents
        ("threshold", 0, np.nan),
        ("value", 3, np.inf),
        ("roots", 1, 8),
        ("roots", 1, -1),
        ("roots", 1, 0),  # one tree twice, the other never
    ],
)
def test_malformed_trees_are_refused(name, at, value):
    tensors = {key: tensor.copy() for key, tensor in two_trees().tensors("r").items()}
    Trees.restore(tensors, "r", 3)
    tensors[f"r.{name}"][at] = value
    with pytest.raises(BundleError, match=r"tensor r\."):
        Trees.restore(tensors, "r", 3)


def test_a_circle_that_no_root_reaches_is_refused():
    tensors = Trees(
        feature=np.array([LEAF, 0, LEAF, 0, LEAF], np.int32),
        threshold=np.zeros(5, np.float32),
        left=np.array([0, 3, 0, 1, 0], np.int32),
        value=np.zeros(5, np.float32),
        roots=np.array([0], np.int32),
    ).tensors("r")
    with pytest.raises(BundleError, match=r"r\.left: holds children out of place"):
        Trees.restore(tensors, "r", 3)


@pytest.mark.parametrize("name", ["feature", "threshold", "left", "value", "roots"])
def test_missing_and_shorter_tensors_are_refused(name):
    tensors = two_trees().tensors("r")
    with pytest.raises(BundleError):
        Trees.restore({**tensors, f"r.{name}": tensors[f"r.{name}"][:-1]}, "r", 3)
    del tensors[f"r.{name}"]
    with pytest.raises(BundleError, match=f"tensor r.{name}: is missing"):
        Trees.restore(tensors, "r", 3)
