"""Readers of the formats that people have, one file each."""

from __future__ import annotations

from segue.data.readers import jspf, m3u, mpd, xspf
from segue.data.readers._reader import Reader

FORMATS: dict[str, Reader] = {
    "mpd": mpd.READER,
    "m3u": m3u.READER,
    "xspf": xspf.READER,
    "jspf": jspf.READER,
}
"""Every format that can be ingested, by the name it has on the command line."""
