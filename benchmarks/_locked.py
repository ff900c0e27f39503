"""The versions that an environment made by a test or a benchmark is held to."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def without_hashes(text: str) -> list[str]:
    """Requirements of a lock as ``pip -c`` takes them: a line each, with marker, without hashes."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    wanted = (re.sub(r"\s+--hash=\S+|(^|\s)#.*", "", line).strip() for line in lines)
    return [line for line in wanted if "==" in line and not line.startswith("-")]


def constraints(root: Path = ROOT) -> list[str]:
    """Exact versions: those of ``requirements/dev.txt``, else what runs here has installed.

    torch keeps its release alone: which build of it is taken is for whoever installs it to say.
    """
    lock = root / "requirements" / "dev.txt"
    if lock.is_file():
        return without_hashes(lock.read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "pip", "freeze", "--exclude-editable"]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [re.sub(r"\+.*", "", line) for line in without_hashes(frozen) if line[:1].isalnum()]
