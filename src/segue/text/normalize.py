"""The one rule of how names compare: search, `--track`, matching and recordings all use it."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

_LETTERS = {
    "ß": "ss",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ð": "d",
    "þ": "th",
    "ı": "i",
    "ς": "σ",
}
"""Letters that do not decompose into a plain one and a mark."""
_WORDS = {"&": " and ", " + ": " and "}
"""Signs that are read as a word."""
_MARKS = r"[\x{0300}-\x{036f}]+"
_APOSTROPHES = "['’‘ʼ`´]+"
_INITIALS = r"\b([a-z])\."
_FEATURING = r"\b(?:feat|ft|featuring)\b"
_GUESTS = (
    r"(?i)\s*[(\[]\s*(?:feat|ft|featuring|with)\b[^)\]]*[)\]]|\s+(?:feat|ft|featuring)\b\.? .*$"
)
_REMASTER = r"(?:digital(?:ly)?\s+)?remaster(?:ed)?(?:\s+version)?"
_REMASTER_NOTE = (
    rf"(?i)\s*(?:-\s*(?:\d{{4}}\s+)?{_REMASTER}(?:\s+\d{{4}})?"
    rf"|[(\[](?:\d{{4}}\s+)?{_REMASTER}(?:\s+\d{{4}})?[)\]])\s*$"
)


def comparable(names: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Names as they are compared: words of lower-case letters and digits between single spaces.

    Case, accents, punctuation and the width of letters do not count; "&" is "and", "ft." is
    "feat", "R.E.M." is "rem". A name that has neither letters nor digits is its signs. Null stays
    null.

    >>> comparable(pa.array(["Jóga 1", "Beyoncé & JAY-Z", "R.E.M.", "!!!"])).to_pylist()
    ['joga 1', 'beyonce and jay z', 'rem', '!!!']
    """
    array = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    encoded = array.dictionary_encode()  # few names are rare enough to be there once
    plain = pc.replace_substring_regex(encoded.dictionary, _APOSTROPHES, "")
    if not pc.all(pc.string_is_ascii(plain)).as_py():
        plain = pc.replace_substring_regex(pc.utf8_normalize(plain, "NFKD"), _MARKS, "")
        plain = pc.utf8_lower(plain)
        for letter, letters in _LETTERS.items():
            plain = pc.replace_substring(plain, letter, letters)
        plain = pc.utf8_normalize(plain, "NFKC")
    plain = pc.utf8_lower(plain)
    for sign, word in _WORDS.items():
        plain = pc.replace_substring(plain, sign, word)
    signs = pc.utf8_trim_whitespace(pc.replace_substring_regex(plain, r"\s+", " "))
    plain = pc.replace_substring_regex(plain, _INITIALS, r"\1")
    words = pc.utf8_trim_whitespace(pc.replace_substring_regex(plain, r"[^\p{L}\p{N}\p{M}]+", " "))
    words = pc.replace_substring_regex(words, _FEATURING, "feat")
    return pc.if_else(pc.equal(words, ""), signs, words).take(encoded.indices)


@lru_cache(maxsize=4096)
def comparable_name(name: str) -> str:
    """`comparable` of a single name."""
    text: str = comparable(pa.array([name]))[0].as_py()
    return text


def without_notes(names: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Titles or artists without what names no other recording: guests, and a remaster.

    >>> titles = pa.array(["Sunflower (feat. Swae Lee)", "Help! - Remastered 2009"])
    >>> without_notes(titles).to_pylist()
    ['Sunflower', 'Help!']
    """
    array = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    bare = pc.replace_substring_regex(array, _GUESTS, "")
    bare = pc.replace_substring_regex(bare, _REMASTER_NOTE, "")
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(bare), ""), array, bare)
