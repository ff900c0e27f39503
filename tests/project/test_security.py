"""What SECURITY.md promises of the network; and that each test which it names is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import segue

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = {
    *("aiohttp", "ftplib", "http.client", "httpx", "imaplib", "poplib", "requests"),
    *("smtplib", "telnetlib", "urllib.request", "urllib3", "websockets", "xmlrpc"),
}
"""Modules that ask the network."""
CACHE = "huggingface_hub.try_to_load_from_cache"
"""The one thing that may be used of a library which downloads: it looks at the disk."""


def imported(file: Path) -> set[str]:
    """Modules that a file imports, and those above them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    parts = [name.split(".") for name in names]
    return {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}


def test_no_module_can_ask_the_network() -> None:
    for file in Path(segue.__file__).parent.rglob("*.py"):
        names = imported(file)
        assert not names & CLIENTS, file
        assert {name for name in names if name.startswith("huggingface_hub.")} <= {CACHE}, file


MAIN_JOB = """
import sys

asked = []
sys.addaudithook(lambda event, values: asked.append((event, values)) if event in (
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto") else None)

from segue.cli import main

def segue(*arguments):
    sys.argv = ["segue", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (arguments, end.code)

segue("world", "--dataset", "d", "--tracks", "200", "--listeners", "20", "--sessions", "100",
      "--playlists", "200", "--seed", "1")
segue("describe", "d")
segue("train", "item-knn", "d", "--bundle", "b", "--holdout", "challenge")
segue("evaluate", "b", "d", "--protocol", "challenge")
segue("continue", "b", "--title", "night", "-n", "3")
segue("doctor")
assert not asked, asked
"""


def test_the_main_job_opens_no_connection(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", MAIN_JOB], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


NAMED = re.findall(
    r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8")
)


def test_each_promise_names_its_tests() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!promise|-)(.*) \| (.*) \|$", text, re.M)
    assert len(rows) >= 9
    for promise, tests in rows:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", tests), promise


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_each_test_that_is_named_is_there(file: str, test: str) -> None:
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.M)
