"""How long a file takes from its arrival to its first recommendation.

    python -m benchmarks.adding [--json] [--quick]

`segue add` of one sound file (200 seconds of stereo FLAC) to a bundle of the recipe `audio` with
200,000 tracks, and `segue continue` from the new track, each a process of its own as a shell
starts it: modules load, the bundle is verified, the file decoded and listened to, the bundle
written again and synced. Every round has another file, so nothing of it is kept from before. Beside
it: the same two steps within one process that has the bundle already, as a service has.

The bundle is trained on a small world; its other tracks are placed by drawn vectors, since what it
costs to add one does not depend on what the others are. pandas is hidden from the processes: segue
does not need it, but pyarrow imports it where it is installed, which takes a quarter of a second.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common.run import asked, machine, show
from segue.bundle import Bundle
from segue.data.dataset import Dataset
from segue.data.schema import TABLES
from segue.models.audio.model import Audio
from segue.operations.add_tracks import add
from segue.operations.train import train
from segue.queries import Query
from segue.recipe import load_recipe
from segue.reranking.list_stage import continue_playlist
from segue.simulation import World, make_world

TRACKS = 200_000
SECONDS, RATE = 200, 44_100
N = 20
_START = """
import sys
class Hidden:
    def find_spec(self, name, *rest):
        if name == "pandas":
            raise ImportError(name)
sys.meta_path.insert(0, Hidden())
from segue.cli import main
main()
"""


def make_bundle(folder: Path, tracks: int) -> Path:
    """A bundle of so many tracks, most of them placed by drawn vectors."""
    world = World(
        tracks=200, listeners=100, sessions=1000, playlists=20, audio=True, audio_seconds=5
    )
    make_world(folder / "world", world, seed=0)
    dataset = Dataset.open(folder / "world")
    bundle, _ = train(load_recipe("audio", ["epochs=2"]), dataset, progress=True)
    model = bundle.recommender
    assert isinstance(model, Audio)
    count = tracks - len(bundle.catalog)
    rng = np.random.default_rng(0)
    seen = model.vectors[rng.integers(len(model.vectors), size=count)]
    vectors = seen + rng.normal(0, seen.std(), seen.shape).astype(np.float32)
    columns: dict[str, Any] = {
        "uri": [f"artist {i // 10}/album/{i:06d}.flac" for i in range(count)],
        "title": [f"Title {i}" for i in range(count)],
        "artist": [f"Artist {i // 10}" for i in range(count)],
        "duration_ms": rng.integers(60_000, 400_000, count).astype(np.int32),
    }
    rows = {f.name: columns.get(f.name, pa.nulls(count, f.type)) for f in TABLES["tracks"]}
    bundle.recommender = model.with_tracks(pa.table(rows, schema=TABLES["tracks"]), vectors)
    bundle.save(folder / "bundle")
    return folder / "bundle"


def make_file(path: Path, seed: int) -> Path:
    """A stereo FLAC: a few tones under noise."""
    import av

    rng = np.random.default_rng(seed)
    t = np.arange(SECONDS * RATE, dtype=np.float32) / RATE
    tones = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(100, 2000, 4)) / 10
    noise = rng.normal(0, 0.05, (2, len(t)))
    samples = (32_767 * np.clip(tones + noise, -1, 1)).astype(np.int16)
    with av.open(str(path), "w") as file:
        file.metadata.update({"title": f"New {seed}", "artist": "Artist 7"})
        stream = file.add_stream("flac", rate=RATE, layout="stereo")
        stream.codec_context.format = "s16"
        for start in range(0, samples.shape[1], 4096):
            block = samples[:, start : start + 4096].T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block), format="s16", layout="stereo"
            )
            frame.sample_rate = RATE
            frame.pts = start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def _segue(words: Sequence[object], cache: Path) -> tuple[float, float]:
    """Run a verb in a process of its own: wall and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", _START, *map(str, words)],
        env={**os.environ, "SEGUE_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return wall, spent


def _inside(path: Path, file: Path, folder: Path) -> float:
    """Seconds of both steps where modules are loaded."""
    start = time.perf_counter()
    add(path, [file], out=folder / "inside")
    bundle = Bundle.load(folder / "inside")
    query = Query(tracks=[len(bundle.catalog) - 1])
    continue_playlist(bundle.recommender, query, N)
    return time.perf_counter() - start


def measure(quick: bool) -> dict[str, Any]:
    """All figures."""
    tracks, rounds = (TRACKS // 10, 2) if quick else (TRACKS, 7)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SEGUE_CACHE"] = str(folder / "cache")
        bundle = make_bundle(folder, tracks)
        found: dict[str, list[tuple[float, float]]] = {"segue add": [], "segue continue": []}
        inside = []
        for i in range(rounds + 1):  # the first compiles
            file = make_file(folder / f"new {i}.flac", i)
            words = ["continue", bundle, "--track", file.name, "-n", N]
            found["segue add"].append(_segue(["add", bundle, file], folder / "cache"))
            found["segue continue"].append(_segue(words, folder / "cache"))
            other = make_file(folder / f"inside {i}.flac", 1000 + i)
            inside.append(_inside(bundle, other, folder))
    both = np.array([found["segue add"], found["segue continue"]])[:, 1:]
    rows = [
        {"what": what, **_seconds(both[i, :, 0]), "processor s": float(np.median(both[i, :, 1]))}
        for i, what in enumerate(found)
    ]
    total = both.sum(axis=0)
    rows.append(
        {"what": "both", **_seconds(total[:, 0]), "processor s": float(np.median(total[:, 1]))}
    )
    rows.append({"what": "both, modules loaded", **_seconds(np.array(inside[1:]))})
    return {
        "ratio": 2 / float(np.median(total[:, 0])),
        "machine": machine(),
        "load": os.getloadavg()[0],
        "tracks": tracks,
        "rows": rows,
    }


def _seconds(values: Any) -> dict[str, float]:
    return {"median s": float(np.median(values)), "best s": float(values.min())}


def main() -> None:
    """Measure and print."""
    args = asked(__doc__, {})
    if args is None:
        return
    result = measure(args.quick)
    if args.json:
        json.dump(result, sys.stdout)
        return
    title = f"One file into a bundle of {result['tracks']:,} tracks, to its first recommendation"
    ratio = f"Ratio (2 s / both): {result['ratio']:.2f}"
    load = f"{result['machine']}; processes waiting for them: {result['load']:.1f}"
    show(title, result["rows"], ratio, load)


if __name__ == "__main__":
    main()
