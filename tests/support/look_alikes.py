"""A world's listens in the files of formats whose real files cannot be had here.

Written from the published schemas, and read back in the tests of the readers.
"""

from __future__ import annotations

import bz2
import csv
import io
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from segue.data.dataset import Dataset
from segue.data.schema import Outcome

MSSD_LOG = [
    *("session_id", "session_position", "session_length", "track_id_clean"),
    *("skip_1", "skip_2", "skip_3", "not_skipped"),
    *(
        "context_switch",
        "no_pause_before_play",
        "short_pause_before_play",
        "long_pause_before_play",
    ),
    *("hist_user_behavior_n_seekfwd", "hist_user_behavior_n_seekback"),
    "hist_user_behavior_is_shuffle",
    *("hour_of_day", "date", "premium", "context_type"),
    *("hist_user_behavior_reason_start", "hist_user_behavior_reason_end"),
]
MSSD_FEATURES = [
    *("track_id", "duration", "release_year", "us_popularity_estimate", "acousticness"),
    *(f"acoustic_vector_{i}" for i in range(8)),
]
LFM_1K = "userid-timestamp-artid-artname-traid-traname.tsv"

Rows = list[dict[str, Any]]


def rows_of(dataset: Dataset) -> Rows:
    """Listens as Python values, with what is known of their tracks."""
    people = dataset.listeners["uri"].to_pylist()
    tracks = dataset.tracks.to_pylist()
    return [
        {**row, "listener": people[row["listener"]], "track": tracks[row["track"]]}
        for row in dataset.listens.to_pylist()
    ]


def mbid(uri: str) -> str:
    """A MusicBrainz id for a track or an artist of a world."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, uri))


def _session_id(session: int) -> str:
    return f"{session % 10}_{mbid(str(session))}"


def _table(rows: list[list[Any]], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue()


def mssd_row(session: str, position: int, length: int, track: str, **changed: Any) -> list[str]:
    """A row of a session log: a track that was played to its end, at noon, if nothing else."""
    row: dict[str, Any] = dict.fromkeys(MSSD_LOG, "false")
    row |= {"session_id": session, "session_position": position, "session_length": length}
    row |= {"track_id_clean": track, "not_skipped": "true", "hour_of_day": 12}
    row |= {"date": "2018-07-15", "premium": "true", "context_type": "charts"}
    row |= {"hist_user_behavior_n_seekfwd": 0, "hist_user_behavior_n_seekback": 0}
    row |= dict.fromkeys(MSSD_LOG[-2:], "trackdone")
    return [str(value) for value in (row | changed).values()]


def mssd_flags(outcome: int, ms_played: int) -> dict[str, str]:
    """The four steps, nested as they are in the published logs."""
    steps = [False] * 4
    if outcome in (Outcome.SKIPPED, Outcome.DISLIKED):
        steps = [ms_played < 5_000, True, True, False]
    elif outcome == Outcome.PARTIAL:
        steps = [False, False, True, False]
    elif outcome == Outcome.FINISHED:
        steps = [False, False, False, True]
    names = ("skip_1", "skip_2", "skip_3", "not_skipped")
    return {name: str(step).lower() for name, step in zip(names, steps, strict=True)}


def mssd_log(rows: list[list[str]]) -> str:
    """Text of a session log."""
    return _table([MSSD_LOG, *rows], ",")


def write_mssd(dataset: Dataset, folder: Path) -> Path:
    """Logs of two days, and features of all tracks."""
    folder.mkdir()
    rows = rows_of(dataset)
    lengths = np.bincount([row["session"] for row in rows])
    log = []
    for row in rows:
        skipped = row["outcome"] in (Outcome.SKIPPED, Outcome.DISLIKED)
        log.append(
            mssd_row(
                _session_id(row["session"]),
                row["position"] + 1,
                int(lengths[row["session"]]),
                f"t_{row['track']['uri']}",
                hour_of_day=row["time"].hour,
                date=f"{row['time']:%Y-%m-%d}",
                hist_user_behavior_reason_start="clickrow" if row["position"] == 0 else "trackdone",
                hist_user_behavior_reason_end="fwdbtn" if skipped else "trackdone",
                **mssd_flags(row["outcome"], row["ms_played"]),
            )
        )
    half = next(i for i, row in enumerate(rows) if row["session"] > rows[-1]["session"] // 2)
    (folder / "log_0_20180715_000000000000.csv").write_text(mssd_log(log[:half]))
    (folder / "log_1_20180716_000000000000.csv").write_text(mssd_log(log[half:]))
    features = [
        [f"t_{t['uri']}", f"{t['duration_ms'] / 1000:.6f}", 2018, 99.5, 0.1, *[0.0] * 8]
        for t in dataset.tracks.to_pylist()
    ]
    (folder / "tf_000000000000.csv").write_text(_table([MSSD_FEATURES, *features], ","))
    return folder


def write_lfm_1k(dataset: Dataset, folder: Path, *, without_ids: int = 3) -> Path:
    """Plays of each listener, newest first; every so many tracks have no id, as many artists."""
    folder.mkdir()
    lines = []
    for row in reversed(rows_of(dataset)):
        track = row["track"]
        named = int(track["uri"][-6:]) % without_ids
        time = row["time"].astimezone(UTC)
        fields = [row["listener"], f"{time:%Y-%m-%dT%H:%M:%SZ}"]
        fields += [mbid(track["artist_uri"]) if named else "", track["artist"]]
        fields += [mbid(track["uri"]) if named else "", track["title"]]
        lines.append("\t".join(fields) + "\n")
    (folder / LFM_1K).write_text("".join(lines))
    (folder / "userid-profile.tsv").write_text("#id\tgender\tage\tcountry\tregistered\n")
    return folder


def write_lfm_2b(dataset: Dataset, folder: Path, *, named: int = 2) -> Path:
    """Events in no order of listeners, and a table that names one track of every `named`."""
    folder.mkdir()
    rows = sorted(rows_of(dataset), key=lambda row: str(row["time"])[::-1])
    events = [["user_id", "track_id", "album_id", "timestamp"]]
    for row in rows:
        time: datetime = row["time"]
        user, track = int(row["listener"][-6:]), int(row["track"]["uri"][-6:])
        events.append([str(user), str(track), "7", f"{time:%Y-%m-%d %H:%M:%S}"])
    tracks = [["track_id", "artist_name", "track_name"]]
    for track in dataset.tracks.to_pylist():
        if (number := int(track["uri"][-6:])) % named == 0:
            tracks.append([str(number), track["artist"], track["title"]])
    for name, table in (("listening-events", events), ("tracks", tracks)):
        (folder / f"{name}.tsv.bz2").write_bytes(bz2.compress(_table(table, "\t").encode()))
    return folder
