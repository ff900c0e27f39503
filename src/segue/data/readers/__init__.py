"""Readers of the formats that people have, one file each."""

from __future__ import annotations

from segue.data.readers import mpd
from segue.data.readers._reader import Reader

FORMATS: dict[str, Reader] = {
    "mpd": mpd.READER,
}
"""Every format that can be ingested, by the name it has on the command line."""
