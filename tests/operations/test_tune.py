"""Tuning: what is searched, that the best is found, kept and compared, and that it goes on."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.evaluation_worlds import write_world
from support.optional import optional

optional("optuna")

from segue.cli import run  # noqa: E402
from segue.data.dataset import Dataset  # noqa: E402
from segue.errors import UsageError  # noqa: E402
from segue.evaluation.evaluate import evaluate  # noqa: E402
from segue.operations import tune as tuning  # noqa: E402
from segue.operations.train import train  # noqa: E402
from segue.operations.tune import Tuning, search_space, tune  # noqa: E402
from segue.recipe import changed, load_recipe, shipped, toml_of  # noqa: E402

NOTHING_TO_SEARCH = {"content", "popularity"}
"""Recipes whose recommenders have no setting with a space."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_world(
        tmp_path_factory.mktemp("world") / "d", playlists=250, tracks=120, longest=30
    )


def knows_best(monkeypatch: pytest.MonkeyPatch, score: Callable[[Any], float]) -> list[Any]:
    """Every model scores what `score` says of its settings; the list has all that were scored."""
    scored: list[Any] = []

    def run_test(name: str, bundle: Any, dataset: Any, test: Any, metrics: Any, *_: Any) -> Any:
        scored.append(bundle.recommender.config)
        return None, {metrics[0]: np.full(len(test), score(bundle.recommender.config))}

    monkeypatch.setattr(tuning, "run_test", run_test)
    return scored


def searched(world: Dataset, recipe: str = "user-knn", **more: Any) -> Tuning:
    settings = more.pop("settings", ())
    return tune(load_recipe(recipe, settings), world, protocol="challenge", minutes=5, **more)


# What is searched


@pytest.mark.parametrize("name", shipped())
def test_every_recipe_lies_in_its_space_and_the_space_is_within_bounds(name: str) -> None:
    recipe = load_recipe(name)
    if name in NOTHING_TO_SEARCH:
        with pytest.raises(UsageError, match="has no setting to search"):
            search_space(recipe)
        return
    for setting, found in search_space(recipe).items():
        assert found.search.holds(found.value)
        ends = found.search.choices or (found.search.low, found.search.high)
        for value in (int(end) if found.whole else end for end in ends):
            changed(recipe, {setting: value}).make()  # raises where it is out of bounds


def test_a_setting_that_a_recipe_switches_off_stays_off() -> None:
    assert "feedback_weight" not in search_space(load_recipe("sasrec"))
    assert "feedback_weight" in search_space(load_recipe("sasrec-skips"))


def test_a_space_is_widened_to_hold_the_value_of_the_recipe() -> None:
    space = search_space(load_recipe("user-knn", ["neighbours=9000", "beta=1.5"]))
    assert (space["neighbours"].search.low, space["neighbours"].search.high) == (20, 9000)
    space = search_space(load_recipe("sasrec", ["factors=48"]))
    assert space["factors"].search.choices[0] == 48


def test_named_settings_alone_are_searched_those_of_inner_tables_too() -> None:
    space = search_space(load_recipe("two-stage"), ["wrmf.factors", "ranker.trees"])
    assert list(space) == ["wrmf.factors", "ranker.trees"]
    with pytest.raises(UsageError, match=r"no space to search for the setting models.*retrieved"):
        search_space(load_recipe("two-stage"), ["models"])


# The search


def test_the_best_settings_are_found(world: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    knows_best(monkeypatch, lambda config: 1 - abs(config.beta - 0.3))
    found = searched(world, trials=40)
    assert found.start == pytest.approx(0.4)  # the recipe's 0.9 comes first
    assert found.trials[0].settings == {"neighbours": 200, "beta": 0.9}
    assert found.best > 0.95
    assert found.recipe.settings["beta"] == pytest.approx(0.3, abs=0.05)
    assert found.difference.mean == pytest.approx(found.best - found.start)
    assert len(found.trials) == 40
    assert repr(found) == (
        f"Tuning(user-knn: ndcg@500 {found.best:.4f} on validation, 0.4000 at the start; 40 trials)"
    )


def test_the_best_is_never_worse_than_the_recipe(
    world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows_best(monkeypatch, lambda config: float(config.beta == 0.9))
    found = searched(world, trials=5)
    assert (found.best, found.start, found.difference.mean) == (1, 1, 0)
    assert found.recipe.settings == load_recipe("user-knn").settings


def test_where_less_is_better_the_least_is_found(
    world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows_best(monkeypatch, lambda config: 10 + abs(config.beta - 0.3))
    found = searched(world, trials=30, metric="clicks")
    assert found.best < 10.1 < found.start


def test_the_same_seed_gives_the_same_search(
    world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows_best(monkeypatch, lambda config: 1 - abs(config.beta - 0.3))
    tried = [[t.settings for t in searched(world, trials=12, seed=s).trials] for s in (1, 1, 2)]
    assert tried[0] == tried[1] != tried[2]


def test_settings_that_fall_behind_are_stopped_early(
    world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = knows_best(monkeypatch, lambda config: 1 - abs(config.fold_in_exponent - 0.6))
    settings = ["factors=4", "sweeps=8"]
    found = searched(world, "wrmf", settings=settings, trials=25, names=["fold_in_exponent"])
    states = [trial.state for trial in found.trials]
    assert states.count("pruned") > 2
    assert all(t.score is None for t in found.trials if t.state == "pruned")
    # A complete trial is scored after each of its 8 sweeps and at the end, a pruned one less often.
    assert len(scored) < 9 * len(found.trials)
    assert found.best == 1


def test_what_cannot_be_trained_is_left_out(
    world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows_best(monkeypatch, lambda config: config.factors)
    settings = ["heads=64", "epochs=1"]  # which 32 factors cannot be shared by
    found = searched(world, "sasrec", settings=settings, trials=12, names=["factors"])
    failed = [trial.settings for trial in found.trials if trial.state == "failed"]
    assert failed
    assert all(settings == {"factors": 32} for settings in failed)
    assert found.recipe.settings["factors"] == 256


def test_a_budget_of_nothing_is_refused(world: Dataset) -> None:
    with pytest.raises(UsageError, match="a budget of nothing"):
        tune(load_recipe("user-knn"), world, protocol="challenge", minutes=0)
    with pytest.raises(UsageError, match=r"challenge has no metric 'loudness'; its metrics are: "):
        searched(world, metric="loudness")


# Going on


def test_an_interrupted_study_goes_on(
    world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"

    def score(config: Any) -> float:
        if len(scored) == 5:
            raise KeyboardInterrupt
        return float(1 - abs(config.beta - 0.3))

    scored = knows_best(monkeypatch, score)
    first = searched(world, trials=20, study=study)
    assert first.interrupted
    assert len(first.trials) == 4
    given_up = scored[-1]
    second = searched(world, trials=20, study=study)
    assert not second.interrupted
    assert len(second.trials) == 20
    assert second.trials[:4] == first.trials
    # What was under way comes first again.
    assert second.trials[4].settings["beta"] == given_up.beta
    assert second.best >= first.best


def test_an_interrupted_study_tries_what_it_would_have_tried(
    world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(config: Any) -> float:
        if len(scored) in stops:
            raise KeyboardInterrupt
        return float(1 - abs(config.beta - 0.3))

    stops = {4, 14}  # while settings are random, and while they are proposed
    scored = knows_best(monkeypatch, score)
    calls = [searched(world, trials=16, study=tmp_path / "study") for _ in range(3)]
    assert [call.interrupted for call in calls] == [True, True, False]
    stops, before = set(), len(scored)
    whole = searched(world, trials=16)
    assert len(scored) == before + 16
    tried = [trial.settings for trial in calls[-1].trials]
    assert tried == [trial.settings for trial in whole.trials]


def test_a_pruned_trial_is_reported_as_pruned(
    world: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    knows_best(monkeypatch, lambda config: 1 - abs(config.fold_in_exponent - 0.6))
    found = searched(
        world,
        "wrmf",
        settings=["factors=4", "sweeps=8"],
        trials=20,
        names=["fold_in_exponent"],
        progress=True,
    )
    lines = capsys.readouterr().err.splitlines()
    for trial in found.trials:
        told = "pruned" if trial.state == "pruned" else f"ndcg@500 {trial.score:.4f}"
        assert f"trial {trial.number}: {told} (best " in lines[trial.number]


def test_a_killed_study_goes_on(
    world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Nothing after it runs, as after kill -9."""

    def score(config: Any) -> float:
        if len(scored) == 4:
            raise Killed
        return float(config.beta)

    scored = knows_best(monkeypatch, score)
    with pytest.raises(Killed):
        searched(world, trials=6, study=tmp_path / "study")
    found = searched(world, trials=6, study=tmp_path / "study")
    assert len(found.trials) == 6
    assert found.trials[3].settings["beta"] == scored[3].beta


def test_a_study_of_something_else_is_refused(
    world: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows_best(monkeypatch, lambda config: 1.0)
    study = tmp_path / "study"
    searched(world, trials=2, study=study)
    with pytest.raises(UsageError, match=r"is a study with another seed \(0, not 1\)"):
        searched(world, trials=2, study=study, seed=1)
    with pytest.raises(UsageError, match="is a study with another metric"):
        searched(world, trials=2, study=study, metric="recall@500")
    study.write_text("no study\n")
    with pytest.raises(UsageError, match="is no study"):
        searched(world, trials=2, study=study)


# The whole way


def test_the_test_stays_unseen_and_the_recipe_can_be_trained(
    world: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.toml"
    asked = ["tune", "user-knn", str(world.path), "--out", str(out), "--protocol", "challenge"]
    assert run([*asked, "--trials", "4", "--set", "beta=1.8"]) == 0
    shown = capsys.readouterr()
    assert "4 trials: 4 complete, 0 pruned, 0 failed" in shown.out
    assert "trial 3: ndcg@500 " in shown.err
    assert (tmp_path / "mine.toml.study").is_file()
    assert run([*asked, "--trials", "5", "--set", "beta=1.8", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [trial["number"] for trial in printed["trials"]] == [0, 1, 2, 3, 4]
    assert printed["best"] - printed["start"] == pytest.approx(printed["difference"]["mean"])
    assert printed["recipe"]["settings"].keys() == {"neighbours", "beta"}
    recipe = load_recipe(str(out))
    assert tomllib.loads(out.read_text())["recommender"] == "user-knn"
    bundle, _ = train(recipe, world, holdout="challenge")
    result = evaluate([("mine", bundle)], world, "challenge")  # raises, had it seen the test
    assert result.models[0].metrics["ndcg@500"].mean


def test_a_recipe_file_is_read_as_it_was_written() -> None:
    recipe = load_recipe(
        "two-stage", ["wrmf.factors=16", "ranker.learning_rate=1e-05", 'families=["track"]']
    )
    path_text = toml_of(recipe)
    assert tomllib.loads(path_text)["config"] == recipe.settings
    assert tomllib.loads(path_text)["description"] == recipe.description
