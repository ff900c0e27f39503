"""Collection of Traktor (NML): counts of plays, and playlists.

Source: ``collection.nml`` of Traktor Pro 2 to 4, as programs that write it test theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.libraries import PlayerLibrary, count, library_track
from segue.data.ingestion.limits import Input
from segue.data.ingestion.playlists import ending
from segue.data.ingestion.plays import Dropped
from segue.data.ingestion.xml_elements import elements
from segue.data.schema import Outcome

_BY_PLAYER = ("_LOOPS", "_RECORDINGS")
_DRIVE = re.compile("[A-Za-z]:")
_SECONDS = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,9})?")


@dataclass
class _Entry:
    """A track of the collection; what is in it comes before it ends."""

    location: dict[str, str] = field(default_factory=dict)
    album: str | None = None
    info: dict[str, str] = field(default_factory=dict)

    def take(self, element: Element) -> None:
        """Take an element in it."""
        if element.tag == "LOCATION":
            self.location = dict(element.attrib)
        elif element.tag == "ALBUM":
            self.album = element.get("TITLE")
        elif element.tag == "INFO":
            self.info = dict(element.attrib)

    @property
    def key(self) -> str:
        """What playlists call it: the volume, and the path with ``/:`` between its parts."""
        return "".join(self.location.get(name, "") for name in ("VOLUME", "DIR", "FILE"))

    @property
    def path(self) -> str:
        """Its file."""
        volume, name = self.location.get("VOLUME", ""), self.location.get("FILE", "")
        folder = self.location.get("DIR", "").replace("/:", "/")
        return (volume if _DRIVE.fullmatch(volume) else "") + folder + name if name else ""

    def add(self, source: Input, entry: Element, library: PlayerLibrary) -> None:
        """Add it to the library, when it ends.

        Raises:
            Dropped: it is no track.
        """
        if not self.key:
            raise Dropped("no LOCATION")
        seconds = self.info.get("PLAYTIME_FLOAT") or self.info.get("PLAYTIME") or ""
        track = library_track(
            source,
            self.path,
            entry.get("ARTIST"),
            entry.get("TITLE"),
            album=self.album,
            duration_ms=float(seconds) * 1000 if _SECONDS.fullmatch(seconds) else None,
        )
        library.add(source, self.key, track, count(self.info.get("PLAYCOUNT")))


def _read_file(source: Input, reading: Reading, library: PlayerLibrary) -> None:
    library.start()
    entry = _Entry()
    keys: list[str] = []
    for event, path in elements(source, reading, "NML"):
        if len(path) < 3:
            continue
        element, section = path[-1], path[1].tag
        if section == "COLLECTION" and event == "end":
            if len(path) == 4 and path[2].tag == "ENTRY":
                entry.take(element)
            elif len(path) == 3 and element.tag == "ENTRY":
                try:
                    entry.add(source, element, library)
                except Dropped as dropped:
                    reading.receipt.drop(str(dropped))
                entry = _Entry()
        elif section == "PLAYLISTS" and element.tag == "NODE":
            if event == "end" and element.get("TYPE") == "PLAYLIST":
                names = [node.get("NAME", "") for node in path[2:] if node.tag == "NODE"]
                if names[-1] in _BY_PLAYER:
                    reading.note("lists of the player itself")
                else:
                    library.add_playlist(source, names[1:] or names, keys)
            keys = []
        elif section == "PLAYLISTS" and element.tag == "PRIMARYKEY" and event == "end":
            keys.append(element.get("KEY", ""))


def _read(sources: list[Input], reading: Reading) -> None:
    library = PlayerLibrary(reading, Outcome.UNKNOWN)
    for source in sources:
        _read_file(source, reading, library)
    library.write()


READER = Reader(
    description="Collection of Traktor (NML): counts of plays, and playlists",
    files="collections of Traktor (*.nml)",
    unit="tracks",
    wanted=ending("nml"),
    read=_read,
)
