"""The versions that an environment made by a test or a benchmark is held to."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def without_hashes(text: str) -> list[str]:
    """Requirements of a lock as ``pip -c`` takes them: a line each, with marker, without hashes."""
    lines = re.sub(r"\\\n", " ", text).splitlines()
    wanted = (re.sub(r"\s+--hash=\S+|(^|\s)#.*", "", line).strip() for line in lines)
    return [line for line in wanted if "==" in line and not line.startswith("-")]


def constraints() -> list[str]:
    """Exact versions: those of ``requirements/dev.txt``, which leaves torch out."""
    return without_hashes((ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"))
