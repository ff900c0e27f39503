"""The public library: models and data by path or object, tracks by URI, frames in and out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import segue
from segue.errors import BundleError, ConfigError, DataError, NotFittedError, UsageError
from segue.operations.recommend import query_of
from segue.operations.train import train as train_recipe
from segue.queries import Queries


def plays() -> pd.DataFrame:
    """Sessions of twelve listeners: the even ones play even tracks, the odd ones odd tracks."""
    rng = np.random.default_rng(3)
    rows = []
    for listener in range(12):
        for session in range(10):
            for place in range(6):
                track = 2 * int(rng.integers(0, 10)) + listener % 2
                minute = session * 1440 + 4 * place + listener
                how = "skipped" if place == 3 else "finished"
                rows.append((f"u{listener}", f"uri:{track}", minute * 60, how, f"Song {track}"))
    return pd.DataFrame(rows, columns=["user", "item", "ts", "how", "title"])


@pytest.fixture(scope="module")
def data() -> segue.Dataset:
    return segue.Dataset.from_frame(
        plays(), listener="user", track="item", time="ts", outcome="how", title="title"
    )


@pytest.fixture(scope="module")
def models(data: segue.Dataset) -> dict[str, segue.Bundle]:
    return {
        name: segue.train(name, data, holdout="next", seed=1)
        for name in ("popularity", "item-knn", "user-knn")
    }


# Training


def test_train_gives_the_model_that_the_command_line_trains(data: segue.Dataset) -> None:
    model = segue.train("item-knn", data, holdout="next", seed=1)
    expected, _ = train_recipe(segue.load_recipe("item-knn"), data, holdout="next", seed=1)
    for name, tensor in expected.recommender.tensors().items():
        np.testing.assert_array_equal(model.recommender.tensors()[name], tensor)
    assert model.manifest.holdout == expected.manifest.holdout
    assert model.report is not None
    assert model.report.seconds >= 0
    assert repr(model) == "Bundle('item-knn', 20 tracks, seed 1, holdout 'next')"


def test_recipes_come_by_name_file_object_or_class(data: segue.Dataset, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('recommender = "item-knn"\n[config]\nbeta = 0.3\n')
    assert segue.train(file, data).manifest.recipe == "mine"
    assert segue.train(str(file), data.path).manifest.config["beta"] == 0.3
    assert segue.train(segue.load_recipe("item-knn"), data).manifest.recipe == "item-knn"
    model = segue.ItemKNN(beta=0.4)
    bundle = segue.train(model, data, settings={"beta": 0.5})
    assert bundle.manifest.config["beta"] == 0.5
    assert not model.fitted


def test_both_spellings_of_regularization_are_one_setting(data: segue.Dataset) -> None:
    assert segue.WRMF(regularization=0.5).config == segue.WRMF(regularisation=0.5).config
    with pytest.raises(ConfigError, match="regularisation is given twice"):
        segue.WRMF(regularization=0.5, regularisation=0.5)
    inner = segue.TwoStage(wrmf={"regularization": 0.5}).config.wrmf
    assert inner == segue.TwoStage(wrmf={"regularisation": 0.5}).config.wrmf
    shipped = segue.load_recipe("vl6", ["wrmf.regularization=0.5"])
    assert shipped.make().config.wrmf.regularisation == 0.5
    assert shipped.settings["wrmf"].get("regularization") is None


# Models by class


def test_a_model_by_class_shows_its_settings_and_what_it_was_fitted_on(
    data: segue.Dataset,
) -> None:
    model = segue.ItemKNN(beta=0.4)
    assert repr(model) == "ItemKNN(beta=0.4)"
    assert model.fit(data) is model
    assert repr(model) == "<ItemKNN(beta=0.4) fitted on 20 tracks>"


def test_before_fit_everything_says_so(data: segue.Dataset, tmp_path: Path) -> None:
    for ask in (
        lambda model: segue.recommend(model, tracks=["uri:1"]),
        lambda model: segue.similar(model, "uri:1"),
        lambda model: segue.save(model, tmp_path / "bundle"),
        lambda model: segue.evaluate({"it": model}, data),
        lambda model: model.recommend(Queries.of([segue.Query(title="x")]), 5),
        lambda model: model.explain(segue.Query(title="x"), np.zeros(0, np.int32)),
    ):
        with pytest.raises(NotFittedError, match=r"this WRMF is not fitted; call its fit\(data\)"):
            ask(segue.WRMF())
    assert issubclass(NotFittedError, UsageError)


def test_a_fitted_model_is_asked_saved_and_tested_elsewhere(
    data: segue.Dataset, tmp_path: Path
) -> None:
    model = segue.ItemKNN().fit(data, seed=4)
    segue.save(model, tmp_path / "bundle")
    loaded = segue.load(tmp_path / "bundle")
    assert loaded.manifest.dataset == data.info.fingerprint
    assert loaded.manifest.seed == 4
    assert loaded.manifest.holdout is None
    assert len(loaded.learned) > 0
    for trained in (model, loaded, tmp_path / "bundle", str(tmp_path / "bundle")):
        assert segue.recommend(trained, tracks=["uri:1"]) == segue.recommend(
            model, tracks=["uri:1"]
        )
    with pytest.raises(BundleError, match=r'segue.train\(..., holdout="next", seed=0\)'):
        segue.evaluate(model, data)
    with pytest.raises(BundleError, match="leave out all_rows=True"):
        segue.evaluate(model, data, all_rows=True)
    other = segue.Dataset.from_frame(
        plays().iloc[::-1].assign(user="new"),
        listener="user",
        track="item",
        time="ts",
        outcome="how",
    )
    assert segue.evaluate(model, other, all_rows=True).queries > 0


# Evaluation


def test_evaluate_takes_the_seed_that_models_held_out_with(
    models: dict[str, segue.Bundle], data: segue.Dataset
) -> None:
    result = segue.evaluate(models, data)
    assert result.seed == 1
    with pytest.raises(
        BundleError, match="held out next with seed 1, the test is next with seed 0"
    ):
        segue.evaluate(models, data, seed=0)


def test_the_frame_of_an_evaluation_has_means_intervals_and_p_against_the_first(
    models: dict[str, segue.Bundle], data: segue.Dataset
) -> None:
    result = segue.evaluate(models, data, n=5)
    frame = result.to_frame()
    assert list(frame.columns) == ["model", "metric", "mean", "ci_low", "ci_high", "p_holm"]
    assert frame["model"].unique().tolist() == list(models)
    for row in frame.to_dict("records"):
        (model,) = (m for m in result.models if m.bundle == row["model"])
        estimate = model.metrics[row["metric"]]
        assert row["mean"] == estimate.mean
        if estimate.ci95 is None:
            assert math.isnan(row["ci_low"])
            assert math.isnan(row["ci_high"])
        else:
            assert (row["ci_low"], row["ci_high"]) == estimate.ci95
        pairs = [c for c in result.paired if c.b == row["model"] and c.metric == row["metric"]]
        first = [c.p_holm for c in pairs if c.a == "popularity"]
        assert math.isnan(row["p_holm"]) if not first else row["p_holm"] == first[0]
    assert pl.from_arrow(result.to_arrow()).shape == (len(frame), 6)


def test_the_repr_of_an_evaluation_is_its_table(
    models: dict[str, segue.Bundle], data: segue.Dataset
) -> None:
    result = segue.evaluate(models, data)
    head, *_, table = repr(result).partition("metric ")
    assert head.startswith(f"next: {result.queries} queries, 95 % intervals")
    mean = result.models[1].metrics["hr@10"].mean
    (row,) = (line for line in table.splitlines() if line.startswith("hr@10"))
    assert f"{mean:.4f} " in row


def test_models_without_names_go_by_recipe_or_path(
    models: dict[str, segue.Bundle], data: segue.Dataset, tmp_path: Path
) -> None:
    segue.save(models["item-knn"], tmp_path / "bundle")
    names = [*models.values(), models["popularity"], tmp_path / "bundle"]
    result = segue.evaluate(names, data)
    expected = [*models, "popularity #2", str(tmp_path / "bundle")]
    assert [model.bundle for model in result.models] == expected
    assert [m.bundle for m in segue.evaluate(models["popularity"], data).models] == ["popularity"]


# Recommendations


def test_recommend_gives_what_the_recommender_ranks_by_uri(
    models: dict[str, segue.Bundle],
) -> None:
    model = models["item-knn"]
    answer = segue.recommend(model, tracks=["uri:2", "uri:4"], skipped=["uri:3"], n=4)
    query = query_of(model.catalog, tracks=["uri:2", "uri:4"], skipped=["uri:3"])
    slate = model.recommender.recommend(Queries.of([query]), 4)[0]
    assert [track.uri for track in answer] == [model.catalog.uris[t] for t in slate.tracks]
    assert all(int(track.uri.removeprefix("uri:")) % 2 == 0 for track in answer)
    assert len(answer) == 4
    assert answer[0] == answer.tracks[0]
    frame = answer.to_frame()
    assert list(frame.columns) == ["uri", "artist", "title", "score", "because"]
    assert frame["score"].tolist() == [track.score for track in answer]
    assert frame["because"].str.contains("Song [24] ").all()
    first, *_ = repr(answer).splitlines()[1:]
    assert first.startswith(f"1          {answer[0].title}")
    assert repr(answer).endswith("4 tracks, ranked by item-knn")


def test_one_query_is_the_same_however_it_is_given(models: dict[str, segue.Bundle]) -> None:
    model = models["item-knn"]
    expected = segue.recommend(model, tracks=["uri:2", "uri:3"], outcomes=["finished", "skipped"])
    outcomes = [segue.Outcome.FINISHED, segue.Outcome.SKIPPED]
    query = segue.Query(tracks=["uri:2", "uri:3"], outcomes=outcomes)
    assert segue.recommend(model, query) == expected
    assert segue.recommend(model, {"tracks": ["Song 2"], "skipped": ["Song 3"]}) == expected
    for listed in (pd.Series(["uri:2"]), np.array(["uri:2"]), ("uri:2",)):
        assert segue.recommend(model, tracks=listed, skipped=["uri:3"]) == expected


def test_bans_are_not_answered(models: dict[str, segue.Bundle]) -> None:
    free = segue.recommend(models["item-knn"], tracks=["uri:2"], n=3)
    banned = segue.recommend(models["item-knn"], tracks=["uri:2"], bans=[free[0].uri], n=2)
    assert [track.uri for track in banned] == [track.uri for track in free][1:]


def test_many_queries_give_what_each_gives_alone(models: dict[str, segue.Bundle]) -> None:
    model = models["item-knn"]
    alone = [segue.recommend(model, tracks=[uri], n=3) for uri in ("uri:2", "uri:5")]
    batch = segue.recommend(model, [segue.Query(tracks=["uri:2"]), {"tracks": ["uri:5"]}], n=3)
    assert list(batch) == alone
    assert batch.to_frame()["query"].tolist() == [0, 0, 0, 1, 1, 1]
    frame = pl.DataFrame({"query": ["b", "a"], "track": ["uri:2", "uri:5"]})
    named = segue.recommend(model, frame, n=3)
    assert list(named) == alone
    assert named.to_frame()["query"].tolist() == ["b"] * 3 + ["a"] * 3
    assert repr(named) == "RecommendationBatch(2 queries, 6 tracks)"
    assert len(segue.recommend(model, [], n=3).to_arrow()) == 0


def test_outcomes_of_a_frame_of_queries_count(models: dict[str, segue.Bundle]) -> None:
    rows = {"query": [1, 1], "track": ["uri:2", "uri:3"], "outcome": ["finished", "skipped"]}
    frame = pd.DataFrame(rows)
    expected = segue.recommend(models["item-knn"], tracks=["uri:2"], skipped=["uri:3"])
    assert list(segue.recommend(models["item-knn"], frame)) == [expected]


def test_similar_is_what_goes_with_one_track(models: dict[str, segue.Bundle]) -> None:
    answer = segue.similar(models["item-knn"], "Song 4", n=2)
    assert answer == segue.recommend(models["item-knn"], tracks=["uri:4"], n=2)


# What cannot be meant


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m, d: segue.train(5, d), "the recipe is int; give the name of a recipe"),
        (lambda m, d: segue.train("item-knn", 5), "the data is int, not a dataset"),
        (lambda m, d: segue.train("item-knn", plays()), "make one with segue.Dataset.from_frame"),
        (lambda m, d: segue.train("item-knn", d, holdout=3), "holdout is int 3"),
        (lambda m, d: segue.train("item-knn", d, seed="a"), "seed is str 'a'"),
        (lambda m, d: segue.train("item-knn", d, seed=True), "seed is bool True"),
        (lambda m, d: segue.train("item-knn", d, seed=-1), "seed is -1; give 0 or more"),
        (lambda m, d: segue.train("item-knn", d, settings=5), "settings is int 5; give a dict"),
        (lambda m, d: segue.train("no-such", d), "no recipe 'no-such'"),
        (lambda m, d: segue.evaluate([], d), "no bundle to evaluate"),
        (lambda m, d: segue.evaluate(3, d), "models are int"),
        (lambda m, d: segue.evaluate({"a": 3}, d), "the model is int"),
        (lambda m, d: segue.evaluate(m, d, protocol=3), "protocol is int 3"),
        (lambda m, d: segue.evaluate(m, d, n="5"), "n is str '5'"),
        (lambda m, d: segue.evaluate(m, d, seed="5"), "seed is str '5'"),
        (lambda m, d: segue.recommend(m), "nothing to go by; give a track or a title"),
        (lambda m, d: segue.recommend(m, title="  "), "nothing to go by"),
        (lambda m, d: segue.recommend(m, tracks="uri:1"), "tracks is str 'uri:1'; give a list"),
        (lambda m, d: segue.recommend(m, tracks=5), "tracks is int 5; give a list"),
        (lambda m, d: segue.recommend(m, tracks=[5]), "a track is int 5; give its URI"),
        (lambda m, d: segue.recommend(m, tracks=["uri:99"]), "no track matches 'uri:99'"),
        (lambda m, d: segue.recommend(m, tracks=["song"]), "'song' may be 20 tracks"),
        (lambda m, d: segue.recommend(m, title=5), "title is int 5; give text"),
        (lambda m, d: segue.recommend(m, tracks=["uri:1"], n="5"), "n is str '5'"),
        (lambda m, d: segue.recommend(m, tracks=["uri:1"], n=0), "n is 0"),
        (lambda m, d: segue.recommend(m, tracks=["uri:1"], outcomes=["liked"]), "no outcome 'li"),
        (
            lambda m, d: segue.recommend(m, tracks=["uri:1"], outcomes=["skipped"] * 2),
            "2 outcomes for 1 tracks",
        ),
        (lambda m, d: segue.recommend(m, [3]), "a query is int; give a segue.Query"),
        (lambda m, d: segue.recommend(m, [{"song": 3}]), "a query has no 'song'"),
        (lambda m, d: segue.recommend(m, 3), "queries is int"),
        (lambda m, d: segue.recommend(m, plays()), "queries have no column 'query'"),
        (lambda m, d: segue.recommend(m, [{"title": "x"}], title="y"), "queries and title at"),
        (lambda m, d: segue.recommend(None, tracks=["x"]), "the model is NoneType"),
        (lambda m, d: segue.similar(m, 3), "a track is int 3"),
        (lambda m, d: segue.save(m, 5), "path is int 5"),
        (lambda m, d: segue.load(5), "path is int 5"),
        (lambda m, d: segue.add_tracks(m, 5), "files is int 5"),
        (lambda m, d: segue.ingest("csv", 5, "x"), "sources and dataset are no paths"),
        (lambda m, d: segue.WRMF().fit(5), "the data is int"),
        (lambda m, d: m.recommender.recommend([1], 5), "the queries are list"),
        (
            lambda m, d: m.recommender.recommend(Queries.of([segue.Query(tracks=["uri:1"])]), 5),
            "a query names a track that is no row of the catalog; give URIs to segue.recommend",
        ),
    ],
)
def test_a_wrong_value_is_one_clear_line(
    call: Any, words: str, models: dict[str, segue.Bundle], data: segue.Dataset
) -> None:
    with pytest.raises(UsageError) as raised:
        call(models["item-knn"], data)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_other_errors_are_as_on_the_command_line(
    models: dict[str, segue.Bundle], data: segue.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="unknown setting betta; the nearest is beta"):
        segue.train("item-knn", data, settings={"betta": 3})
    with pytest.raises(BundleError, match="is not a bundle"):
        segue.load(tmp_path)
    with pytest.raises(BundleError, match="places no new tracks"):
        segue.add_tracks(models["item-knn"], tmp_path)
    with pytest.raises(DataError, match="is not a dataset"):
        segue.train("item-knn", tmp_path)
