"""Captions: both wordings, with whatever is known of a track."""

from __future__ import annotations

import pyarrow as pa
import pytest

from segue.data.schema import TABLES
from segue.text.captions import caption, captions

PAPER = {
    ("Hey Jude", "The Beatles", "1"): "The track Hey Jude by The Beatles on album 1",
    ("Hey Jude", "The Beatles", None): "The track Hey Jude by The Beatles",
    ("Hey Jude", None, "1"): "The track Hey Jude on album 1",
    ("Hey Jude", None, None): "The track Hey Jude",
    (None, "The Beatles", "1"): "The track by The Beatles on album 1",
    (None, "The Beatles", None): "The track by The Beatles",
    (None, None, "1"): "The track on album 1",
}
CODE = {
    ("Hey Jude", "The Beatles", "1"): "Hey Jude is a song by the artist The Beatles on the album 1",
    ("Hey Jude", "The Beatles", None): "Hey Jude is a song by the artist The Beatles",
    ("Hey Jude", None, "1"): "Hey Jude is a song on the album 1",
    ("Hey Jude", None, None): "Hey Jude is a song",
    (None, "The Beatles", "1"): "a song by the artist The Beatles on the album 1",
    (None, "The Beatles", None): "a song by the artist The Beatles",
    (None, None, "1"): "a song on the album 1",
}


@pytest.mark.parametrize("known", PAPER, ids=str)
def test_the_wording_of_the_paper(known):
    assert caption(*known) == caption(*known, "paper") == PAPER[known]


@pytest.mark.parametrize("known", CODE, ids=str)
def test_the_wording_of_the_code(known):
    assert caption(*known, "code") == CODE[known]


@pytest.mark.parametrize("template", ["paper", "code"])
@pytest.mark.parametrize("nothing", [None, "", " \n"])
def test_a_track_of_which_nothing_is_known_has_no_caption(template, nothing):
    assert caption(nothing, nothing, nothing, template) is None


def test_what_is_empty_is_not_known():
    assert caption("", "The Beatles", " ") == "The track by The Beatles"


def test_runs_of_spaces_and_lines_are_one_space():
    assert caption(" Hey\n  Jude ", "The\tBeatles", None) == "The track Hey Jude by The Beatles"


def test_a_long_title_stays_whole():
    """It is cut where it is read, by words or tokens."""
    assert caption("la " * 4_000, "Ann", None) == f"The track{' la' * 4_000} by Ann"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("paper", ["The track One by Ann on album First", None, "The track Two"]),
        ("code", ["One is a song by the artist Ann on the album First", None, "Two is a song"]),
    ],
)
def test_captions_of_a_table(template, expected):
    columns = {
        "uri": ["a", "b", "c"],
        "title": ["One", None, "Two"],
        "artist": ["Ann", None, None],
        "album": ["First", None, None],
    }
    schema = TABLES["tracks"]
    rest = {name: [None] * 3 for name in schema.names if name not in columns}
    assert captions(pa.table(columns | rest, schema=schema), template) == expected
