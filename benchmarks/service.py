"""How many answers a second the service gives on this machine, whose cores the client shares.

    python -m benchmarks.service [--json] [--quick] [--bundle KIND=FOLDER]...

A world of 200,000 tracks, bundles of the recipes `wrmf` (as it is, with 512 factors, and with 128)
and `two-stage` trained on it, and for each a `segue serve` of its own, asked by wrk (package `wrk`
of Debian): histories of 1 to 25 tracks drawn by popularity, 20 tracks with reasons answered. Beside
them, in the same run, the peer: `implicit` with the same vectors behind a plain FastAPI route,
which answers without names and reasons. The ratio is the service's requests per second by `wrmf`
against the peer's.

KIND is `wrmf`, `wrmf-128` or `two-stage`: bundles that are there already are taken instead of
training.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.run import machine, show
from segue.bundle import Bundle
from segue.data.dataset import Dataset
from segue.models.wrmf.model import WRMF
from segue.operations.train import train
from segue.recipe import load_recipe
from segue.simulation import World, make_world

HISTORIES = (1, 5, 10, 25)
QUERIES = 3000
SECONDS, QUICK_SECONDS = 10, 4
CONNECTIONS = {"wrmf": (1, 8, 12), "wrmf-128": (1, 8, 16), "two-stage": (1, 2)}
SETTINGS = {"wrmf": (), "wrmf-128": ("factors=128",), "two-stage": ()}
WANTED = "wanted: wrmf 300/s with p99 below 50 ms; two-stage 20/s with p99 below 150 ms"
ASK = """
local bodies, at = {}, 0
function init(args)
  for line in io.lines(QUERIES) do bodies[#bodies + 1] = line end
end
function request()
  at = at % #bodies + 1
  return wrk.format("POST", "/v1/continue", {["content-type"] = "application/json"}, bodies[at])
end
"""
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def make_bundles(folder: Path, quick: bool, kinds: Sequence[str]) -> dict[str, Path]:
    """Bundles trained on one world."""
    if not kinds:
        return {}
    tracks, playlists = (20_000, 3_000) if quick else (200_000, 30_000)
    sizes = World(tracks=tracks, listeners=0, sessions=0, playlists=playlists)
    make_world(folder / "world", sizes, seed=0)
    dataset = Dataset.open(folder / "world")
    made = {}
    for kind in kinds:
        print(f"training {kind}", file=sys.stderr, flush=True)
        recipe = load_recipe(kind.removesuffix("-128"), SETTINGS[kind])
        bundle, _ = train(recipe, dataset, progress=True)
        made[kind] = folder / kind
        bundle.save(made[kind])
    return made


def write_queries(bundle: Bundle, file: Path) -> None:
    """A body of a request in each line."""
    rng = np.random.default_rng(0)
    plays = bundle.catalog.plays.astype(np.float64)
    chance, uris = plays / plays.sum(), bundle.catalog.uris
    with file.open("w", encoding="utf-8") as out:
        for _ in range(QUERIES):
            rows = rng.choice(len(uris), rng.choice(HISTORIES), p=chance, replace=False)
            out.write(json.dumps({"tracks": [uris[row] for row in rows], "n": 20}) + "\n")


@contextlib.contextmanager
def serving(*command: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that says its address on stderr; it ends with the block."""
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env=os.environ | {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://\S+:\d+", line):
                break
            print(line, end="", file=sys.stderr)
        else:
            raise SystemExit(f"{command[0]} ended before it listened")
        yield found[0], process
    finally:
        process.terminate()
        process.wait()


def load(address: str, queries: Path, connections: int, seconds: int) -> dict[str, Any]:
    """What wrk finds."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".lua") as script:
        script.write(ASK.replace("QUERIES", json.dumps(str(queries))))
        script.flush()
        told = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script.name,
             address],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    shares = {
        f"p{share} ms": float(value) * _MS[unit]
        for share, value, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", told, re.M)
    }
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    assert rate is not None
    return {
        "connections": connections,
        "requests/s": float(rate[1]),
        **shares,
        "errors": int(errors[1]) if errors else 0,
    }


def memory_mb(process: subprocess.Popen[str]) -> float:
    """Peak resident memory of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    return int(peak[1]) / 1024 if peak else float("nan")


def rungs(address: str) -> str:
    """Who gave the answers, as the service counted them."""
    with urllib.request.urlopen(f"{address}/metrics") as reply:
        counts = re.findall(
            r'segue_answers_total\{rung="([^"]+)"\} ([\d.]+)', reply.read().decode()
        )
    total = sum(float(n) for _, n in counts)
    return ", ".join(f"{rung} {float(n) / total:.1%}" for rung, n in counts)


def measure(bundles: dict[str, Path], folder: Path, seconds: int) -> dict[str, Any]:
    """All figures."""
    rows: list[dict[str, Any]] = []
    best: dict[str, float] = {}
    tracks = 0
    for kind, path in bundles.items():
        bundle = Bundle.load(path)
        tracks = len(bundle.catalog)
        queries = folder / f"{kind}.txt"
        write_queries(bundle, queries)
        systems: dict[str, tuple[object, ...]] = {
            f"segue, {kind}": (
                Path(sys.executable).with_name("segue"), "serve", path, "--port", 0,
                "--data", folder / f"{kind}.service",
            )
        }  # fmt: skip
        if kind == "wrmf":
            model = bundle.recommender
            assert isinstance(model, WRMF)
            np.savez(folder / "vectors.npz", vectors=model.vectors, uris=bundle.catalog.uris)
            peer = (sys.executable, "-m", "benchmarks.peers.service", folder / "vectors.npz")
            systems["implicit behind FastAPI"] = peer
        del bundle
        for name, command in systems.items():
            start = time.perf_counter()
            with serving(*command) as (address, process):
                ready = time.perf_counter() - start
                load(address, queries, 4, 2)  # compiles, and fills caches
                for connections in CONNECTIONS[kind]:
                    row = {"system": name, **load(address, queries, connections, seconds)}
                    rows.append(row)
                    best[name] = max(best.get(name, 0.0), row["requests/s"])
                rows[-1] |= {"peak MB": memory_mb(process), "s to ready": ready}
                if name.startswith("segue"):
                    rows[-1]["answered by"] = rungs(address)
    ours, peers = (best.get(name, 0.0) for name in ("segue, wrmf", "implicit behind FastAPI"))
    ratio = ours / peers if peers else None
    return {"ratio": ratio, "rows": rows, "tracks": tracks, "machine": machine()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, short runs")
    parser.add_argument("--bundle", action="append", default=[], metavar="KIND=FOLDER")
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not here: apt-get install wrk")
    given = {kind: Path(path) for kind, _, path in (text.partition("=") for text in args.bundle)}
    seconds = QUICK_SECONDS if args.quick else SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        missing = [] if given else list(CONNECTIONS)
        result = measure(given | make_bundles(folder, args.quick, missing), folder, seconds)
    if args.json:
        json.dump(result, sys.stdout)
        return
    title = f"Answers over HTTP, {result['tracks']:,} tracks, {result['machine']}"
    show(title, result["rows"], f"Ratio (wrmf / peer): {result['ratio']}", WANTED)


if __name__ == "__main__":
    main()
