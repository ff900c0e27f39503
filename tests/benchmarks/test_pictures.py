"""Pictures: places on the map, the filters that are chosen, the same bytes for the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.optional import reason

pytest.importorskip("matplotlib", reason=reason("matplotlib"))

import matplotlib as mpl
from benchmarks.common.pictures import most_active, principal_axes, save_map, save_spectrogram

from segue.audio.mel import BLOG
from segue.errors import DataError
from segue.nn.tower import Form, Tower

LABELS = ["a", "$b$", None, "_c"] * 10


def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    some = rng.normal(size=(40, 6)).astype(np.float32)
    some[7] = 0
    return some


def tower() -> Tower:
    """Filter f of six answers to band f alone."""
    form = Form(8, ((6, 2),), 0, (), 3, 0)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in form.shapes.items()}
    arrays["scale"] += 1
    for f in range(6):
        arrays["convolution0"][:, f, f] = 0.25
    return Tower(form, arrays)


def test_the_map_has_the_axes_along_which_directions_differ_most():
    angles = np.linspace(-1, 1, 21)
    plane = np.stack([np.ones(21), np.tan(angles), np.zeros(21)], axis=1).astype(np.float32)
    at = principal_axes(plane * np.linspace(1, 5, 21)[:, None].astype(np.float32))
    # Directions are on an arc: the chord is the first axis, the sagitta the second.
    np.testing.assert_allclose(np.abs(at[:, 0]), np.abs(np.sin(angles)), atol=1e-5)
    np.testing.assert_allclose(np.ptp(at[:, 1]), 1 - np.cos(1), atol=1e-5)


def test_lengths_of_vectors_do_not_move_tracks():
    some = vectors()[:7]
    lengths = np.arange(1, 8, dtype=np.float32)[:, None]
    np.testing.assert_allclose(principal_axes(some * lengths), principal_axes(some), atol=1e-5)


def test_the_filters_are_those_that_answer_more_than_to_other_tracks():
    loud = np.zeros((20, 8), np.float32)
    loud[:, 5] = 9  # in every track
    loud[:, 2] = 1
    others = [np.zeros((20, 8), np.float32) for _ in range(4)]
    for i, other in enumerate(others):
        other[:, 5] = 9 + i
    filters, outputs = most_active(loud, tower(), others)
    assert filters[0] == 2
    assert outputs.shape == (5, 17)
    assert outputs[0].tolist() == [1.0] * 17


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    sound = np.random.default_rng(1).random((50, 8)).astype(np.float16)
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        cold = np.array([1, 2], np.int32)
        save_map(folder / "map.png", vectors(), LABELS, cold=cold, title="$x$")
        save_spectrogram(
            folder / "mel.png", sound, BLOG, tower(), [sound[::-1]] * 3, title="a track"
        )
    assert dict(mpl.rcParams) == before
    for name in ("map.png", "mel.png"):
        one = (tmp_path / "one" / name).read_bytes()
        assert one.startswith(b"\x89PNG")
        assert one == (tmp_path / "two" / name).read_bytes()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot write"):
        save_map(tmp_path, vectors(), LABELS, cold=np.zeros(0, np.int32), title="")
