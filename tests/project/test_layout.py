"""The rules of the layout and of the code's form; docs/development/architecture.md says why."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import segue

ROOT = Path(segue.__file__).parent
TESTS = Path(__file__).parents[1]
FILES = sorted(ROOT.rglob("*.py"))


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def name(file: Path) -> str:
    """Path below the package: ``models/wrmf/model.py``."""
    return file.relative_to(ROOT).as_posix()


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_kernel_file(file: Path) -> bool:
    """Numba's functions are in files of their own: ``kernels.py``, ``topk_kernels.py``."""
    return file.stem.endswith("kernels")


# Where files are

ROOMS = {
    *("__init__", "model", "config", "batches", "examples", "losses", "network", "inference"),
    *("training", "kernels"),
}
"""File names that every family of models may have: one place to look for each, in all of them."""
EXTRA_ROOMS: dict[str, set[str]] = {
    "audio": {"fit", "calibration", "metric_learning", "larp_features"},
    "bpr": {"fold_in"},
    "larp": {"fit", "stages", "pooling"},
    "sequential": {"parameters"},
    "title": {"titles"},
    "two_stage": {"candidates", "ranker", "trees", "answering", "cold_start"},
    "wrmf": {"solver", "side_columns"},
}
"""Further files of a family, for what no other family has."""
FAMILIES = sorted(
    folder for folder in (ROOT / "models").iterdir() if folder.is_dir() and folder.name != "base"
)


@pytest.mark.parametrize(
    "family", [f for f in FAMILIES if f.name != "__pycache__"], ids=lambda family: family.name
)
def test_families_of_models_have_the_same_rooms(family: Path) -> None:
    there = {file.stem for file in family.glob("*.py")}
    assert there <= ROOMS | EXTRA_ROOMS.get(family.name, set())
    assert {"model", "config"} <= there


def test_no_folder_is_spelled_as_a_prefix() -> None:
    """Three files of one folder with one ``prefix_`` are a folder that is missing."""
    prefixes: dict[Path, Counter[str]] = defaultdict(Counter)
    for file in FILES:
        if "_" in file.stem.strip("_"):
            prefixes[file.parent][file.stem.strip("_").split("_")[0]] += 1
    many = {
        f"{folder.relative_to(ROOT)}/{prefix}_": count
        for folder, counts in prefixes.items()
        for prefix, count in counts.items()
        if count > 2
    }
    assert not many


PROJECT_FOLDERS = {"project", "support", "golden", "benchmarks"}
"""Folders of tests that mirror nothing: of the repository, what tests share, stored results."""


def test_tests_mirror_the_source() -> None:
    """The tests of ``src/segue/a/b`` are in ``tests/a/b``."""
    stray = [
        folder
        for folder in sorted({file.parent for file in TESTS.rglob("test_*.py")})
        if (inside := folder.relative_to(TESTS)).parts
        and inside.parts[0] not in PROJECT_FOLDERS
        and not (ROOT / inside).is_dir()
    ]
    assert not stray


# What a file may say


def private_uses(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Attributes ``x._y`` of what the module does not define itself."""
    own = {
        node.attr
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("self", "cls")
        and isinstance(node.ctx, ast.Store)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
    for node in ast.walk(module):
        if not isinstance(node, ast.Attribute):
            continue
        if not node.attr.startswith("_") or node.attr.startswith("__"):
            continue
        if node.attr in NAMED_TUPLE or node.attr in own:
            continue
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            continue
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super":
            continue
        yield node.lineno, ast.unparse(node)


NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make"}
"""Public methods of named tuples, whose names begin with an underscore."""
FOREIGN_PRIVATES = {"sys._MEIPASS"}
"""Of other libraries, which offer no other way."""


def private_imports(module: ast.Module) -> Iterator[tuple[int, str]]:
    """``from segue.x import _y``; modules too, other than the public verbs behind `segue`."""
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("segue"):
            for alias in node.names:
                if alias.name.startswith("_") and alias.name not in ("_api", "__version__"):
                    yield node.lineno, f"from {node.module} import {alias.name}"


@pytest.mark.parametrize("file", FILES, ids=name)
def test_no_module_reaches_into_another(file: Path) -> None:
    found = [*private_uses(tree(file)), *private_imports(tree(file))]
    assert not [
        f"{name(file)}:{line}: {what}" for line, what in found if what not in FOREIGN_PRIVATES
    ]


@pytest.mark.parametrize("file", FILES, ids=name)
def test_no_public_path_asserts_a_type(file: Path) -> None:
    """``assert isinstance`` fails as an AssertionError from within, and not at all under -O."""
    found = [
        node.lineno
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Assert) and "isinstance(" in ast.unparse(node.test)
    ]
    assert not found


HEAVY = {
    "torch": {"nn/", "models/", "system/extras.py"},
    "xgboost": {"models/two_stage/ranker.py"},
    "fastapi": {"service/"},
    "starlette": {"service/"},
    "uvicorn": {"service/run.py"},
    "sqlalchemy": {"service/", "data/feedback/", "data/readers/feedback.py"},
    "psycopg": {"data/feedback/database.py"},
    "matplotlib": {"evaluation/"},
    "transformers": {"models/larp/encoders/transformers_network.py"},
    "tokenizers": {"text/sentence_encoder.py", "models/larp/encoders/"},
    "sklearn": {"audio/bag_of_words.py"},
    "av": {"audio/", "simulation/recording.py"},
    "tinytag": {"audio/"},
    "optuna": {"operations/tune.py"},
    "pandas": {"system/tables.py"},
    "polars": set(),
    "pyspark": set(),
}
"""Libraries that a core installation need not have, and the files or folders that import them."""


def imported(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module.split(".")[0]


@pytest.mark.parametrize("file", FILES, ids=name)
def test_optional_libraries_are_imported_where_the_table_says(file: Path) -> None:
    astray = [
        f"{name(file)}:{line}: {library}"
        for line, library in imported(tree(file))
        if library in HEAVY and not name(file).startswith(tuple(HEAVY[library]))
    ]
    assert not astray


TORCH = {"network", "losses", "training", "optim", "devices", "tower_network", "stages"}


def test_torch_is_imported_at_the_top_of_files_that_say_so_by_their_name() -> None:
    """So that nobody loads torch to answer by chance: whoever imports such a file knows."""
    at_once = [
        file
        for file in FILES
        for node in tree(file).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "torch" in {library for _, library in imported(ast.Module([node], []))}
    ]
    assert {name(f) for f in at_once if not re.search("|".join(TORCH), f.stem)} <= set(TORCH_TOO)


TORCH_TOO: list[str] = []
"""Files with other names that load torch."""

SAME_NAME: set[str] = set()
"""Class names that more than one module defines, since each means the same thing in its place."""


def test_each_class_name_is_defined_once() -> None:
    homes = defaultdict(list)
    for file in FILES:
        for node in tree(file).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name(file))
    assert not {
        kind: where for kind, where in homes.items() if len(where) > 1 and kind not in SAME_NAME
    }
    assert {kind for kind in SAME_NAME if len(homes[kind]) < 2} == set()


def test_the_formatter_formats_everything_but_kernels() -> None:
    found = [
        name(file)
        for file in FILES
        if not is_kernel_file(file)
        and re.search(r"#\s*fmt:\s*(skip|off)", file.read_text(encoding="utf-8"))
    ]
    assert not found


MOST_PARAMETERS = 8


def test_functions_take_few_parameters() -> None:
    """Eight at most, but for kernels and for verbs of the command line."""
    found = []
    for file in FILES:
        if is_kernel_file(file) or name(file).startswith("cli/"):
            continue
        for function in functions(tree(file)):
            if any(
                "njit" in ast.unparse(d) or "parallel" in ast.unparse(d)
                for d in function.decorator_list
            ):
                continue
            given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            given = [a for a in given if a.arg not in ("self", "cls")]
            if len(given) > MOST_PARAMETERS and (name(file), function.name) not in MANY_PARAMETERS:
                found.append(f"{name(file)}:{function.lineno}: {function.name} takes {len(given)}")
    assert not found


MANY_PARAMETERS = {
    ("_api.py", "tune"),
    ("operations/tune.py", "tune"),
    ("service/run.py", "serve"),
}
"""Verbs whose options are their parameters, as on the command line."""
