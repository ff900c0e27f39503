"""What the tests of readers of plays look at."""

from __future__ import annotations

from segue.data.dataset import Dataset
from segue.data.schema import Outcome


def plays(dataset: Dataset) -> list[tuple[int, str, str, str]]:
    """Session, start (UTC), uri and outcome of every listen."""
    uris = dataset.tracks["uri"].to_pylist()
    return [
        (
            row["session"],
            f"{row['time']:%Y-%m-%d %H:%M:%S}",
            uris[row["track"]],
            Outcome(row["outcome"]).name.lower(),
        )
        for row in dataset.listens.select(["session", "time", "track", "outcome"]).to_pylist()
    ]
