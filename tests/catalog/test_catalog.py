"""Finding a track by what a person types."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segue.catalog.catalog import CATALOG_SCHEMA, Catalog
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


def played(*rows: tuple[str | None, str | None, str | None, int]) -> Catalog:
    """Tracks with these artists, titles, albums and plays."""
    names = ("artist", "title", "album", "plays")
    full = [
        dict.fromkeys(CATALOG_SCHEMA.names) | {"uri": f"t{i}"} | dict(zip(names, row, strict=True))
        for i, row in enumerate(rows)
    ]
    return Catalog(pa.Table.from_pylist(full, CATALOG_SCHEMA))


def test_a_search_takes_beginnings_of_words_of_artist_title_and_album_in_any_order():
    known = played(
        ("The Beatles", "Help!", "Help!", 5),
        ("Ann", "Beat It", "Red", 4),
        ("Bob", "Offbeat", None, 9),
        (None, None, "White Beach", 7),
        (None, None, None, 8),
    )
    assert known.search("bea", 9) == [1, 3, 0]
    assert known.search("HELP bea the", 9) == [0]
    assert known.search("red an", 9) == [1]
    assert known.search("beatlesque", 9) == []
    assert known.search("ann red bob", 9) == []


def test_what_is_the_text_comes_before_what_begins_with_it_and_that_before_the_rest():
    known = played(
        ("Ann", "Over the Moon", None, 9),
        ("Ann", "Moon River", None, 1),
        ("Moonlight", "x", None, 2),
        ("Ann", "Moon", None, 0),
        ("Moon", "y", None, 3),
        ("Ann", "Mo", "Moon", 8),
        ("Bob", "Blue Moon", None, 9),
    )
    assert known.search("moon", 9) == [4, 3, 2, 1, 0, 6, 5]
    assert known.search("moon", 3) == [4, 3, 2]
    assert known.search("moon r", 9) == [1]
    assert known.search("moon ann", 9) == [0, 5, 1, 3]


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_search_gives_the_most_played(text):
    known = played(("a", "b", None, 1), (None, None, None, 3), ("c", "d", None, 1), ("", "", "", 2))
    assert known.search(text, 3) == [1, 3, 0]
    assert known.search(text, 9) == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("title", "typed"),
    [
        ("Beyoncé", "beyonce"),
        ("Beyonce", "BEYONCÉ"),
        ("Cafe\u0301 Noir", "café n"),
        ("İstanbul", "istan"),
        ("ΟΔΌΣ", "οδο"),
        ("Ёлка", "елка"),
        ("\uff21\uff22", "ab"),
        ("日本 の歌", "の"),
        ("Don’t Stop", "don't st"),
        ("(Remix) Song", "remix"),
        ("AC/DC", "ac-dc"),
        ("!!!", "!!"),
        ("🎵 🎶", "🎶"),
        ("हिन्दी", "हिन्"),
    ],
)
def test_names_in_any_script_are_searched_without_accents_and_punctuation(title, typed):
    assert played(("x", "y", None, 9), (None, title, None, 1)).search(typed, 5) == [1]


def test_an_artist_and_title_as_they_are_printed_are_found():
    known = played(("Ann", "Blue Song", None, 1), ("Ann", "Song", None, 2))
    assert known.search(known.label(0), 5) == [0]


@pytest.mark.parametrize("text", ["zzz", "\udcff", "\0", ".*", "%"])
def test_a_search_for_what_is_not_there_finds_nothing(text):
    assert catalog(("Ann", "Song"), (None, None)).search(text, 5) == []


def test_an_empty_catalog_has_nothing_to_find():
    assert [catalog().search(text, 5) for text in ("", "x")] == [[], []]


@pytest.mark.parametrize("n", [0, -1])
def test_a_search_for_no_tracks_is_an_error(n):
    with pytest.raises(UsageError, match=f"n is {n}"):
        catalog(("Ann", "Song")).search("", n)


def words_of(name: str | None) -> list[str]:
    """Written out from the definition: words without accents, or the signs of a name of signs."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name or "").lower())
    plain = unicodedata.normalize("NFKC", re.sub("[\u0300-\u036f]", "", apart))
    return re.findall(r"\w+", plain) or plain.split()


NAMES = st.one_of(st.none(), st.text("aAbé !", max_size=6))


@settings(max_examples=200)
@given(
    rows=st.lists(st.tuples(NAMES, NAMES, NAMES, st.integers(0, 2)), max_size=12),
    text=st.text("aBbe !", max_size=4),
    n=st.integers(1, 14),
)
def test_a_search_gives_what_its_definition_says(rows, text, n):
    words = words_of(text)
    found = []
    for row, (artist, title, album, plays) in enumerate(rows):
        held = [word for name in (artist, title, album) for word in words_of(name)]
        if all(any(word.startswith(typed) for word in held) for typed in words):
            names = [" ".join(words_of(name)) for name in (artist, title)]
            level = 2
            if words and any(name.startswith(" ".join(words)) for name in names):
                level = 0 if " ".join(words) in names else 1
            found.append((level, -plays, row))
    assert played(*rows).search(text, n) == [row for *_, row in sorted(found)][:n]


def test_a_track_is_found_as_answers_print_it():
    names = catalog(("New Order", "Blue Monday"), ("Other", "Monday"))
    assert names.find("New Order - Blue Monday") == 0
    assert names.find("new order – blue monday") == 0
