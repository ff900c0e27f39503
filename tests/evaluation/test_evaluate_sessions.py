"""Bundles through the protocols of sessions: figures, refusal, another source, pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support.optional import reason

pytest.importorskip("matplotlib", reason=reason("matplotlib"))

from support.evaluation_worlds import train_bundle
from support.session_worlds import FINISHED, SKIPPED, plain, random_sessions, write_sessions
from typer.testing import CliRunner

from segue.bundle import Bundle, Holdout
from segue.cli.app import app
from segue.cli.evaluation_table import show_evaluation
from segue.data.dataset import Dataset
from segue.errors import BundleError
from segue.evaluation import evaluate as module
from segue.evaluation.evaluate import Evaluation, evaluate
from segue.evaluation.report import render_report
from segue.evaluation.translate import translate
from segue.models.personal import Personal
from segue.models.popularity import Popularity
from segue.protocols.base import PROTOCOLS

NAMES = ["next", "next-last", "next-sampled", "skips"]
BY_SESSION = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    sessions = random_sessions(1500, 40, tracks=200)
    return write_sessions(tmp_path_factory.mktemp("world") / "d", sessions, tracks=200)


def held(name: str, seed: int = 0) -> Holdout:
    return Holdout(protocol=name, seed=seed)


@pytest.fixture(scope="module")
def evaluations(world: Dataset) -> dict[str, Evaluation]:
    found = {}
    for name in NAMES:
        bundles = [
            (kind.name, train_bundle(world, held(name), kind)) for kind in (Personal, Popularity)
        ]
        found[name] = evaluate(bundles, world, name)
    return found


@BY_SESSION
def test_every_metric_of_the_protocol_is_there_with_its_interval(
    name: str, evaluations: dict[str, Evaluation]
) -> None:
    evaluation = evaluations[name]
    how = PROTOCOLS[name]
    assert evaluation.n == how.n
    extra = {"coverage"} if name in ("next", "next-last") else set()
    for model in evaluation.models:
        assert set(model.metrics) == {*how.metrics(how.n), *extra}
        for metric, value in model.metrics.items():
            assert value.mean is not None
            assert metric == "coverage" or value.ci95 is not None
        assert set(model.slices) == {"after a skip", "after no skip"}
        assert sum(model.slice_queries.values()) == evaluation.queries
        assert sum(model.served_by.values()) == evaluation.queries
        assert (model.popularity is not None) == bool(extra)
    assert len(evaluation.paired) == len(how.metrics(how.n))
    assert msgspec.json.decode(msgspec.json.encode(evaluation), type=Evaluation) == evaluation


@pytest.mark.parametrize("name", ["next", "next-last", "next-sampled"])
def test_where_people_repeat_themselves_personal_beats_popularity(
    name: str, evaluations: dict[str, Evaluation]
) -> None:
    pair = next(c for c in evaluations[name].paired if c.metric == "ndcg@10")
    assert (pair.a, pair.b) == ("personal", "popularity")
    assert pair.difference.ci95 is not None
    assert pair.difference.ci95[0] > 0.05
    assert pair.p_holm is not None
    assert pair.p_holm < 0.001


def test_figures_of_next_are_those_of_lists_made_one_by_one(
    world: Dataset, evaluations: dict[str, Evaluation]
) -> None:
    split = PROTOCOLS["next"].split(world, 0)
    plays = np.diff(split.train.plays().tocsc().indptr)
    order = np.lexsort([np.arange(200), -plays])
    hits, gains = [], []
    for q in range(len(split.test)):
        queries = split.test.queries[q : q + 1]
        answers = [t for t in order.tolist() if t not in queries.tracks][:10]
        (truth,) = split.test.truth.row(q)
        at = answers.index(truth) if truth in answers else None
        hits.append(at is not None)
        gains.append(0 if at is None else 1 / np.log2(at + 2))
    metrics = evaluations["next"].models[1].metrics
    assert metrics["hr@10"].mean == pytest.approx(np.mean(hits))
    assert metrics["ndcg@10"].mean == pytest.approx(np.mean(gains))


def test_figures_of_skips_are_those_of_rankings_made_one_by_one(
    world: Dataset, evaluations: dict[str, Evaluation]
) -> None:
    split = PROTOCOLS["skips"].split(world, 0)
    test = split.test
    assert test.against is not None
    plays = np.diff(split.train.plays().tocsc().indptr)
    order = np.lexsort([np.arange(200), -plays])
    auc, ranks, differences = [], [], []
    for q in range(len(test)):
        queries = test.queries[q : q + 1]
        answers = [t for t in order.tolist() if t not in queries.tracks]
        good, bad = (
            [answers.index(t) for t in tracks.row(q)] for tracks in (test.truth, test.against)
        )
        auc.append(np.mean([g < b for g in good for b in bad]))
        ranks.append(np.mean(good) / 200)
        differences.append(np.mean([g < 10 for g in good]) - np.mean([b < 10 for b in bad]))
    metrics = evaluations["skips"].models[1].metrics
    assert metrics["auc"].mean == pytest.approx(np.mean(auc))
    assert metrics["rank_played"].mean == pytest.approx(np.mean(ranks))
    assert metrics["delta_hr@10"].mean == pytest.approx(np.mean(differences))


def test_ranking_a_sample_is_easier_and_says_so(evaluations: dict[str, Evaluation]) -> None:
    assert any("sampled" in note for note in evaluations["next-sampled"].notes)
    assert not any("sampled" in note for note in evaluations["next-last"].notes)


def test_a_sample_of_the_whole_catalog_is_the_whole_catalog(
    evaluations: dict[str, Evaluation],
) -> None:
    """200 tracks are fewer than the 1,000 that are drawn."""
    for one, other in zip(
        evaluations["next-sampled"].models, evaluations["next-last"].models, strict=True
    ):
        for metric, value in one.metrics.items():
            assert value == other.metrics[metric]


def test_a_smaller_sample_is_easier(world: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = train_bundle(world, held("next-last"), Popularity)
    monkeypatch.setattr("segue.protocols.next_track.CANDIDATES", 50)
    sampled = evaluate([("p", bundle)], world, "next-sampled").models[0].metrics
    whole = evaluate([("p", bundle)], world, "next-last").models[0].metrics
    assert (sampled["hr@10"].mean or 0) > 1.5 * (whole["hr@10"].mean or 1)


def test_intervals_allow_for_listeners_with_many_sessions(
    evaluations: dict[str, Evaluation],
) -> None:
    (note,) = (n for n in evaluations["next"].notes if n.startswith("intervals"))
    assert re.fullmatch("intervals and tests take each of the [34]. listeners for one, .*", note)


def test_few_listeners_are_said_to_be_few(tmp_path: Path) -> None:
    dataset = write_sessions(tmp_path / "d", random_sessions(300, 3))
    bundle = train_bundle(dataset, held("next"), Popularity)
    notes = evaluate([("p", bundle)], dataset, "next").notes
    assert "intervals take the sessions of 3 listeners for independent" in notes


@BY_SESSION
def test_blocks_do_not_change_the_figures(
    name: str,
    world: Dataset,
    evaluations: dict[str, Evaluation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 37)
    again = evaluate([("personal", train_bundle(world, held(name), Personal))], world, name).models[
        0
    ]
    assert again.metrics == evaluations[name].models[0].metrics
    assert again.slices == evaluations[name].models[0].slices


# Who may be tested


def test_protocols_with_one_training_side_take_each_others_bundles(world: Dataset) -> None:
    by_time = train_bundle(world, held("next"), Popularity)
    by_end = train_bundle(world, held("next-last"), Popularity)
    assert evaluate([("b", by_time)], world, "skips").queries
    assert evaluate([("b", by_end)], world, "next-sampled").queries
    for bundle, other in ((by_time, "next-last"), (by_end, "skips"), (by_time, "next-sampled")):
        with pytest.raises(BundleError, match=f"--holdout {other} --seed 0"):
            evaluate([("b", bundle)], world, other)
    with pytest.raises(BundleError, match="seed 0, the test is next with seed 1"):
        evaluate([("b", by_time)], world, "next", seed=1)


def test_sessions_learned_elsewhere_are_refused_and_counted(tmp_path: Path) -> None:
    sessions = random_sessions(60)
    learned = train_bundle(write_sessions(tmp_path / "a", sessions[:30]), None, Popularity)
    # Other numbers of listeners, more tracks, the same sessions.
    shifted = [(listener + 5, start, listens) for listener, start, listens in sessions]
    asked = write_sessions(tmp_path / "b", shifted, tracks=50)
    count = int((PROTOCOLS["next"].every(asked, 0).sources < 30).sum())
    with pytest.raises(BundleError, match=f"learned from {count} of the .* sessions of the test"):
        evaluate([("b", learned)], asked, "next", all_rows=True)
    fresh = write_sessions(tmp_path / "c", shifted[30:], tracks=50)
    assert evaluate([("b", learned)], fresh, "next", all_rows=True).queries > 20


# Another source


def test_all_sessions_of_another_dataset_with_tracks_matched(tmp_path: Path) -> None:
    """The catalog knows 6 tracks; the second dataset has 40, the first 6 of them the same."""
    learned = write_sessions(tmp_path / "a", [(0, 0, plain(0, 1, 2, 3, 4, 5))], tracks=6)
    asked = write_sessions(
        tmp_path / "b",
        [
            (0, 1000, plain(5, 20)),  # the past of the next one, half of it unknown
            (0, 2000, plain(1, 30, 2)),  # one seed unknown, truth known
            (1, 1000, plain(3, 31)),  # truth unknown: missed
        ],
    )
    bundle = train_bundle(learned, None, Personal)
    model = evaluate([("b", bundle)], asked, "next", all_rows=True).models[0]
    matched = model.matched
    assert (matched.seeds, matched.seeds_missing) == (4, 1)
    assert (matched.truth, matched.truth_missing) == (3, 2)
    assert model.served_by == {"personal": 1, "popularity": 2}
    # With 1 seen, and 5 of the past first, popularity gives 0 and then 2.
    assert model.metrics["mrr@10"].mean == pytest.approx((0 + 1 / 3 + 0) / 3)


def test_skips_on_another_dataset_ranks_what_is_known(tmp_path: Path) -> None:
    learned = write_sessions(tmp_path / "a", [(0, 0, plain(0, 1, 2, 3, 4, 5))], tracks=6)
    asked = write_sessions(
        tmp_path / "b",
        [
            (0, 1000, plain(0, 30, 20, -21, 1, -3)),  # of the later ones, 1 and 3 are known
            (1, 1000, plain(0, 1, 22, -3)),  # nothing played is known
        ],
    )
    bundle = train_bundle(learned, None, Popularity)
    result = evaluate([("b", bundle)], asked, "skips", all_rows=True)
    (model,) = result.models
    assert "b: no auc, rank_played of 1 of 2 queries" in result.notes
    assert (model.matched.truth, model.matched.truth_missing) == (5, 2)
    assert model.metrics["auc"].mean == 1
    assert model.metrics["recall@10"].mean == pytest.approx((1 + 0) / 2)
    assert model.metrics["delta_hr@10"].mean == pytest.approx((1 - 1 / 2 + 0 - 1) / 2)


# What people see


def test_the_table_says_how_many_tracks_are_not_in_the_catalog(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = write_sessions(tmp_path / "a", [(0, 0, plain(0, 1, 2, 3, 4, 5))], tracks=6)
    asked = write_sessions(tmp_path / "b", [(0, 1000, plain(1, 30, 2)), (1, 1000, plain(3, 31))])
    bundles = [("b", train_bundle(learned, None, Popularity))]
    show_evaluation(evaluate(bundles, asked, "next", all_rows=True))
    _, rows = capsys.readouterr().out.split("not in the catalog")
    assert [" ".join(row.split()) for row in rows.splitlines()[1:3]] == [
        "seeds 1 of 3",
        "truth 1 of 2",
    ]
    known = write_sessions(tmp_path / "c", [(0, 1000, plain(1, 0, 2))], tracks=6)
    show_evaluation(evaluate(bundles, known, "next", all_rows=True))
    assert "not in the catalog" not in capsys.readouterr().out


@BY_SESSION
def test_the_report_has_every_figure(name: str, evaluations: dict[str, Evaluation]) -> None:
    evaluation = evaluations[name]
    html = render_report(evaluation, command="segue evaluate")
    for metric, value in evaluation.models[0].metrics.items():
        assert f"<td>{metric}</td>" in html
        assert f"{value.mean:.4f}".replace("-", "−") in html
    for metric in PROTOCOLS[name].headline(evaluation.n):
        assert f">{metric}</th>" in html
    assert ("Popularity of the answers" in html) == (name in ("next", "next-last"))
    assert "playlists" not in html
    assert "clicks" not in html


def test_the_best_of_a_row_is_the_least_where_less_is_better(
    evaluations: dict[str, Evaluation],
) -> None:
    html = render_report(evaluations["skips"], command="segue evaluate")
    personal, popular = (m.metrics["skip_mrr@10"].mean or 0 for m in evaluations["skips"].models)
    row = html[html.index("<td>skip_mrr@10</td>") :].split("</tr>")[0]
    assert f'<td class="best">{min(personal, popular):.4f}' in row


@BY_SESSION
def test_segue_evaluate_prints_tables_and_json(name: str, world: Dataset, tmp_path: Path) -> None:
    bundles = []
    for kind in (Personal, Popularity):
        bundles.append(str(tmp_path / kind.name))
        train_bundle(world, held(name), kind).save(bundles[-1])
    arguments = ["evaluate", *bundles, str(world.path), "--protocol", name]
    table = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    for metric in (*PROTOCOLS[name].metrics(PROTOCOLS[name].n), "after no skip"):
        assert metric in table
    asked = [*arguments, "--json", "-n", "5"]
    found = json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).stdout)
    assert found["n"] == 5
    assert set(found["models"][0]["metrics"]) >= set(PROTOCOLS[name].metrics(5))


def test_bundles_of_personal_load_as_they_were(tmp_path: Path, world: Dataset) -> None:
    train_bundle(world, held("next"), Personal).save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b")
    first, again = (
        evaluate([("b", bundle)], world, "next").models[0].metrics
        for bundle in (train_bundle(world, held("next"), Personal), loaded)
    )
    assert first == again


def test_outcomes_and_the_past_follow_their_tracks_into_another_catalog(tmp_path: Path) -> None:
    learned = write_sessions(tmp_path / "a", [(0, 0, plain(5, 4, 3, 2, 1, 0))], tracks=6)
    asked = write_sessions(
        tmp_path / "b",
        [(0, 1000, plain(20, 4, -3, 5)), (0, 2000, plain(30, -1, 2, 31, -0, 3)), (1, 5, plain(9))],
    )
    test = PROTOCOLS["next"].every(asked, 0)
    found = translate(test, asked, train_bundle(learned, None, Personal)).queries
    assert found.offsets.tolist() == [0, 2, 5]
    assert found.tracks.tolist() == [4, 3, 1, 2, 0]
    assert found.outcomes.tolist() == [FINISHED, SKIPPED, SKIPPED, FINISHED, FINISHED]
    assert [found.past[a:b].tolist() for a, b in found.past_spans] == [[], [4, 5]]
