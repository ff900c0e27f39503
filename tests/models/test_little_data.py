"""Data of which little can be learned: every recommender trains, or one line says why not."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from models.test_conformance import CASES, SMALL

from segue.data.dataset import Dataset
from segue.errors import DataError
from segue.models.base.recommender import RECOMMENDERS
from segue.queries import Queries, Query

HISTORIES: dict[str, list[list[str]]] = {
    "one track ten times": [[f"t{listener}"] * 10 for listener in range(20)],
    "one track for all": [["t"] * 10 for _ in range(20)],
    "one listen each": [[f"t{listener % 7}"] for listener in range(20)],
    "one listener": [["a", "b", "c", "a"]],
    "two tracks": [["a", "b"] for _ in range(20)],
    "repeats in the last batch": [["a", "b", "c", "d"]] * 16 + [["a", "a", "a"]],
}
"""Tracks of each listener, in one session each."""


def listens(histories: list[list[str]], outcome: str = "finished") -> Dataset:
    rows = [
        {"listener": f"l{n}", "track": track, "time": 60 * place, "outcome": outcome}
        for n, tracks in enumerate(histories)
        for place, track in enumerate(tracks)
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return Dataset.from_frame(columns, listener="listener", time="time", outcome="outcome")


def playlists(histories: list[list[str]]) -> Dataset:
    rows = [(f"p{n}", track) for n, tracks in enumerate(histories) for track in tracks]
    columns = {"playlist": [row[0] for row in rows], "track": [row[1] for row in rows]}
    return Dataset.from_frame(columns, playlist="playlist")


DATASETS = {
    **{f"listens: {name}": listens(lists) for name, lists in HISTORIES.items()},
    **{f"playlists: {name}": playlists(lists) for name, lists in HISTORIES.items()},
    "all skipped": listens([["a", "b", "c"]] * 20, "skipped"),
}


def settings(name: str) -> dict[str, Any]:
    small = dict(SMALL.get(name, {}))
    if "epochs" in small:
        small["epochs"] = min(3, small["epochs"])
    return small


@pytest.mark.parametrize(("name", "data"), list(product(CASES, DATASETS)))
def test_a_model_is_trained_or_one_line_says_why_not(name: str, data: str) -> None:
    dataset = DATASETS[data]
    model = RECOMMENDERS[CASES[name]](**settings(name))
    try:
        model.fit(dataset)
    except DataError as error:
        why = error
    else:
        why = None
    if why:
        assert "\n" not in str(why)
        assert why.do
        return
    queries = [Query(tracks=[0]), Query(title="x"), Query(tracks=range(dataset.track_count))]
    slates = model.recommend(Queries.of(queries), 5)
    assert len(slates) == 3
    for slate in slates:
        assert np.isfinite(slate.scores).all()
