"""XSPF: a playlist in XML (https://xspf.org/spec). No DTD, no entities, nothing external."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.limits import MAX_FILE_BYTES, Input
from segue.data.ingestion.paths import MAX_PATH, UnusablePath, track_uri
from segue.data.ingestion.playlists import IngestedPlaylists, TrackRow, ending, name_uri, stem
from segue.data.ingestion.streams import opened
from segue.errors import DataError

_ABOUT = ("title", "annotation")
_NAMESPACES = ("", "{http://xspf.org/ns/0/}")
_RECORDING = re.compile(
    r"https?://(?:[a-z]+\.)?musicbrainz\.org/recording/"
    r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?",
    re.IGNORECASE,
)
_ISRC = re.compile(r"(?:urn:)?isrc:([A-Z]{2}[A-Z0-9]{3}[0-9]{7})", re.IGNORECASE)
_LONGEST_MS = 2**31
_MOST_HELD = 100_000
"""Elements that are kept until their track ends; a track has about ten."""


def identified(identifiers: Sequence[str]) -> tuple[str, str | None] | None:
    """Uri and recording of a track by its identifiers; a MusicBrainz recording goes first."""
    for identifier in identifiers:
        if found := _RECORDING.fullmatch(identifier):
            mbid = found[1].lower()
            return f"https://musicbrainz.org/recording/{mbid}", mbid
    for identifier in identifiers:
        if not identifier.lower().startswith("file:") and len(identifier) <= MAX_PATH:
            isrc = _ISRC.fullmatch(identifier)
            return identifier, isrc[1].upper() if isrc else None
    return None


def naming(
    source: Input,
    identifiers: Sequence[str],
    locations: Sequence[str],
    artist: str | None,
    title: str | None,
) -> tuple[str, str | None]:
    """Uri and recording of a track: by identifier, else by location, else by its names.

    Raises:
        UnusablePath: it has none of them, or its only location leaves the source folder.
    """
    if named := identified(identifiers):
        return named
    refused = None
    for location in locations:
        try:
            return track_uri(source, location, quoted=True), None
        except UnusablePath as reason:
            refused = reason
    if refused:
        raise refused
    if artist and title:
        return name_uri(artist, title), None
    raise UnusablePath("no identifier, no location, and not both title and creator")


def _track(source: Input, element: Element, namespace: str, reading: Reading) -> TrackRow:
    def texts(name: str) -> list[str]:
        found = (child.text for child in element.findall(namespace + name))
        return [text.strip() for text in found if text and text.strip()]

    def text(name: str) -> str | None:
        return next(iter(texts(name)), None)

    title, artist, duration = text("title"), text("creator"), text("duration")
    uri, recording = naming(source, texts("identifier"), texts("location"), artist, title)
    ms = int(duration) if duration and re.fullmatch(r"[0-9]{1,10}", duration) else 0
    if duration and not 0 <= ms < _LONGEST_MS:
        ms = 0
    if duration and not ms:
        reading.note("durations left out")
    return TrackRow(
        uri, title, artist, album=text("album"), duration_ms=ms or None, recording=recording
    )


def _elements(source: Input, reading: Reading) -> Iterator[tuple[str, list[Element], Element]]:
    """Namespace, ancestors and element of every element as it ends, freed as it goes."""
    ancestors: list[Element] = []
    held = 0
    namespace = ""
    with opened(source, reading.tick, MAX_FILE_BYTES) as stream:
        for event, element in iterparse(stream, events=("start", "end"), forbid_dtd=True):
            if event == "start":
                if not ancestors:
                    namespace, _, name = element.tag.rpartition("}")
                    namespace += "}" if namespace else ""
                    if name != "playlist" or namespace not in _NAMESPACES:
                        raise DataError(
                            f"is not XSPF: its root is {element.tag}",
                            where=source,
                            do="check that it is of this format",
                        )
                ancestors.append(element)
                held += 1
                if held > _MOST_HELD:
                    raise DataError(
                        f"has a track of more than {_MOST_HELD} elements",
                        where=source,
                        do="check that it is of this format",
                    )
            else:
                ancestors.pop()
                yield namespace, ancestors, element
                if len(ancestors) in (1, 2):
                    ancestors[-1].clear()
                    held = 0


def _playlist(source: Input, reading: Reading) -> tuple[str | None, str | None, list[TrackRow]]:
    """Title, description and tracks of one file."""
    about: dict[str, str | None] = {}
    tracks = []
    for namespace, ancestors, element in _elements(source, reading):
        if len(ancestors) == 1 and (name := element.tag.removeprefix(namespace)) in _ABOUT:
            about[name] = (element.text or "").strip() or None
        elif len(ancestors) == 2 and element.tag == namespace + "track":
            try:
                tracks.append(_track(source, element, namespace, reading))
            except UnusablePath as refused:
                reading.receipt.drop(str(refused))
    return about.get("title"), about.get("annotation"), tracks


def _read(sources: list[Input], reading: Reading) -> None:
    playlists = IngestedPlaylists(reading)
    for source in sources:
        try:
            title, description, tracks = _playlist(source, reading)
        except DefusedXmlException as error:
            raise DataError(
                "has a document type or entities, which are not read",
                where=source,
                do="remove its DOCTYPE",
            ) from error
        except (ParseError, LookupError, ValueError) as error:
            raise DataError(
                f"is not whole XML ({error})", where=source, do="get it again"
            ) from error
        playlists.add(source.name, title or stem(source), description, tracks)
    playlists.flush()


READER = Reader(
    description="XSPF playlists: a folder with all below it, files or a zip",
    files="XSPF files (*.xspf)",
    unit="tracks",
    wanted=ending("xspf"),
    read=_read,
)
