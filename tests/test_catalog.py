"""Finding a track by what a person types."""

from __future__ import annotations

import pyarrow as pa
import pytest

from segue.catalog import CATALOG_SCHEMA, Catalog
from segue.data.schema import TABLES
from segue.errors import UsageError


def catalog(*names: tuple[str | None, str | None]) -> Catalog:
    """Tracks t0, t1, ... with these artists and titles."""
    rows = [
        dict.fromkeys(CATALOG_SCHEMA.names)
        | {"uri": f"t{i}", "artist": artist, "title": title, "artist_uri": f"a:{artist}"}
        | {"plays": 1}
        for i, (artist, title) in enumerate(names)
    ]
    return Catalog(pa.Table.from_pylist(rows, CATALOG_SCHEMA))


def test_words_of_artist_and_title_in_any_order_and_case():
    known = catalog(("Ann", "Blue Song"), ("Bob", "Blue Song"), (None, None))
    assert known.find("SONG ann") == 0
    assert known.find("t2") == 2


def test_a_title_to_the_letter_wins_over_longer_ones():
    known = catalog(("Ann", "Song (Remix)"), ("Bob", "Song"), ("Song", "Other"))
    assert known.find("song") == 1


def test_artist_and_title_to_the_letter_win_over_longer_ones():
    known = catalog(("Ann", "Song (Remix)"), ("Ann", "Song"), ("Bob", "Song"))
    assert known.find("Ann  song") == 1
    assert known.find("ann song (remix)") == 0


def test_what_two_tracks_have_to_the_letter_is_ambiguous():
    with pytest.raises(UsageError, match="may be 2 tracks"):
        catalog(("Ann", "Song"), ("Ann", "Song")).find("ann song")


@pytest.mark.parametrize(
    ("title", "typed"),
    [
        ("Straße", "Straße"),
        ("Straße", "straße"),
        ("İstanbul", "İstanbul"),
        ("ΟΔΟΣ", "ΟΔΟΣ"),
        ("Cafe\u0301", "café"),
        ("\uff21\uff22", "ab"),
        ("日本の歌", "日本"),
        ("🎵", "🎵"),
    ],
)
def test_names_in_any_script_are_found_as_they_are_written(title, typed):
    assert catalog(("x", "y"), (None, title)).find(typed) == 1


@pytest.mark.parametrize("text", ["", "  ", "\t"])
def test_an_empty_track_is_an_error(text):
    with pytest.raises(UsageError, match="empty track"):
        catalog(("Ann", "Song")).find(text)


@pytest.mark.parametrize("text", ["zzz", "\udcff", "\0", ".*", "%"])
def test_a_track_that_is_not_there_is_an_error(text):
    with pytest.raises(UsageError, match="no track matches"):
        catalog(("Ann", "Song"), (None, None)).find(text)


def test_tracks_are_added_once():
    known = catalog(("Ann", "One"), ("Bob", "Two"))

    def with_uris(*uris: str) -> Catalog:
        rows = [{"uri": uri} for uri in uris]
        return known.with_tracks(pa.Table.from_pylist(rows, TABLES["tracks"]))

    assert with_uris("a", "b").uris == ["t0", "t1", "a", "b"]
    assert with_uris("a").plays.tolist() == [1, 1, 0]
    for uris in (("a", "t1"), ("a", "t1", "t1"), ("t1",)):
        with pytest.raises(UsageError, match="t1: is in the catalog already, or twice"):
            with_uris(*uris)
    with pytest.raises(UsageError, match="b: is in the catalog already, or twice"):
        with_uris("a", "b", "b")


def test_tracks_of_an_artist_by_name_and_by_uri():
    known = catalog(("Straße", "a"), ("STRAßE", "b"), ("Strand", "c"), (None, "d"))
    assert known.of_artist(" straße ") == [0, 1]
    assert known.of_artist("a:Strand") == [2]


def test_an_artist_that_is_not_there_is_an_error_that_names_near_ones():
    known = catalog(("Ann Arbor", "a"), ("Anna", "b"), (None, "c"))
    with pytest.raises(UsageError, match=r"no artist is called 'ann': there are Ann Arbor, Anna;"):
        known.of_artist("ann")
    for name in ("", " ", "\udcff", "zzz"):
        with pytest.raises(UsageError, match="no artist is called"):
            known.of_artist(name)
