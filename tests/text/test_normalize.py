"""Names compare by their words: case, accents, punctuation and width do not count."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.text.normalize import comparable, comparable_name, without_notes


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Jóga 1", "joga 1"),
        ("  Beyoncé & JAY-Z ", "beyonce and jay z"),
        ("Florence + The Machine", "florence and the machine"),
        ("R.E.M.", "rem"),
        ("M.I.A", "mia"),
        ("AC/DC", "ac dc"),
        ("Don’t Stop Believin'", "dont stop believin"),
        ("Don't Stop Believin´", "dont stop believin"),
        ("Sigur Rós", "sigur ros"),
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("Ænima", "aenima"),
        ("Røyksopp", "royksopp"),
        ("ΟΔΟΣ", "οδοσ"),
        ("οδος", "οδοσ"),
        ("İstanbul", "istanbul"),
        ("ＡＢ", "ab"),
        ("Song ft. Ann", "song feat ann"),
        ("Song (featuring Ann)", "song feat ann"),
        ("日本の歌", "日本の歌"),
        ("!!!", "!!!"),
        ("🎵", "🎵"),
        ("&", "and"),
        ("", ""),
        (" ", ""),
    ],
)
def test_names_as_they_are_compared(name: str, key: str) -> None:
    assert comparable_name(name) == key


def test_null_stays_null_and_chunks_are_one_column() -> None:
    names = pa.chunked_array([["A", None], ["a", "B"]], pa.string())
    assert comparable(names).to_pylist() == ["a", None, "a", "b"]
    assert comparable(pa.nulls(2, pa.string())).to_pylist() == [None, None]


@given(st.text(max_size=20))
def test_what_is_compared_compares_as_itself(name: str) -> None:
    key = comparable_name(name)
    assert comparable_name(key) == key
    assert key == key.strip()
    assert "  " not in key


@pytest.mark.parametrize(
    ("title", "bare"),
    [
        ("Sunflower (feat. Swae Lee)", "Sunflower"),
        ("Sunflower [ft Swae Lee] (Remix)", "Sunflower (Remix)"),
        ("Sunflower feat. Swae Lee", "Sunflower"),
        ("Stay (with Ann)", "Stay"),
        ("Stay with Me", "Stay with Me"),
        ("Help! - Remastered 2009", "Help!"),
        ("Help! (2009 Digital Remaster)", "Help!"),
        ("Help! - Live", "Help! - Live"),
        ("Feat. of Clay", "Feat. of Clay"),
        ("(feat. Ann)", "(feat. Ann)"),
        (None, None),
    ],
)
def test_notes_on_guests_and_remasters_name_no_other_recording(title, bare) -> None:
    assert without_notes(pa.array([title], pa.string())).to_pylist() == [bare]
