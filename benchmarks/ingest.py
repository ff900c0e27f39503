"""How fast MPD slices become a dataset, beside plain ways to do it, and in how much memory.

``python -m benchmarks.ingest [--json] [SOURCE...]``

Every figure is of a fresh process. MB are megabytes of raw slice JSON; a rate is per second of
processor time (all threads together), so it is per core. Peers decode the same bytes with the
standard library and with msgspec, once alone and once on to the same three Parquet tables, written
the plain way from everything in memory. Without SOURCE, slices are made: 1,000 playlists each, the
lengths and the popularity of the Million Playlist Dataset, every official field, seeded.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common.run import child, machine, peak_mb, show
from segue.data.ingestion.ingest import ingest
from segue.data.writer import writing_dataset

SLICES = 12
PLAYLISTS, TRACKS, ENTRIES = 1_000_000, 2_262_292, 66_346_428
"""Of the whole Million Playlist Dataset."""


def _id(number: int) -> str:
    """22 characters that look random, as Spotify has them."""
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 16**22:022x}"


def _track(track: int) -> str:
    artist, album = track // 8, track // 3
    return (
        f'"artist_name": "Artist {artist}", "track_uri": "spotify:track:{_id(track)}", '
        f'"artist_uri": "spotify:artist:{_id(artist)}", "track_name": "Name of track {track}", '
        f'"album_uri": "spotify:album:{_id(album)}", "duration_ms": {120_000 + track % 180_000}, '
        f'"album_name": "Name of the album {album}"'
    )


def make_slices(folder: Path, slices: int, seed: int = 0) -> None:
    """Write slices of MPD shape: 66 tracks a playlist on average, popularity as 1 / rank."""
    random = np.random.default_rng(seed)
    known: dict[int, str] = {}
    for first in range(0, slices * 1000, 1000):
        playlists = []
        for pid in range(first, first + 1000):
            length = int(np.clip(random.lognormal(3.9, 0.8), 5, 376))
            drawn = np.exp(random.random(length) * np.log(TRACKS)).astype(int)
            for track in set(drawn.tolist()) - known.keys():
                known[track] = _track(track)
            tracks = ", ".join(f'{{"pos": {i}, {known[t]}}}' for i, t in enumerate(drawn.tolist()))
            playlists.append(
                f'{{"name": "playlist {pid % 977}", "collaborative": "false", "pid": {pid}, '
                f'"modified_at": 1493424000, "num_tracks": {length}, "num_albums": {length}, '
                f'"num_followers": 1, "num_edits": 2, "duration_ms": 1, "num_artists": {length}, '
                f'"tracks": [{tracks}]}}'
            )
        info = f'{{"slice": "{first}-{first + 999}", "version": "v1"}}'
        path = folder / f"mpd.slice.{first}-{first + 999}.json"
        path.write_text(f'{{"info": {info}, "playlists": [{", ".join(playlists)}]}}')


def _segue(paths: list[Path], folder: Path) -> dict[str, Any]:
    receipt = ingest("mpd", paths, folder / "dataset")
    return {"entries": receipt.notes["tracks in playlists"], "playlists": receipt.kept}


def _decode(decode: Callable[[bytes], Any]) -> Callable[[list[Path], Path], dict[str, Any]]:
    def run(paths: list[Path], folder: Path) -> dict[str, Any]:
        for path in paths:
            decode(path.read_bytes())
        return {}

    return run


def _tables(decode: Callable[[bytes], Any]) -> Callable[[list[Path], Path], dict[str, Any]]:
    """The plain way: everything in lists, then three tables."""

    def run(paths: list[Path], folder: Path) -> dict[str, Any]:
        index: dict[str, int] = {}
        tracks: list[dict[str, Any]] = []
        playlists: list[dict[str, Any]] = []
        owner: list[int] = []
        position: list[int] = []
        entry: list[int] = []
        for path in paths:
            for playlist in decode(path.read_bytes())["playlists"]:
                for i, track in enumerate(playlist.pop("tracks")):
                    uri = track["track_uri"]
                    if uri not in index:
                        index[uri] = len(index)
                        tracks.append(track)
                    owner.append(len(playlists))
                    position.append(i)
                    entry.append(index[uri])
                playlists.append(playlist)
        entries = {"playlist": owner, "position": position, "track": entry}
        for name, table in (
            ("tracks", pa.Table.from_pylist(tracks)),
            ("playlists", pa.Table.from_pylist(playlists)),
            ("playlist_tracks", pa.table({k: pa.array(v, pa.int32()) for k, v in entries.items()})),
        ):
            pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
        return {}

    return run


def _index(paths: list[Path], folder: Path) -> dict[str, Any]:
    """What is held for the whole million: the index of track uris, and the pids."""
    pids = set(range(PLAYLISTS))
    with writing_dataset(folder / "index") as writer:
        for start in range(0, TRACKS, 66_000):
            uris = [f"spotify:track:{_id(t)}" for t in range(start, min(start + 66_000, TRACKS))]
            writer.track_ids(uris, lambda i: ["name", *[None] * 6])
        writer.finish([], simulated=True)
    return {"playlists": len(pids)}


def _make(paths: list[Path], folder: Path) -> dict[str, Any]:
    make_slices(paths[0], SLICES)
    return {}


OURS = "segue ingest"
PEERS = ("json.loads + tables", "msgspec untyped + tables")
DECODERS = ("json.loads, decode only", "msgspec untyped, decode only")
INDEX = "index of the whole MPD"
MAKER = "make slices"
RUNS: dict[str, Callable[[list[Path], Path], dict[str, Any]]] = {
    OURS: _segue,
    PEERS[0]: _tables(json.loads),
    PEERS[1]: _tables(msgspec.json.decode),
    DECODERS[0]: _decode(json.loads),
    DECODERS[1]: _decode(msgspec.json.decode),
    INDEX: _index,
    MAKER: _make,
}


def _child(name: str, paths: list[Path]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        cpu, wall = time.process_time(), time.perf_counter()
        more = RUNS[name](paths, Path(folder))
        seconds, elapsed = time.process_time() - cpu, time.perf_counter() - wall
        if name == OURS:
            more["tracks"] = pq.read_metadata(Path(folder, "dataset", "tracks.parquet")).num_rows
    return {"system": name, "cpu_s": seconds, "wall_s": elapsed, "peak_mb": peak_mb(), **more}


def measure(name: str, paths: list[Path], repeats: int = 1) -> dict[str, Any]:
    """The fastest of some runs, each in a fresh process."""
    runs = [child("benchmarks.ingest", "--child", name, *paths) for _ in range(repeats)]
    best = min(runs, key=lambda run: run["cpu_s"])
    size = sum(path.stat().st_size for path in paths) / 1e6
    return {**best, "mb": size, "mb_per_s": size / best["cpu_s"]}


def benchmark(paths: list[Path]) -> dict[str, Any]:
    """All figures as one object."""
    rows = [measure(name, paths, 3) for name in (OURS, *PEERS, *DECODERS)]
    for row in rows:
        row["ratio"] = rows[0]["mb_per_s"] / row["mb_per_s"]
    parts = [max(1, len(paths) // 4), max(1, len(paths) // 2), len(paths)]
    memory = [measure(OURS, paths[:n]) for n in parts]
    result: dict[str, Any] = {
        "machine": machine(),
        "ratio": min(row["ratio"] for row in rows if row["system"] in PEERS),
        "rows": rows,
        "memory": memory,
        "index_mb": measure(INDEX, [])["peak_mb"],
    }
    more_tracks = memory[-1]["tracks"] - memory[0]["tracks"]
    if more_tracks > 0:
        slope = (memory[-1]["peak_mb"] - memory[0]["peak_mb"]) * 2**20 / more_tracks
        rest = TRACKS - memory[-1]["tracks"]
        # The pids are few beside the tracks in a part, and not in the whole: they come on top.
        pids = (sys.getsizeof(set(range(PLAYLISTS))) + PLAYLISTS * sys.getsizeof(1)) / 2**20
        result["bytes_per_track"] = slope
        result["bound_mb"] = memory[-1]["peak_mb"] + max(slope, 0) * rest / 2**20 + pids
    return result


def print_tables(result: dict[str, Any]) -> None:
    """The figures for people."""
    rows = [
        {
            "": row["system"],
            "MB/s": round(row["mb_per_s"]),
            "peak MB": round(row["peak_mb"]),
            "segue is times as fast": round(row["ratio"], 2),
        }
        for row in result["rows"]
    ]
    size = result["rows"][0]["mb"]
    show(f"Ingest of {size:.0f} MB of raw slices, a core", rows, result["machine"], "")
    names = ("mb", "playlists", "entries", "tracks", "peak_mb")
    memory = [{name: round(row[name]) for name in names} for row in result["memory"]]
    notes = []
    if "bound_mb" in result:
        notes = [
            f"{result['bytes_per_track']:.0f} bytes a track: {PLAYLISTS:,} playlists of "
            f"{TRACKS:,} tracks, {ENTRIES:,} entries, need {result['bound_mb']:,.0f} MB",
            f"(their index alone, made here, peaks at {result['index_mb']:,.0f} MB)",
        ]
    show("Peak memory of segue ingest", memory, *notes)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ingest", description="Ingest of MPD slices beside plain ways."
    )
    parser.add_argument("source", nargs="*", type=Path, help="folders of plain slices, or slices")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_child(arguments.child, arguments.source)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.source:
            # In a child as well: a large parent would show in the memory of the children.
            child("benchmarks.ingest", "--child", MAKER, folder)
        sources = arguments.source or [Path(folder)]
        paths = [path for source in sources for path in _slices(source)]
        result = benchmark(paths)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        print_tables(result)


def _slices(source: Path) -> list[Path]:
    return sorted(source.glob("mpd.slice.*.json")) if source.is_dir() else [source]


if __name__ == "__main__":
    main()
