"""Identifiers use the field's words: those that name no thing may become fewer, never more.

The words are on the left of the table in `docs/development/vocabulary.md`, what to write instead
on the right.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from pathlib import Path

import segue

ROOT = Path(segue.__file__).parent
PAGE = Path(__file__).resolve().parents[2] / "docs" / "development" / "vocabulary.md"

MOST = {
    "beside": 91,
    "company": 26,
    "door": 16,
    "drawing": 31,
    "found": 310,
    "heard": 206,
    "kept": 185,
    "ladder": 3,
    "learned": 119,
    "lengthened": 3,
    "material": 13,
    "own": 166,
    "past": 157,
    "placed": 36,
    "placing": 8,
    "refusal": 5,
    "rung": 61,
    "rungs": 24,
    "said": 63,
    "sides": 82,
    "some": 312,
    "tally": 10,
    "there": 139,
    "told": 110,
    "tops": 2,
    "wanted": 229,
}
"""How many times each word is still part of an identifier. Lower a number when you rename one."""


def identifiers() -> Counter[str]:
    """Parts of all names in the source, between underscores."""
    found: Counter[str] = Counter()
    for file in ROOT.rglob("*.py"):
        source = io.StringIO(file.read_text(encoding="utf-8"))
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.NAME:
                found.update(token.string.lower().split("_"))
    return found


def test_words_that_name_no_thing_become_no_more() -> None:
    found = identifiers()
    more = {word: (found[word], most) for word, most in MOST.items() if found[word] > most}
    assert not more, f"now, at most: {more}"


def test_the_page_has_every_word() -> None:
    listed = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert set(MOST) <= listed
