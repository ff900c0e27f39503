"""A download of listening history as Spotify makes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

AUDIO = "Streaming_History_Audio_2022-2023_0.json"


def play(ts: str, seconds: float, name: str = "a", **fields: Any) -> dict[str, Any]:
    """A play as the extended export has it, with all that must not be kept."""
    return {
        "ts": f"2023-05-01T{ts}Z",
        "username": "SECRET",
        "platform": "SECRET",
        "ms_played": int(seconds * 1000),
        "conn_country": "SECRET",
        "city": "SECRET",
        "ip_addr_decrypted": "SECRET",
        "user_agent_decrypted": "SECRET",
        "master_metadata_track_name": f"Title {name}",
        "master_metadata_album_artist_name": f"Artist {name}",
        "master_metadata_album_album_name": f"Album {name}",
        "spotify_track_uri": f"spotify:track:{name}",
        "episode_name": None,
        "episode_show_name": None,
        "spotify_episode_uri": None,
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": False,
        "offline": False,
        "offline_timestamp": None,
        "incognito_mode": False,
        **fields,
    }


def export(folder: Path, *plays: Any, name: str = AUDIO) -> Path:
    """Write one file of an export."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(plays))
    return folder
