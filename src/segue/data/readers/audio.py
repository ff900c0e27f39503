"""Folders of sound files: tags make the tracks, the files their sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, cast

import pyarrow as pa

from segue.audio.decode import AudioError
from segue.audio.files import SUFFIXES, FileCheck, FileInfo
from segue.audio.workers import Limits, run_files
from segue.data.ingestion.contract import Reader, Reading
from segue.data.ingestion.limits import Input, Tick
from segue.data.ingestion.playlists import TrackRow
from segue.data.playlist_export import one_line
from segue.data.receipt import Receipt
from segue.data.schema import TABLES
from segue.data.writer import DatasetWriter
from segue.errors import DataError
from segue.system.files import shown
from segue.system.progress import note

_NAMED = 5
"""Bad files that are named, of each reason."""
CUT = "files that end before they say"
NOT_MUSIC = ("@eaDir", "__MACOSX")
"""Folders that devices and systems fill beside the music."""


class AudioTrack(NamedTuple):
    """A sound file, and what a look at it told."""

    uri: str
    file: str
    looked: FileInfo

    @property
    def track(self) -> TrackRow:
        """The track that it is, named by its path."""
        tags = self.looked.tags
        return TrackRow(
            self.uri,
            tags.title,
            tags.artist,
            album=tags.album,
            duration_ms=self.looked.duration_ms,
            recording=tags.recording,
        )


def scan(
    sources: Sequence[Input],
    limits: Limits,
    receipt: Receipt,
    tick: Tick,
    look: Callable[[Path], FileInfo] | None = None,
    *,
    progress: bool = False,
) -> list[AudioTrack]:
    """Look at sound files; the bad ones are counted in the receipt as dropped.

    Args:
        sources: the files.
        limits: of each.
        receipt: counts files.
        tick: called with the size of each file when it is done.
        look: looks at a file, in a process; `FileCheck` by default.
        progress: name bad files on stderr.

    Returns:
        The good ones, in order. They are not counted yet.

    Raises:
        DataError: a source is in a zip.
    """
    for source in sources:
        if source.member is not None:
            raise DataError("sound is not read from a zip", where=source, do="unpack it")
    found: dict[int, AudioTrack | str] = {}
    paths = [source.path for source in sources]
    for at, looked in run_files(look or FileCheck(limits.duration_minutes), paths, limits=limits):
        tick(sources[at].size)
        path = str(paths[at].absolute())
        if isinstance(looked, AudioError):
            found[at] = looked.reason
        elif shown(path) != path:
            found[at] = "name is not UTF-8"
        else:
            found[at] = AudioTrack(sources[at].name, path, looked)
    kept = []
    cut: list[str] = []
    bad: dict[str, list[str]] = {}
    for at, one in sorted(found.items()):  # in the order of the files, not as workers were done
        if isinstance(one, str):
            receipt.drop(one)
            bad.setdefault(one, []).append(sources[at].name)
        else:
            kept.append(one)
            if one.looked.cut:
                receipt.note(CUT)
                cut.append(sources[at].name)
    if cut:
        bad[CUT] = cut
    for reason, names in bad.items():
        more = f", and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        note(one_line(f"{reason}: {', '.join(names[:_NAMED])}{more}"), show=progress)
    return kept


def write_audio(
    writer: DatasetWriter,
    rows: Sequence[int],
    found: Sequence[AudioTrack],
    before: pa.Table | None = None,
) -> None:
    """Write the table audio.

    Args:
        rows: of each file's track in the catalog; every one once.
        found: the files.
        before: rows that the table has already, of other tracks.
    """
    columns = {
        "track": rows,
        "file": [one.file for one in found],
        "sha256": [one.looked.sha256 for one in found],
        "duration_ms": [one.looked.duration_ms for one in found],
        "sample_rate": [one.looked.sample_rate for one in found],
        "channels": [one.looked.channels for one in found],
    }
    table = pa.table(columns, schema=TABLES["audio"])
    if before is not None:
        table = pa.concat_tables([before, table])
    table = table.sort_by("track").combine_chunks()
    writer.add("audio", {name: table[name].combine_chunks() for name in table.column_names})


def without_doubles(
    found: Sequence[AudioTrack], receipt: Receipt, known: Callable[[str], bool]
) -> list[AudioTrack]:
    """Files whose content and path are new; the others are counted as dropped.

    Args:
        known: whether a uri names a track already, which keeps a file whatever its content.
    """
    kept: dict[str, AudioTrack] = {}
    contents: set[str] = set()
    for one in found:
        content = one.looked.sha256
        twice = kept.get(one.uri)
        if twice is not None and twice.looked.sha256 != content:
            receipt.drop("same path in another source")
        elif twice is not None or (content in contents and not known(one.uri)):
            receipt.drop("same content as another file")
        else:
            receipt.keep()
            kept[one.uri] = one
            contents.add(content)
    return list(kept.values())


def _read(sources: list[Input], reading: Reading) -> None:
    limits = cast(Limits, reading.settings)
    found = scan(sources, limits, reading.receipt, reading.tick, progress=reading.progress)
    kept = without_doubles(found, reading.receipt, known=lambda uri: False)
    tracks = [one.track for one in kept]
    rows = reading.writer.track_ids([t.uri for t in tracks], lambda i: tracks[i][1:])
    write_audio(reading.writer, rows, kept)


def wanted(path: str) -> bool:
    """Whether a path below a source is of a sound file; hidden ones are not."""
    place = PurePosixPath(path)
    if any(part.startswith(".") or part in NOT_MUSIC for part in place.parts):
        return False
    return place.suffix[1:].lower() in SUFFIXES


READER = Reader(
    description="sound files with their tags: a folder with all below it, or files",
    files=f"sound files (*.{', *.'.join(SUFFIXES)})",
    unit="files",
    wanted=wanted,
    read=_read,
    plays=False,
    Settings=Limits,
)
