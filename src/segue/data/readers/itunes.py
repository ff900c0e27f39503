"""Library of iTunes and Music as XML, with counts of plays and of skips, and playlists.

Source: the property list that *Export Library* writes. Its document type is not fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.libraries import PlayerLibrary, count, library_track
from segue.data.ingestion.limits import Input
from segue.data.ingestion.plays import Dropped
from segue.data.ingestion.xml_elements import elements
from segue.data.schema import Outcome

_FILE = re.compile(
    r"(?:itunes (?:music )?library|library|mediathek)\.xml(?:\.(?:gz|bz2|zst))?$", re.IGNORECASE
)
_TRACK = {
    *("Track ID", "Name", "Artist", "Album", "Total Time", "Play Count", "Skip Count"),
    *("Location", "Track Type", "Podcast", "Has Video", "Movie", "TV Show"),
}
_PLAYLIST = {
    *("Name", "Master", "Distinguished Kind", "Folder", "Smart Info", "Visible"),
    *("Playlist Persistent ID", "Parent Persistent ID"),
}
_NO_MUSIC = {"Podcast": "podcast", "Has Video": "video", "Movie": "video", "TV Show": "video"}


@dataclass
class _Plist:
    """The values of one track or playlist, as they come."""

    names: set[str]
    values: dict[str, str] = field(default_factory=dict)
    tracks: list[str] = field(default_factory=list)
    key: str = ""

    def take(self, tag: str, text: str) -> None:
        """Take a key, or the value of the last key."""
        if tag == "key":
            self.key = text
        elif self.key in self.names:
            self.values[self.key] = tag if tag in ("true", "false") else text

    def is_true(self, key: str) -> bool:
        """Whether a value is true."""
        return self.values.get(key) == "true"


def _take_track(entry: _Plist, source: Input, library: PlayerLibrary) -> None:
    values = entry.values
    for key, what in _NO_MUSIC.items():
        if entry.is_true(key):
            raise Dropped(what)
    if values.get("Track Type") == "URL":
        raise Dropped("stream")
    if not values.get("Track ID"):
        raise Dropped("no Track ID")
    track = library_track(
        source,
        values.get("Location"),
        values.get("Artist"),
        values.get("Name"),
        album=values.get("Album"),
        duration_ms=count(values.get("Total Time")),
    )
    plays, skips = count(values.get("Play Count")), count(values.get("Skip Count"))
    library.add(source, values["Track ID"], track, plays, skips)


@dataclass
class _Playlists:
    """Playlists of a file, in folders."""

    source: Input
    reading: Reading
    library: PlayerLibrary
    folders: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def take(self, entry: _Plist) -> None:
        """Take a playlist that a person made; folders give it a path, others are noted."""
        values = entry.values
        outer = self.folders.get(values.get("Parent Persistent ID", ""), ())
        path = (*outer, values.get("Name", "").strip())
        if entry.is_true("Folder"):
            self.folders[values.get("Playlist Persistent ID", "")] = path
        elif entry.is_true("Master") or "Distinguished Kind" in values:
            self.reading.note("lists of the player itself")
        elif "Smart Info" in values:
            self.reading.note("smart playlists")
        else:
            self.library.add_playlist(self.source, path, entry.tracks)


def _read_file(source: Input, reading: Reading, library: PlayerLibrary) -> None:
    library.start()
    playlists = _Playlists(source, reading, library)
    section = ""
    entry = _Plist(_TRACK)
    for event, path in elements(source, reading, "plist", doctype=True):
        if event == "start":
            continue
        tag, text, depth = path[-1].tag, path[-1].text or "", len(path)
        if depth == 3 and tag == "key":
            section = text
            entry = _Plist(_TRACK if section == "Tracks" else _PLAYLIST)
        elif section not in ("Tracks", "Playlists"):
            continue
        elif depth == 5:
            entry.take(tag, text)
        elif depth == 7 and tag == "integer" and entry.key == "Playlist Items":
            entry.tracks.append(text)
        elif depth == 4 and tag == "dict":
            if section == "Playlists":
                playlists.take(entry)
            else:
                try:
                    _take_track(entry, source, library)
                except Dropped as dropped:
                    reading.receipt.drop(str(dropped))
            entry = _Plist(entry.names)


def _read(sources: list[Input], reading: Reading) -> None:
    library = PlayerLibrary(reading, Outcome.FINISHED)
    for source in sources:
        _read_file(source, reading, library)
    library.write()


READER = Reader(
    description="Library of iTunes or Music (XML): counts of plays and skips, and playlists",
    files="libraries of iTunes (Library.xml, iTunes Music Library.xml)",
    unit="tracks",
    wanted=lambda path: _FILE.match(path.rpartition("/")[2]) is not None,
    read=_read,
)
