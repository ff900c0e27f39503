"""The official files of the RecSys Challenge 2018: read the challenge set, write a submission."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import pyarrow as pa

from segue.bundle import Bundle
from segue.catalog.matching import match_tracks
from segue.data.schema import Outcome
from segue.errors import BundleError, DataError, UsageError
from segue.numeric.arrays import offsets_of
from segue.queries import MAX_TITLE, Queries
from segue.system.files import shown, write_file
from segue.system.mismatch import mismatch_in
from segue.system.progress import task

TRACKS = 500
"""Number of tracks for each playlist."""
_BLOCK = 1000
_MOST_BYTES = 2 << 30
"""Maximum size of a decompressed challenge set; the official one has 0.1 GB."""
_URI = re.compile(r"spotify:track:[0-9A-Za-z]{22}")


class SeedTrack(msgspec.Struct, frozen=True):
    """A track that the challenge shows."""

    track_uri: str
    pos: int = 0
    artist_name: str | None = None
    track_name: str | None = None


class ChallengePlaylist(msgspec.Struct, frozen=True):
    """A playlist to continue."""

    pid: Annotated[int, msgspec.Meta(ge=0)]
    tracks: list[SeedTrack]
    name: str | None = None
    num_holdouts: int | None = None
    num_samples: int | None = None
    num_tracks: int | None = None


class ChallengeSet(msgspec.Struct, frozen=True):
    """Content of challenge_set.json."""

    playlists: list[ChallengePlaylist]


class SubmissionReceipt(msgspec.Struct, frozen=True):
    """Output of ``segue submit --json``.

    Attributes:
        submission: path of the file.
        playlists: number of playlists.
        seeds: number of seed tracks; `seeds_missing` of them are not in the catalog.
        served_by: number of playlists by model.
    """

    submission: str
    playlists: int
    seeds: int
    seeds_missing: int
    served_by: dict[str, int]


def read_challenge_set(path: Path | str) -> ChallengeSet:
    """Read challenge_set.json or challenge_set.json.gz.

    Raises:
        DataError: it cannot be read or is no challenge set; the message says where.
    """
    path = Path(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"is not whole gzip ({error})", where=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    if len(data) > _MOST_BYTES:
        raise DataError(f"has more than {_MOST_BYTES >> 30} GB once decompressed", where=path)
    try:
        challenge = msgspec.json.decode(data, type=ChallengeSet)
    except msgspec.ValidationError as error:
        wrong = mismatch_in(data, ChallengeSet)
        raise DataError(wrong.what, where=f"{path}: {wrong.where}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"is not valid JSON ({error})", where=path) from error
    if not challenge.playlists:
        raise DataError("has no playlists", where=path)
    pid, times = Counter(playlist.pid for playlist in challenge.playlists).most_common(1)[0]
    if times > 1:
        raise DataError(f"has playlist {pid} {times} times", where=path)
    return challenge


def challenge_queries(challenge: ChallengeSet, bundle: Bundle) -> tuple[Queries, int]:
    """The challenge's playlists as queries, and the number of seeds that the catalog lacks.

    Seeds come in the order of `pos`; titles end at `MAX_TITLE` characters.
    """
    seeds = [
        sorted(playlist.tracks, key=lambda track: track.pos) for playlist in challenge.playlists
    ]
    every = [track for playlist_seeds in seeds for track in playlist_seeds]
    rows = match_tracks(
        pa.table(
            {
                "uri": pa.array([track.track_uri for track in every], pa.string()),
                "artist": pa.array([track.artist_name for track in every], pa.string()),
                "title": pa.array([track.track_name for track in every], pa.string()),
            }
        ),
        bundle.catalog,
    )
    known = rows >= 0
    ends = np.cumsum([0] + [len(playlist_seeds) for playlist_seeds in seeds])
    titles = [playlist.name for playlist in challenge.playlists]
    queries = Queries(
        offsets_of(known)[ends],
        rows[known],
        np.full(int(known.sum()), int(Outcome.UNKNOWN), np.int8),
        [title[:MAX_TITLE] if title and title.strip() else None for title in titles],
        np.zeros(len(seeds) + 1, np.int64),
        np.zeros(0, np.int32),
    )
    return queries, int((~known).sum())


def submit(
    bundle: Bundle,
    challenge_path: Path | str,
    out: Path | str,
    *,
    team: str,
    email: str,
    track: Literal["main", "creative"] | None = "main",
    progress: bool = False,
) -> SubmissionReceipt:
    """Continue every playlist of a challenge set and write the submission.

    A check precedes the writing; a name in .gz makes a compressed file.

    Args:
        team, email: fields of the header.
        track: track of the 2018 challenge; None for the challenge that opened in 2020, which has no
            tracks.
        progress: show progress on stderr.

    Raises:
        DataError: the challenge set is not one, or `out` cannot be written.
        UsageError: team or email cannot stand in the header.
        BundleError: the bundle cannot answer 500 Spotify tracks for every playlist.
    """
    for what, text in (("team", team), ("email", email)):
        if not text.strip() or any(c in text for c in ",\r\n"):
            raise UsageError(f"{what} is {text!r}", do="give a text without commas")
    challenge = read_challenge_set(challenge_path)
    queries, missing = challenge_queries(challenge, bundle)
    # Find a shortage of tracks before the work.
    longest = int(np.diff(queries.offsets).max(initial=0))
    if len(bundle.catalog) < TRACKS + longest:
        raise BundleError(
            f"its catalog of {len(bundle.catalog)} tracks is too small for {TRACKS} answers "
            f"beside {longest} seeds",
            do="train on more data",
        )
    header = ["team_info", *([track] if track else []), shown(team.strip()), shown(email.strip())]
    lines = [",".join(header)]
    served: Counter[str] = Counter()
    uris = bundle.catalog.uris
    with task("continuing", len(queries), "playlists", show=progress) as advance:
        for start in range(0, len(queries), _BLOCK):
            slates = bundle.recommender.recommend(queries[start : start + _BLOCK], TRACKS)
            for q, slate in enumerate(slates, start):
                answers = (uris[row] for row in slate.tracks.tolist())
                lines.append(",".join([str(challenge.playlists[q].pid), *answers]))
            served.update(slates.served_by)
            advance(len(slates))
    problem = next(_problems(lines, challenge), None)
    if problem:
        raise BundleError(
            f"its answers are not a submission: {problem}",
            do="train on the Million Playlist Dataset alone",
        )
    data = ("\n".join(lines) + "\n").encode()
    out = Path(out)
    # No time in the gzip header: equal content gives equal bytes.
    write_file(out, gzip.compress(data, 6, mtime=0) if out.suffix == ".gz" else data)
    seeds = sum(len(playlist.tracks) for playlist in challenge.playlists)
    return SubmissionReceipt(shown(out), len(queries), seeds, missing, dict(sorted(served.items())))


def check_submission(path: Path | str, challenge: ChallengeSet) -> list[str]:
    """All violations of the challenge's rules, one line for each.

    Rules: the first line that is not blank or a comment is ``team_info,...`` with team and contact
    (and, in 2018, the track before or after the team); then, for each playlist of the challenge
    once, its pid and 500 distinct track uris, none of them a seed.

    Args:
        path: .csv or .csv.gz.

    Raises:
        DataError: the file cannot be read.
    """
    path = Path(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return list(_problems(io.TextIOWrapper(file, "utf-8"), challenge))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"is not whole gzip ({error})", where=path) from error
    except UnicodeDecodeError as error:
        raise DataError("is not UTF-8 text", where=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error


def _problems(lines: Iterable[str], challenge: ChallengeSet) -> Iterator[str]:
    seeds = {p.pid: {track.track_uri for track in p.tracks} for p in challenge.playlists}
    seen: Counter[int] = Counter()
    header = False
    for number, line in enumerate(lines, start=1):
        fields = [field.strip() for field in line.split(",")]
        if not line.strip() or line.startswith("#"):
            continue
        if not header:
            header = True
            yield from (f"line {number}: {what}" for what in _header_problems(fields))
            if fields[0] == "team_info":
                continue
        if not fields[0].isdecimal() or int(fields[0]) not in seeds:
            yield f"line {number}: {fields[0][:40]!r} is not a playlist of the challenge"
            continue
        pid, answers = int(fields[0]), fields[1:]
        seen[pid] += 1
        where = f"line {number}: playlist {pid}"
        if len(answers) != TRACKS:
            yield f"{where} has {len(answers)} tracks, not {TRACKS}"
        if len(set(answers)) < len(answers):
            yield f"{where} has {len(answers) - len(set(answers))} tracks twice"
        shown = seeds[pid].intersection(answers)
        if shown:
            yield f"{where} has {len(shown)} of its seeds among the answers ({min(shown)})"
        wrong = [uri for uri in answers if not _URI.fullmatch(uri)]
        if wrong:
            first = wrong[0][:60]
            yield f"{where} has {len(wrong)} answers that are not Spotify tracks ({first!r})"
    if not header:
        yield "has no team_info line"
    for pid in seeds:
        if seen[pid] != 1:
            yield f"playlist {pid} is " + (
                "missing" if not seen[pid] else f"there {seen[pid]} times"
            )


def _header_problems(fields: list[str]) -> Iterator[str]:
    if fields[0] != "team_info":
        yield "the first line has to begin with team_info"
    elif len(fields) == 4:
        if not {"main", "creative"} & set(fields[1:3]):
            yield f"the track of the challenge is {fields[1]!r}, not 'main' or 'creative'"
    elif len(fields) != 3:
        yield f"team_info has {len(fields) - 1} fields, not a team and an email"
    if fields[0] == "team_info" and not all(fields):
        yield "team_info has an empty field"
