"""What a person exports from ListenBrainz: listens, and what they love and hate.

Source: ``listenbrainz/background/export.py`` of listenbrainz-server, and the JSON of listens in its
documentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from segue.data.ingestion.contract import JSON_ERRORS, Reader, Reading, reason
from segue.data.ingestion.limits import Input
from segue.data.ingestion.playlists import ending
from segue.data.ingestion.plays import (
    Dropped,
    TimedPlay,
    checked_time,
    mbid,
    named_track,
    owner,
    read_plays,
)
from segue.data.ingestion.text_lines import lines
from segue.data.outcomes import ListenBrainzRule
from segue.data.schema import Flag

_JSONL = ending("jsonl")
_MOST_MS = 2**31 - 1
_SCORES = {1: Flag.LIKED, -1: Flag.DISLIKED}


class _Mapping(Struct):
    """What ListenBrainz found the listen to be."""

    recording_mbid: str | None = None
    artist_mbids: list[str] | None = None


class _Track(Struct):
    artist_name: str | None = None
    track_name: str | None = None
    release_name: str | None = None
    recording_msid: str | None = None
    additional_info: dict[str, Any] | None = None
    mbid_mapping: _Mapping | None = None


class _Listen(Struct):
    listened_at: float | None = None
    track_metadata: _Track | None = None


class _Feedback(Struct):
    score: int
    recording_mbid: str | None = None
    recording_msid: str | None = None


_listen = msgspec.json.Decoder(_Listen)
_feedback = msgspec.json.Decoder(_Feedback)

_Scores = dict[tuple[Path, str], int]
"""Score of a recording, by owner and by either of its ids."""


def _number(value: object) -> float | None:
    """A number from 0 that a client wrote, as such or as text."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= _MOST_MS else None


def _lengths(info: dict[str, Any]) -> tuple[float | None, int]:
    """Length of the track, and how long it was played (-1 where that is not known), in ms."""
    length = _number(info.get("duration_ms"))
    seconds = _number(info.get("duration"))
    if length is None and seconds is not None:
        length = seconds * 1000
    played = _number(info.get("ms_played"))
    seconds = _number(info.get("duration_played"))
    if played is None and seconds is not None:
        # Of seconds, as is said; some clients write milliseconds, which makes it absurdly long.
        played = seconds if length and seconds * 1000 > 10 * length else seconds * 1000
    return length, -1 if played is None or played > _MOST_MS else round(played)


def _play(line: str, scores: _Scores, by: Path) -> TimedPlay:
    listen = _listen.decode(line)
    about = listen.track_metadata
    if about is None:
        raise Dropped("missing field track_metadata")
    if listen.listened_at is None:
        raise Dropped("no time")
    info, mapping = about.additional_info or {}, about.mbid_mapping or _Mapping()
    length, played = _lengths(info)
    client_mbid = info.get("recording_mbid")
    recording = mbid(mapping.recording_mbid) or mbid(
        client_mbid if isinstance(client_mbid, str) else None
    )
    artists = mapping.artist_mbids or []
    track = named_track(
        about.artist_name,
        about.track_name,
        album=about.release_name,
        duration_ms=length,
        recording=recording,
        artist_id=artists[0] if len(artists) == 1 else None,
    )
    names = (recording or "", (about.recording_msid or "").lower())
    score = next((scores[by, name] for name in names if (by, name) in scores), 0)
    flags = int(_SCORES.get(score, 0))
    return TimedPlay(track, checked_time(listen.listened_at * 1000), played, flags=flags)


def _is_feedback(source: Input) -> bool:
    return source.name.rpartition("/")[2].lower().startswith("feedback")


def _scores(source: Input, reading: Reading, scores: _Scores) -> None:
    """Take in what a listener loves and hates."""
    for line in lines(source, reading.tick):
        if not line.strip():
            continue
        try:
            feedback = _feedback.decode(line)
        except JSON_ERRORS:
            reading.note("feedback that cannot be read")
            continue
        for name in (feedback.recording_mbid, feedback.recording_msid):
            if name:
                scores[owner(source), name.lower()] = feedback.score
        what = {1: "loved", -1: "hated"}.get(feedback.score)
        if what:
            reading.note(f"recordings {what}")


def _plays(source: Input, reading: Reading, scores: _Scores) -> Iterator[TimedPlay]:
    by = owner(source)
    for line in lines(source, reading.tick):
        if not line.strip():
            continue
        try:
            yield _play(line, scores, by)
        except Dropped as dropped:
            reading.receipt.drop(str(dropped))
        except msgspec.ValidationError:
            reading.receipt.drop(reason(line.encode(), _Listen))
        except JSON_ERRORS:
            reading.receipt.drop("not JSON")


def _read(sources: list[Input], reading: Reading) -> None:
    scores: _Scores = {}
    for source in filter(_is_feedback, sources):
        _scores(source, reading, scores)
    listens = [source for source in sources if not _is_feedback(source)]
    read_plays(
        listens, reading, lambda source: _plays(source, reading, scores), ["ms_played", "flags"]
    )


def _is_of_export(path: str) -> bool:
    return _JSONL(path) and not path.rpartition("/")[2].lower().startswith("pinned_recording")


READER = Reader(
    description="ListenBrainz export: the zip, its folder, or JSONL files of listens and feedback",
    files="ListenBrainz exports (*.jsonl)",
    unit="listens",
    wanted=_is_of_export,
    read=_read,
    Settings=ListenBrainzRule,
)
