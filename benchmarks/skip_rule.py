"""How well skips are inferred where a source does not say how a play ended.

``python -m benchmarks.skip_rule DATASET [--json]``

DATASET is an extended Spotify history, whose reasons say which plays were skipped (`SpotifyRule`).
Then the reasons are hidden and the other rules have to find those plays:

- *next play within N s*: `NextPlayRule`, from the starts of plays alone, as for Last.fm data;
- *shorter than N s*: `SpotifyRule` without reasons, as for the short export.

Precision: share of the plays taken as skipped that were. Recall: share of the skipped plays that
are found; the last play of a session, which the first rule leaves open, counts as not found. Twice:
against `SpotifyRule` (left by choice within 30 s, so that lengths find them all), and against every
play left by choice, however late (`left_...`). Plays whose true outcome is unknown (closed app,
back button) are left out of all, but they stay in the sequence. The export has the ends of plays:
starts are ends less the time played, so a pause within a play moves its start.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common.run import show
from segue.data.dataset import Dataset
from segue.data.outcomes import (
    SPOTIFY_LEFT,
    Evidence,
    NextPlayRule,
    OutcomeRule,
    SpotifyRule,
    longest_plays,
)
from segue.data.schema import Outcome
from segue.data.sessions import cut_at_gaps

SECONDS = (10.0, 20.0, 30.0, 45.0, 60.0)


def compare(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Precision and recall, NaN where nothing is found or nothing is true.

    Args:
        found, true: which rows are. (rows,) bool
    """
    right = (found & true).sum()
    return tuple(float(right / n.sum()) if n.any() else float("nan") for n in (found, true))


def hidden(evidence: Evidence) -> Evidence:
    """The same plays without the reasons why they began and ended."""
    nothing = pa.nulls(len(evidence), pa.string())
    return dataclasses.replace(evidence, reason_start=nothing, reason_end=nothing)


def only_starts(evidence: Evidence, gap_minutes: float) -> Evidence:
    """The same plays as a source sees them that only knows when they began."""
    nobody = np.full(len(evidence), -1, np.int32)
    session = cut_at_gaps(evidence.listener, evidence.time, nobody, gap_minutes)
    blind = dataclasses.replace(hidden(evidence), ms_played=nobody, longest_ms=nobody)
    return dataclasses.replace(blind, session=session, flags=np.zeros_like(nobody))


def measure(dataset: Dataset) -> list[dict[str, Any]]:
    """A row for every rule, and for every listener by the default rules."""
    listens = dataset.listens
    evidence = Evidence.of(listens, longest_plays(listens, dataset.track_count))
    outcome = SpotifyRule().derive(evidence)
    told = np.asarray(evidence.reason_end.is_valid())
    known = told & (outcome != Outcome.UNKNOWN)
    if not known.any():
        sys.exit("no reasons in this dataset: ingest an extended Spotify history")
    skipped = known & (outcome == Outcome.SKIPPED)
    left = known & evidence.ended(*SPOTIFY_LEFT)
    starts, lengths = only_starts(evidence, NextPlayRule().gap_minutes), hidden(evidence)

    def row(name: str, seen: Evidence, rule: OutcomeRule, of: np.ndarray) -> dict[str, Any]:
        found = (rule.derive(seen) == Outcome.SKIPPED) & of
        shares = {"plays": int(of.sum())}
        for what, rows in (("skipped", skipped), ("left", left), ("found", found)):
            shares[what] = float(rows[of].mean())
        precision, recall = compare(found, skipped & of)
        left_precision, left_recall = compare(found, left & of)
        return {"rule": name, **shares} | {
            "precision": precision,
            "recall": recall,
            "left_precision": left_precision,
            "left_recall": left_recall,
        }

    rows = []
    for s in SECONDS:
        rule = NextPlayRule(skip_seconds=s)
        rows.append(row(f"next play within {s:g} s", starts, rule, known))
    for s in SECONDS:
        rows.append(row(f"shorter than {s:g} s", lengths, SpotifyRule(skip_seconds=s), known))
    for listener in np.unique(evidence.listener):
        of = known & (evidence.listener == listener)
        if of.any():
            name = f"listener {listener + 1}: "
            rows.append(row(f"{name}next play within 30 s", starts, NextPlayRule(), of))
            rows.append(row(f"{name}shorter than 30 s", lengths, SpotifyRule(), of))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.skip_rule", description=__doc__)
    parser.add_argument("dataset", type=Path, metavar="DATASET")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure(Dataset.open(arguments.dataset))
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=2))
    else:
        show("Skips found without being told", rows)


if __name__ == "__main__":
    main()
