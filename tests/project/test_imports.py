"""Imports point only backwards along the way that the data goes, and never in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import segue

ROOT = Path(segue.__file__).parent

STOPS = [
    {"errors"},
    {"system"},
    {"config", "numeric"},
    {"retrieval", "metrics", "nn"},
    {"text", "audio"},
    {"data"},
    {"queries", "catalog", "simulation"},
    {"protocols"},
    {"models"},
    {"recipe"},
    {"bundle"},
    {"reranking", "evaluation"},
    {"operations"},
    {"_api"},
    {"service"},
    {"cli"},
]
"""Each may import from itself and from the stops before it."""


def modules() -> dict[str, Path]:
    names = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    del names[""]  # the public surface points everywhere, lazily
    return names


def imports(file: Path, known: set[str]) -> set[str]:
    """Modules of segue that a file imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names] + [base]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        inside = [name.removeprefix("segue.") for name in names if name.startswith("segue.")]
        full = [name for name in inside if name in known]
        # "from segue.data.readers import mpd" needs the module mpd; the folder is only on the way.
        deepest = [n for n in full if not any(other.startswith(f"{n}.") for other in full)]
        found.update(deepest)
    return found


@cache
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: imports(file, set(known)) - {name} for name, file in known.items()}


def stop(module: str) -> int:
    place = module.split(".")[0]
    return next(i for i, names in enumerate(STOPS) if place in names)


def test_every_module_has_its_stop():
    assert {name.split(".")[0] for name in modules()} == set().union(*STOPS)


@pytest.mark.parametrize("module", modules())
def test_imports_point_backwards(module):
    ahead = {other for other in graph()[module] if stop(other) > stop(module)}
    beside = {
        other
        for other in graph()[module]
        if stop(other) == stop(module) and other.split(".")[0] != module.split(".")[0]
    }
    assert not ahead
    assert not beside


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("cli.app", ["numpy", "pyarrow", "rich"]),
        ("audio.inspect_file", ["pyarrow", "scipy.fft", "rich", "segue.data"]),
        (
            "operations.add_tracks",
            ["numba", "scipy.sparse", "scipy.fft", "rich", "segue.data.ingestion.formats"],
        ),
        (
            "operations.recommend",
            ["scipy.sparse", "scipy.fft", "rich", "segue.evaluation", "segue.models.wrmf.model"],
        ),
    ],
)
def test_what_loads_fast_loads_nothing_that_is_slow(module, slow):
    loaded = f"[name for name in {slow} if name in sys.modules]"
    code = f"import sys, segue.{module}; print({loaded})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_no_circle():
    tuple(TopologicalSorter(graph()).static_order())  # raises CycleError
