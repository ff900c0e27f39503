"""bpr and wrmf with skips: by hand, and in worlds where skips say something, or nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize
from support import worlds

from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.data.sessions import Sessions
from segue.data.writer import writing_dataset
from segue.models.base.net_plays import query_counts, row_counts, skip_rates
from segue.models.base.recommender import TrainingOptions
from segue.models.base.scoring import EmbeddingModel
from segue.models.bpr.fold_in import SkipTerm, fold_in
from segue.models.bpr.model import BPR
from segue.models.wrmf.model import WRMF
from segue.models.wrmf.solver import Weighted, diagonalise, factorise, solve
from segue.numeric.ragged import Ragged
from segue.queries import Queries, Query
from segue.simulation import World, make_world

PLAYED, SKIPPED, DISLIKED = Outcome.FINISHED, Outcome.SKIPPED, Outcome.DISLIKED


def write(
    path: Path, listens: dict[str, Any], tracks: int, playlists: list[list[int]] | None = None
) -> Dataset:
    """A dataset of these columns of listens; every listen is one play unless they say so."""
    rows = len(listens["track"])
    with writing_dataset(path) as writer:
        names = [f"track:{t}" for t in range(tracks)]
        writer.track_ids(names, lambda t: (names[t], None, None, None, None, None, None))
        some = playlists or []
        writer.add_playlists(
            {"uri": [f"playlist:{p}" for p in range(len(some))]},
            [len(playlist) for playlist in some],
            [t for playlist in some for t in playlist],
        )
        listeners = int(np.max(listens["listener"])) + 1
        writer.add("listeners", {"uri": [f"listener:{i}" for i in range(listeners)]})
        writer.add("listens", {"plays": np.ones(rows, np.int32), **listens})
        writer.finish([], simulated=True)
    return Dataset.open(path)


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    """One playlist; listener 0 with two sessions and a listen of none, listener 1 with one."""
    listens = {
        "listener": [0, 0, 0, 0, 0, 0, 1, 1],
        "session": [0, 0, 0, 1, 1, None, 2, 2],
        "track": [0, 1, 1, 0, 2, 3, 2, 2],
        "outcome": [PLAYED, SKIPPED, PLAYED, DISLIKED, SKIPPED, Outcome.UNKNOWN, SKIPPED, SKIPPED],
        "plays": [1, 1, 1, 1, 1, 4, 1, 1],
    }
    return write(tmp_path / "small", listens, 4, [[3, 0, 3]])


# Rows


def test_a_row_is_a_listener(small: Dataset) -> None:
    assert small.plays().toarray().tolist() == [[1, 0, 0, 2], [1, 1, 0, 4], [0, 0, 0, 0]]
    assert small.skips().toarray().tolist() == [[0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 2, 0]]


def test_or_a_session_and_what_is_of_none_is_a_row_of_its_listener(small: Dataset) -> None:
    plays = [[1, 0, 0, 2], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 4], [0, 0, 0, 0]]
    skips = [[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 2, 0]]
    assert small.plays("sessions").toarray().tolist() == plays
    assert small.skips("sessions").toarray().tolist() == skips


def test_a_split_of_the_listens_is_one_of_the_skips(small: Dataset) -> None:
    kept = small.keeping(listens=np.arange(8) < 5)
    assert kept.skips("sessions").toarray().tolist() == [[0] * 4, [0, 1, 0, 0], [1, 0, 1, 0]]


def test_a_track_that_a_row_played_and_skipped_counts_as_the_difference(small: Dataset) -> None:
    counts = row_counts(small, "listeners", skips=True)
    assert counts.toarray().tolist() == [[1, 0, 0, 2], [0, 0, -1, 4], [0, 0, -2, 0]]
    assert counts.nnz == 5
    query = Query(tracks=(0, 1, 1, 2, 2, 2), outcomes=(PLAYED, *[PLAYED, SKIPPED] * 2, SKIPPED))
    assert query_counts(Queries.of([query]), 4, skips=True).toarray().tolist() == [[1, 0, -1, 0]]
    assert query_counts(Queries.of([query]), 4, skips=False).toarray().tolist() == [[1, 1, 1, 0]]


# Rates of tracks


def shares(tmp_path: Path, heard: list[int], skipped: list[int]) -> np.ndarray:
    """`skip_rates` of tracks that were heard and skipped so often."""
    track = np.repeat(np.arange(len(heard)), heard)
    outcome = [
        SKIPPED if i < some else PLAYED
        for total, some in zip(heard, skipped, strict=True)
        for i in range(total)
    ]
    # A listen without an outcome says nothing.
    listens = {
        "listener": np.zeros(len(track) + 1, int),
        "track": [*track, 0],
        "outcome": [*outcome, Outcome.UNKNOWN],
    }
    return skip_rates(write(tmp_path / "rates", listens, len(heard) + 1))


def test_a_rate_is_drawn_to_that_of_all_by_hand(tmp_path: Path) -> None:
    # m = .5, Σ n (s/n − m)² = 20 · 9 / 100 + 20 · 9 / 100 = 3.6 where chance makes 1/4; so
    # ρ = (3.6 − .25) / (.25 (40 − 20 − 1)) and 20 listens have trust 20 ρ / (19 ρ + 1).
    rho = 3.35 / 4.75
    rate = 20 * rho / (19 * rho + 1) * 0.3
    np.testing.assert_allclose(shares(tmp_path, [20, 20], [16, 4]), [rate, -rate, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("heard", "skipped"), [([20, 20], [10, 10]), ([5, 9], [5, 9]), ([5, 9], [0, 0]), ([3], [1])]
)
def test_rates_are_zero_where_tracks_do_not_differ(
    heard: list[int], skipped: list[int], tmp_path: Path
) -> None:
    assert not shares(tmp_path, heard, skipped).any()


def test_skipped_tracks_of_a_query_do_not_make_its_history_longer(tmp_path: Path) -> None:
    data = worlds.genres(tmp_path / "genres")
    model = WRMF(factors=8, skip_confidence=1e-9).fit(data, TrainingOptions(seed=1))
    plain, skipped = Query(tracks=(2,)), Query(tracks=(2, 33), outcomes=(PLAYED, SKIPPED))
    u = model.query_vectors(Queries.of([plain, skipped]))
    np.testing.assert_allclose(u[0], u[1], rtol=1e-4, atol=1e-6)


# Confident zeros of wrmf

REG = 0.7


def signed(rows: int, columns: int, seed: int) -> sp.csr_matrix:
    """Random plays (1 to 5) and skips (-5 to -1)."""
    rng = np.random.default_rng(seed)
    counts = sp.random(rows, columns, 0.2, "csr", np.float32, random_state=rng)
    values = rng.integers(1, 6, counts.nnz) * rng.choice([-1, 1], counts.nnz)
    counts.data = values.astype(np.float32)
    return counts


def test_one_play_and_one_skip_by_hand() -> None:
    # YᵀY = diag(2, 1) with tracks (1, 0), (1, 0), (0, 1). Track 0 played with c = 4, track 1
    # skipped with c = 3: (2 + 3 + 2 + .5) x = 4, and nothing along the other axis.
    v = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    counts = sp.csr_matrix(np.array([[1, -1, 0]], np.float32))
    weighted = Weighted.of(counts, lambda r: np.where(r > 0, 3, 2).astype(np.float32) * abs(r))
    u = np.empty((1, 2), np.float32)
    solve(weighted.side(0.5, 0.0), v, np.array([2, 1], np.float32), u, 20, 1e-7, cold=True)
    np.testing.assert_allclose(u, [[4 / 7.5, 0]], rtol=1e-6)


@pytest.mark.parametrize("most", [5, 127, 128, 400, 5.5])
def test_counts_of_any_size_keep_their_sign_and_confidence(most: float) -> None:
    counts = signed(20, 30, seed=17)
    counts.data[:2] = [-most, most]
    side = Weighted.of(counts, lambda values: 2 * abs(values)).side(1.0, 0.0)
    np.testing.assert_array_equal(side.extra[side.levels], 2 * abs(counts.data))
    np.testing.assert_array_equal(side.played, counts.data > 0)


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_rows_with_skips_equal_dense_weighted_least_squares(exponent: float) -> None:
    counts = signed(40, 90, seed=1)
    v = np.random.default_rng(2).standard_normal((90, 12)).astype(np.float32)
    gram = diagonalise(v)
    u = np.empty((40, 12), np.float32)
    side = Weighted.of(counts, lambda r: np.where(r > 0, 3 * r, -2 * r)).side(REG, exponent)
    solve(side, v, gram, u, 200, 1e-7, cold=True)
    dense = counts.toarray().astype(np.float64)
    c, p = 1 + np.where(dense > 0, 3 * dense, -2 * dense), (dense > 0).astype(float)
    right = [
        np.linalg.solve(
            (v.T * c_i) @ v + REG * c_i.sum() ** exponent * np.eye(12), v.T @ (c_i * p_i)
        )
        for c_i, p_i in zip(c, p, strict=True)
    ]
    np.testing.assert_allclose(u, right, rtol=2e-3, atol=2e-5)


def test_every_sweep_over_plays_and_skips_lowers_the_loss() -> None:
    counts = signed(80, 100, seed=8)
    dense = counts.toarray()
    losses: list[float] = []

    def loss(u: np.ndarray, v: np.ndarray) -> None:
        error = (1 + 3 * abs(dense)) * ((dense > 0) - u @ v.T) ** 2
        losses.append(float(error.sum() + REG * ((u**2).sum() + (v**2).sum())))

    weighted = Weighted.of(counts, lambda r: 3 * abs(r))
    factorise(weighted, 10, REG, 0.0, 8, 3, np.random.default_rng(9), each=loss)
    assert losses == sorted(losses, reverse=True)


# Hard negatives of bpr


@pytest.mark.parametrize(("history", "skips", "share"), [(1, 1, 0.5), (6, 4, 0.1), (20, 9, 1.0)])
def test_fold_in_with_skips_is_the_maximum_of_the_criterion(
    history: int, skips: int, share: float
) -> None:
    rng = np.random.default_rng(history)
    vectors = rng.normal(size=(90, 5)).astype(np.float32)
    bias, reg = rng.normal(size=90).astype(np.float32), 0.01
    liked, skipped = np.arange(history), np.arange(history, history + skips)
    sample = np.arange(0, 90, 2)
    others = sample[sample >= history]  # skipped tracks may be of the sample, too

    def criterion(u: np.ndarray) -> float:
        x = vectors @ u + bias
        easy, hard = (
            np.logaddexp(0, x[some] - x[liked][:, None]).mean() for some in (others, skipped)
        )
        return float((1 - share) * easy + share * hard + reg / 2 * u @ u)

    (u,), shares, skip_shares = fold_in(
        Ragged.of_lists([liked]),
        SkipTerm(Ragged.of_lists([skipped]), share),
        sample.astype(np.int32),
        vectors,
        bias,
        reg,
    )
    best = minimize(criterion, np.zeros(5), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(u, best.x, atol=3e-3)
    x = vectors @ u + bias
    pull = 1 / (1 + np.exp(x[liked][:, None] - x[skipped])) / history / skips
    np.testing.assert_allclose(skip_shares, -share * pull.sum(axis=0) / reg, rtol=1e-2)
    assert (shares > 0).all()


def test_one_like_and_one_skip_by_hand() -> None:
    # Nothing else to compare with: u = (v_i - v_j) σ(-d) / reg, d = u · (v_i - v_j).
    vectors, bias = np.array([[1, 0], [0, 1]], np.float32), np.zeros(2, np.float32)
    skips = SkipTerm(Ragged.of_lists([[1]]), 0.3)
    empty = np.zeros(0, np.int32)
    (u,), shares, skip_shares = fold_in(Ragged.of_lists([[0]]), skips, empty, vectors, bias, 1.0)
    d = 0.6748  # = 2 σ(-d)
    np.testing.assert_allclose(u, [d / 2, -d / 2], atol=1e-3)
    np.testing.assert_allclose([shares[0], skip_shares[0]], [d / 2, -d / 2], atol=1e-3)


def test_training_puts_every_skipped_track_below_those_nobody_heard(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    heard = [
        [*rng.choice(10, 5, replace=False), *(10 + rng.choice(10, 3, replace=False))]
        for _ in range(60)
    ]
    listens = {
        "listener": np.repeat(np.arange(60), 8),
        "track": np.concatenate(heard),
        "outcome": np.tile([PLAYED] * 5 + [SKIPPED] * 3, 60),
    }
    data = write(tmp_path / "data", listens, 30)
    biases = (
        BPR(factors=2, epochs=30, skip_share=0.5)
        .fit(data, TrainingOptions(seed=1))
        .tensors()["bias"]
    )
    assert biases[10:20].max() < biases[20:].min()


# Reasons


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (WRMF, {"skip_confidence": 20.0}),
        (WRMF, {"skip_confidence": 20.0, "artist_weight": 0.2, "title_weight": 0.2}),
        (WRMF, {"skip_confidence": 20.0, "skip_rate_weight": 0.5}),
        (BPR, {"skip_share": 0.2, "epochs": 30}),
    ],
)
def test_reasons_add_up_and_a_skip_speaks_against_what_is_like_it(
    model: type[EmbeddingModel], settings: dict[str, Any], tmp_path: Path
) -> None:
    data = worlds.genres(tmp_path / "genres")
    fit = model(factors=8, **settings)
    fit.fit(data, TrainingOptions(seed=1))
    tracks, outcomes = (2, 31, 33, 36), (PLAYED, PLAYED, SKIPPED, DISLIKED)
    query = Query(tracks=tracks, outcomes=outcomes, title="jazz no. 5")
    wanted = np.array([30, 32, 35, 0, 3, 70], np.int32)  # jazz, metal, another
    u = fit.query_vectors(Queries.of([query]))[0]
    reasons = fit.explain(query, wanted)
    amounts = [sum(reason.amount for reason in some) for some in reasons]
    np.testing.assert_allclose(amounts, fit.vectors[wanted] @ u + fit.bias[wanted], atol=1e-3)
    of = [{reason.what: reason.amount for reason in some} for some in reasons]
    for parts in of[:3]:
        assert max(parts[33], parts[36]) < 0 < parts[31]
    without = fit.query_vectors(Queries.of([Query(tracks=(2, 31), title="jazz no. 5")]))[0]
    jazz_above_metal = fit.vectors[30:60].mean(axis=0) - fit.vectors[:30].mean(axis=0)
    assert jazz_above_metal @ u < jazz_above_metal @ without


# Off


@pytest.mark.parametrize("model", [WRMF, BPR])
def test_without_a_setting_skips_are_as_if_they_were_not_there(
    model: type[EmbeddingModel], skippy: Dataset
) -> None:
    played = skippy.keeping(listens=~Sessions.of(skippy).negative)
    some = {"factors": 4} if model is WRMF else {"factors": 4, "epochs": 2}
    one, two = (
        model(**some).fit(data, TrainingOptions(seed=1)).tensors() for data in (skippy, played)
    )
    assert {name: tensor.tobytes() for name, tensor in one.items()} == {
        name: tensor.tobytes() for name, tensor in two.items()
    }


# Worlds


@pytest.fixture(scope="module")
def skippy(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A world in which listeners skip what does not fit them or the session."""
    path = tmp_path_factory.mktemp("skippy") / "dataset"
    make_world(path, World(tracks=500, listeners=400, sessions=12_000, playlists=0), seed=6)
    return Dataset.open(path)


@pytest.fixture(scope="module")
def noisy(skippy: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same listens, but whichever was skipped is chance."""
    listens = {name: skippy.listens[name].to_numpy() for name in ("listener", "session", "track")}
    listens["time"] = skippy.listens["time"].combine_chunks()
    outcomes = skippy.listens["outcome"].to_numpy()
    listens["outcome"] = np.random.default_rng(0).permutation(outcomes)
    return write(tmp_path_factory.mktemp("noisy") / "dataset", listens, skippy.track_count)


def effects(data: Dataset, off: EmbeddingModel, on: EmbeddingModel) -> list[tuple[float, float]]:
    """What skips change: mean and standard error of AUC and of HR@20, by session.

    The last sixth of the sessions is held out. AUC: their later-played tracks against the
    later-skipped ones, given the first half. HR: the last played one, given all before it.
    """
    sessions = Sessions.of(data)
    late = sessions.starts >= np.quantile(sessions.starts, 5 / 6)
    training = data.keeping(listens=~late[sessions.owners])
    halves, later, before, last = [], [], [], []
    for s in np.flatnonzero(late):
        rows = slice(sessions.offsets[s], sessions.offsets[s + 1])
        tracks, negative = sessions.tracks[rows], sessions.negative[rows]
        outcomes = [Outcome(o) for o in sessions.outcomes[rows]]
        half, good = len(tracks) // 2, np.flatnonzero(~negative)
        if 0 < negative[half:].sum() < len(tracks) - half:
            halves.append(Query(tracks=tracks[:half].tolist(), outcomes=outcomes[:half]))
            later.append((tracks[half:], negative[half:]))
        if len(good) and (at := good[-1]):
            before.append(Query(tracks=tracks[:at].tolist(), outcomes=outcomes[:at]))
            last.append(tracks[at])

    def measured(model: EmbeddingModel) -> tuple[np.ndarray, np.ndarray]:
        model.fit(training, TrainingOptions(seed=1))
        auc = []
        for u, (tracks, negative) in zip(
            model.query_vectors(Queries.of(halves)), later, strict=True
        ):
            scores = model.vectors[tracks] @ u + model.bias[tracks]
            auc.append((scores[~negative][:, None] > scores[negative]).mean())
        slates = model.recommend(Queries.of(before), 20)
        return np.array(auc), (slates.tracks == np.array(last)[:, None]).any(axis=1)

    changes = [b.astype(float) - a for a, b in zip(measured(off), measured(on), strict=True)]
    return [(float(c.mean()), float(c.std() / np.sqrt(len(c)))) for c in changes]


PAIRS = [
    (WRMF, {"factors": 32, "alpha": 10.0, "regularisation": 0.02}, {"skip_confidence": 1.0}),
    (BPR, {"factors": 16, "epochs": 20, "regularisation": 0.02}, {"skip_share": 0.01}),
]


@pytest.mark.parametrize(("model", "settings", "skips"), PAIRS)
def test_skips_tell_later_skips_from_later_plays_and_cost_no_hits(
    model: type[EmbeddingModel], settings: dict[str, Any], skips: dict[str, float], skippy: Dataset
) -> None:
    (auc, about), (hits, wide) = effects(skippy, model(**settings), model(**settings, **skips))
    assert auc > 1.96 * about
    assert hits > -1.96 * wide


@pytest.mark.parametrize(("model", "settings", "skips"), PAIRS)
def test_skips_that_are_chance_tell_nothing_and_cost_little(
    model: type[EmbeddingModel], settings: dict[str, Any], skips: dict[str, float], noisy: Dataset
) -> None:
    (auc, about), (hits, _) = effects(noisy, model(**settings), model(**settings, **skips))
    assert abs(auc) < 2.58 * about
    assert hits > -0.03
