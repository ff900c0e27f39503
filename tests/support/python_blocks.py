"""Runs the Python blocks of a page as they are written, and compares what they print.

The blocks of a page that are marked ``python`` run in order, in one Python and one folder, which
holds what `prepare` writes. Where a block is followed by one marked ``text``, that is what it
prints, by the rules of `support.tutorials`. A comment above a block says why it is left out:
``<!-- not run: REASON -->``.

``python tests/support/python_blocks.py PAGE...`` prints what the blocks of pages print.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
SECONDS = 600
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>\S[^\n]*) -->\n\n?)?^```python\n(?P<code>.*?)^```\n"
    r"(?:\n*^```text\n(?P<shown>.*?)^```$)?",
    re.M | re.S,
)
_DRIVER = """
import contextlib, io, json, sys
blocks = json.load(open(sys.argv[1], encoding="utf-8"))
names = {"__name__": "__main__"}
printed = []
for line, code in blocks:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\\n" * (line - 1) + code, sys.argv[2], "exec"), names)
    printed.append(out.getvalue())
json.dump(printed, open(sys.argv[1], "w", encoding="utf-8"))
"""


@dataclass(frozen=True)
class Block:
    """A block of Python.

    Attributes:
        code: what it says.
        line: of the page, from 1.
        shown: what the page says that it prints; None: it does not say.
        reason: why it is not run; None: it is.
    """

    code: str
    line: int
    shown: str | None
    reason: str | None


def blocks(page: Path) -> list[Block]:
    """The Python blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found["code"],
            text.count("\n", 0, found.start("code")) + 1,
            found["shown"],
            found["reason"],
        )
        for found in _BLOCK.finditer(text)
    ]


def prepare(folder: Path) -> None:
    """Write what blocks may read: ``plays.parquet``, and ``wrmf``, a bundle trained on it."""
    import pyarrow.parquet as pq

    import segue
    from segue.simulation import World, make_world

    made = World(tracks=300, listeners=100, sessions=2400, playlists=0)
    make_world(folder / "world", made, seed=1)
    world = segue.Dataset.open(folder / "world")
    names = world.to_arrow("tracks").select(["uri", "artist", "title"])
    listens = world.to_arrow("listens").select(["listener", "track", "time", "outcome"])
    plays = listens.join(names, "track", "uri").sort_by(
        [(n, "ascending") for n in listens.schema.names[:3:2]]
    )
    plays = plays.rename_columns(["user", "item", "ts", "how", "artist", "title"])
    pq.write_table(plays, folder / "plays.parquet")
    columns = {"listener": "user", "track": "item", "time": "ts", "outcome": "how"}
    settings = {"gap_minutes": 30}
    segue.ingest(
        "parquet", folder / "plays.parquet", folder / "plays", columns=columns, settings=settings
    )
    model = segue.train("wrmf", folder / "plays", settings={"factors": 32})
    segue.save(model, folder / "wrmf")


def run(page: Path, folder: Path) -> list[tuple[Block, str]]:
    """Run a page's blocks in a folder: each that is run, with what it printed.

    Raises:
        AssertionError: a block fails.
    """
    wanted = [block for block in blocks(page) if block.reason is None]
    exchange = folder / "blocks.json"
    exchange.write_text(json.dumps([(b.line, b.code) for b in wanted]), encoding="utf-8")
    paths = [str(SOURCE), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", _DRIVER, exchange.name, page.name],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{page}: {done.stderr}"
    printed = json.loads(exchange.read_text(encoding="utf-8"))
    return list(zip(wanted, printed, strict=True))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as place:
            prepare(Path(place))
            for block, out in run(Path(name).resolve(), Path(place)):
                print(f"--- {name}:{block.line}", out, sep="\n")
