"""The Python blocks of the README and the documentation run, and print what stands below them.

The rules are in `support/python_blocks.py`. Tutorials have their own (`test_tutorials.py`).
"""

from __future__ import annotations

import doctest
import importlib.util
import operator
import shutil
from pathlib import Path

import pytest
from support.python_blocks import blocks, prepare, run
from support.tutorials import Printed, Step, difference

import segue

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if page.parent.name != "tutorials" and blocks(page)
]
NEEDS = {"README.md": {"deep": ["torch"]}}
"""Extras that blocks of a page need, and modules that tell whether they are there."""
MOST_LEFT_OUT = 5


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    prepare(folder)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_python_blocks_of_a_page_do_what_they_say(
    page: Path, prepared: Path, tmp_path: Path
) -> None:
    for extra, modules in NEEDS.get(name(page), {}).items():
        if not all(map(importlib.util.find_spec, modules)):
            pytest.skip(f"the extra {extra} is not installed")
    shutil.copytree(prepared, tmp_path / "page")
    differences = [
        found
        for block, out in run(page, tmp_path / "page")
        if block.shown is not None
        and (found := differing(block.line, block.code, block.shown, out))
    ]
    assert not differences, "\n\n".join(differences)


def differing(line: int, code: str, shown: str, out: str) -> str | None:
    lines = [row.rstrip() for row in out.splitlines()]
    return difference(Step(code, line, shown=shown.splitlines()), Printed(lines, []))


@pytest.mark.parametrize(
    "public",
    [name for name in segue.__all__ if ">>>" in (getattr(segue, name).__doc__ or "")]
    + ["Dataset.from_frame"],
)
def test_examples_of_public_docstrings_do_what_they_say(
    public: str, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared)
    named = operator.attrgetter(public)(segue)
    finder = doctest.DocTestFinder(recurse=False)
    names = {"segue": segue, "Dataset": segue.Dataset}
    (example,) = finder.find(named, public, module=False, globs=names)  # type: ignore[arg-type]
    assert doctest.DocTestRunner().run(example).failed == 0


def test_few_blocks_are_left_out() -> None:
    left_out = [block.reason for page in PAGES for block in blocks(page) if block.reason]
    assert len(left_out) <= MOST_LEFT_OUT


def test_a_block_that_prints_otherwise_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nx = 3\n```\n\n```python\nprint(x)\n```\n\n```text\n4\n```\n\n"
        "<!-- not run: it fails -->\n```python\n1 / 0\n```\n",
        encoding="utf-8",
    )
    assert [block.reason for block in blocks(page)] == [None, None, "it fails"]
    (_, _), (block, out) = run(page, tmp_path)
    assert out == "3\n"
    assert differing(block.line, block.code, block.shown or "", out)
    assert not differing(block.line, block.code, "3\n", out)


def test_a_block_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\nx / 0\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r'File "page.md", line 5'):
        run(page, tmp_path)
