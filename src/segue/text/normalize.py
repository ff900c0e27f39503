"""Normalised names and titles: the one place with rules for it."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

_ASCII_WORD = re.compile("[a-z0-9]+")


def plain(names: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Names as they are compared: the same signs for the same letters, in lower case."""
    plain = pc.utf8_lower(pc.utf8_normalize(names, "NFKC"))
    return plain.combine_chunks() if isinstance(plain, pa.ChunkedArray) else plain


def worded(names: pa.Array) -> pa.Array:
    """Compared names as words between single spaces, without accents; "" for null.

    Words are letters and digits; a name that has none is its own word.
    """
    apart = pc.utf8_normalize(names.fill_null(""), "NFKD")
    bare = pc.replace_substring_regex(apart, r"[\x{0300}-\x{036f}]+", "")
    plain = pc.utf8_normalize(bare, "NFKC")
    words = pc.utf8_trim_whitespace(pc.replace_substring_regex(plain, r"[^\p{L}\p{N}\p{M}]+", " "))
    signs = pc.utf8_trim_whitespace(pc.replace_substring_regex(plain, r"\s+", " "))
    return pc.if_else(pc.equal(words, ""), signs, words)


def words(name: str) -> str:
    """Letters and digits of a name, lower case; the name itself where it has none."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    if plain.isascii():  # the same, in a tenth of the time
        return " ".join(_ASCII_WORD.findall(plain)) or plain.strip()
    words = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in plain)
    return " ".join(words.split()) or plain.strip()
