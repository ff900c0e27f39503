"""Readers of the formats that people have, one file each."""

from __future__ import annotations

from segue.data.readers import csv, jspf, m3u, mpd, parquet, taste_profile, xspf
from segue.data.readers._reader import Reader

FORMATS: dict[str, Reader] = {
    "mpd": mpd.READER,
    "taste-profile": taste_profile.READER,
    "m3u": m3u.READER,
    "xspf": xspf.READER,
    "jspf": jspf.READER,
    "csv": csv.READER,
    "parquet": parquet.READER,
}
"""Every format that can be ingested, by the name it has on the command line."""
