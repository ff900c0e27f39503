"""Short texts as features: words and character n-grams."""

from __future__ import annotations

import hashlib
import unicodedata

_GRAMS = (2, 3, 4)
_WORD = 3.0
"""Weight of a word; an n-gram has 1."""


def words(text: str) -> list[str]:
    """Words of a text: case-folded, punctuation dropped, each emoji a word; no repeats.

    >>> words("LIT🔥🔥 (Rock & Roll)")
    ['lit', '🔥', 'rock', 'roll']
    """
    out = []
    for char in unicodedata.normalize("NFKC", text).casefold():
        kind = unicodedata.category(char)
        if char.isalnum() or kind in ("Mn", "Mc"):
            # Variation selectors say how an emoji is drawn, not which it is.
            out.append("" if "\ufe00" <= char <= "\ufe0f" else char)
        else:
            out.append(f" {char} " if kind in ("So", "Sk") else " ")
    return list(dict.fromkeys("".join(out).split()))


def features(word: str) -> dict[int, float]:
    """Hashes of a word and of its n-grams (2 to 4 characters, its edges marked), with weights."""
    edged = f" {word} "
    grams = {edged[i : i + n] for n in _GRAMS for i in range(len(edged) - n + 1)}
    return {hashed(f"{word}\n"): _WORD} | {hashed(gram): 1.0 for gram in sorted(grams)}


def hashed(feature: str) -> int:
    """64 bits of BLAKE2b: two features of one catalog do not collide in practice."""
    return int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
