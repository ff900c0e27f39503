"""Protocol `cold`: what training may see, who is asked what, and what the figures say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.optional import reason

pytest.importorskip("matplotlib", reason=reason("matplotlib"))

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.evaluation_worlds import (
    oracle_bundle,
    plain_tracks,
    train_bundle,
    write_dataset,
    write_world,
)

from segue.bundle import Bundle, Holdout
from segue.data.dataset import Dataset
from segue.data.schema import Outcome
from segue.data.writer import writing_dataset
from segue.errors import BundleError, DataError
from segue.evaluation.evaluate import evaluate
from segue.evaluation.report import render_report
from segue.metrics.contrast import auc_of_ranks
from segue.operations.train import train
from segue.protocols import cold_tracks as cold
from segue.protocols.base import PROTOCOLS
from segue.protocols.unplayed_tracks import HEARD_ARTIST, LEAST_DRAWN, NEW_ARTISTS
from segue.queries import MAX_HISTORY
from segue.recipe import load_recipe, shipped

COLD = Holdout(protocol="cold", seed=0)
PLAYED, SKIPPED, DISLIKED = int(Outcome.FINISHED), int(Outcome.SKIPPED), int(Outcome.DISLIKED)


def heard(rows: list[tuple[int, int, int]]) -> dict[str, Any]:
    """Listens of (listener, track, outcome)."""
    listener, track, outcome = zip(*rows, strict=True)
    count = len(rows)
    return {
        "listener": list(listener),
        "session": list(listener),
        "position": list(range(count)),
        "track": list(track),
        "outcome": list(outcome),
        "plays": [1] * count,
    }


def crowd(path: Path, listeners: int = 60, tracks: int = 120, seed: int = 0) -> Dataset:
    """Listeners who keep to even or to odd tracks, and skip one of the others now and then."""
    rng = np.random.default_rng(seed)
    rows = []
    for listener in range(listeners):
        own = np.arange(listener % 2, tracks, 2)
        rows += [(listener, int(t), PLAYED) for t in rng.choice(own, 25, replace=False)]
        rows += [(listener, int(t), SKIPPED) for t in rng.choice(tracks, 3, replace=False)]
    return write_dataset(path, [[0, 1]], ["x"], plain_tracks(tracks), heard(rows))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return crowd(tmp_path_factory.mktemp("cold") / "crowd")


def part(offsets: Any, values: Any, q: int) -> list[int]:
    return values[offsets[q] : offsets[q + 1]].tolist()


def drawn(dataset: Dataset, seed: int = 0) -> set[int]:
    only = PROTOCOLS["cold"].split(dataset, seed).test.only
    assert only is not None
    return set(only.tolist())


# The split


def test_training_has_nothing_of_cold_tracks_and_all_of_the_others(world: Dataset) -> None:
    split = PROTOCOLS["cold"].split(world, 0)
    gone = drawn(world)
    assert len(gone) == LEAST_DRAWN
    assert not gone & set(split.train.entries.tolist())
    left = split.train.listens.to_pylist()
    assert left == [row for row in world.listens.to_pylist() if row["track"] not in gone]
    assert split.train.tracks.equals(world.tracks)


def test_a_tenth_of_the_tracks_is_cold_at_least_twenty_at_most_half(tmp_path: Path) -> None:
    for tracks, wanted in ((30, 15), (60, 20), (400, 40)):
        rows = [(t % 7, t, PLAYED) for t in range(tracks)]
        dataset = write_dataset(
            tmp_path / str(tracks), [], [], plain_tracks(tracks + 50), heard(sorted(rows))
        )
        chosen = drawn(dataset)
        assert len(chosen) == wanted
        assert max(chosen) < tracks  # nobody played the last 50


def test_the_seed_decides_which(world: Dataset) -> None:
    assert drawn(world, 0) == drawn(world, 0)
    assert drawn(world, 0) != drawn(world, 1)


def test_only_tracks_with_audio_are_cold_where_there_is_audio(world: Dataset) -> None:
    sounding = Dataset.open(world.path)
    vars(sounding)["audio"] = pa.table({"track": pa.array(range(0, 120, 3), pa.int32())})
    assert all(track % 3 == 0 for track in drawn(sounding))
    assert len(drawn(sounding)) == LEAST_DRAWN


def test_a_listener_is_asked_with_everything_else_it_heard(world: Dataset) -> None:
    test = PROTOCOLS["cold"].split(world, 0).test
    gone = drawn(world)
    rows = world.listens.to_pylist()
    asked = set()
    for q, listener in enumerate(test.sources.tolist()):
        own = [row for row in rows if row["listener"] == listener]
        played = {row["track"] for row in own if row["outcome"] == PLAYED}
        shown = [row for row in own if row["track"] not in gone]
        assert test.truth.row(q).tolist() == sorted(played & gone)
        assert part(test.queries.offsets, test.queries.tracks, q) == [r["track"] for r in shown]
        assert part(test.queries.offsets, test.queries.outcomes, q) == [r["outcome"] for r in shown]
        asked.add(listener)
    rest = {row["listener"] for row in rows} - asked
    for listener in rest:
        assert not any(
            row["track"] in gone and row["outcome"] == PLAYED
            for row in rows
            if row["listener"] == listener
        )


def test_who_played_nothing_on_one_side_is_not_asked(tmp_path: Path) -> None:
    tracks = 40
    rows = [(0, t, PLAYED) for t in range(tracks)]
    dataset = write_dataset(tmp_path / "one", [], [], plain_tracks(tracks), heard(rows))
    gone = sorted(drawn(dataset))
    warm = [t for t in range(tracks) if t not in gone]
    rows += [(1, t, PLAYED) for t in gone]  # nothing to show
    rows += [(2, t, PLAYED) for t in warm]  # no truth
    rows += [(3, gone[0], SKIPPED), (3, warm[0], PLAYED)]
    rows += [(4, gone[0], PLAYED), (4, warm[0], DISLIKED)]
    rows += [(5, gone[0], SKIPPED), (5, gone[0], PLAYED), (5, warm[0], PLAYED)]
    dataset = write_dataset(tmp_path / "two", [], [], plain_tracks(tracks), heard(rows))
    assert sorted(drawn(dataset)) == gone
    assert PROTOCOLS["cold"].split(dataset, 0).test.sources.tolist() == [0, 5]


def test_playlists_are_asked_where_nobody_listens(tmp_path: Path) -> None:
    dataset = write_world(tmp_path / "d", playlists=80)
    split = PROTOCOLS["cold"].split(dataset, 0)
    gone = drawn(dataset)
    for q, playlist in enumerate(split.test.sources.tolist()):
        entries = part(dataset.offsets, dataset.entries, playlist)
        assert split.test.truth.row(q).tolist() == sorted(set(entries) & gone)
        shown = [t for t in entries if t not in gone]
        assert part(split.test.queries.offsets, split.test.queries.tracks, q) == shown


def test_playlists_are_asked_where_listeners_have_no_listens(tmp_path: Path) -> None:
    with writing_dataset(tmp_path / "d") as writer:
        writer.add("tracks", {"uri": [f"t{t}" for t in range(40)]})
        writer.add("listeners", {"uri": ["somebody"]})
        writer.add_playlists({"uri": ["p", "q"]}, [40, 40], [*range(40)] * 2)
        writer.finish([], simulated=False)
    split = PROTOCOLS["cold"].split(Dataset.open(tmp_path / "d"), 0)
    assert len(split.test.queries) == 2


def test_slices_tell_whether_an_artist_was_heard_before(tmp_path: Path) -> None:
    tracks = [{"uri": f"t{t}", "artist": None if t % 5 == 0 else f"A{t // 2}"} for t in range(60)]
    rows = [(listener, t, PLAYED) for listener in range(30) for t in (2 * listener, 59 - listener)]
    dataset = write_dataset(tmp_path / "d", [], [], tracks, heard(rows))
    test = PROTOCOLS["cold"].split(dataset, 0).test
    found = set()
    for q in range(len(test)):
        shown, right = (
            {tracks[t]["artist"] for t in some} - {None}
            for some in (
                part(test.queries.offsets, test.queries.tracks, q),
                test.truth.row(q).tolist(),
            )
        )
        assert test.slices[q] == (HEARD_ARTIST if shown & right else NEW_ARTISTS)
        found.add(str(test.slices[q]))
    assert found == {NEW_ARTISTS}
    labels = PROTOCOLS["cold"].split(crowd(tmp_path / "e", tracks=200), 0).test.slices
    assert set(labels.tolist()) == {HEARD_ARTIST, NEW_ARTISTS}


def test_queries_are_limited_and_a_note_says_so(
    world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = PROTOCOLS["cold"].split(world, 0).test
    monkeypatch.setattr(cold, "MOST_QUERIES", 7)
    test = PROTOCOLS["cold"].split(world, 0).test
    assert len(test) == 7
    assert set(test.sources) < set(whole.sources)
    assert f"7 of {len(whole)} that can be asked were drawn" in test.notes
    assert len(PROTOCOLS["cold"].every(world, 0)) == len(whole)


def test_histories_keep_their_end(world: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PROTOCOLS["cold"].split(world, 0).test.queries
    monkeypatch.setattr(cold, "MAX_HISTORY", 4)
    short = PROTOCOLS["cold"].split(world, 0).test.queries
    for q in range(len(whole)):
        assert part(short.offsets, short.tracks, q) == part(whole.offsets, whole.tracks, q)[-4:]
    assert MAX_HISTORY > 4


def test_a_dataset_without_plays_is_refused(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d", [], [], plain_tracks(50))
    with pytest.raises(DataError, match="no tracks to hold out that somebody played"):
        PROTOCOLS["cold"].split(dataset, 0)


def test_a_dataset_where_nobody_has_both_is_refused(tmp_path: Path) -> None:
    rows = [(t, t, PLAYED) for t in range(50)]
    dataset = write_dataset(tmp_path / "d", [], [], plain_tracks(50), heard(rows))
    with pytest.raises(DataError, match="both cold and other tracks"):
        PROTOCOLS["cold"].split(dataset, 0)


# Figures


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_auc_is_the_share_of_pairs_in_order(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 8))
    among = np.sort(np.array(data.draw(st.permutations(range(20))), np.int32)[:size])
    queries = data.draw(st.integers(1, 4))
    places, truth, offsets, wanted = [], [], [0], []
    for _ in range(queries):
        order = data.draw(st.permutations(range(size)))
        banned = data.draw(st.integers(0, size - 1))
        row = np.where(np.array(order) < size - banned, order, 1000)
        right = data.draw(st.lists(st.sampled_from(range(25)), unique=True))
        pairs = [
            row[i] < row[j]
            for i in range(size)
            for j in range(size)
            if among[i] in right and among[j] not in right and max(row[i], row[j]) < 1000
        ]
        wanted.append(np.mean(pairs) if pairs else np.nan)
        places.append(row)
        truth += sorted(right)
        offsets.append(len(truth))
    found = auc_of_ranks(
        np.array(places), among, np.array(offsets), np.array(truth, dtype=np.int32)
    )
    np.testing.assert_allclose(found, wanted)


def test_figures_are_those_of_the_cold_tracks_alone(tmp_path: Path) -> None:
    rows = [(0, t, PLAYED) for t in range(40)]
    first = write_dataset(tmp_path / "one", [], [], plain_tracks(40), heard(rows))
    gone = sorted(drawn(first))  # 20 of them
    warm = [t for t in range(40) if t not in gone]
    rows += [(1, t, PLAYED) for t in (warm[0], gone[0], gone[3])]
    dataset = write_dataset(tmp_path / "two", [], [], plain_tracks(40), heard(rows))
    assert sorted(drawn(dataset)) == gone
    # Warm tracks come before all cold ones in the full ranking, which changes nothing.
    model = oracle_bundle(dataset, COLD, [*warm, *gone])
    result = evaluate([("oracle", model)], dataset, "cold")
    metrics = {name: value.mean for name, value in result.models[0].metrics.items()}
    assert result.queries == 2
    # Listener 0: everything is right, so there is no wrong one to pair with. Listener 1: right at
    # the places 1 and 4 of 20.
    assert metrics["map@500"] == pytest.approx((1 + (1 + 2 / 4) / 2) / 2)
    assert metrics["auc"] == pytest.approx((18 + 16) / (2 * 18))
    assert metrics["recall@20"] == 1
    ideal = 1 + 1 / np.log2(3)
    assert metrics["ndcg@20"] == pytest.approx((1 + (1 + 1 / np.log2(5)) / ideal) / 2)
    assert "oracle: no auc of 1 of 2 queries" in result.notes
    assert any(note.startswith("only the 20 cold tracks are ranked") for note in result.notes)


@pytest.fixture(scope="module")
def popular(world: Dataset) -> Bundle:
    return train_bundle(world, COLD)


def test_who_knows_nothing_of_cold_tracks_ranks_them_by_chance(tmp_path: Path) -> None:
    dataset = crowd(tmp_path / "d", listeners=600)
    result = evaluate([("popularity", train_bundle(dataset, COLD))], dataset, "cold")
    auc = result.models[0].metrics["auc"]
    assert auc.ci95 is not None
    assert auc.ci95[0] < 0.5 < auc.ci95[1]
    assert auc.ci95[1] - auc.ci95[0] < 0.05


def test_blocks_do_not_change_figures(
    world: Dataset, popular: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segue.evaluation import scoring as tally

    whole = evaluate([("p", popular)], world, "cold").models[0].metrics
    monkeypatch.setattr(tally, "_PAIRS", 50)
    assert evaluate([("p", popular)], world, "cold").models[0].metrics == whole


def test_lists_can_be_shorter(world: Dataset, popular: Bundle) -> None:
    metrics = evaluate([("p", popular)], world, "cold", n=5).models[0].metrics
    assert set(metrics) == {"map@5", "auc", "recall@5", "ndcg@5"}


def test_a_report_explains_the_metrics(world: Dataset, popular: Bundle) -> None:
    result = evaluate([("p", popular), ("q", popular)], world, "cold")
    page = render_report(result, command="segue evaluate")
    assert "another cold one" in page
    assert "Coverage of the catalog" not in page


# Who may be tested


def test_all_says_what_to_do_where_nothing_is_new_to_every_bundle(tmp_path: Path) -> None:
    last_month = train_bundle(crowd(tmp_path / "last"))
    now = crowd(tmp_path / "now", seed=5)
    assert (last_month.catalog.plays > 0).all()
    with pytest.raises(DataError, match="without plays in all of them; give each bundle"):
        evaluate([("p", last_month)], now, "cold", all_rows=True)


def test_a_bundle_that_learned_from_the_cold_tracks_is_refused(
    world: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="learned from the rows of the test"):
        evaluate([("p", train_bundle(world))], world, "cold")
    other = train_bundle(world, Holdout(protocol="cold", seed=1))
    with pytest.raises(BundleError, match="held out cold with seed 1"):
        evaluate([("p", other)], world, "cold")
    with pytest.raises(BundleError, match="--all"):
        evaluate([("p", train_bundle(world, COLD))], world, "cold", all_rows=True)
    # Elsewhere it matters whether it has plays of them, whoever played.
    elsewhere = crowd(tmp_path / "elsewhere", seed=5)
    with pytest.raises(BundleError, match="has plays of 20 of the 20 cold tracks"):
        evaluate([("p", train_bundle(elsewhere))], world, "cold")
    gone = drawn(world)
    keep = ~np.isin(elsewhere.listens["track"].to_numpy(), list(gone))
    apart = elsewhere.narrowed(~np.isin(elsewhere.entries, list(gone)), keep)
    assert evaluate([("p", train_bundle(apart))], world, "cold").queries


def test_all_asks_about_the_tracks_that_no_bundle_has_plays_of(
    world: Dataset, tmp_path: Path
) -> None:
    def without(low: int, high: int, known: int) -> Bundle:
        """A bundle of other listeners, who had only the first tracks and not low to high."""
        part = crowd(tmp_path / f"{low}-{known}", tracks=known, seed=7)
        tracks = part.listens["track"].to_numpy()
        keep = (tracks < low) | (tracks >= high)
        entries = (part.entries < low) | (part.entries >= high)
        return train_bundle(part.narrowed(entries, keep))

    one, two = without(80, 120, 120), without(90, 100, 110)
    result = evaluate([("one", one), ("two", two)], world, "cold", all_rows=True)
    unplayed = [t for t in range(110) if one.catalog.plays[t] == 0 and two.catalog.plays[t] == 0]
    assert unplayed == list(range(90, 100))
    assert result.notes[0].startswith("only the 10 cold tracks")
    assert "10 played tracks that a bundle lacks are left out" in result.notes
    rows = world.listens.to_pylist()
    asked = {r["listener"] for r in rows if 90 <= r["track"] < 100 and r["outcome"] == PLAYED}
    assert result.queries == len(asked)


# Every recipe


def plain_recipes() -> list[str]:
    slow = {"sasrec", "bert4rec", "gru4rec", "caser", "playlist-cnn", "two-stage", "vl6"}
    heard = {"audio", "larp"}  # this world has no sound
    left = slow | heard
    return [name for name in shipped() if not any(name.startswith(kind) for kind in left)]


@pytest.mark.parametrize("recipe", plain_recipes())
def test_every_recipe_can_be_held_out_by_it(recipe: str, world: Dataset) -> None:
    bundle, _ = train(load_recipe(recipe), world, holdout="cold")
    only = PROTOCOLS["cold"].split(world, 0).test.only
    assert (bundle.catalog.plays[only] == 0).all()
    assert evaluate([(recipe, bundle)], world, "cold").queries
