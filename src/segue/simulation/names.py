"""Words of a simulated world: invented names, and titles that fit the content."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

Texts = list[str]


def _words(text: str) -> Texts:
    return text.split()


_SYLLABLES = [onset + vowel for onset in "bdfghjklmnprstvyz" for vowel in "aeiou"]
_PREFIXES = _words(
    """
    acid amber ash basin black blue brine cave chrome cinder cloud copper coral crystal dawn deep
    desert drift dusk echo ember fern frost ghost glass gold grave harbor haze hollow iron ivory
    jade lunar marsh mist moss neon night north ocean pale pine plasma prism rain river rust salt
    sand shadow silver smoke solar south steel stone storm sugar swamp tape velvet violet wire
    """
)
_SUFFIXES = _words(
    """
    beat blues core dub folk funk gaze hop house jazz punk rave rock soul step wave
    """
)
_MOODS = _words(
    """
    chill happy sad party sleep study focus workout roadtrip summer winter autumn spring morning
    late-night rainy driving dinner dance feels throwback love angry calm cooking gaming shower
    running beach campfire wedding christmas
    """
)
_DECADES = ("50s", "60s", "70s", "80s", "90s", "00s", "2010s")
_EXTRAS = ("mix", "playlist", "vibes", "jams", "favorites", "bangers", "classics", "essentials")
_GENERIC = (
    "my playlist",
    "stuff",
    "favorites",
    "idk",
    "untitled",
    "mix",
    "music",
    "songs",
    "good stuff",
    "new",
    "liked",
    "random",
    "playlist",
    "all time",
    "current",
    "shazam",
    "car",
    "starred",
    "hmm",
    "jan",
    "june",
    "august",
    "nov 2025",
    "best",
    "the list",
    "me",
    "us",
    "old",
    "monday",
    "vol. 1",
)
_EMOJI = ("🔥", "🎶", "❤️", "😎", "🌙", "✨", "💃", "🌊", "☀️", "🥀")
_NOUNS = _words(
    """
    anchor arrow attic avenue balcony bell bird blanket boat bone bottle branch bridge candle
    canyon carousel chain chair chimney circle city coin comet corner cradle crown curtain
    daughter diamond door dream dust engine eye face feather fever field fire flag flood flower
    fog garden gate ghost girl glove habit hammer hand heart hill home honey hour house island
    jacket key king kiss knife ladder lake lantern leaf letter light line lion machine map matter
    meadow mile mirror moon motel mountain needle orbit orchard paper parade pearl phone photo
    piano pillow promise queen radio rail ribbon ring road roof room rope school secret shore sign
    skin sky snow spark sparrow stair star station street string suitcase sun table thread tide
    tower train tree tunnel valley wall water weather wheel window wing winter wolf yard year
    """
)
_LIKED_WORDS = 12
_COPRIME = 7919  # spreads consecutive numbers over the names


def _spell(number: int, syllables: int) -> str:
    """Another pronounceable word for every number below ``len(_SYLLABLES) ** syllables``."""
    number = number * _COPRIME % len(_SYLLABLES) ** syllables
    word = ""
    for _ in range(syllables):
        number, at = divmod(number, len(_SYLLABLES))
        word += _SYLLABLES[at]
    return word


def artist_names(rng: np.random.Generator, count: int) -> Texts:
    """Invented names, all different (up to 600,000)."""
    start = int(rng.integers(0, 1000))
    first = int(rng.integers(0, 1000))
    names = []
    for i, form in enumerate(rng.integers(0, 8, count).tolist()):
        name = _spell(start + i, 3).title()
        if form < 3:
            name = f"{_spell(first + i % 5000, 2).title()} {name}"
        elif form < 7:
            name = (f"The {name}s", f"{name} Trio", f"DJ {name}", name)[form - 3]
        names.append(name)
    return names


@dataclass(frozen=True)
class Lexicon:
    """Words of each genre.

    Attributes:
        words: name of each genre, the name in two words, and two words of its fans. No word or name
            belongs to two genres.
        moods: moods of each genre, the likeliest first; a mood belongs to many genres.
        decades: one of each genre.
        likes: for each genre, the nouns that its track titles like. (genres, 12)
    """

    words: list[Texts]
    moods: list[Texts]
    decades: Texts
    likes: Int64


def make_lexicon(rng: np.random.Generator, genres: int) -> Lexicon:
    """Words for so many genres (up to 400)."""
    pairs = rng.permutation(len(_PREFIXES) * len(_SUFFIXES))[:genres]
    start = int(rng.integers(0, 1000))
    words = []
    for g, pair in enumerate(pairs.tolist()):
        suffix, prefix = divmod(pair, len(_PREFIXES))
        name = (_PREFIXES[prefix], _SUFFIXES[suffix])
        slang = [_spell(start + 2 * g + k, 2) + "xk"[k] for k in range(2)]
        words.append(["".join(name), " ".join(name), *slang])
    moods = [[_MOODS[m] for m in rng.choice(len(_MOODS), 3, replace=False)] for _ in range(genres)]
    decades = [_DECADES[d] for d in rng.integers(0, len(_DECADES), genres)]
    likes = np.stack([rng.permutation(len(_NOUNS))[:_LIKED_WORDS] for _ in range(genres)])
    return Lexicon(words, moods, decades, likes)


def _typo(word: str, chance: float) -> str:
    """Leave out, double or swap a letter; `chance` in 0..1 says which and where."""
    at = 1 + int(chance * 997) % max(1, len(word) - 2)
    middle = ("", word[at] * 2, word[at] + word[at - 1])[int(chance * 3)]
    before = word[: at - 1] if int(chance * 3) == 2 else word[:at]
    return before + middle + word[at + 1 :]


def _title(lexicon: Lexicon, genres: Sequence[int], chance: Sequence[float]) -> str | None:
    """A playlist's title, decided by uniform numbers. (8 of them)"""
    kind = chance[0]
    if kind < 0.025:
        return None
    genre = genres[chance[1] < 0.25]
    mood = lexicon.moods[genre][int(3 * chance[2] ** 2)]
    word = lexicon.words[genre][int(4 * chance[3] ** 1.5)]
    extra = _EXTRAS[int(chance[4] * len(_EXTRAS))]
    if kind < 0.15:
        title = _GENERIC[int(chance[3] * len(_GENERIC))]
    elif kind < 0.30:
        title = mood if chance[4] < 0.5 else f"{mood} {extra}"
    elif kind < 0.65:
        title = word
    elif kind < 0.78:
        title = f"{word} {extra}"
    elif kind < 0.90:
        title = f"{mood} {word}"
    else:
        title = f"{lexicon.decades[genre]} {word}"
    noise, style = chance[5], chance[6]
    if noise < 0.04:
        title = _typo(title, chance[7]) if len(title) > 2 else title
    elif noise < 0.12:
        title = f"{title} {_EMOJI[int(chance[7] * len(_EMOJI))]}"
    elif noise < 0.19:
        title = f"{title} {(2, 3, 2024, 2025, '!!')[int(chance[7] * 5)]}"
    if style < 0.35:
        return string.capwords(title)
    return title.upper() if style < 0.43 else title


def playlist_titles(
    lexicon: Lexicon, rng: np.random.Generator, genres: npt.NDArray[np.int32]
) -> list[str | None]:
    """Titles of playlists of these genres. genres (n, 2); about 2.5 % have none."""
    chances = rng.random((len(genres), 8)).tolist()
    return [_title(lexicon, *row) for row in zip(genres.tolist(), chances, strict=True)]


def song_titles(lexicon: Lexicon, rng: np.random.Generator, genres: npt.NDArray[np.int32]) -> Texts:
    """Titles of tracks or albums of these genres (n,); half of the nouns are the genre's own."""
    n = len(genres)
    liked = lexicon.likes[genres[:, None], rng.integers(0, _LIKED_WORDS, (n, 2))]
    nouns = np.where(rng.random((n, 2)) < 0.5, liked, rng.integers(0, len(_NOUNS), (n, 2)))
    titles = []
    for (a, b), form in zip(nouns.tolist(), rng.integers(0, 6, n).tolist(), strict=True):
        one, two = _NOUNS[a].title(), _NOUNS[b].title()
        forms = (one, f"{one} {two}", f"{one} {two}", f"{one} of the {two}", f"The {one}", None)
        titles.append(forms[form] or f"{one} and {two}")
    return titles
