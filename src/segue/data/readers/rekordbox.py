"""Collection of rekordbox as XML: counts of plays, and playlists.

Source: the format that rekordbox documents for developers (``DJ_PLAYLISTS`` 1.0.0).
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.libraries import PlayerLibrary, count, library_track
from segue.data.ingestion.limits import Input
from segue.data.ingestion.plays import Dropped
from segue.data.ingestion.xml_elements import elements
from segue.data.schema import Outcome

_FILE = re.compile(r"rekordbox[^/]*\.xml(?:\.(?:gz|bz2|zst))?$", re.IGNORECASE)
_BY_LOCATION = "1"
"""``KeyType`` of playlists that name tracks by their location, not by ``TrackID``."""


def _take_track(source: Input, track: Element, library: PlayerLibrary) -> None:
    key = track.get("TrackID")
    if not key:
        raise Dropped("no TrackID")
    row = library_track(
        source,
        track.get("Location"),
        track.get("Artist"),
        track.get("Name"),
        album=track.get("Album"),
        duration_ms=count(track.get("TotalTime")) * 1000,
    )
    library.add(source, key, row, count(track.get("PlayCount")))


def _read_file(source: Input, reading: Reading, library: PlayerLibrary) -> None:
    library.start()
    by_location: dict[str, str] = {}
    keys: list[str] = []
    for event, path in elements(source, reading, "DJ_PLAYLISTS"):
        element, section = path[-1], path[1].tag if len(path) > 1 else ""
        if section == "COLLECTION" and len(path) == 3 and element.tag == "TRACK":
            if event == "end":
                try:
                    _take_track(source, element, library)
                except Dropped as dropped:
                    reading.receipt.drop(str(dropped))
                else:
                    by_location.setdefault(element.get("Location", ""), element.get("TrackID", ""))
        elif section == "PLAYLISTS" and element.tag == "NODE":
            if event == "end" and element.get("Type") == "1":
                names = [node.get("Name", "") for node in path[2:]]
                library.add_playlist(source, names[1:] or names, keys)
            keys = []
        elif section == "PLAYLISTS" and element.tag == "TRACK" and event == "end":
            key = element.get("Key", "")
            keys.append(
                by_location.get(key, "") if path[-2].get("KeyType") == _BY_LOCATION else key
            )


def _read(sources: list[Input], reading: Reading) -> None:
    library = PlayerLibrary(reading, Outcome.UNKNOWN)
    for source in sources:
        _read_file(source, reading, library)
    library.write()


READER = Reader(
    description="Collection of rekordbox (XML): counts of plays, and playlists",
    files="collections of rekordbox (rekordbox.xml)",
    unit="tracks",
    wanted=lambda path: _FILE.match(path.rpartition("/")[2]) is not None,
    read=_read,
)
