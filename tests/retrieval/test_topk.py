"""Ranking a whole catalog: exact, in total order, the same for a batch as for one query."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.numeric.ragged import Ragged
from segue.retrieval import topk as ranking
from segue.retrieval.topk import Index, best_of_products, best_of_scores

LARGEST = np.finfo(np.float32).max


@dataclass
class World:
    """Vectors, and what each query must not be answered."""

    queries: np.ndarray
    vectors: np.ndarray
    bias: np.ndarray
    offsets: np.ndarray
    excluded: np.ndarray

    def best(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return best_of_products(self.queries, self.vectors, self.bias, self.bans, n)

    @property
    def bans(self) -> Ragged:
        return Ragged(self.offsets, self.excluded)

    def one(self, q: int) -> World:
        banned = self.excluded[self.offsets[q] : self.offsets[q + 1]]
        return World(
            self.queries[q : q + 1], self.vectors, self.bias, np.array([0, len(banned)]), banned
        )

    def scores(self) -> np.ndarray:
        """Scores by the definition: float64, one product after another, rounded once."""
        exact = np.array(self.queries, np.float64) @ np.array(self.vectors, np.float64).T
        return np.clip(exact + self.bias, -LARGEST, LARGEST).astype(np.float32)


def world(
    queries: int, tracks: int, factors: int, seed: int = 0, bans: int = 0, whole: bool = False
) -> World:
    """A random world; `whole` makes sums exact in any order, and so ties many."""
    rng = np.random.default_rng(seed)
    if whole:
        vectors = rng.integers(-2, 3, (tracks, factors)).astype(np.float32)
        asked = rng.integers(-2, 3, (queries, factors)).astype(np.float32)
        bias = rng.integers(-1, 2, tracks).astype(np.float32)
    else:
        norms = rng.lognormal(0, 1, (tracks, 1))
        vectors = (norms * rng.standard_normal((tracks, factors))).astype(np.float32)
        asked = rng.standard_normal((queries, factors)).astype(np.float32)
        bias = rng.standard_normal(tracks).astype(np.float32)
    lists = [np.sort(rng.choice(tracks, min(bans, tracks), replace=False)) for _ in range(queries)]
    return World(
        asked,
        vectors,
        bias,
        np.arange(queries + 1) * min(bans, tracks),
        np.concatenate([*lists, []]).astype(np.int32),
    )


def by_brute_force(scores: np.ndarray, offsets: np.ndarray, excluded: np.ndarray, n: int) -> list:
    """(tracks, scores) of each query, sorted with `np.lexsort`."""
    answers = []
    for q in range(len(scores)):
        free = np.setdiff1d(np.arange(scores.shape[1]), excluded[offsets[q] : offsets[q + 1]])
        order = free[np.lexsort((free, -scores[q, free]))[:n]]
        answers.append((order, scores[q, order]))
    return answers


def check(answer: tuple, want: list, n: int) -> None:
    tracks, scores, counts = answer
    for q, (want_tracks, want_scores) in enumerate(want):
        m = counts[q]
        assert m == len(want_tracks)
        np.testing.assert_array_equal(tracks[q, :m], want_tracks)
        np.testing.assert_array_equal(scores[q, :m], want_scores)
        assert (tracks[q, m:] == -1).all()
        assert np.isnan(scores[q, m:]).all()


def check_world(some: World, n: int) -> None:
    want = by_brute_force(some.scores(), some.offsets, some.excluded, n)
    check(some.best(n), want, n)


def same(a: tuple, b: tuple) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


FEW, MANY = 3, 40  # below and above where tiles are laid out


@pytest.mark.parametrize("queries", [FEW, MANY])
@pytest.mark.parametrize("factors", [1, 3, 4, 37, 128])
def test_equals_brute_force_in_float64(queries: int, factors: int) -> None:
    check_world(world(queries, 5000, factors, bans=40), 100)


@pytest.mark.parametrize("queries", [FEW, MANY])
@pytest.mark.parametrize("n", [1, 2, 299, 300, 301, 5000])
def test_any_n_even_beyond_the_catalog(queries: int, n: int) -> None:
    check_world(world(queries, 300, 8, bans=20), n)


def test_n_of_one_in_a_large_catalog() -> None:
    check_world(world(MANY, 20_000, 16, bans=5), 1)


@pytest.mark.parametrize("queries", [FEW, MANY])
def test_ties_go_to_the_first_track(queries: int) -> None:
    check_world(world(queries, 6000, 3, bans=30, whole=True), 200)


def test_zero_queries_answer_the_first_tracks() -> None:
    some = world(MANY, 6000, 8, bans=10)
    some.queries[::2] = 0
    some.bias[:] = 0
    check_world(some, 50)


def test_zero_vectors_and_duplicates_tie() -> None:
    some = world(MANY, 6000, 8)
    some.bias[:] = 0
    some.vectors[1000:4000] = 0
    some.vectors[4000:6000] = some.vectors[0]
    some.queries[:, 0] = 50 * np.sign(some.queries @ some.vectors[0])
    check_world(some, 2500)


def test_more_ties_than_the_buffer_holds() -> None:
    some = world(MANY, 9000, 4)
    some.vectors[:] = some.vectors[0]
    some.bias[:] = 1
    tracks, _, counts = some.best(10)
    np.testing.assert_array_equal(tracks, np.tile(np.arange(10), (MANY, 1)))
    assert (counts == 10).all()


@pytest.mark.parametrize("queries", [FEW, MANY])
def test_differences_below_the_error_of_float32_are_resolved(queries: int) -> None:
    # All scores lie within 1e-6 of each other, while float32 sums of such terms err by 1e-4:
    # terms of ±1000 cancel, and only the last factor tells the tracks apart.
    rng = np.random.default_rng(1)
    tracks, factors = 3000, 65
    half = 1000 * rng.standard_normal((tracks, 32))
    last = (np.arange(tracks) * 2.0**-40)[rng.permutation(tracks), None]
    some = world(queries, tracks, factors)
    some.vectors = np.concatenate([half, -half, last], axis=1).astype(np.float32)
    shared = rng.standard_normal((queries, 32))
    some.queries = np.concatenate([shared, shared, np.ones((queries, 1))], 1).astype(np.float32)
    some.bias[:] = 0
    best, scores, _ = some.best(20)
    want = np.argsort(-last[:, 0])[:20]
    np.testing.assert_array_equal(best, np.tile(want, (queries, 1)))
    np.testing.assert_array_equal(scores[0], last[want, 0].astype(np.float32))


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-18, 1e15, 1e18])
def test_tiny_and_huge_norms(scale: float) -> None:
    some = world(MANY, 6000, 16, bans=10)
    some.vectors *= np.float32(scale)
    some.queries *= np.float32(min(scale, 1e15))
    some.bias[:] = 0
    check_world(some, 30)


def test_norms_of_all_sizes_at_once() -> None:
    some = world(MANY, 6000, 16)
    some.vectors *= np.logspace(-30, 10, 6000, dtype=np.float32)[:, None]
    some.queries *= np.logspace(-30, 10, MANY, dtype=np.float32)[:, None]
    check_world(some, 30)


def test_scores_beyond_float32_are_its_largest_number() -> None:
    some = world(MANY, 6000, 4)
    some.vectors *= np.float32(1e30)
    some.queries[::2] *= np.float32(1e25)
    check_world(some, 30)
    assert some.best(1)[1].max() == LARGEST


def test_a_bias_far_above_the_products() -> None:
    some = world(MANY, 6000, 16, bans=5)
    some.bias *= np.float32(1e6)
    check_world(some, 30)


def test_scores_without_factors_are_the_bias() -> None:
    check_world(world(MANY, 6000, 0, bans=5, whole=True), 30)


def test_excluded_tracks_are_never_answered() -> None:
    some = world(MANY, 6000, 16)
    first = some.best(500)[0]
    some.excluded = np.sort(first, axis=1).ravel()
    some.offsets = np.arange(MANY + 1) * 500
    check_world(some, 500)
    assert not any(np.isin(some.best(500)[0][q], first[q]).any() for q in range(MANY))


def test_all_but_few_excluded() -> None:
    some = world(2, 1000, 4)
    some.excluded = np.concatenate([np.arange(997), np.arange(1000)]).astype(np.int32)
    some.offsets = np.array([0, 997, 1997])
    tracks, _, counts = some.best(10)
    assert counts.tolist() == [3, 0]
    assert set(tracks[0, :3]) == {997, 998, 999}


def test_no_queries_and_no_tracks() -> None:
    assert world(0, 50, 4).best(5)[0].shape == (0, 5)
    assert world(2, 0, 4).best(5)[0].shape == (2, 0)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    queries=st.integers(32, 140),
    tracks=st.integers(1, 4000),
    factors=st.integers(1, 40),
    n=st.integers(1, 300),
    bans=st.integers(0, 50),
    whole=st.booleans(),
)
def test_a_batch_gives_what_single_queries_give(
    seed: int, queries: int, tracks: int, factors: int, n: int, bans: int, whole: bool
) -> None:
    some = world(queries, tracks, factors, seed, bans, whole)
    batch = some.best(n)
    for q in (0, queries // 2, queries - 1):
        assert same(some.one(q).best(n), tuple(part[q : q + 1] for part in batch))


def test_more_queries_than_are_ranked_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    some = world(200, 5000, 8, bans=20)
    whole = some.best(50)
    monkeypatch.setattr(ranking, "_BUFFER_BYTES", 1)
    monkeypatch.setattr(ranking, "_TILE_BYTES", 1)
    assert same(some.best(50), whole)
    monkeypatch.setattr(ranking, "_FEW_QUERIES", 1000)
    monkeypatch.setattr(ranking, "_DENSE_BYTES", 1)
    assert same(some.best(50), whole)


def test_the_number_of_threads_changes_nothing() -> None:
    program = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); import test_topk as t\n"
        "worlds = [t.world(q, 6000, 24, bans=20) for q in (3, 150)]\n"
        "parts = [p.tobytes() for w in worlds for p in w.best(60)]\n"
        "print(hashlib.sha256(b''.join(parts)).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program, os.path.dirname(__file__)],
            env=os.environ | {"NUMBA_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1


@pytest.mark.parametrize("queries", [FEW, MANY])
def test_inputs_may_be_read_only_and_strided_and_stay_as_they_are(queries: int) -> None:
    some = world(queries, 5000, 16, bans=10)
    want = some.best(50)
    wide = np.zeros((5000, 33), np.float32)
    wide[:, 1::2] = some.vectors
    frozen = World(
        np.asfortranarray(some.queries), wide[:, 1::2], some.bias, some.offsets, some.excluded
    )
    before = [part.copy() for part in vars(frozen).values()]
    for part in vars(frozen).values():
        part.flags.writeable = False
    assert same(frozen.best(50), want)
    for part, was in zip(vars(frozen).values(), before, strict=True):
        np.testing.assert_array_equal(part, was)


@pytest.mark.parametrize("n", [1, 100, 1000, 7000, 9000])
def test_dense_scores_equal_brute_force(n: int) -> None:
    rng = np.random.default_rng(2)
    scores = rng.standard_normal((5, 7000)).astype(np.float32)
    scores[1] = np.round(scores[1])  # many ties
    scores[2] = 0
    scores[3] = np.sort(scores[3])  # the best come last
    scores[4, ::2] = [LARGEST, -LARGEST] * 1750
    offsets = np.array([0, 0, 50, 60, 60, 7060])
    lists = [rng.choice(7000, m, replace=False) for m in (0, 50, 10, 0, 7000)]
    excluded = np.concatenate([np.sort(some) for some in lists]).astype(np.int32)
    want = by_brute_force(scores, offsets, excluded, n)
    check(best_of_scores(scores.copy(), Ragged(offsets, excluded), n), want, n)


def test_negative_zero_ties_with_zero() -> None:
    scores = np.array([[-0.0, 0.0, -0.0, -1.0, 0.0]], np.float32)
    tracks, best, _ = best_of_scores(scores, Ragged.of_lists([[]]), 5)
    assert tracks.tolist() == [[0, 1, 2, 4, 3]]
    assert best.tobytes() == np.array([0, 0, 0, 0, -1], np.float32).tobytes()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("n", "bans", "rising"), [(1, 0, 3.0), (20, 40, 3.0), (20, 3, 0.0)])
def test_an_index_changes_nothing_but_the_time(n: int, bans: int, rising: float, whole: bool):
    given = world(7, 9000, 300, seed=n, bans=bans, whole=whole)
    weights = np.exp(rising * np.linspace(-1, 0, 300)).astype(np.float32)
    if not whole:
        given.vectors *= weights
    index = Index.of(given.vectors)
    assert index is not None
    found = best_of_products(given.queries, given.vectors, given.bias, given.bans, n, index)
    for part, plain in zip(found, given.best(n), strict=True):
        assert part.tobytes() == plain.tobytes()


def test_an_index_passes_over_most_tracks_where_the_last_factors_tell(monkeypatch):
    given = world(3, 9000, 300, seed=5)
    given.vectors *= np.exp(8 * np.linspace(-1, 0, 300)).astype(np.float32)
    kept = []
    dense = ranking._dense

    def counted(queries, vectors, bias, scores, *rest):
        kept.append(np.isfinite(scores).mean())
        dense(queries, vectors, bias, scores, *rest)

    monkeypatch.setattr(ranking, "_dense", counted)
    index = Index.of(given.vectors)
    best_of_products(given.queries, given.vectors, given.bias, given.bans, 10, index)
    assert kept
    assert max(kept) < 0.05


def test_vectors_of_few_factors_have_no_index():
    assert Index.of(np.ones((5, 16), np.float32)) is None
