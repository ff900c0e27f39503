"""Protocol `cold-playlists`: nothing in common with training, halves of playlists, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.optional import reason

pytest.importorskip("matplotlib", reason=reason("matplotlib"))

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.evaluation_worlds import oracle_bundle, plain_tracks, train_bundle, write_dataset

from segue.bundle import Holdout
from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.errors import BundleError, DataError
from segue.evaluation.evaluate import evaluate
from segue.evaluation.report import render_report
from segue.operations.train import train
from segue.protocols import cold_playlists
from segue.protocols.base import PROTOCOLS, Split
from segue.protocols.unplayed_tracks import HEARD_ARTIST, LEAST_DRAWN, NEW_ARTISTS
from segue.recipe import load_recipe

PROTOCOL = PROTOCOLS["cold-playlists"]
HELD = Holdout(protocol="cold-playlists", seed=0)


def listens(rng: np.random.Generator, listeners: int, tracks: int) -> dict[str, Any]:
    """Listeners who finish or skip five tracks each."""
    count = 5 * listeners
    return {
        "listener": np.repeat(np.arange(listeners), 5).tolist(),
        "session": np.repeat(np.arange(listeners), 5).tolist(),
        "position": np.tile(np.arange(5), listeners).tolist(),
        "track": rng.integers(0, tracks, count).tolist(),
        "outcome": rng.choice([int(Outcome.FINISHED), int(Outcome.SKIPPED)], count).tolist(),
        "plays": [1] * count,
    }


def crowd(path: Path, playlists: int = 200, tracks: int = 120, seed: int = 0) -> Dataset:
    """Playlists of 10 to 50 even or odd tracks, some with a repeat; and listeners."""
    rng = np.random.default_rng(seed)
    lists = []
    for p in range(playlists):
        own = np.arange(p % 2, tracks, 2)
        lists.append(rng.choice(own, rng.integers(10, min(51, len(own))), replace=False).tolist())
        if p % 5 == 0:
            lists[-1].append(lists[-1][0])
    titles = [f"list {p}" for p in range(playlists)]
    return write_dataset(path, lists, titles, plain_tracks(tracks), listens(rng, 20, tracks))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return crowd(tmp_path_factory.mktemp("cold") / "crowd")


def part(offsets: Any, values: Any, q: int) -> list[int]:
    return values[offsets[q] : offsets[q + 1]].tolist()


def drawn(dataset: Dataset, seed: int = 0) -> set[int]:
    only = PROTOCOL.split(dataset, seed).test.only
    assert only is not None
    return set(only.tolist())


def playlist(dataset: Dataset, p: int) -> list[int]:
    return part(dataset.offsets, dataset.entries, p)


def heard(dataset: Dataset) -> set[int]:
    """Every track that somebody has in a dataset, skipped ones included."""
    return set(dataset.entries.tolist()) | set(dataset.listens["track"].to_pylist())


# The split


def check_apart(dataset: Dataset, split: Split) -> None:
    """What has to hold of any split: nothing in common, nothing else lost."""
    test, train = split.test, split.train
    cold, tested = set(test.only.tolist()), set(test.sources.tolist())
    assert not cold & heard(train)
    assert set(test.queries.tracks.tolist()) | set(test.truth.values.tolist()) <= cold
    assert len(tested) == len(test)
    for p in range(dataset.playlist_count):
        warm = [track for track in playlist(dataset, p) if track not in cold]
        assert playlist(train, p) == ([] if p in tested else warm)
        assert train.titles[p] == (None if p in tested else dataset.titles[p])
    assert train.listens.to_pylist() == [
        row for row in dataset.listens.to_pylist() if row["track"] not in cold
    ]
    assert train.tracks.equals(dataset.tracks)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1_000), st.integers(0, 3))
def test_training_and_test_have_no_track_and_no_playlist_in_common(
    tmp_path_factory: pytest.TempPathFactory, made: int, seed: int
) -> None:
    sizes = np.random.default_rng(made).integers([20, 60], [60, 120])
    dataset = crowd(tmp_path_factory.mktemp("d") / "d", *map(int, sizes), seed=made)
    check_apart(dataset, PROTOCOL.split(dataset, seed))


def test_validation_drawn_from_the_training_side_is_apart_from_both(world: Dataset) -> None:
    outer = PROTOCOL.split(world, 0)
    inner = PROTOCOL.split(outer.train, 1)
    check_apart(outer.train, inner)
    assert not set(outer.test.only.tolist()) & set(inner.test.only.tolist())
    assert not set(outer.test.sources.tolist()) & set(inner.test.sources.tolist())
    assert not {inner.train.titles[p] for p in outer.test.sources} - {None}


def test_a_fifth_of_the_tracks_is_cold_at_least_twenty_at_most_half(tmp_path: Path) -> None:
    for tracks, wanted in ((30, 15), (60, LEAST_DRAWN), (400, 80)):
        lists = [list(range(tracks)) for _ in range(50)]
        dataset = write_dataset(
            tmp_path / str(tracks), lists, ["x"] * 50, plain_tracks(tracks + 50)
        )
        assert len(drawn(dataset)) == wanted
        assert max(drawn(dataset)) < tracks  # no playlist has the last 50


def test_a_fifth_of_the_playlists_with_enough_cold_tracks_is_tested(tmp_path: Path) -> None:
    for playlists, wanted in ((10, 5), (60, LEAST_DRAWN), (200, 40)):
        whole = [list(range(60))] * playlists
        dataset = write_dataset(
            tmp_path / str(playlists),
            [*whole, *[[0]] * 30],
            [None] * (playlists + 30),
            plain_tracks(60),
        )
        tested = PROTOCOL.split(dataset, 0).test.sources
        assert len(tested) == wanted
        assert max(tested) < playlists  # those of one track are not asked
        assert (np.diff(tested) > 0).all()


def test_tested_playlists_are_limited(world: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold_playlists, "MOST_QUERIES", 7)
    split = PROTOCOL.split(world, 0)
    assert len(split.test) == 7
    check_apart(world, split)
    assert len(PROTOCOL.every(world, 0)) > 7


def test_the_seed_decides_everything(world: Dataset) -> None:
    one, same, other = (PROTOCOL.split(world, seed).test for seed in (0, 0, 1))
    assert np.array_equal(one.queries.tracks, same.queries.tracks)
    assert np.array_equal(one.truth.keys(), same.truth.keys())
    assert np.array_equal(one.sources, same.sources)
    assert set(one.only.tolist()) != set(other.only.tolist())
    assert set(one.sources.tolist()) != set(other.sources.tolist())


def test_only_tracks_with_audio_are_cold_where_there_is_audio(world: Dataset) -> None:
    sounding = Dataset.open(world.path)
    vars(sounding)["audio"] = pa.table({"track": pa.array(range(0, 120, 3), pa.int32())})
    assert all(track % 3 == 0 for track in drawn(sounding))
    assert len(drawn(sounding)) == LEAST_DRAWN


def test_only_tracks_with_a_title_are_cold_where_there_is_no_audio(tmp_path: Path) -> None:
    tracks = plain_tracks(120)
    for t, title in ((1, None), (2, ""), (3, " \t")):
        for track in tracks[t::4]:
            track["title"] = title
    lists = [list(range(120))] * 40
    dataset = write_dataset(tmp_path / "d", lists, ["x"] * 40, tracks)
    assert all(track % 4 == 0 for track in drawn(dataset))


# Queries


def test_a_query_shows_half_of_the_distinct_cold_tracks_of_a_playlist(world: Dataset) -> None:
    test = PROTOCOL.split(world, 0).test
    cold = drawn(world)
    sizes = set()
    for q, p in enumerate(test.sources.tolist()):
        own = cold & set(playlist(world, p))
        shown = part(test.queries.offsets, test.queries.tracks, q)
        right = test.truth.row(q).tolist()
        assert sorted(shown + right) == sorted(own)
        assert right == sorted(right)
        assert len(own) >= cold_playlists.LEAST_TRACKS
        sizes.add((len(own), len(shown)))
    halves = {4: 2, 5: 2, 6: 3, 7: 4, 8: 4, 9: 4, 10: 5, 11: 6, 12: 6, 13: 6, 14: 7}
    assert sizes <= set(halves.items())
    assert len(sizes) > 5
    assert (test.queries.outcomes == Outcome.UNKNOWN).all()
    assert test.queries.titles == [None] * len(test)


def test_the_half_is_drawn_and_in_a_drawn_order(tmp_path: Path) -> None:
    lists = [list(range(200)) for _ in range(200)]
    dataset = write_dataset(tmp_path / "d", lists, ["x"] * 200, plain_tracks(200))
    test = PROTOCOL.split(dataset, 0).test
    shown = test.queries.tracks.reshape(len(test), -1)
    cold = test.only.tolist()
    # Every cold track is shown by half of the queries or so, and stands first in some.
    often = np.bincount(shown.ravel(), minlength=200)[cold] / len(test)
    assert often.min() > 0.15
    assert often.max() < 0.85
    assert len(set(shown[:, 0].tolist())) > 15
    assert 0.4 < (np.diff(shown, axis=1) > 0).mean() < 0.6


def test_all_asks_every_playlist_about_the_same_cold_tracks(world: Dataset) -> None:
    test = PROTOCOL.every(world, 0)
    cold = drawn(world)
    assert set(test.only.tolist()) == cold
    enough = [
        p
        for p in range(world.playlist_count)
        if len(cold & set(playlist(world, p))) >= cold_playlists.LEAST_TRACKS
    ]
    assert test.sources.tolist() == enough


def test_slices_tell_whether_an_artist_of_the_truth_is_in_the_query(tmp_path: Path) -> None:
    tracks = [{"uri": f"t{t}", "title": "x", "artist": f"A{t // 8}"} for t in range(120)]
    rng = np.random.default_rng(0)
    lists = [rng.choice(120, 35, replace=False).tolist() for _ in range(100)]
    dataset = write_dataset(tmp_path / "d", lists, ["x"] * 100, tracks)
    test = PROTOCOL.every(dataset, 0)
    for q in range(len(test)):
        shown, right = (
            {tracks[t]["artist"] for t in some}
            for some in (
                part(test.queries.offsets, test.queries.tracks, q),
                test.truth.row(q).tolist(),
            )
        )
        assert test.slices[q] == (HEARD_ARTIST if shown & right else NEW_ARTISTS)
    assert set(test.slices.tolist()) == {HEARD_ARTIST, NEW_ARTISTS}


@pytest.mark.parametrize(
    ("lists", "title", "says"),
    [
        ([], "x", "no tracks to hold out that are in playlists and have a title"),
        ([[0, 1, 2]] * 9, None, "no tracks to hold out that are in playlists and have a title"),
        ([[t] for t in range(50)], "x", "too few playlists with at least 4 cold tracks"),
        ([[], *([t] for t in range(50))], "x", "too few playlists with at least 4 cold tracks"),
        ([list(range(50))], "x", "too few playlists with at least 4 cold tracks"),
    ],
)
def test_a_dataset_with_nothing_to_ask_is_refused_in_one_line(
    tmp_path: Path, lists: Sequence[Sequence[int]], title: str | None, says: str
) -> None:
    tracks = [track | {"title": title} for track in plain_tracks(50)]
    dataset = write_dataset(tmp_path / "d", lists, ["x"] * len(lists), tracks)
    with pytest.raises(DataError, match=says) as caught:
        PROTOCOL.split(dataset, 0)
    assert "\n" not in str(caught.value)


# Figures


def test_figures_are_those_of_the_cold_tracks_without_the_seeds(tmp_path: Path) -> None:
    lists = [list(range(150))] * 5  # 30 cold tracks, 15 of them shown
    dataset = write_dataset(tmp_path / "d", [*lists] * 2, ["x"] * 10, plain_tracks(150))
    test = PROTOCOL.split(dataset, 0).test
    assert len(test) == 5
    cold = sorted(drawn(dataset))
    assert len(cold) == 30
    warm = [t for t in range(150) if t not in cold]
    # All cold tracks but the seeds are right, so what is asked for first does not matter.
    result = evaluate(
        [("oracle", oracle_bundle(dataset, HELD, [*warm, *cold]))], dataset, "cold-playlists"
    )
    metrics = {name: value.mean for name, value in result.models[0].metrics.items()}
    assert metrics == {
        "recall@10": pytest.approx(10 / 15),
        "recall@20": 1,
        "recall@40": 1,
        "ndcg@10": pytest.approx(1),
        "ndcg@20": pytest.approx(1),
        "ndcg@40": pytest.approx(1),
    }
    assert any(note.startswith("only the 30 cold tracks are ranked") for note in result.notes)


def test_figures_by_hand(tmp_path: Path) -> None:
    whole = write_dataset(tmp_path / "a", [list(range(100))] * 4, ["x"] * 4, plain_tracks(100))
    cold = sorted(drawn(whole))
    assert len(cold) == 20
    warm = [t for t in range(100) if t not in cold]
    lists = [[*warm, *cold[start : start + 8]] for start in (0, 6, 12)]
    dataset = write_dataset(tmp_path / "b", lists, ["x"] * 3, plain_tracks(100))
    assert sorted(drawn(dataset)) == cold
    test = PROTOCOL.split(dataset, 0).test
    assert len(test) == 1  # half of three
    seeds, right = test.queries.tracks.tolist(), test.truth.values.tolist()
    wrong = [t for t in cold if t not in right and t not in seeds]
    assert (len(seeds), len(right), len(wrong)) == (4, 4, 12)
    # Without the seeds, which come first, what is right stands at the places 2, 13, 14 and 15.
    ranked = [*seeds, wrong[0], right[0], *wrong[1:11], *right[1:], wrong[11]]
    result = evaluate([("o", oracle_bundle(dataset, HELD, ranked))], dataset, "cold-playlists")
    metrics = {name: value.mean for name, value in result.models[0].metrics.items()}
    ideal = 1 + 1 / np.log2(3) + 1 / 2 + 1 / np.log2(5)
    late = 1 / np.log2(14) + 1 / np.log2(15) + 1 / np.log2(16)
    assert metrics["recall@10"] == 1 / 4
    assert metrics["recall@20"] == metrics["recall@40"] == 1
    assert metrics["ndcg@10"] == pytest.approx(1 / np.log2(3) / ideal)
    assert metrics["ndcg@20"] == pytest.approx((1 / np.log2(3) + late) / ideal)
    assert metrics["ndcg@40"] == metrics["ndcg@20"]


def test_who_knows_nothing_of_cold_tracks_ranks_them_by_chance(tmp_path: Path) -> None:
    dataset = crowd(tmp_path / "d", playlists=3_000, tracks=500)
    result = evaluate([("p", train_bundle(dataset, HELD))], dataset, "cold-playlists")
    recall = result.models[0].metrics["recall@20"]
    shown = np.diff(PROTOCOL.split(dataset, 0).test.queries.offsets)
    assert recall.ci95 is not None
    assert recall.ci95[0] < (20 / (100 - shown)).mean() < recall.ci95[1]
    assert recall.ci95[1] - recall.ci95[0] < 0.08


@pytest.mark.parametrize(
    ("n", "cutoffs"), [(1, [1]), (9, [9]), (10, [10]), (25, [10, 20]), (100, [10, 20, 40])]
)
def test_cut_offs_beyond_the_list_are_left_out(n: int, cutoffs: list[int]) -> None:
    metrics = PROTOCOL.metrics(n)
    assert metrics == tuple(f"{name}@{k}" for name in ("recall", "ndcg") for k in cutoffs)
    headline = PROTOCOL.headline(n)
    assert headline[:2] == (f"recall@{cutoffs[0]}", f"ndcg@{cutoffs[0]}")
    assert set(headline) <= set(metrics)
    assert len(set(headline)) == len(headline)


@pytest.mark.parametrize("n", [5, 40])
def test_a_report_has_its_metrics_and_no_coverage(world: Dataset, n: int) -> None:
    bundle = train_bundle(world, HELD)
    result = evaluate([("p", bundle), ("q", bundle)], world, "cold-playlists", n=n)
    assert set(result.models[0].metrics) == set(PROTOCOL.metrics(n))
    page = render_report(result, command="segue evaluate")
    assert "from the cold ones alone" in page
    assert "Coverage of the catalog" not in page


# Who may be tested


def test_a_bundle_that_learned_from_the_test_is_refused(world: Dataset, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="learned from the rows of the test"):
        evaluate([("p", train_bundle(world))], world, "cold-playlists")
    for holdout in (Holdout(protocol="cold-playlists", seed=1), Holdout(protocol="cold", seed=0)):
        with pytest.raises(BundleError, match=f"held out {holdout.protocol} with seed"):
            evaluate([("p", train_bundle(world, holdout))], world, "cold-playlists")
    with pytest.raises(BundleError, match="--all"):
        evaluate([("p", train_bundle(world, HELD))], world, "cold-playlists", all_rows=True)
    elsewhere = crowd(tmp_path / "elsewhere", seed=5)
    cold = len(drawn(world))
    with pytest.raises(BundleError, match=f"has plays of {cold} of the {cold} cold tracks"):
        evaluate([("p", train_bundle(elsewhere))], world, "cold-playlists")


def test_all_asks_about_the_tracks_that_no_bundle_has_plays_of(
    world: Dataset, tmp_path: Path
) -> None:
    before = crowd(tmp_path / "before", tracks=110, seed=7)
    new = (before.entries >= 90) & (before.entries < 110)
    played = before.listens["track"].to_numpy()
    bundle = train_bundle(before.narrowed(~new, played < 90))
    result = evaluate([("p", bundle)], world, "cold-playlists", all_rows=True)
    assert result.notes[0].startswith("only the 20 cold tracks")
    assert "10 played tracks that a bundle lacks are left out" in result.notes
    asked = [
        p
        for p in range(world.playlist_count)
        if len({t for t in playlist(world, p) if 90 <= t < 110}) >= cold_playlists.LEAST_TRACKS
    ]
    assert result.queries == len(asked)
    knowing = train_bundle(crowd(tmp_path / "knowing", seed=8))
    with pytest.raises(DataError, match="without plays in all of them"):
        evaluate([("p", knowing)], world, "cold-playlists", all_rows=True)


@pytest.mark.parametrize("recipe", ["popularity", "item-knn", "user-knn", "title", "wrmf", "bpr"])
def test_recipes_can_be_held_out_by_it(recipe: str, world: Dataset) -> None:
    bundle, _ = train(load_recipe(recipe), world, holdout="cold-playlists")
    assert (bundle.catalog.plays[sorted(drawn(world))] == 0).all()
    assert evaluate([(recipe, bundle)], world, "cold-playlists").queries
