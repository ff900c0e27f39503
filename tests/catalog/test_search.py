"""Finding a track by what a person types."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.catalogs import catalog, played

from segue.catalog.search import TrackMatch
from segue.errors import AmbiguousTrackError, UsageError


def test_words_of_artist_and_title_in_any_order_and_case():
    known = catalog(("Ann", "Blue Song"), ("Bob", "Blue Song"), (None, None))
    assert known.names.find("SONG ann").row == 0
    assert known.names.find("t2").row == 2


def test_a_title_to_the_letter_wins_over_longer_ones():
    known = catalog(("Ann", "Song (Remix)"), ("Bob", "Song"), ("Song", "Other"))
    assert known.names.find("song").row == 1


def test_artist_and_title_to_the_letter_win_over_longer_ones():
    known = catalog(("Ann", "Song (Remix)"), ("Ann", "Song"), ("Bob", "Song"))
    assert known.names.find("Ann  song").row == 1
    assert known.names.find("ann song (remix)").row == 0


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
    assert catalog(("x", "y"), (None, title)).names.find(typed).row == 1


@pytest.mark.parametrize("text", ["", "  ", "\t"])
def test_an_empty_track_is_an_error(text):
    with pytest.raises(UsageError, match="empty track"):
        catalog(("Ann", "Song")).names.find(text)


@pytest.mark.parametrize("text", ["zzz", "\udcff", "\0", ".*", "%"])
def test_a_track_that_is_not_there_is_an_error(text):
    with pytest.raises(UsageError, match="no track matches"):
        catalog(("Ann", "Song"), (None, None)).names.find(text)


# Which track is meant

SONGS = (
    ("The Killers", "Mr. Brightside", None, 216),
    ("Cover Band", "Mr. Brightside", None, 7),
    ("The Killers", "Mr. Brightside - Jacques Lu Cont Remix", None, 9),
    ("Björk", "Jóga", None, 12),
    ("Jason", "Sow Hatred", None, 90),
    ("Miles Davis", "So What", None, 40),
    ("Pink", "So What", None, 35),
    ("Post Malone", "Sunflower (feat. Swae Lee)", None, 5),
    ("Florence + The Machine", "Dog Days Are Over", None, 8),
    ("R.E.M.", "Losing My Religion", None, 6),
    ("Oasis", "Wonderwall", None, 4),
    ("Oasis", "Wonderwall - Remastered", None, 6),
    ("Guns N’ Roses", "Don't Cry", None, 3),
)


@pytest.mark.parametrize(
    ("typed", "row"),
    [
        ("Mr. Brightside", 0),
        ("mr brightside", 0),
        ("mr brightside the killers", 0),
        ("The Killers – Mr. Brightside", 0),
        ("brightside killers", 0),  # the favourite of those that hold both words
        ("brightside remix", 2),
        ("joga", 3),
        ("bjork - joga", 3),
        ("JÓGA", 3),
        ("so what miles davis", 5),
        ("sunflower", 7),
        ("dog days are over florence and the machine", 8),
        ("Florence & The Machine - Dog Days Are Over", 8),
        ("rem losing my religion", 9),
        ("wonderwall", 10),  # exact titles first, whatever is played more
        ("dont cry", 12),
        ("guns n roses don’t cry", 12),
    ],
)
def test_a_person_means_the_track_that_people_would_take(typed, row):
    assert played(*SONGS).names.find(typed).row == row


def test_other_tracks_of_that_title_are_named():
    assert played(*SONGS).names.find("mr brightside") == TrackMatch(0, [1])
    assert played(*SONGS).names.find("joga") == TrackMatch(3, [])


def test_words_are_whole_words():
    with pytest.raises(
        AmbiguousTrackError, match="may be 2 tracks: Miles Davis - So What"
    ) as error:
        played(*SONGS).names.find("so what")  # not "jaSOn SOW HATred"
    assert error.value.candidates == [5, 6]
    assert played(*SONGS).names.find("bright").row == 0  # parts where nobody has the whole


def test_without_plays_nothing_is_a_favourite():
    with pytest.raises(AmbiguousTrackError):
        played(("Ann", "Song", None, 0), ("Bob", "Song", None, 0)).names.find("song")
    assert played(("Ann", "Song", None, 1), ("Bob", "Song", None, 0)).names.find("song").row == 0


def test_one_song_under_two_uris_is_the_one_that_is_played_most():
    known = played(("Ann", "Song", None, 3), ("Ann", "Song", None, 4), ("Ann", "SONG", None, 4))
    assert known.names.find("ann song") == TrackMatch(1, [])


# Artists


def test_tracks_of_an_artist_by_name_and_by_uri():
    known = catalog(("Straße", "a"), ("STRAßE", "b"), ("Strand", "c"), (None, "d"))
    assert known.names.of_artist(" straße ") == [0, 1]
    assert known.names.of_artist("a:Strand") == [2]


def test_an_artist_that_is_not_there_is_an_error_that_names_near_ones():
    known = catalog(("Ann Arbor", "a"), ("Anna", "b"), (None, "c"))
    with pytest.raises(UsageError, match=r"no artist is called 'ann': there are Ann Arbor, Anna;"):
        known.names.of_artist("ann")
    for name in ("", " ", "\udcff", "zzz"):
        with pytest.raises(UsageError, match="no artist is called"):
            known.names.of_artist(name)


def test_a_search_takes_beginnings_of_words_of_artist_title_and_album_in_any_order():
    known = played(
        ("The Beatles", "Help!", "Help!", 5),
        ("Ann", "Beat It", "Red", 4),
        ("Bob", "Offbeat", None, 9),
        (None, None, "White Beach", 7),
        (None, None, None, 8),
    )
    assert known.names.search("bea", 9) == [1, 3, 0]
    assert known.names.search("HELP bea the", 9) == [0]
    assert known.names.search("red an", 9) == [1]
    assert known.names.search("beatlesque", 9) == []
    assert known.names.search("ann red bob", 9) == []


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
    assert known.names.search("moon", 9) == [4, 3, 2, 1, 0, 6, 5]
    assert known.names.search("moon", 3) == [4, 3, 2]
    assert known.names.search("moon r", 9) == [1]
    assert known.names.search("moon ann", 9) == [0, 5, 1, 3]


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_search_gives_the_most_played(text):
    known = played(("a", "b", None, 1), (None, None, None, 3), ("c", "d", None, 1), ("", "", "", 2))
    assert known.names.search(text, 3) == [1, 3, 0]
    assert known.names.search(text, 9) == [1, 3, 0, 2]


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
    assert played(("x", "y", None, 9), (None, title, None, 1)).names.search(typed, 5) == [1]


def test_an_artist_and_title_as_they_are_printed_are_found():
    known = played(("Ann", "Blue Song", None, 1), ("Ann", "Song", None, 2))
    assert known.names.search(known.label(0), 5) == [0]


@pytest.mark.parametrize("text", ["zzz", "\udcff", "\0", ".*", "%"])
def test_a_search_for_what_is_not_there_finds_nothing(text):
    assert catalog(("Ann", "Song"), (None, None)).names.search(text, 5) == []


def test_an_empty_catalog_has_nothing_to_find():
    assert [catalog().names.search(text, 5) for text in ("", "x")] == [[], []]


@pytest.mark.parametrize("n", [0, -1])
def test_a_search_for_no_tracks_is_an_error(n):
    with pytest.raises(UsageError, match=f"n is {n}"):
        catalog(("Ann", "Song")).names.search("", n)


def words_of(name: str | None) -> list[str]:
    """Written out from the definition: words without accents, or the signs of a name of signs."""
    apart = unicodedata.normalize("NFKD", name or "").lower()
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
    assert played(*rows).names.search(text, n) == [row for *_, row in sorted(found)][:n]


def test_a_track_is_found_as_answers_print_it():
    names = catalog(("New Order", "Blue Monday"), ("Other", "Monday"))
    assert names.names.find("New Order - Blue Monday").row == 0
    assert names.names.find("new order – blue monday").row == 0
