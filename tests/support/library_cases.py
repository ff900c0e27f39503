"""What the tests of readers of libraries look at."""

from __future__ import annotations

from segue.data.dataset import Dataset
from segue.data.schema import Outcome


def counts(dataset: Dataset) -> list[tuple[int, str, int, str]]:
    """Listener, uri, plays and outcome of every listen."""
    names = dataset.tracks["uri"].to_pylist()
    columns = ["listener", "track", "plays", "outcome"]
    return [
        (r["listener"], names[r["track"]], r["plays"], Outcome(r["outcome"]).name.lower())
        for r in dataset.listens.select(columns).to_pylist()
    ]
