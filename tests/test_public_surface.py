"""`import segue`: a small, sorted, lazy set of names."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import segue
from segue.bundle import libraries
from segue.models.base.recommender import RECOMMENDERS

PUBLIC = [
    "BPR",
    "LARP",
    "WRMF",
    "Audio",
    "AudioMLR",
    "BERT4Rec",
    "Bundle",
    "BundleError",
    "Caser",
    "Catalog",
    "ConfigError",
    "Content",
    "DataError",
    "Dataset",
    "Evaluation",
    "GRU4Rec",
    "ItemKNN",
    "ListStage",
    "NotFittedError",
    "Outcome",
    "Personal",
    "PlaylistCNN",
    "Popularity",
    "Queries",
    "Query",
    "Reason",
    "Receipt",
    "Recipe",
    "RecommendationBatch",
    "Recommendations",
    "Recommender",
    "SASRec",
    "SegueError",
    "Slate",
    "Slates",
    "Title",
    "TwoStage",
    "UsageError",
    "UserKNN",
    "__version__",
    "add_tracks",
    "continue_playlist",
    "evaluate",
    "ingest",
    "load",
    "load_recipe",
    "recommend",
    "save",
    "similar",
    "train",
    "tune",
]


def test_the_public_names_are_these():
    assert segue.__all__ == PUBLIC
    assert len(set(PUBLIC)) == len(PUBLIC)


LAZY = [name for name in PUBLIC if name != "__version__"]


@pytest.mark.parametrize("name", LAZY)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(segue, name).__doc__
    assert name in dir(segue)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(segue.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname or alias.name: f"segue.{segue._HOME[alias.asname or alias.name]}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("segue.")
        for alias in node.names
    }
    homes = {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (alias.asname or alias.name) in segue.__all__
    }
    assert homes == seen
    assert sorted(homes) == sorted(LAZY)


def test_every_verb_and_model_says_what_it_takes():
    """The snapshot of the public signatures: a change of one is a change for everybody."""
    verbs = ["train", "evaluate", "recommend", "similar", "add_tracks", "save", "load", "ingest"]
    found = {name: list(inspect.signature(getattr(segue, name)).parameters) for name in verbs}
    assert found == {
        "train": ["recipe", "data", "holdout", "seed", "settings", "progress", "checkpoint"],
        "evaluate": ["models", "data", "protocol", "seed", "all_rows", "n", "progress"],
        "recommend": [
            *("model", "queries", "tracks", "skipped", "outcomes", "title", "bans"),
            "n",
        ],
        "similar": ["model", "track", "n"],
        "add_tracks": ["model", "files", "out", "progress"],
        "save": ["model", "path"],
        "load": ["path"],
        "ingest": ["format", "sources", "dataset", "base", "columns", "settings", "progress"],
    }


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_every_recommender_is_public_by_class_with_its_settings(name):
    kind = RECOMMENDERS[name]
    (public,) = [n for n in segue.__all__ if getattr(segue, n, None) is kind]
    signature = inspect.signature(getattr(segue, public))
    assert list(signature.parameters) == list(kind.Config.__struct_fields__)
    assert repr(kind()) == f"{kind.__name__}()"


def test_the_version_is_of_three_numbers_and_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?", segue.__version__)
    assert libraries()["segue"] == segue.__version__
    source = Path(segue.__file__).parent
    named = [
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        if f'"{segue.__version__}"' in file.read_text(encoding="utf-8")
    ]
    assert named == ["__init__.py"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Loudness'"):
        segue.Loudness  # noqa: B018


def loaded_by(*arguments: str) -> set[str]:
    """Modules that python has loaded at the end of a program."""
    code = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
    ran = subprocess.run(
        [sys.executable, "-c", code + arguments[0], *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    return set(ran.stderr.split())


HEAVY = {"numba", "pyarrow", "matplotlib", "scipy", "numpy"}


def test_importing_segue_loads_nothing_heavy():
    loaded = loaded_by("import segue")
    assert "segue" in loaded
    assert not loaded & HEAVY


def test_help_loads_nothing_heavy():
    loaded = loaded_by("from segue.cli import main; main()", "--help")
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_what_compiles_nothing_loads_no_compiler(tmp_path):
    """Numba takes a third of a second to load."""
    (tmp_path / "lists.csv").write_text("playlist,track\na,x\na,y\n")
    data = str(tmp_path / "data")
    ingest = ("ingest", "csv", str(tmp_path / "lists.csv"), "--dataset", data)
    for arguments in (ingest, ("describe", data)):
        loaded = loaded_by("from segue.cli import main; main()", *arguments)
        assert "pyarrow" in loaded
        assert "numba" not in loaded
