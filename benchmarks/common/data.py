"""The one maker of data for benchmarks: the shape of the Million Playlist Dataset, seeded.

The rows come from the simulated world, so nothing has to be downloaded and every machine measures
the same.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.compute as pc
import scipy.sparse as sp

from segue.data.dataset import Dataset
from segue.simulation import catalog as music
from segue.simulation import playlists as lists
from segue.system.files import write_file

_PLAYLISTS_AT_ONCE = 1 << 12
_SLICE = 1000


def cache_folder() -> Path:
    """Where made data stays between runs: $SEGUE_BENCH_CACHE, or a folder for temporary files."""
    return Path(os.environ.get("SEGUE_BENCH_CACHE", Path(tempfile.gettempdir()) / "segue-bench"))


def mpd_shape(playlists: int = 100_000, tracks: int = 200_000, seed: int = 0) -> sp.csr_matrix:
    """Which playlist has which track, as ones. (playlists, tracks) float32

    At the default sizes 6.6 million entries, median length 57, 1 % of the tracks with 38 % of the
    entries. Made once (about 10 s), then read from `cache_folder`.
    """
    code = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (lists, music))
    version = hashlib.sha256(f"{np.__version__} {code}".encode()).hexdigest()[:12]
    file = cache_folder() / f"mpd-shape-{playlists}x{tracks}-{seed}-{version}.npz"
    if file.is_file():
        return sp.load_npz(file)
    catalog = music.make_music(tracks, seed)
    chunks = [
        lists.draw_playlists(catalog, seed, chunk, min(_PLAYLISTS_AT_ONCE, playlists - start))
        for chunk, start in enumerate(range(0, playlists, _PLAYLISTS_AT_ONCE))
    ]
    entries = np.concatenate([chunk.tracks for chunk in chunks])
    ends = np.cumsum(np.concatenate([chunk.lengths for chunk in chunks]))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    shape = sp.csr_matrix(
        (np.ones(len(entries), np.float32), entries, offsets), shape=(playlists, tracks)
    )
    shape.sort_indices()
    packed = io.BytesIO()
    sp.save_npz(packed, shape, compressed=False)
    write_file(file, packed.getvalue())
    return shape


def holdout(
    plays: sp.csr_matrix, queries: int = 10_000, share: float = 0.2, seed: int = 0
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Hide a share of the entries of some rows: (train, test), of the shape of `plays`.

    Args:
        plays: rows with at least two entries may become queries.
        queries: rows to hide entries of; each hides at least one and keeps at least one.
        share: of a row's entries to hide.
    """
    rng = np.random.default_rng(seed)
    counts = np.diff(plays.indptr)
    rows = rng.choice(np.flatnonzero(counts >= 2), queries, replace=False)
    hide = np.zeros(plays.shape[0], np.int64)
    hide[rows] = np.clip(np.rint(share * counts[rows]), 1, counts[rows] - 1)
    owner = np.repeat(np.arange(plays.shape[0]), counts)
    order = np.lexsort((rng.random(plays.nnz), owner))  # shuffled inside each row
    hidden = np.zeros(plays.nnz, np.bool_)
    hidden[order] = np.arange(plays.nnz) - plays.indptr[owner] < hide[owner]

    def part(mask: np.ndarray) -> sp.csr_matrix:
        offsets = np.concatenate([[0], np.cumsum(mask)])[plays.indptr]
        return sp.csr_matrix((plays.data[mask], plays.indices[mask], offsets), shape=plays.shape)

    return part(~hidden), part(hidden)


def export_mpd(dataset: Path, folder: Path) -> list[Path]:
    """Write the playlists of a dataset as slices in the format of the Million Playlist Dataset.

    Args:
        dataset: any dataset folder.
        folder: gets ``mpd.slice.{first}-{last}.json``, of 1,000 playlists each.
    """
    data = Dataset.open(dataset)
    tracks = _mpd_tracks(data)
    playlists = data.playlists
    edited = (pc.cast(playlists["modified_at"], "int64").to_numpy() // 1000).tolist()
    names, followers = data.titles, playlists["followers"].to_pylist()
    files = []
    for start in range(0, data.playlist_count, _SLICE):
        stop = min(start + _SLICE, data.playlist_count)
        rows = []
        for p in range(start, stop):
            entries = data.entries[data.offsets[p] : data.offsets[p + 1]].tolist()
            held = [{"pos": pos, **tracks[track]} for pos, track in enumerate(entries)]
            rows.append(
                {
                    "name": names[p] or "",
                    "collaborative": "false",
                    "pid": p,
                    "modified_at": edited[p],
                    "num_tracks": len(held),
                    "num_albums": len({track["album_uri"] for track in held}),
                    "num_followers": followers[p],
                    "tracks": held,
                    "num_edits": 1,
                    "duration_ms": sum(track["duration_ms"] for track in held),
                    "num_artists": len({track["artist_uri"] for track in held}),
                }
            )
        info = {"generated_on": "2026-01-01", "slice": f"{start}-{stop - 1}", "version": "v1"}
        text = msgspec.json.encode({"info": info, "playlists": rows})
        file = folder / f"mpd.slice.{start}-{stop - 1}.json"
        write_file(file, msgspec.json.format(text, indent=4))
        files.append(file)
    return files


def _mpd_tracks(data: Dataset) -> list[dict[str, Any]]:
    names = {
        "artist": "artist_name",
        "uri": "track_uri",
        "artist_uri": "artist_uri",
        "title": "track_name",
        "album_uri": "album_uri",
        "duration_ms": "duration_ms",
        "album": "album_name",
    }
    table = data.tracks.select(list(names)).rename_columns(list(names.values()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
