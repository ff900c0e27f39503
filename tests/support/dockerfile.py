"""Reads a Dockerfile, and does by script what an engine would do, in a plain folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOTED = re.compile(r"(?<![\w.])/(?=(?:opt|build|data)\b)")
"""Paths of the image that steps name; they are moved below a folder."""


@dataclass
class Stage:
    """What comes between two FROM."""

    image: str
    name: str | None
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str:
        """What the last such instruction says."""
        return [text for name, text in self.steps if name == instruction][-1]

    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        words = [shlex.split(text) for name, text in self.steps if name == "ENV"]
        return dict(word.split("=", 1) for line in words for word in line)

    def command(self) -> list[str]:
        """ENTRYPOINT and CMD."""
        return [*json.loads(self.last("ENTRYPOINT")), *json.loads(self.last("CMD"))]

    def healthcheck(self) -> list[str]:
        """The command that tells whether it is healthy."""
        found: list[str] = json.loads(self.last("HEALTHCHECK").split("CMD", 1)[1])
        return found


def stages(file: Path) -> list[Stage]:
    """The stages of a Dockerfile."""
    lines = [
        line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    found: list[Stage] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, text = line.strip().partition(" ")
        if name == "FROM":
            image, _, stage = text.partition(" AS ")
            found.append(Stage(image, stage or None))
        elif name:
            found[-1].steps.append((name, text.strip()))
    return found


class Builder:
    """Runs the steps of stages below a folder instead of below /.

    Args:
        root: stands for / of the image.
        context: the source tree.
        python: stands for the Python of the base image.
    """

    def __init__(self, root: Path, context: Path, python: Path) -> None:
        self.root, self.context = root, context
        self.shims = root / "shims"
        self.shims.mkdir(parents=True)
        (self.shims / "python").symlink_to(python)

    def moved(self, text: str) -> str:
        """A step's text with the image's paths below the folder."""
        return ROOTED.sub(f"{self.root}/", text)

    def run(self, stage: Stage) -> None:
        """Do what a stage says of files: WORKDIR, COPY and RUN."""
        place = self.root
        for name, text in stage.steps:
            if name == "WORKDIR":
                place = Path(self.moved(text))
                place.mkdir(parents=True, exist_ok=True)
            elif name == "COPY":
                self._copy(text, place)
            elif name == "RUN":
                self._shell(self.moved(text), place)

    def _copy(self, text: str, place: Path) -> None:
        words = shlex.split(text)
        flags = [word for word in words if word.startswith("--")]
        *sources, target = [word for word in words if word not in flags]
        aside = any(flag.startswith("--from=") for flag in flags)
        to = place / self.moved(target)
        for source in sources:
            path = Path(self.moved(source)) if aside else self.context / source
            if path == to:
                continue  # the stages share the folder
            if path.is_dir():
                shutil.copytree(path, to, dirs_exist_ok=True, ignore=_no_caches)
            elif target.endswith("/"):
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to)
            else:
                shutil.copy(path, to)

    def _shell(self, command: str, place: Path) -> None:
        kept = {"HOME", "TMPDIR", "LANG"}
        variables = {k: v for k, v in os.environ.items() if k in kept or k.startswith("PIP_")}
        variables["PATH"] = f"{self.shims}:/usr/local/bin:/usr/bin:/bin"
        ran = subprocess.run(
            ["/bin/sh", "-euc", command],
            cwd=place, env=variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode:
            raise RuntimeError(f"{command}: {ran.stdout}{ran.stderr}")


def _no_caches(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__" or name.endswith(".egg-info")}
