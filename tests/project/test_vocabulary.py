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
    "beside": 51,
    "company": 2,
    "door": 0,
    "drawing": 7,
    "found": 145,
    "heard": 125,
    "kept": 93,
    "ladder": 0,
    "learned": 68,
    "lengthened": 3,
    "material": 0,
    "own": 70,
    "past": 138,
    "placed": 11,
    "placing": 8,
    "refusal": 2,
    "rung": 0,
    "rungs": 0,
    "said": 17,
    "sides": 2,
    "some": 144,
    "tally": 0,
    "there": 37,
    "told": 16,
    "tops": 0,
    "wanted": 105,
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
