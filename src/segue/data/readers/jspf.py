"""JSPF: XSPF as JSON (https://xspf.org/jspf), with the extension of MusicBrainz."""

from __future__ import annotations

import codecs

import msgspec
from msgspec import Struct

from segue.data.ingestion.contract import JSON_ERRORS, Reader, Reading, json_error, reason
from segue.data.ingestion.limits import Input
from segue.data.ingestion.paths import UnusablePath
from segue.data.ingestion.playlists import IngestedPlaylists, TrackRow, ending, stem
from segue.data.ingestion.streams import read
from segue.data.readers.xspf import naming

_EXTENSION = "https://musicbrainz.org/doc/jspf#track"
_Many = str | list[str] | None


class _Track(Struct):
    title: str | None = None
    creator: str | None = None
    album: object = None
    duration: object = None
    """Milliseconds."""
    location: _Many = None
    identifier: _Many = None
    extension: msgspec.Raw = msgspec.Raw(b"null")


class _MusicBrainz(Struct):
    artist_identifiers: list[str] = []
    release_identifier: str | None = None


class _Extension(Struct):
    track: _MusicBrainz | list[_MusicBrainz] | None = msgspec.field(default=None, name=_EXTENSION)


class _Playlist(Struct):
    track: list[msgspec.Raw]
    title: str | None = None
    annotation: str | None = None


class _File(Struct):
    playlist: _Playlist


_file = msgspec.json.Decoder(_File)
_track = msgspec.json.Decoder(_Track)
_extension = msgspec.json.Decoder(_Extension)


def _many(value: _Many) -> list[str]:
    values = [value] if isinstance(value, str) else value or []
    return [text.strip() for text in values if text.strip()]


def _musicbrainz(raw: msgspec.Raw) -> _MusicBrainz:
    """What the extension says; one that is not as documented says nothing."""
    try:
        track = _extension.decode(raw).track
    except msgspec.ValidationError:
        track = None
    if isinstance(track, list):
        track = track[0] if track else None
    return track or _MusicBrainz()


def _milliseconds(duration: object, reading: Reading) -> int | None:
    """A track's length; None where it has none, or one that no track has."""
    if duration is None or duration == 0:
        return None
    try:
        ms = float(duration) if _plain(duration) else -1.0  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        ms = -1.0
    if not 0.5 < ms < 2**31 - 1:
        reading.note("durations left out")
        return None
    return round(ms)


def _plain(value: object) -> bool:
    """Whether a value is text or a number."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _one(source: Input, raw: msgspec.Raw, reading: Reading) -> TrackRow:
    t = _track.decode(raw)
    title, artist = (t.title or "").strip() or None, (t.creator or "").strip() or None
    uri, recording = naming(source, _many(t.identifier), _many(t.location), artist, title)
    more = _musicbrainz(t.extension)
    return TrackRow(
        uri,
        title,
        artist,
        next(iter(more.artist_identifiers), None),
        str(t.album).strip() or None if _plain(t.album) else None,
        more.release_identifier,
        _milliseconds(t.duration, reading),
        recording,
    )


def _read(sources: list[Input], reading: Reading) -> None:
    playlists = IngestedPlaylists(reading)
    for source in sources:
        content = read(source, reading.tick).removeprefix(codecs.BOM_UTF8)
        try:
            playlist = _file.decode(content).playlist
            tracks = []
            for raw in playlist.track:
                try:
                    tracks.append(_one(source, raw, reading))
                except msgspec.ValidationError:
                    reading.receipt.drop(reason(raw, _Track))
                except UnusablePath as refused:
                    reading.receipt.drop(str(refused))
        except JSON_ERRORS as error:
            raise json_error(error, source, content, _File) from error
        title = (playlist.title or "").strip() or stem(source)
        playlists.add(source.name, title, playlist.annotation, tracks)
    playlists.flush()


READER = Reader(
    description="JSPF playlists, as ListenBrainz exports them: a folder, files or a zip",
    files="JSPF files (*.jspf)",
    unit="tracks",
    wanted=ending("jspf"),
    read=_read,
)
