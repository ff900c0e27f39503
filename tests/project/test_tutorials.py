"""The tutorials do what they say: every command is run, and what it prints is compared.

The rules are in `tutorials.py`.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from support.tutorials import (
    Page,
    Printed,
    Step,
    TutorialError,
    difference,
    missing_programs,
    read,
    run,
)

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
NEEDS = {
    "music-server": {"audio": ["av", "sklearn", "tinytag"], "service": ["fastapi", "uvicorn"]},
    "listening-history": {"deep": ["torch"]},
    "tables": {"service": ["fastapi", "uvicorn"], "report": ["matplotlib"]},
}
"""Extras of each page, and modules that tell whether they are there."""


@pytest.fixture(params=NEEDS)
def page(request: pytest.FixtureRequest) -> Path:
    return FOLDER / f"{request.param}.md"


def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path) -> None:
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)} on this machine")
    for extra, modules in NEEDS[page.stem].items():
        if not all(map(importlib.util.find_spec, modules)):
            pytest.skip(f"the extra {extra} is not installed")
    steps = read(page).steps
    differences = [
        found
        for step, printed in zip(steps, run(read(page), tmp_path / "page"), strict=True)
        if step.shown is not None and (found := difference(step, printed))
    ]
    assert not differences, "\n\n".join(differences)


def test_a_tutorial_is_short_and_says_what_it_needs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(re.sub(r"^```python\n.*?^```$", "", text, flags=re.M | re.S).split()) < 1200
    assert "](../guides/install.md)" in text
    assert "pip install" not in text
    for extra in NEEDS[page.stem]:
        assert f"`{extra}`" in text.split("\n## ")[0]
    assert len(read(page).left_out) <= 2


def test_the_index_names_every_tutorial_and_its_extras() -> None:
    assert {file.stem for file in FOLDER.glob("*.md")} == {*NEEDS, "index"}
    text = (FOLDER / "index.md").read_text(encoding="utf-8")
    for name, extras in NEEDS.items():
        assert f"]({name}.md)" in text
        title = re.match("# (.*)", (FOLDER / f"{name}.md").read_text(encoding="utf-8"))
        assert title
        (row,) = re.findall(rf"^\| {title[1]} \|.*", text, re.M)
        assert set(re.findall(r"`(\w+)`", row)) == set(extras)


def written(tmp_path: Path, text: str) -> Page:
    file = tmp_path / "page.md"
    file.write_text(text, encoding="utf-8")
    return read(file)


def test_blocks_are_run_in_order_in_one_shell(tmp_path: Path) -> None:
    page = written(
        tmp_path,
        "```python\n# hello.py\nprint('hello')\n```\n\n```sh\nword=again\n```\n\n"
        "```console\n$ python hello.py\nhello\n$ echo $word \\\n    and again\n"
        "again and again\n```\n"
        "<!-- not run: it would not end -->\n```sh\nsleep 1000\n```\n"
        "<!-- fails: 3 -->\n```console\n$ (echo no >&2; exit 3)\n```\n"
        "```toml\nshown = true\n```\n",
    )
    printed = run(page, tmp_path / "page")
    assert page.left_out == ["it would not end"]
    assert [part.out for part in printed[2:]] == [["hello"], ["again and again"], []]
    assert printed[-1].err == ["no"]
    for step, part in zip(page.steps, printed, strict=True):
        assert step.shown is None or difference(step, part) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```sh\ntrue\nfalse\ntrue\n```\n", "ended with 1, not 0"),
        ("<!-- fails: 1 -->\n```sh\ntrue\n```\n", "ended with 0, not 1"),
        ("<!-- fails: 1 -->\n```console\n$ false\n$ true\n```\n", "ended with 0, not 1"),
        ("<!-- fails: 1 -->\n```sh\n(exit 2)\n```\n", "ended with 2, not 1"),
        ("```sh\nfalse | true\n```\n", "ended with 1, not 0"),
        ("```python\nprint(1)\n```\n", "begins with # name.py"),
        ("<!-- slow: yes -->\n```sh\ntrue\n```\n", "unknown note"),
        ("<!-- not run: -->\n```sh\ntrue\n```\n", "unknown note"),
        ("```console\nhello\n```\n", "begins with a command"),
    ],
)
def test_a_page_that_does_not_do_what_it_says_is_told(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(TutorialError, match=words):
        run(written(tmp_path, text), tmp_path / "page")


TABLE = ["metric  a", "hr@10   0.2500 ±0.0500", "kept    1,200"]


@pytest.mark.parametrize(
    ("shown", "out", "same"),
    [
        (TABLE, TABLE, True),
        (TABLE, ["metric  a", "hr@10   0.2600 ±0.0401", "kept    1,200"], True),
        (TABLE, ["metric  a", "hr@10   0.3000 ±0.0500", "kept    1,200"], False),
        (TABLE, ["metric  a", "hr@10   0.2500 ±0.0500", "kept    1,201"], False),
        (TABLE, ["metric  b", "hr@10   0.2500 ±0.0500", "kept    1,200"], False),
        (TABLE, TABLE[:2], False),
        (TABLE[:2], TABLE, False),
        (["metric a", "...", "kept 1,200"], TABLE, True),
        (["metric a", "...", "kept 1,100"], TABLE, False),
        (["by ada 62%"], ["by ada 61%"], True),
        (["by ada 62%"], ["by ada 52%"], False),
        (["seconds  7.1"], ["seconds  19.73"], True),
        (['"version": "wrmf-bd4afb83e2"'], ['"version": "wrmf-0123456789"'], True),
        (["kept 5", "segue: done"], ["kept 5"], False),
        (["kept 5", "segue: a note"], ["kept 5"], True),
    ],
)
def test_what_is_shown_may_differ_only_where_the_rules_say(
    shown: list[str], out: list[str], same: bool
) -> None:
    printed = Printed(out, ["fitting: 1 of 8 sweeps", "segue: a note", "segue: another"])
    assert (difference(Step("segue", 1, shown=shown), printed) is None) is same


def test_where_output_varies_lines_and_first_words_are_those_shown() -> None:
    step = Step("segue", 1, shown=["   title", "1  A Song  0.5", "hr@10  0.1"], varies=True)
    assert difference(step, Printed(["   title", "2  Another  0.9", "hr@10  0.7"], [])) is None
    assert difference(step, Printed(["   title", "1  A Song  0.5", "mrr@10  0.1"], []))
    assert difference(step, Printed(["   title", "1  A Song  0.5"], []))
