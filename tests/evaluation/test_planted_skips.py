"""Worlds whose skips mean something, and nothing: what learning from them changes."""

from __future__ import annotations

import numpy as np
import pytest
from support.optional import optional

from segue.data.dataset import Dataset
from segue.data.receipt import Receipt
from segue.data.schema import Outcome
from segue.data.writer import writing_dataset
from segue.evaluation.evaluate import run_test
from segue.evaluation.significance import Estimate, estimate
from segue.models.base.recommender import TrainingOptions
from segue.operations.train import train
from segue.protocols.base import find_protocol
from segue.queries import Queries, Query
from segue.recipe import Recipe, load_recipe

GENRES, TRACKS, SESSIONS = 8, 25, 1200
FACTORS = {
    "wrmf": ["factors=16", "alpha=10", "regularisation=0.02"],
    "bpr": ["factors=16", "epochs=20"],
}
"""Models of what sessions have, with settings for a small world."""
NAMES = ("sasrec", "bert4rec", "gru4rec", "caser")
SMALL = ["epochs=12", "patience=0", "batch=32", "factors=32", "negatives=128"]
"""Settings for a small world."""


def _intruders(path, noise: bool) -> Dataset:
    """Sessions of one genre with intruders of the genre before it, which are always skipped.

    So intruders keep company with what they are skipped beside: only the skip tells them apart.
    With `noise` anything may be skipped, as often.
    """
    rng = np.random.default_rng(11)
    weights = 1 / np.arange(1, TRACKS + 1)
    weights /= weights.sum()
    track, outcome = [], []
    for s in range(SESSIONS):
        genre = s % GENRES
        order = [
            *(genre * TRACKS + rng.choice(TRACKS, 8, replace=False, p=weights)),
            *((genre - 1) % GENRES * TRACKS + rng.choice(TRACKS, 4, replace=False, p=weights)),
        ]
        skipped = np.arange(12) >= 8
        if noise:
            skipped = rng.permutation(skipped)
        shuffled = rng.permutation(12)
        track += [int(order[i]) for i in shuffled]
        outcome += [int(Outcome.SKIPPED if skipped[i] else Outcome.FINISHED) for i in shuffled]
    return _written(path, track, outcome)


def _pushed(path) -> Dataset:
    """Sessions of one genre; its odd tracks are put on three times as often as the even ones.

    Odd tracks are skipped in two of three listens and even ones never, so that both are played as
    often: who reads plays alone cannot tell them apart.
    """
    rng = np.random.default_rng(12)
    odd = np.arange(TRACKS) % 2
    weights = (1 + 2 * odd) / (1 + 2 * odd).sum()
    track, outcome = [], []
    for s in range(SESSIONS):
        chosen = rng.choice(TRACKS, 12, replace=False, p=weights)
        track += (s % GENRES * TRACKS + chosen).tolist()
        skipped = (odd[chosen] == 1) & (rng.random(12) < 2 / 3)
        outcome += np.where(skipped, Outcome.SKIPPED, Outcome.FINISHED).tolist()
    return _written(path, track, outcome)


def _written(path, track: list[int], outcome: list[int]) -> Dataset:
    """Sessions of 12 listens, each of a listener of its own."""
    n = len(track)
    session = np.repeat(np.arange(SESSIONS), 12)
    with writing_dataset(path) as writer:
        writer.track_ids([f"t{t}" for t in range(GENRES * TRACKS)], lambda i: [None] * 7)
        writer.add("listeners", {"uri": [f"l{s}" for s in range(SESSIONS)]})
        writer.add(
            "listens",
            {
                "listener": session,
                "session": session,
                "position": np.arange(n) % 12,
                "track": track,
                "time": np.arange(n) * 60_000,
                "outcome": outcome,
                "plays": np.ones(n, np.int32),
            },
        )
        receipt = Receipt(format="test", unit="plays")
        receipt.keep(n)
        writer.finish([receipt], simulated=True)
    return Dataset.open(path)


def _change(dataset: Dataset, *recipes: Recipe) -> dict[str, Estimate]:
    """What the second recipe gains over the first, paired."""
    metrics = {"next": ("hr@10",), "skips": ("auc",)}
    values = []
    for recipe in recipes:
        bundle, _ = train(recipe, dataset, holdout="next")
        found = {}
        for protocol, wanted in metrics.items():
            test = find_protocol(protocol).split(dataset, 0).test
            _, some = run_test(recipe.name, bundle, dataset, test, wanted, 10, lambda _: None)
            found |= {metric: some[metric] for metric in wanted}
        values.append(found)
    return {metric: estimate(values[1][metric] - values[0][metric]) for metric in values[0]}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return _intruders(tmp_path_factory.mktemp("planted") / "d", noise=False)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return _intruders(tmp_path_factory.mktemp("noisy") / "d", noise=True)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    return _pushed(tmp_path_factory.mktemp("pushed") / "d")


def _trunk(name: str, dataset: Dataset) -> dict[str, Estimate]:
    """What a sequence model gains by the skip-informed loss."""
    optional("torch")
    one, other = (load_recipe(name, [*SMALL, *more]) for more in ([], ["skip_weight=0.5"]))
    return _change(dataset, one, other)


def _factors(name: str, dataset: Dataset) -> dict[str, Estimate]:
    """What `wrmf` or `bpr` gains by its recipe with skips."""
    one, other = (load_recipe(recipe, FACTORS[name]) for recipe in (name, f"{name}-skips"))
    return _change(dataset, one, other)


def _nothing(change: dict[str, Estimate]) -> None:
    for metric in ("auc", "hr@10"):
        low, high = change[metric].ci95
        assert low < 0.02, (metric, change)
        assert high > -0.02, (metric, change)


@pytest.mark.parametrize("name", NAMES)
def test_planted_skips_are_learned_and_cost_nothing(name, planted):
    change = _trunk(name, planted)
    assert change["auc"].ci95[0] > 0
    assert change["hr@10"].ci95[1] > 0  # not worse beyond doubt


@pytest.mark.parametrize("name", NAMES)
def test_skips_that_mean_nothing_make_no_difference(name, noisy):
    _nothing(_trunk(name, noisy))


@pytest.mark.parametrize("name", FACTORS)
def test_tracks_that_many_skip_fall_and_that_costs_nothing(name, pushed):
    change = _factors(name, pushed)
    assert change["auc"].ci95[0] > 0
    assert change["hr@10"].ci95[1] > 0  # not worse beyond doubt


@pytest.mark.parametrize("name", FACTORS)
def test_nor_do_they_to_a_model_without_an_order(name, noisy):
    _nothing(_factors(name, noisy))


@pytest.mark.parametrize("name", NAMES)
def test_a_skip_in_the_query_changes_the_next_answer_as_training_taught(name, planted):
    optional("torch")
    # bert4rec learns from fewer places of a session, so it needs more passes.
    epochs = "epochs=40" if name == "bert4rec" else "epochs=12"
    model = (
        load_recipe(name, [*SMALL, "read_skips=true", epochs])
        .make()
        .fit(planted, TrainingOptions())
    )
    # Two tracks of genre 3 were skipped: it is a session of genre 4. They were played: of 3.
    tracks = [3 * TRACKS, 3 * TRACKS + 1]
    skipped, played = Query(tracks, [Outcome.SKIPPED] * 2), Query(tracks, [Outcome.FINISHED] * 2)
    a, b = model.recommend(Queries.of([skipped, played]), 10)
    assert (a.tracks // TRACKS == 4).sum() >= 5
    assert (b.tracks // TRACKS == 4).sum() == 0
