"""Run the notebooks of the documentation: python scripts/notebooks.py [--check] [NOTEBOOK...]

Each runs in an empty folder. Their outputs are written back, or, with --check, compared with those
that they keep; exit status 1 where one fails or prints something else.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"
_SECONDS = 300
"""The longest that a cell may take."""


def run(path: Path) -> Any:
    """The notebook with the outputs of a run.

    Raises:
        CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="segue-notebook-") as folder:
        source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": source, "MPLBACKEND": "agg"}
        client = NotebookClient(
            notebook,
            timeout=_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of the run
    return notebook


def texts(notebook: Any) -> list[tuple[str, str]]:
    """Each code cell with the text that it printed or showed; pictures are left out."""
    return [
        (cell.source, "".join(_text(output) for output in cell.outputs))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text) if output.name == "stdout" else ""
    if "image/png" in output.get("data", {}):
        return "<picture>"
    return str(output.get("data", {}).get("text/plain", ""))


def differences(path: Path) -> list[str]:
    """Cells of a notebook that print something else than they keep, a text each."""
    kept = texts(nbformat.read(path, as_version=4))
    return [
        f"{path.name}:\n{source}\nkeeps\n{before}\nprints\n{after}"
        for (source, before), (_, after) in zip(kept, texts(run(path)), strict=True)
        if before.strip() != after.strip()
    ]


def main() -> int:
    """Run what the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument(
        "notebooks", nargs="*", type=Path, default=sorted(NOTEBOOKS.glob("*.ipynb"))
    )
    arguments = parser.parse_args()
    failed = False
    for path in arguments.notebooks:
        try:
            if arguments.check:
                found = differences(path)
                print(*found or [f"{path.name}: as kept"], sep="\n\n")
                failed |= bool(found)
            else:
                nbformat.write(run(path), path)
                print(f"{path.name}: written")
        except CellExecutionError as error:
            print(f"{path.name}: {error}")
            failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main())
