"""Small source files that the tests of the readers share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from segue.data.dataset import Dataset
from segue.data.ingestion.ingest import ingest
from segue.data.receipt import Receipt


def zstd(content: bytes) -> bytes:
    """Content as one frame of zstd."""
    return pa.Codec("zstd").compress(content, asbytes=True)  # type: ignore[no-any-return]


def track(name: str, **fields: Any) -> dict[str, Any]:
    """A track as an MPD slice has it."""
    return {
        "pos": 0,
        "artist_name": f"artist of {name}",
        "track_uri": f"spotify:track:{name}",
        "artist_uri": f"spotify:artist:{name}",
        "track_name": name,
        "album_uri": f"spotify:album:{name}",
        "duration_ms": 1000,
        "album_name": f"album of {name}",
        **fields,
    }


def playlist(pid: int, *names: str, **fields: Any) -> dict[str, Any]:
    """A playlist as an MPD slice has it."""
    return {
        "name": f"playlist {pid}",
        "collaborative": "false",
        "pid": pid,
        "modified_at": 1493424000,
        "num_tracks": len(names),
        "num_followers": 1,
        "tracks": [track(name) for name in names],
        **fields,
    }


def slice_text(*playlists: dict[str, Any]) -> str:
    """An MPD slice."""
    return json.dumps({"info": {"slice": "0-999"}, "playlists": list(playlists)})


def write_slice(folder: Path, first: int, *playlists: dict[str, Any]) -> Path:
    """Write a slice under its official name."""
    folder.mkdir(exist_ok=True)
    path = folder / f"mpd.slice.{first}-{first + 999}.json"
    path.write_text(slice_text(*playlists))
    return path


def ingested(
    format: str, source: Path, columns: dict[str, str] | None = None
) -> tuple[Receipt, Dataset]:
    """Ingest beside the source; the receipt has to add up and be the one in the dataset."""
    folder = source.parent / f"{source.name}.dataset"
    receipt = ingest(format, [source], folder, columns=columns)
    dataset = Dataset.open(folder)
    assert receipt.read == receipt.kept + sum(receipt.dropped.values())
    assert dataset.info.sources == [receipt]
    return receipt, dataset


def uris(dataset: Dataset) -> list[list[str]]:
    """Track uris of every playlist."""
    names = dataset.tracks["uri"].to_pylist()
    offsets = dataset.offsets
    return [
        [names[t] for t in dataset.entries[offsets[p] : offsets[p + 1]]]
        for p in range(dataset.playlist_count)
    ]
