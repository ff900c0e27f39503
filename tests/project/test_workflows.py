"""Workflows, hooks and CONTRIBUTING.md name what is there; scripts that they call do their work."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
YAML = [
    *WORKFLOWS,
    *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
]


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def jobs() -> list[Any]:
    return [
        pytest.param(job, id=f"{file.stem}-{name}")
        for file in WORKFLOWS
        for name, job in read(file)["jobs"].items()
    ]


def script(name: str) -> ModuleType:
    """A module of scripts/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", YAML, ids=lambda file: file.name)
def test_yaml_is_read_without_a_key_twice(file: Path) -> None:
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), keys
        return yaml.SafeLoader.construct_mapping(loader, node, deep=True)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    assert yaml.load(file.read_text(encoding="utf-8"), Strict)


# Commands


def targets() -> set[str]:
    """What `make` makes by name."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][\w-]*):(?!=)", text, re.M))


def made(file: Path) -> set[str]:
    """What a file makes: in code only, as prose may say "make" as well."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        commands = re.findall(r"`([^`]+)`", text)
    elif file.parent.name == "workflows":
        steps = [step for job in read(file)["jobs"].values() for step in job["steps"]]
        commands = [step.get("run", "") for step in steps]
    else:
        commands = [hook["entry"] for repo in read(file)["repos"] for hook in repo["hooks"]]
    words = re.findall(r"\bmake((?: +[a-z][a-z-]*(?![\w=-]))+)", "\n".join(commands))
    return {name for some in words for name in some.split()}


NAMED = [
    pytest.param(name, id=f"{file.name}-{name}")
    for file in (*WORKFLOWS, ROOT / "CONTRIBUTING.md", ROOT / ".github/PULL_REQUEST_TEMPLATE.md")
    for name in sorted(made(file))
]


@pytest.mark.parametrize("name", NAMED)
def test_every_target_that_is_named_is_in_the_makefile(name: str) -> None:
    assert name in targets()


def test_workflows_make_everything_that_has_to_pass() -> None:
    gates = made(ROOT / ".github/workflows/tests.yml")
    assert gates >= {"test", "check", "docs", "test-lowest", "wheel", "test-extras"}
    assert "test-newest" not in gates
    assert "test-newest" in made(ROOT / ".github/workflows/newest.yml")


@pytest.mark.parametrize(
    "file",
    [ROOT / "CONTRIBUTING.md", ROOT / ".pre-commit-config.yaml", *WORKFLOWS],
    ids=lambda file: file.name,
)
def test_every_file_that_is_named_is_there(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for name in re.findall(r"\b(?:src|tests|scripts)/[\w./-]*\w", text):
        assert (ROOT / name).exists(), name


# Workflows


def test_every_python_of_a_workflow_is_one_that_segue_takes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (lowest,) = re.findall(r">=\s*3\.(\d+)", project["requires-python"])
    text = "\n".join(file.read_text(encoding="utf-8") for file in WORKFLOWS)
    named = set(re.findall(r'"3\.(\d+)"|\bpython:3\.(\d+)', text))
    minors = {int(one or other) for one, other in named}
    assert min(minors) == int(lowest)
    assert {11, 13, 14} <= minors


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_only_read_and_runs_once_at_a_time(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]


@pytest.mark.parametrize("job", jobs())
def test_a_job_ends_and_its_actions_have_a_version(job: Any) -> None:
    assert 0 < job["timeout-minutes"] <= 90
    for step in job["steps"]:
        used = step.get("uses", "a/b@v1")
        assert re.fullmatch(r"[\w-]+/[\w./-]+@(v\d+|release/v\d+|[0-9a-f]{40})", used), used
        if used.startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert "${{ github.event" not in step.get("run", "")  # anybody may have written that


def test_nothing_is_published_unasked() -> None:
    release = read(ROOT / ".github/workflows/release.yml")
    assert release[True] == {"push": {"tags": ["v*"]}}  # `on` is true in YAML 1.1
    publish = release["jobs"]["publish"]
    assert publish["if"] == "${{ vars.PUBLISH == 'true' }}"
    assert publish["environment"]
    assert publish["permissions"] == {"id-token": "write"}
    others = [job for name, job in release["jobs"].items() if name != "publish"]
    assert not any("pypi-publish" in str(job) for job in others)


# Hooks


def tools(commands: list[str]) -> set[tuple[str, ...]]:
    """Programs of .venv that commands run, without flags that only say how."""
    found = set()
    for command in commands:
        for part in re.split(r"&&|\|\||;|\{", command):
            words = part.replace("$(BIN)/", ".venv/bin/").replace("@", "").split()
            if words and words[0].startswith(".venv/bin/"):
                how = ("--check", "--quiet", "-q")
                found.add(tuple(word for word in words if word not in how))
    return found


def test_hooks_run_what_make_check_runs_from_the_lock() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", makefile, re.M)
    repos = read(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    hooks = repos[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    checked = tools(recipe.splitlines())
    assert len(checked) >= 3
    own = tools([hook["entry"] for hook in hooks if "check_files" not in hook["entry"]])
    assert own == {command for command in checked if "check_files" not in str(command)}


def check_files(*files: Path) -> tuple[int, list[str]]:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "check_files.py"), *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not ran.stderr
    return ran.returncode, ran.stdout.splitlines()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\nb \n", ":2: ends in blanks"),
        (b"a\r\n", ":1: ends in blanks"),
        (b"a", ": does not end in a line break"),
        (b"a\n\n", ": ends in empty lines"),
        (b"<" * 7 + b" HEAD\n", ":1: marks a merge"),
        (b"a\n" + b"=" * 7 + b"\nb\n", ":2: marks a merge"),
        (b"a" * 1_000_001, ": has 1,000,001 bytes, more than 1,000,000"),
        (b"a\n" + b"=" * 8 + b"\n", None),
        (b"\0 \n\n", None),
        (b"", None),
    ],
)
def test_files_are_checked(tmp_path: Path, content: bytes, said: str | None) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    good = tmp_path / "good"
    good.write_text("fine\n")
    assert check_files(good, file, tmp_path / "gone") == (
        (0, []) if said is None else (1, [f"{file}{said}"])
    )


# Releases

CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.3] - 2026-01-31

### Added

- What is new.

## [1.2.2] - 2026-01-01

- Old.

## [1.2.1] - 2025-12-31

[1.2.3]: https://example.org
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of version 1.2.3."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "a"\ndynamic = ["version"]\n[tool.hatch.version]\npath = "a.py"\n'
    )
    (tmp_path / "a.py").write_text('"""A."""\n__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_a_release_prints_its_section(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("check_release").main(["v1.2.3"], tree) == 0
    assert capsys.readouterr().out == "### Added\n\n- What is new.\n"


@pytest.mark.parametrize("tag", ["v1.2.4", "1.2.3", "v1.2.3rc1"])
def test_another_tag_is_no_release(
    tree: Path, capsys: pytest.CaptureFixture[str], tag: str
) -> None:
    assert script("check_release").main([tag], tree) == 1
    assert capsys.readouterr().err == f"the tag is {tag}, the version 1.2.3: expected v1.2.3\n"


@pytest.mark.parametrize("version", ["1.2.1", "1.2.4", "1.2"])
def test_without_a_section_with_text_there_is_no_release(
    tree: Path, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    (tree / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
    assert script("check_release").main([f"v{version}"], tree) == 1
    assert "CHANGELOG.md has no section" in capsys.readouterr().err
    (tree / "CHANGELOG.md").unlink()
    assert script("check_release").main([f"v{version}"], tree) == 1


def test_the_version_of_this_tree_is_found() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", script("check_release").version(ROOT))


# Forms


def test_each_form_asks_under_names_of_its_own_and_problems_come_with_doctor() -> None:
    forms = {file.stem: read(file) for file in YAML if file.parent.name == "ISSUE_TEMPLATE"}
    assert not forms.pop("config")["blank_issues_enabled"]
    assert set(forms) == {"bug", "data", "feature"}
    for form in forms.values():
        assert form["name"]
        assert form["description"]
        asked = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        assert asked
        assert len(asked) == len(set(asked))
    for name in ("bug", "data"):
        assert "segue doctor --json" in str(forms[name]["body"])


# Papers


def test_the_citation_names_each_paper_with_its_authors() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == "Apache-2.0"
    for paper in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(paper)
