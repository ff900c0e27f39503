"""Recipes: what ships, what a file may say, what `--set` may change."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from segue.cli import run
from segue.config import Config
from segue.errors import ConfigError, SegueError, UsageError
from segue.models.base.recommender import RECOMMENDERS
from segue.models.registry import HOMES
from segue.models.two_stage.config import TwoStageConfig
from segue.models.two_stage.ranker import RankerConfig
from segue.recipe import load_recipe, parse_override, settings_of, shipped

SHIPPED = [
    "audio",
    "audio-cnn",
    "audio-cnn-wpe",
    "audio-linear",
    "audio-mlp",
    "audio-mlr",
    "bert4rec",
    "bert4rec-skips",
    "bpr",
    "bpr-skips",
    "caser",
    "caser-skips",
    "content",
    "gru4rec",
    "gru4rec-skips",
    "item-knn",
    "larp",
    "larp-full",
    "larp-mean",
    "larp-names",
    "larp-ttc",
    "larp-wtc",
    "personal",
    "playlist-cnn",
    "playlist-cnn-published",
    "popularity",
    "sasrec",
    "sasrec-skips",
    "title",
    "two-stage",
    "user-knn",
    "vl6",
    "wrmf",
    "wrmf-skips",
]


@pytest.fixture
def recipe_file(tmp_path):
    """Write a recipe and give its path."""

    def write(text: str) -> str:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def first_setting() -> tuple[str, str]:
    """Some recommender with the name of one of its numbers."""
    for name, kind in RECOMMENDERS.items():
        for field in msgspec.structs.fields(kind.Config):
            if isinstance(field.default, int | float) and not isinstance(field.default, bool):
                return name, field.name
    raise AssertionError("no recommender has a number to set")


def test_these_recipes_ship():
    assert shipped() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_makes_its_recommender(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert recipe.make().name == recipe.recommender


def test_every_recommender_is_where_the_table_says():
    for name, home in HOMES.items():
        assert (RECOMMENDERS[name].name, RECOMMENDERS[name].__module__) == (name, home)
    assert RECOMMENDERS.get("wmrf") is None


def test_every_recommender_has_a_recipe():
    assert {load_recipe(name).recommender for name in SHIPPED} == set(RECOMMENDERS)


def test_a_recipe_file_has_its_own_name(recipe_file):
    recipe = load_recipe(recipe_file('recommender = "popularity"'))
    assert (recipe.name, recipe.recommender, dict(recipe.settings)) == ("mine", "popularity", {})


def test_settings_come_from_the_file_and_overrides_win(recipe_file):
    name, setting = first_setting()
    default = getattr(RECOMMENDERS[name].Config(), setting)
    path = recipe_file(f'recommender = "{name}"\n[config]\n{setting} = {default}\n')
    assert getattr(load_recipe(path).make().config, setting) == default
    changed = load_recipe(path, [f"{setting}={default + 1}"])
    assert getattr(changed.make().config, setting) == default + 1


NESTED = """
recommender = "two-stage"
[config]
folds = 3
[config.wrmf]
factors = 8
[config.ranker]
trees = 7
"""


def test_tables_of_a_file_are_settings_of_settings_and_the_rest_stays(recipe_file):
    config = load_recipe(recipe_file(NESTED)).make().config
    default = load_recipe("two-stage").make().config
    assert config == replace(
        default, folds=3, wrmf=replace(default.wrmf, factors=8), ranker=RankerConfig(trees=7)
    )
    assert default.wrmf.artist_weight > 0  # not what wrmf has by itself


def test_a_dot_in_an_override_leads_into_a_table(recipe_file):
    changes = ["wrmf.factors=16", "wrmf.sweeps=2", "ranker.objective=pairwise", "folds=2"]
    config = load_recipe(recipe_file(NESTED), changes).make().config
    assert (config.folds, config.wrmf.factors, config.wrmf.sweeps) == (2, 16, 2)
    assert (config.ranker.objective, config.ranker.trees) == ("pairwise", 7)
    alone = load_recipe("two-stage", ["ranker.depth=3"]).make().config
    assert alone == replace(TwoStageConfig(), ranker=RankerConfig(depth=3))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("ranker.colour=1", r"unknown setting ranker\.colour; settings are: objective, trees"),
        ("ranker.depth=99", r"ranker\.depth: expected a whole number <= 14$"),
        ("ranker.depth.x=1", r"ranker\.depth: expected a whole number, got a table$"),
        (
            "ranker.treees=1",
            r"unknown setting ranker\.treees; the nearest is ranker\.trees$",
        ),
        ("wrmf.factor=1", r"unknown setting wrmf\.factor; the nearest is wrmf\.factors$"),
        ("seed_kept=1", r"unknown setting seed_kept; the nearest is seeds_kept$"),
        ("ranker=3", r"ranker: expected a table, got a whole number$"),
        ("wrmf.factors=many", r"wrmf\.factors: expected a whole number, got text"),
        (
            "playlist_cnn.loss=hinge",
            r"playlist_cnn\.loss: unknown value 'hinge'; it may be 'logistic', 'softmax'$",
        ),
        (
            'models=["bpr"]',
            r"models\[0\]: unknown value 'bpr'; it may be 'item-knn', 'playlist-cnn'",
        ),
        ("colour.deep=1", r"unknown setting colour; settings are: models"),
        ("wrmf.=1", r"unknown setting wrmf\.; settings"),
    ],
)
def test_a_wrong_setting_of_settings_is_one_plain_line(change, line):
    with pytest.raises(ConfigError, match=line) as caught:
        load_recipe("two-stage", [change])
    assert len(str(caught.value).splitlines()) == 1
    assert not set("`$") & set(str(caught.value))


def test_an_unknown_recipe_lists_what_ships():
    with pytest.raises(UsageError, match=r"no recipe 'wmrf'.*bpr, bpr-skips, .*wrmf-skips"):
        load_recipe("wmrf")


def test_an_unknown_setting_lists_the_settings():
    name, setting = first_setting()
    with pytest.raises(ConfigError, match=rf"unknown setting loudness.*{setting}"):
        load_recipe(name, ["loudness=11"])


def test_a_setting_of_a_wrong_type_is_an_error():
    name, setting = first_setting()
    with pytest.raises(ConfigError, match=setting):
        load_recipe(name, [f'{setting}="many"'])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("recommender = ", "is not a recipe"),
        ("[config]", "missing field recommender"),
        ('recommender = "popularity"\nmodel = 1', "unknown field model"),
        ('recommender = "popular"', "names the recommender 'popular'"),
        (
            'recommender = "popularity"\nconfig = 3',
            r"config: expected a table, got a whole",
        ),
    ],
)
def test_a_file_that_is_not_a_recipe_is_an_error(recipe_file, text, line):
    with pytest.raises(ConfigError, match=line):
        load_recipe(recipe_file(text))


def test_a_recipe_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="cannot read the recipe"):
        load_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b'description = "\xe9"')
    with pytest.raises(UsageError, match="not UTF-8"):
        load_recipe(str(tmp_path / "latin.toml"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("x=64", 64), ("x = 0.5", 0.5), ("x=true", True), ('x="a b"', "a b"), ("x=log", "log")],
)
def test_overrides_are_toml_and_a_bare_word_is_itself(text, value):
    assert parse_override(text) == ("x", value)


@pytest.mark.parametrize("text", ["x", "=1", "x=", "x=1 2", "x=a b", "x=1\ny=2"])
def test_an_override_that_is_not_key_and_value_is_an_error(text):
    with pytest.raises(UsageError, match="--set"):
        load_recipe("popularity", [text])


@given(st.text(max_size=30))
def test_no_override_raises_anything_but_an_error_for_people(text):
    with pytest.raises(SegueError):  # popularity has no settings, so none can be right
        load_recipe("popularity", [text])


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, f"a = {'9' * 5000}"])
def test_toml_that_python_gives_up_on_is_one_line(recipe_file, text):
    with pytest.raises(ConfigError, match="is not a recipe"):
        load_recipe(recipe_file(text))
    with pytest.raises(UsageError, match="is not a TOML value"):
        parse_override(text)


def test_a_setting_that_is_not_utf_8_is_unknown():
    with pytest.raises(ConfigError, match=r"unknown setting \?"):
        load_recipe("popularity", ["\udcff=1"])


# What a recipe's settings are


def test_every_setting_is_shown_with_its_value_its_default_and_what_it_may_be() -> None:
    shown = {s.name: s for s in settings_of(load_recipe("two-stage", ["ranker.trees=7"]))}
    trees = shown["ranker.trees"]
    assert (trees.value, trees.default, trees.values) == (7, 200, "whole number from 0 to 5000")
    assert trees.description == "at most so many trees"
    assert shown["candidates"].values == "union, wrmf, user-knn"
    assert shown["wrmf.artist_weight"].value == 0.3
    assert shown["models"].values.startswith("list of wrmf, playlist-cnn")


@pytest.mark.parametrize("name", shipped())
def test_the_settings_of_every_recipe_are_those_of_its_recommender(name: str) -> None:
    recipe = load_recipe(name)
    settings = settings_of(recipe)
    assert all(s.description and s.values for s in settings)
    told = {s.name: msgspec.to_builtins(s.value) for s in settings}
    made = recipe.make().config
    for key in msgspec.structs.asdict(made):
        value = getattr(made, key)
        if isinstance(value, Config):
            inner = msgspec.structs.asdict(value)
            assert {f"{key}.{name}" for name in inner} <= told.keys() | {
                f"{key}.{name}" for name in inner if isinstance(inner[name], Config)
            }
        else:
            assert told[key] == msgspec.to_builtins(value)


def test_segue_recipe_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe"]) == 0
    assert "wrmf-skips" in capsys.readouterr().out
    assert run(["recipe", "user-knn", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [s["name"] for s in told["settings"]] == ["neighbours", "beta"]
    assert run(["recipe", "nothing"]) == 2
    assert "no recipe 'nothing'" in capsys.readouterr().err
