"""The notebooks of the documentation run, and print what they keep."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from support.optional import optional
from support.tutorials import Printed, Step, difference

nbformat = optional("nbformat")
optional("nbclient")
optional("ipykernel")

ROOT = Path(__file__).resolve().parents[2]
NEEDS = {"sessions_and_skips": ["torch"], "new_files_by_sound": ["av", "sklearn"]}
"""Modules that a notebook cannot do without."""


def script() -> Any:
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "scripts" / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_it_keeps(path: Path) -> None:
    for module in NEEDS.get(path.stem, []):
        optional(module)
    notebooks = script()
    kept = notebooks.texts(nbformat.read(path, as_version=4))
    found = []
    for number, ((code, before), (_, after)) in enumerate(
        zip(kept, notebooks.texts(notebooks.run(path)), strict=True)
    ):
        step = Step(code, number, shown=before.strip().splitlines())
        if differs := difference(step, Printed(after.strip().splitlines(), [])):
            found.append(differs)
    assert not found, "\n\n".join(found)


def test_there_are_three_with_outputs() -> None:
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        assert all(
            cell.outputs or not cell.source
            for cell in cells
            if cell.cell_type == "code" and "import" not in cell.source
        )


def test_what_prints_otherwise_is_told(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    cell = nbformat.v4.new_code_cell("print(1 + 1)")
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="3\n")]
    notebook.cells = [cell]
    path = tmp_path / "wrong.ipynb"
    nbformat.write(notebook, path)
    (told,) = script().differences(path)
    assert "keeps\n3\n" in told
    assert "prints\n2\n" in told
