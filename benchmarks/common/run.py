"""What the benchmarks share: where they ran, children, tables.

Importing this needs nothing but Python, so that peers in environments of their own can.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def machine() -> str:
    """Processor, cores, Python: what a figure needs beside it."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if linux else os.cpu_count()
    return f"{name}, {cores} cores, Python {platform.python_version()}"


def child(
    module: str, *words: object, python: Path | str = sys.executable, **environment: str
) -> dict[str, Any]:
    """Run ``python -m module words...`` alone and read the JSON on its last line."""
    done = subprocess.run(
        [str(python), "-m", module, *map(str, words)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def asked(
    description: str | None, children: Mapping[str, Callable[..., Any]]
) -> argparse.Namespace | None:
    """Arguments of a benchmark with children; None where this is a child, which has answered.

    Args:
        description: of the benchmark.
        children: what ``--child NAME FOLDER SIZE...`` does, by name.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, few queries")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        what, folder, *sizes = args.child
        print(json.dumps(children[what](Path(folder), *map(int, sizes))))
        return None
    return args


def peak_mb() -> float:
    """Peak resident memory of this process so far, MB; NaN on Windows."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def show(title: str, rows: Sequence[Row], *notes: str) -> None:
    """Print rows as a table, floats to three digits."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
