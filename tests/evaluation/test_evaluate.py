"""Bundles through a protocol: known answers, matching, refusal, the shape of the result."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from support.evaluation_worlds import (
    HELD,
    SameGenre,
    plain_tracks,
    spotify_uri,
    train_bundle,
    write_dataset,
    write_world,
)

from segue.bundle import Bundle, Holdout
from segue.catalog.catalog import Catalog
from segue.catalog.matching import artist_codes, match_tracks
from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.data.schema import TABLES
from segue.errors import BundleError, UsageError
from segue.evaluation import evaluate as module
from segue.evaluation.evaluate import Evaluation, evaluate
from segue.evaluation.submission import check_submission, read_challenge_set, submit
from segue.metrics.ranking import AT_CUTOFF, PLAIN
from segue.protocols.base import PROTOCOLS
from segue.protocols.playlist_cuts import TYPES

METRICS = PROTOCOLS["challenge"].metrics(500)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_world(tmp_path_factory.mktemp("evaluate") / "world")


@pytest.fixture(scope="module")
def popular(world: Dataset) -> Bundle:
    return train_bundle(world, HELD)


@pytest.fixture(scope="module")
def evaluation(world: Dataset, popular: Bundle) -> Evaluation:
    genre = train_bundle(world, HELD, SameGenre)
    return evaluate([("popular", popular), ("genre", genre)], world, "challenge")


def test_figures_are_those_of_lists_made_one_by_one(
    world: Dataset, popular: Bundle, evaluation: Evaluation
) -> None:
    test = PROTOCOLS["challenge"].split(world, 0).test
    ranking = np.lexsort([np.arange(len(popular.catalog)), -popular.catalog.plays])
    precision, answered = [], set()
    for q in range(len(test)):
        seeds = set(
            test.queries.tracks[test.queries.offsets[q] : test.queries.offsets[q + 1]].tolist()
        )
        truth = set(test.truth.row(q).tolist())
        answers = [t for t in ranking.tolist() if t not in seeds][:500]
        answered |= set(answers)
        precision.append(len(truth & set(answers[: len(truth)])) / len(truth))
    metrics = evaluation.models[0].metrics
    assert metrics["rprec"].mean == pytest.approx(np.mean(precision))
    assert metrics["coverage"].mean == len(answered) / world.track_count
    assert metrics["coverage"].ci95 is None


def test_slices_are_the_types_and_warm(world: Dataset, evaluation: Evaluation) -> None:
    test = PROTOCOLS["challenge"].split(world, 0).test
    model = evaluation.models[0]
    assert list(model.slices) == [*dict.fromkeys(test.slices.tolist()), "warm"]
    assert model.slice_queries["warm"] == (test.slices != "title only").sum()
    assert sum(model.slice_queries.values()) - model.slice_queries["warm"] == len(test)
    for metric in METRICS:
        overall = sum(
            (model.slices[s][metric].mean or 0) * model.slice_queries[s]
            for s in ("warm", "title only")
        )
        assert overall / len(test) == pytest.approx(model.metrics[metric].mean)


def test_better_model_wins_and_the_table_says_how_surely(evaluation: Evaluation) -> None:
    popular, genre = evaluation.models
    for metric in ("rprec", "ndcg@500", "recall@500"):
        assert (genre.metrics[metric].mean or 0) > (popular.metrics[metric].mean or 0)
    row = next(r for r in evaluation.paired if r.metric == "ndcg@500")
    assert (row.a, row.b) == ("popular", "genre")
    assert (row.difference.mean or 0) < 0
    assert row.p is not None
    assert row.p_holm is not None
    assert row.p < row.p_holm < 1e-6
    assert len(evaluation.paired) == len(METRICS)


def test_served_by_counts_the_stand_in(evaluation: Evaluation) -> None:
    assert evaluation.models[1].served_by == {"popularity": 10, "same-genre": 90}


def test_json_has_the_documented_shape(evaluation: Evaluation) -> None:
    found = json.loads(msgspec.json.encode(evaluation))
    assert {"protocol", "queries", "models", "paired"} <= set(found)
    assert found["queries"] == 100
    for model in found["models"]:
        assert {"bundle", "metrics", "slices", "seconds"} <= set(model)
        assert set(model["metrics"]) == {*METRICS, "coverage"}
        for metric, value in model["metrics"].items():
            assert set(value) == {"mean", "ci95"}
            if metric != "coverage":
                low, high = value["ci95"]
                assert low <= value["mean"] <= high
    assert {"a", "b", "metric", "difference", "p", "p_holm"} <= set(found["paired"][0])
    assert msgspec.json.decode(msgspec.json.encode(evaluation), type=Evaluation) == evaluation


def test_blocks_do_not_change_the_result(
    world: Dataset, popular: Bundle, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    again = evaluate([("popular", popular)], world, "challenge")
    timeless = [msgspec.structs.replace(m, seconds=0) for m in (again.models[0],)]
    assert timeless == [msgspec.structs.replace(evaluation.models[0], seconds=0)]


def test_popularity_groups_each_hold_a_tenth_of_the_plays(
    popular: Bundle, evaluation: Evaluation
) -> None:
    groups = module._popularity_groups(popular)
    plays = popular.catalog.plays
    mass = np.bincount(groups, plays) / plays.sum()
    assert np.allclose(mass, 0.1, atol=plays.max() / plays.sum())
    assert plays[groups == 0].min() >= plays[groups == 9].max()
    shares = evaluation.models[0].popularity
    assert sum(shares.answers) == pytest.approx(1, abs=1e-5)
    assert sum(shares.truth) == pytest.approx(1, abs=1e-5)


def test_simulated_is_carried_through(world: Dataset, tmp_path: Path) -> None:
    made_up = write_world(tmp_path / "w", playlists=60, longest=40, simulated=True)
    assert evaluate([("p", train_bundle(made_up, HELD))], made_up, "challenge").simulated
    learned_there = train_bundle(made_up, HELD)
    other = write_world(tmp_path / "o", playlists=60, seed=9, longest=40)
    assert evaluate([("p", learned_there)], other, "challenge").simulated
    assert not evaluate([("p", train_bundle(other, HELD))], other, "challenge").simulated


# Refusal


def test_bundle_that_learned_from_everything_is_refused(world: Dataset) -> None:
    with pytest.raises(BundleError, match=r"^b: learned from the rows.* --holdout challenge"):
        evaluate([("b", train_bundle(world))], world, "challenge")


def test_bundle_that_held_out_other_rows_is_refused(world: Dataset) -> None:
    bundle = train_bundle(world, Holdout(protocol="challenge", seed=1))
    with pytest.raises(BundleError, match="held out challenge with seed 1, the test is challenge"):
        evaluate([("b", bundle)], world, "challenge")
    assert evaluate([("b", bundle)], world, "challenge", seed=1).queries == 100


def test_all_rows_are_refused_on_the_dataset_of_training(world: Dataset, popular: Bundle) -> None:
    with pytest.raises(BundleError, match="not every row of it can be a test"):
        evaluate([("b", popular)], world, "challenge", all_rows=True)


def test_playlists_learned_elsewhere_are_refused_and_counted(tmp_path: Path) -> None:
    tracks = plain_tracks(400)
    rng = np.random.default_rng(0)
    lists = [rng.choice(400, 30, replace=False).tolist() for _ in range(61)]
    elsewhere = write_dataset(tmp_path / "a", lists, ["x"] * 61, tracks)
    # The same playlists over a catalog in another order, and new ones.
    mirrored = [[399 - t for t in some] for some in lists]
    fresh = [rng.choice(400, 30, replace=False).tolist() for _ in range(61)]
    half = write_dataset(tmp_path / "b", mirrored[:20] + fresh[:41], ["x"] * 61, tracks[::-1])
    new = write_dataset(tmp_path / "c", fresh, ["x"] * 61, tracks[::-1])
    bundle = train_bundle(elsewhere)
    with pytest.raises(BundleError, match="learned from 20 of the 61 playlists of the test"):
        evaluate([("b", bundle)], half, "challenge", all_rows=True)
    assert evaluate([("b", bundle)], new, "challenge", all_rows=True).queries == 61
    # What it saw of a playlist that it held out is not the playlist.
    held = train_bundle(elsewhere, HELD)
    out = PROTOCOLS["challenge"].split(elsewhere, 0).test.sources.tolist()
    only = write_dataset(tmp_path / "d", [mirrored[p] for p in out], ["x"] * len(out), tracks[::-1])
    assert evaluate([("b", held)], only, "challenge", all_rows=True).queries == len(out)


def test_names_of_bundles_are_distinct(world: Dataset, popular: Bundle) -> None:
    with pytest.raises(UsageError, match="give each bundle once"):
        evaluate([("b", popular), ("b", popular)], world, "challenge")
    with pytest.raises(UsageError, match="no bundle"):
        evaluate([], world, "challenge")


# Matching


def tracks_of(rows: list[tuple[str, str | None, str | None]]) -> pa.Table:
    columns = {
        "uri": [r[0] for r in rows],
        "artist": [r[1] for r in rows],
        "title": [r[2] for r in rows],
    }
    schema = TABLES["tracks"]
    return pa.table(
        [columns.get(f.name, [None] * len(rows)) for f in schema],
        schema=pa.schema([f.with_nullable(True) for f in schema]),
    )


def test_tracks_match_by_uri_then_by_both_names() -> None:
    catalog = Catalog.of(
        tracks_of(
            [
                ("u0", "Nina Simone", "Sinnerman"),
                ("u1", "Nina Simone", "Sinnerman"),
                ("u2", "Sigur Rós", "Hoppípolla"),
                ("u3", None, "Untitled"),
                ("u4", "Low", "Words"),
            ]
        ),
        np.zeros(5, np.int32),
    )
    wanted = tracks_of(
        [
            ("u1", "wrong", "names"),
            ("x", "Nina Simone", "Sinnerman"),  # two of these
            ("x", " SIGUR RÓS", "hoppípolla "),
            ("x", None, "Untitled"),
            ("x", "Low", None),
            ("x", "Low", "Words"),
            ("u0", None, None),
        ]
    )
    assert match_tracks(wanted, catalog).tolist() == [1, -1, 2, -1, -1, 4, 0]


def test_artists_are_their_uri_and_names_stand_in_where_they_are_clear() -> None:
    codes = artist_codes(
        pa.table(
            {
                "artist_uri": pa.array(["a1", None, "a2", "a3", None, None, None, "a1", None]),
                "artist": pa.array(["Low", "low", "Can", "Can", "Can", "Neu!", None, None, "neu!"]),
            }
        )
    )
    low, _, can2, can3, can, neu, nobody, also_low, also_neu = codes.tolist()
    assert codes[1] == low == also_low
    assert len({low, can2, can3, can, neu}) == 5
    assert nobody == -1
    assert neu == also_neu


def test_tracks_without_any_artist_have_no_code() -> None:
    nothing = pa.table({"artist_uri": pa.nulls(3, pa.string()), "artist": pa.nulls(3, pa.string())})
    assert artist_codes(nothing).tolist() == [-1, -1, -1]


def test_unmatched_tracks_are_counted_and_stay_in_the_truth(tmp_path: Path) -> None:
    """The catalog lacks half of what is asked for, and knows some under another uri."""
    learned = write_dataset(
        tmp_path / "learned",
        [list(range(10))],
        ["x"],
        [{"uri": f"file:{t}", "artist": f"A{t}", "title": f"T{t}"} for t in range(10)],
    )
    lists = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]
    tracks = [{"uri": f"file:{t}", "artist": None, "title": None} for t in range(4)]
    tracks += [{"uri": spotify_uri(t), "artist": f"a{t}", "title": f"t{t}"} for t in range(4, 6)]
    tracks += [{"uri": spotify_uri(t), "artist": f"new{t}", "title": "new"} for t in range(6, 12)]
    asked = write_dataset(tmp_path / "asked", lists, [None], tracks)
    result = evaluate([("p", train_bundle(learned))], asked, "challenge", all_rows=True)
    assert result.models[0].slice_queries == {"first 5": 1}
    matched = result.models[0].matched
    assert (matched.seeds, matched.seeds_missing) == (5, 0)
    assert (matched.truth, matched.truth_missing) == (7, 6)
    # Tracks 5..9 of the catalog are answered; one of the seven of the truth is among them.
    assert result.models[0].metrics["recall@500"].mean == pytest.approx(1 / 7)
    assert result.models[0].metrics["rprec"].mean == pytest.approx(1 / 7)


def test_two_tracks_of_the_truth_that_are_one_in_the_catalog_are_hit_once(tmp_path: Path) -> None:
    learned = write_dataset(
        tmp_path / "learned",
        [list(range(8))],
        ["x"],
        [{"uri": f"file:{t}", "artist": f"A{t}", "title": f"T{t}"} for t in range(8)],
    )
    tracks = [
        {"uri": spotify_uri(t), "artist": f"A{t % 6}", "title": f"T{t % 6}"} for t in range(12)
    ]
    asked = write_dataset(tmp_path / "asked", [list(range(12))], [None], tracks)
    model = evaluate([("p", train_bundle(learned))], asked, "challenge", all_rows=True).models[0]
    # Seeds are 0..4 of the catalog; truth is 5, then 0..5 again: only 5 can be answered, once.
    assert (model.matched.truth, model.matched.truth_missing) == (7, 6)
    assert model.metrics["recall@500"].mean == pytest.approx(1 / 7)


def test_unmatched_seeds_are_not_shown(tmp_path: Path, popular: Bundle) -> None:
    tracks = [{"uri": f"elsewhere:{t}"} for t in range(30)]
    asked = write_dataset(tmp_path / "asked", [list(range(30))], [None], tracks)
    model = evaluate([("p", popular)], asked, "challenge", all_rows=True).models[0]
    assert model.matched.seeds_missing == model.matched.seeds > 0
    assert model.metrics["recall@500"].mean == 0
    assert model.metrics["clicks"].mean == 51
    assert sum(model.popularity.truth) == 0


def test_real_playlists_give_all_ten_types_and_a_valid_submission(
    real_data: Path, tmp_path: Path
) -> None:
    slices = sorted((real_data / "mpd").glob("*.json.gz"))
    ingest("mpd", slices[:1], tmp_path / "mpd")
    dataset = Dataset.open(tmp_path / "mpd")
    bundle = train_bundle(dataset, HELD)
    result = evaluate([("popularity", bundle)], dataset, "challenge")
    model = result.models[0]
    assert len(model.slices) == 11
    assert result.notes == []
    assert result.queries == 10 * (dataset.playlist_count // 60)
    assert (model.matched.seeds_missing, model.matched.truth_missing) == (0, 0)
    assert 0 < (model.metrics["rprec"].mean or 0) < 0.1
    assert (model.metrics["rprec_artist"].mean or 0) > (model.metrics["rprec"].mean or 0)

    # Other playlists, cut as the challenge cuts them.
    other = json.loads(gzip.decompress(slices[1].read_bytes()))["playlists"][:40]
    for i, playlist in enumerate(other):
        playlist["tracks"] = playlist["tracks"][: (0, 1, 5, 10, 25)[i % 5]]
        playlist["num_samples"] = len(playlist["tracks"])
    (tmp_path / "challenge_set.json").write_text(json.dumps({"playlists": other}))
    receipt = submit(
        bundle, tmp_path / "challenge_set.json", tmp_path / "s.csv", team="a", email="b@c"
    )
    challenge = read_challenge_set(tmp_path / "challenge_set.json")
    assert check_submission(tmp_path / "s.csv", challenge) == []
    assert receipt.playlists == 40
    assert 0 < receipt.seeds_missing < receipt.seeds


def test_docs_name_every_type_metric_and_field(evaluation: Evaluation) -> None:
    pages = Path(__file__).parents[2] / "docs" / "reference"
    docs = "".join((pages / name).read_text() for name in ("protocols.md", "metrics.md"))
    for protocol in PROTOCOLS:
        assert f"## Protocol `{protocol}`" in docs
    for kind in TYPES:
        assert f"| {kind.name} |" in docs
    for metric in (*PLAIN, "coverage", *(f"{name}@K" for name in AT_CUTOFF)):
        assert f"| `{metric}` |" in docs

    def fields(value: object) -> set[str]:
        found = set(value.__struct_fields__) if isinstance(value, msgspec.Struct) else set()
        for inner in found.copy():
            part = getattr(value, inner)
            found |= fields(part[0] if isinstance(part, list) and part else part)
        return found

    for field in fields(evaluation) | {"mean", "ci95"}:
        assert f'"{field}":' in docs
