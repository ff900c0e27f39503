"""A playlist as the files that players and services read: M3U8, XSPF, JSPF, CSV.

Each writer takes the playlist's title and rows of a catalog, and gives the file's text. Whatever a
name holds, the file stays well formed: control characters and line breaks become spaces.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

Tracks = Sequence[Mapping[str, Any]]
"""Rows with uri, title, artist, album, duration_ms; all but uri may be None."""

_BREAKS = {"Cc", "Cs", "Zl", "Zp"}  # control characters, lone surrogates, line separators
_NOT_XML = {"\ufffe", "\uffff"}


def _breaks(character: str) -> bool:
    return unicodedata.category(character) in _BREAKS or character in _NOT_XML


def one_line(name: str | None) -> str:
    """A name on one line."""
    if not name:
        return ""
    return "".join(" " if _breaks(c) else c for c in name).strip()


def _address(uri: str) -> str:
    """A uri on one line; what would break it is percent-encoded, as in a URL."""
    return "".join(quote(c, safe="", errors="replace") if _breaks(c) else c for c in uri)


def m3u8(title: str, tracks: Tracks) -> str:
    """Extended M3U in UTF-8: uris with their names and whole seconds, -1 where unknown."""
    lines = ["#EXTM3U", f"#PLAYLIST:{one_line(title)}"]
    for track in tracks:
        duration = track["duration_ms"]
        seconds = -1 if duration is None else round(duration / 1000)
        names = [name for name in (one_line(track["artist"]), one_line(track["title"])) if name]
        address = _address(track["uri"])
        lines.append(f"#EXTINF:{seconds},{' - '.join(names)}")
        lines.append(f"./{address}" if address.startswith("#") else address)
    return "\n".join(lines) + "\n"


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # two characters and more: C:\ is a drive
_FETCHED = ("http:", "https:", "file:", "ftp:")
_NAMES_A_RECORDING = "https://musicbrainz.org/recording/"


def _names(track: Mapping[str, Any]) -> dict[str, Any]:
    """Elements of an XSPF track. A uri that can be played is a location, others identify it."""
    address = _address(track["uri"])
    playable = address.casefold().startswith(_FETCHED)
    if address.startswith(_NAMES_A_RECORDING):
        playable = False
    elif not playable and not _SCHEME.match(address):
        address, playable = _path_address(track["uri"]), True
    elements: dict[str, Any] = {
        "location" if playable else "identifier": address,
        "title": one_line(track["title"]),
        "creator": one_line(track["artist"]),
        "album": one_line(track["album"]),
        "duration": track["duration_ms"],
    }
    return {name: value for name, value in elements.items() if value not in (None, "")}


def _path_address(path: str) -> str:
    """A path as the URL that XSPF asks for."""
    drive = re.match(r"[A-Za-z]:[\\/]", path)
    if drive:
        return "file:///" + path[:2] + quote(path[2:].replace("\\", "/"), errors="replace")
    return ("file://" if path.startswith("/") else "") + quote(path, errors="replace")


def xspf(title: str, tracks: Tracks) -> str:
    """XSPF 1 (https://www.xspf.org/spec), durations in milliseconds."""
    playlist = ElementTree.Element("playlist", version="1", xmlns="http://xspf.org/ns/0/")
    ElementTree.SubElement(playlist, "title").text = one_line(title)
    rows = ElementTree.SubElement(playlist, "trackList")
    for track in tracks:
        row = ElementTree.SubElement(rows, "track")
        for name, value in _names(track).items():
            ElementTree.SubElement(row, name).text = str(value)
    ElementTree.indent(playlist)
    text = ElementTree.tostring(playlist, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def jspf(title: str, tracks: Tracks) -> str:
    """JSPF: XSPF in JSON, where locations and identifiers are lists."""
    rows = [
        {
            name: [value] if name in ("location", "identifier") else value
            for name, value in _names(track).items()
        }
        for track in tracks
    ]
    playlist = {"playlist": {"title": one_line(title), "track": rows}}
    return json.dumps(playlist, ensure_ascii=False, indent=2) + "\n"


CSV_COLUMNS = {
    "Track URI": "uri",
    "Track Name": "title",
    "Artist Name(s)": "artist",
    "Album Name": "album",
    "Track Duration (ms)": "duration_ms",
}
"""Column names of Exportify, with the catalog's."""


_FORMULA = ("=", "+", "-", "@")
"""Spreadsheets compute a cell that begins with one of these."""


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: behind an apostrophe, which none shows."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_table(title: str, tracks: Tracks) -> str:
    """A row a track under the column names that Exportify uses; the title is not in it.

    A title, artist or album that begins like a formula has an apostrophe before it.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for track in tracks:
        texts = [_cell(one_line(track[column])) for column in ("title", "artist", "album")]
        uri = _address(track["uri"])
        if uri.startswith(_FORMULA):
            uri = f"%{ord(uri[0]):02X}{uri[1:]}"
        writer.writerow([uri, *texts, track["duration_ms"]])
    return file.getvalue()


PLAYLIST_FORMATS: dict[str, Callable[[str, Tracks], str]] = {
    "m3u8": m3u8,
    "xspf": xspf,
    "jspf": jspf,
    "csv": csv_table,
}
"""Writers by the name that ``segue continue --format`` takes."""
