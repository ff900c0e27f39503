"""What an installation takes: megabytes, packages and seconds, of the core and of each extra.

    python -m benchmarks.install_size [--json] [--answer-only]

Builds the wheel and, for the core and for every extra, downloads what it needs (`pip download`) and
installs that into an empty environment (`pip install --no-index`), so that the two times stand
apart: both together are an installation with an empty cache of pip, the second one with a full
one. Versions are those of the lock. Then, with the core alone and nothing compiled yet: from a CSV
file to the first answer.

Run by hand: it needs a package index and some gigabytes of disk, and takes several minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.locked import ROOT, constraints
from benchmarks.common.run import machine
from benchmarks.common.tables import Table

MB = 1_000_000
LEFT_OUT = ("dev", "gpu")
"""Extras that are not measured: for development, and of gigabytes."""
OWN = {"pip", "setuptools", "wheel"}
"""What an empty environment holds already."""
RECIPES = ("user-knn", "wrmf")
_SIZES = """
import importlib.metadata, json, os
sizes = {}
for some in importlib.metadata.distributions():
    files = {os.path.realpath(some.locate_file(file)) for file in some.files or ()}
    sizes[some.metadata["Name"]] = sum(os.path.getsize(f) for f in files if os.path.isfile(f))
print(json.dumps(sizes))
"""


def python_of(environment: Path) -> Path:
    """Its interpreter."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def outside(**more: str) -> dict[str, str]:
    """The environment variables of somebody who has no source tree."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more


def pip(environment: Path, *words: object, **more: str) -> float:
    """Run pip quietly; seconds."""
    start = time.perf_counter()
    command = [str(python_of(environment)), "-m", "pip", "--quiet", *map(str, words)]
    subprocess.run(command, env=outside(**more), stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def build(folder: Path) -> Path:
    """The wheel of this tree."""
    tools = folder / "tools"
    venv.create(tools, with_pip=True)
    pip(tools, "install", "build")
    command = [str(python_of(tools)), "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, env=outside(), stdout=subprocess.DEVNULL, check=True)
    (wheel,) = folder.glob("segue-*.whl")
    return wheel


def sizes(environment: Path) -> dict[str, int]:
    """Bytes of every package that was installed, compiled modules included."""
    command = [str(python_of(environment)), "-c", _SIZES]
    found = subprocess.run(command, env=outside(), stdout=subprocess.PIPE, check=True).stdout
    return {name: size for name, size in json.loads(found).items() if name not in OWN}


def installation(folder: Path, wheel: Path, extra: str, versions: Path) -> dict[str, Any]:
    """Install the wheel with an extra into a new environment."""
    environment, files = folder / f"env-{extra or 'core'}", folder / f"files-{extra or 'core'}"
    venv.create(environment, with_pip=True)
    wanted = f"{wheel}[{extra}]" if extra else wheel
    download = pip(
        environment, "download", "-d", files, "-c", versions, wanted, PIP_NO_CACHE_DIR="1"
    )
    fetched = sum(file.stat().st_size for file in files.iterdir() if file.name != wheel.name)
    install = pip(
        environment, "install", "--no-index", "--find-links", files, "-c", versions, wanted
    )
    return {
        "extra": extra,
        "download_mb": fetched / MB,
        "download_seconds": download,
        "install_seconds": install,
        "packages": {name: size / MB for name, size in sizes(environment).items()},
    }


def write_playlists(file: Path, playlists: int = 1000, tracks: int = 2000) -> None:
    """Playlists of twenty tracks each, half of even tracks and half of odd ones."""
    rng = random.Random(1)
    with file.open("w", encoding="utf-8") as out:
        out.write("playlist,playlist_title,track,title,artist\n")
        for p in range(playlists):
            for t in rng.sample(range(p % 2, tracks, 2), 20):
                out.write(f"{p},music {p % 9},song:{t},Song {t},Artist {t % 97}\n")


def first_answer(environment: Path, folder: Path, recipe: str) -> dict[str, Any]:
    """Seconds from a CSV file to the first answer, nothing compiled before, and once more."""
    folder.mkdir()
    write_playlists(folder / "playlists.csv")
    steps = {
        "ingest": ["ingest", "csv", "playlists.csv", "--dataset", "data"],
        "train": ["train", recipe, "data", "--bundle", "bundle"],
        "continue": ["continue", "bundle", "--track", "song:2"],
    }
    command = [str(python_of(environment)), "-c", "from segue.cli import main; main()"]
    variables = outside(NUMBA_CACHE_DIR=str(folder / "compiled"))
    found: dict[str, Any] = {"recipe": recipe}
    for when in ("cold", "warm"):
        found[when] = {}
        for name, words in steps.items():
            start = time.perf_counter()
            subprocess.run(
                [*command, *words], cwd=folder, env=variables, capture_output=True, check=True
            )
            found[when][name] = time.perf_counter() - start
    return found


def report(rows: list[Mapping[str, Any]], answers: list[Mapping[str, Any]]) -> str:
    """Two tables as Markdown."""
    core = rows[0]["packages"]
    lines = []
    for row in rows:
        new = {name: mb for name, mb in row["packages"].items() if name not in core}
        shown = new if row["extra"] else core
        largest = sorted(shown, key=lambda name: -shown[name])[:5]
        lines.append(
            [
                f"`{row['extra']}`" if row["extra"] else "core",
                f"{sum(shown.values()):,.0f}",
                f"{len(shown)}",
                f"{row['download_mb'] - (rows[0]['download_mb'] if row['extra'] else 0):,.0f}",
                f"{row['download_seconds']:.0f}",
                f"{row['install_seconds']:.0f}",
                ", ".join(f"{name} {shown[name]:,.0f}" for name in largest if shown[name] >= 1)
                or "-",
            ]
        )
    head = ["", "MB added", "packages added", "MB downloaded", "s to download", "s to install"]
    size = Table("Size", [*head, "largest, MB"], lines)
    table = Table(
        "From a CSV file to the first answer, in seconds",
        ["recipe", "compiled code", "ingest", "train", "continue", "all", "with the install"],
        [
            [
                f"`{answer['recipe']}`",
                {"cold": "none yet", "warm": "kept"}[when],
                *(f"{seconds:.1f}" for seconds in answer[when].values()),
                f"{sum(answer[when].values()):.0f}",
                f"{sum(answer[when].values()) + answer['install']:.0f}" if when == "cold" else "",
            ]
            for answer in answers
            for when in ("cold", "warm")
        ],
    )
    return "\n".join(some.markdown() for some in (size, table) if some.rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--answer-only", action="store_true", help="the core alone, no extras")
    given = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for name in project["optional-dependencies"] if name not in LEFT_OUT]
    with tempfile.TemporaryDirectory(prefix="segue-install-") as place:
        folder = Path(place)
        wheel = build(folder)
        versions = folder / "constraints.txt"
        versions.write_text("\n".join(constraints()))
        rows = []
        for extra in ["", *(() if given.answer_only else extras)]:
            print(f"installing {extra or 'core'}", file=sys.stderr, flush=True)
            rows.append(installation(folder, wheel, extra, versions))
        core = folder / "env-core"
        answers = [first_answer(core, folder / recipe, recipe) for recipe in RECIPES]
    for answer in answers:
        answer["install"] = rows[0]["download_seconds"] + rows[0]["install_seconds"]
    if given.json:
        print(json.dumps({"machine": machine(), "rows": rows, "answers": answers}))
        return
    print(f"{machine()}\n\n{report(rows, answers)}")


if __name__ == "__main__":
    main()
