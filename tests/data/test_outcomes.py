"""Rules that derive outcomes from evidence, and deriving them again in a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from benchmarks.skip_rule import measure
from hypothesis import given
from hypothesis import strategies as st
from support.spotify_exports import export, play
from typer.testing import CliRunner

from segue.cli.app import app
from segue.data.dataset import Dataset
from segue.data.ingestion.formats import FORMATS
from segue.data.ingestion.ingest import ingest
from segue.data.outcomes import (
    RULES,
    SPOTIFY_LEFT,
    Evidence,
    MssdRule,
    NextPlayRule,
    OutcomeRule,
    SpotifyRule,
)
from segue.data.rederive import derive_again
from segue.data.schema import TABLES, Flag, Outcome
from segue.data.sessions import cut_at_gaps
from segue.errors import ConfigError, DataError

U, F, P, S = Outcome.UNKNOWN, Outcome.FINISHED, Outcome.PARTIAL, Outcome.SKIPPED


def evidence(rows: list[dict[str, Any]], longest: int = 200_000) -> Evidence:
    """Rows of one listener and session, unless they say otherwise."""
    whole = [
        {"listener": 0, "session": 0, "track": 0, "outcome": 0, "plays": 1, **row} for row in rows
    ]
    listens = pa.Table.from_pylist(whole, TABLES["listens"])
    return Evidence.of(listens, np.array([longest], np.int32))


def heard(ms: int, reason: str | None) -> dict[str, Any]:
    return {"ms_played": ms, "reason_end": reason}


@pytest.mark.parametrize("reason", SPOTIFY_LEFT)
def test_spotify_left_for_something_else_is_skipped_before_30_seconds(reason: str) -> None:
    rows = evidence([heard(0, reason), heard(29_999, reason), heard(30_000, reason)])
    assert SpotifyRule().derive(rows).tolist() == [S, S, P]


@pytest.mark.parametrize(
    "reason", ["backbtn", "logout", "remote", "unexpected-exit", "trackerror", "unknown", "new"]
)
def test_spotify_other_ends_of_a_short_play_say_nothing(reason: str) -> None:
    rows = evidence([heard(0, reason), heard(29_999, reason), heard(199_000, reason)])
    assert SpotifyRule().derive(rows).tolist() == [U, U, P]


def test_spotify_finished_is_what_ended_by_itself_however_short() -> None:
    rows = evidence([heard(2_000, "trackdone"), heard(200_000, "trackdone")])
    assert SpotifyRule().derive(rows).tolist() == [F, F]


def test_spotify_without_a_reason_goes_by_length() -> None:
    rows = [heard(29_999, None), heard(30_000, None), heard(179_999, None), heard(180_000, None)]
    assert SpotifyRule().derive(evidence(rows)).tolist() == [S, P, P, F]
    assert SpotifyRule(finished_share=0.5).derive(evidence(rows)).tolist() == [S, P, F, F]
    assert SpotifyRule().derive(evidence(rows, longest=29_999)).tolist() == [S, F, F, F]


def test_spotify_settings_move_the_limit() -> None:
    rows = evidence([heard(10_000, "fwdbtn"), heard(40_000, "fwdbtn")])
    assert SpotifyRule(skip_seconds=10).derive(rows).tolist() == [P, P]
    assert SpotifyRule(skip_seconds=60).derive(rows).tolist() == [S, S]


def test_mssd_steps_up_to_the_chosen_one_are_skips() -> None:
    one = Flag.SKIP_1 | Flag.SKIP_2 | Flag.SKIP_3
    two, three = Flag.SKIP_2 | Flag.SKIP_3, Flag.SKIP_3
    rows = evidence([{"flags": int(f)} for f in (one, two, three, Flag.NOT_SKIPPED, Flag(0))])
    assert MssdRule().derive(rows).tolist() == [S, S, P, F, U]
    assert MssdRule(skip=1).derive(rows).tolist() == [S, P, P, F, U]
    assert MssdRule(skip=3).derive(rows).tolist() == [S, S, S, F, U]


def times(*seconds: float, **more: Any) -> list[dict[str, Any]]:
    return [{"time": round(s * 1000), **more} for s in seconds]


def test_next_play_within_30_seconds_is_a_skip_and_the_last_is_unknown() -> None:
    rows = times(0, 29.999, 60, 90) + times(91, 92, session=1) + times(93, 300, listener=1)
    assert NextPlayRule().derive(evidence(rows)).tolist() == [S, F, F, U, S, U, F, U]
    assert NextPlayRule(skip_seconds=31).derive(evidence(rows)).tolist() == [S, S, S, U, S, U, F, U]


def test_next_play_of_a_mere_count_is_unknown() -> None:
    rows = [{**row, "session": None} for row in times(0, 1)]
    assert NextPlayRule().derive(evidence(rows)).tolist() == [U, U]


@pytest.mark.parametrize("rule", [OutcomeRule, *RULES.values()])
def test_every_rule_takes_no_rows_and_rows_that_say_nothing(rule: type[OutcomeRule]) -> None:
    assert rule().derive(evidence([])).tolist() == []
    (outcome,) = rule().derive(evidence([{}])).tolist()
    assert outcome in set(Outcome)


def test_sessions_end_after_silence_not_after_length() -> None:
    minute = 60_000
    listener = np.array([0, 0, 0, 0, 1], np.int32)
    time = np.array([0, 70, 101, 140, 141]) * minute
    played = np.array([60, 1, -1, 5, 5], np.int32) * minute
    # silences: 10, 30 (not more than the gap), 39 from the start of the unknown length, a listener
    assert cut_at_gaps(listener, time, played, 30).tolist() == [0, 0, 0, 1, 2]
    assert cut_at_gaps(listener[:0], time[:0], played[:0], 30).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**8)), max_size=30))
def test_a_longer_gap_only_joins_sessions(plays: list[tuple[int, int]]) -> None:
    plays.sort()
    listener = np.array([p[0] for p in plays], np.int32)
    time = np.array([p[1] for p in plays], np.int64)
    nobody = np.full(len(plays), -1, np.int32)
    near, far = (cut_at_gaps(listener, time, nobody, gap) for gap in (20, 60))
    assert (np.diff(near) >= np.diff(far)).all()
    assert (np.diff(far)[np.diff(listener) > 0] == 1).all()


def test_rules_are_those_of_the_formats() -> None:
    rules = {name: reader.Settings for name, reader in FORMATS.items() if reader.Settings}
    rules = {name: kind for name, kind in rules.items() if issubclass(kind, OutcomeRule)}
    del rules["feedback"]  # says its outcomes: nothing to derive again
    assert rules == RULES


# In a dataset


def history(folder: Path) -> Path:
    """Four plays: finished, skipped, left late, and one after 20 minutes."""
    source = export(
        folder / "mine",
        play("10:03:20", 200, "a"),
        play("10:03:25", 5, "b", reason_end="fwdbtn"),
        play("10:04:05", 40, "c", reason_end="fwdbtn"),
        play("10:26:05", 120, "d", reason_end="logout"),
    )
    ingest("spotify-history", [source], folder / "d")
    return folder / "d"


def derived(path: Path) -> tuple[list[int], list[int], list[int]]:
    listens = Dataset.open(path).listens
    outcome, session, position = (
        listens[name].to_pylist() for name in ("outcome", "session", "position")
    )
    return outcome, session, position


def test_outcomes_and_sessions_are_derived_again_in_place(tmp_path: Path) -> None:
    path = history(tmp_path)
    whole = Dataset.open(path)
    assert derived(path) == ([F, S, P, P], [0, 0, 0, 0], [0, 1, 2, 3])
    before, after = derive_again(path, {"skip_seconds": 60, "gap_minutes": 15})
    assert derived(path) == ([F, S, S, P], [0, 0, 0, 1], [0, 1, 2, 0])
    assert (before["sessions"], after["sessions"]) == (1, 2)
    assert (before["outcomes"]["skipped"], after["outcomes"]["skipped"]) == (1, 2)
    changed = Dataset.open(path)
    assert changed.info.fingerprint != whole.info.fingerprint
    (source,) = changed.info.sources
    assert source.settings == msgspec.structs.asdict(SpotifyRule(skip_seconds=60, gap_minutes=15))
    assert changed.tracks == whole.tracks
    assert changed.listeners == whole.listeners
    same = ["listener", "track", "time", "ms_played", "reason_start", "reason_end", "flags"]
    assert changed.listens.select(same) == whole.listens.select(same)


def test_settings_that_are_not_named_stay_and_the_way_back_is_exact(tmp_path: Path) -> None:
    path = history(tmp_path)
    first = Dataset.open(path).info
    derive_again(path, {"skip_seconds": 60})
    derive_again(path, {"gap_minutes": 15})
    assert Dataset.open(path).info.sources[0].settings["skip_seconds"] == 60
    derive_again(path, {"gap_minutes": 30, "skip_seconds": 30})
    assert Dataset.open(path).info == first


def test_a_setting_that_decides_what_is_read_needs_an_ingest(tmp_path: Path) -> None:
    path = history(tmp_path)
    derive_again(path, {"incognito": False})
    with pytest.raises(ConfigError, match="incognito decides what is read; ingest again with it"):
        derive_again(path, {"incognito": True})
    with pytest.raises(ConfigError, match=r"unknown setting gap; settings are: gap_minutes, "):
        derive_again(path, {"gap": 3})


def test_a_dataset_without_evidence_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("listener,track\nu,a\n")
    ingest("csv", [tmp_path / "plays.csv"], tmp_path / "d")
    with pytest.raises(
        DataError, match=r"d: has no evidence of how its listens ended; map ms_played"
    ):
        derive_again(tmp_path / "d", {})


def test_segue_outcomes_prints_before_and_after(tmp_path: Path) -> None:
    path = history(tmp_path)
    ran = CliRunner().invoke(app, ["outcomes", str(path), "--set", "skip_seconds=60", "--json"])
    counts = {"unknown": 0, "finished": 1, "partial": 2, "skipped": 1, "disliked": 0}
    assert json.loads(ran.stdout) == {
        "dataset": str(path),
        "before": counts,
        "after": counts | {"partial": 1, "skipped": 2},
        "sessions": 1,
    }
    ran = CliRunner().invoke(app, ["outcomes", str(path), "--set", "skip_seconds=30"])
    assert [line.split() for line in ran.stdout.splitlines()][1:5] == [
        ["sessions", "1", "1"],
        ["listens", "unknown", "0", "0"],
        ["listens", "finished", "1", "1"],
        ["listens", "partial", "1", "2"],
    ]


# How well skips are inferred


def test_precision_and_recall_of_inferred_skips_by_hand(tmp_path: Path) -> None:
    """Plays one after another: b is skipped and found; d is skipped, the last of its session."""
    source = export(
        tmp_path / "mine",
        play("10:03:20", 200, "a"),
        play("10:03:25", 5, "b", reason_end="fwdbtn"),
        play("10:03:45", 20, "c"),  # ended by itself, but looks like a skip
        play("10:03:50", 5, "x", reason_end="logout"),  # unknown: not judged
        play("10:03:55", 5, "d", reason_end="fwdbtn"),
    )
    ingest("spotify-history", [source], tmp_path / "d")
    rows = {row["rule"]: row for row in measure(Dataset.open(tmp_path / "d"))}
    starts = rows["next play within 30 s"]
    assert (starts["plays"], starts["skipped"]) == (4, 0.5)
    assert (starts["precision"], starts["recall"]) == (0.5, 0.5)
    lengths = rows["shorter than 30 s"]
    assert (lengths["precision"], lengths["recall"]) == (2 / 3, 1)


def test_skips_inferred_from_starts_are_right_on_real_histories(
    tmp_path: Path, real_data: Path
) -> None:
    source = real_data / "spotify_history" / "listener_2"
    if not source.is_dir():
        pytest.skip(f"needs real data (no {source}): set SEGUE_TEST_DATA")
    ingest("spotify-history", [source], tmp_path / "d")
    rows = {row["rule"]: row for row in measure(Dataset.open(tmp_path / "d"))}
    assert rows["next play within 30 s"]["precision"] > 0.95
    assert rows["next play within 30 s"]["recall"] > 0.88
    assert rows["next play within 60 s"]["precision"] < 0.9
