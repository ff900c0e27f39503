"""Short texts as features: words and character n-grams."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from segue.numeric.arrays import Float32

Hashes = npt.NDArray[np.uint64]

_GRAMS = (2, 3, 4)
_WORD = 3.0
"""Weight of a word; an n-gram has 1."""
_LONG = 3
"""Characters of an n-gram, its word's edges included, from which on it says something."""
_EVIDENCE = 1 / 3
"""Share of a word's long n-grams that must be known, where the word is not."""


def words(text: str) -> list[str]:
    """Words of a text: case-folded, punctuation dropped, each emoji a word; no repeats.

    >>> words("LIT🔥🔥 (Rock & Roll)")
    ['lit', '🔥', 'rock', 'roll']
    """
    return list(dict.fromkeys(words_in_order(text)))


def words_in_order(text: str) -> list[str]:
    """The same, each as often as it is there."""
    out = []
    for char in unicodedata.normalize("NFKC", text).casefold():
        kind = unicodedata.category(char)
        if char.isalnum() or kind in ("Mn", "Mc"):
            # Variation selectors say how an emoji is drawn, not which it is.
            out.append("" if "\ufe00" <= char <= "\ufe0f" else char)
        else:
            out.append(f" {char} " if kind in ("So", "Sk") else " ")
    return "".join(out).split()


def features(word: str) -> dict[int, float]:
    """Hashes of a word and of its n-grams (2 to 4 characters, its edges marked), with weights."""
    return {_whole(word): _WORD} | {hashed(gram): 1.0 for gram in _grams(word)}


def _whole(word: str) -> int:
    return hashed(f"{word}\n")


def _grams(word: str) -> list[str]:
    edged = f" {word} "
    return sorted({edged[i : i + n] for n in _GRAMS for i in range(len(edged) - n + 1)})


def hashed(feature: str) -> int:
    """64 bits of BLAKE2b: two features of one catalog do not collide in practice."""
    return int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")


def find(known: Hashes, wanted: Sequence[int]) -> npt.NDArray[np.int64]:
    """Where each wanted hash is in the rising `known`, -1 where it is not."""
    if not len(known):
        return np.full(len(wanted), -1)
    hashes = np.array(wanted, np.uint64)
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.where(known[at] == hashes, at, -1)


class Vocabulary:
    """Known features with their idf.

    Attributes:
        hashes: rising. (features,)
        idf: 1 + ln((1 + N) / (1 + playlists with the feature in their title)). (features,)
    """

    def __init__(self, hashes: Hashes, idf: Float32) -> None:
        self.hashes, self.idf = hashes, idf

    @classmethod
    def learn(cls, texts: Sequence[Sequence[str]], counts: npt.NDArray[Any]) -> Self:
        """From texts as lists of words, and how many playlists are called by each (may be 0)."""
        rows = [{h for word in text for h in features(word)} for text in texts]
        repeats = [len(row) for row in rows]
        hashes, at = np.unique(
            np.array([h for row in rows for h in row], np.uint64), return_inverse=True
        )
        seen = np.bincount(at, np.repeat(counts, repeats), minlength=len(hashes))
        return cls(hashes, (1 + np.log((1 + counts.sum()) / (1 + seen))).astype(np.float32))

    def knows(self, text: Sequence[str]) -> bool:
        """Whether a word of the text is known, or looks like known ones.

        It does where a third of its n-grams of 3 and 4 characters are known: letters typed at
        random share those of 2 with many words, and longer ones with few.
        """
        for word in text:
            if find(self.hashes, [_whole(word)])[0] >= 0:
                return True
            long = [hashed(gram) for gram in _grams(word) if len(gram) >= _LONG]
            if (find(self.hashes, long) >= 0).mean() >= _EVIDENCE:
                return True
        return False

    def vectors(self, texts: Sequence[Sequence[str]]) -> Any:
        """One row a text, of length 1 (0 if it holds nothing known). CSR (texts, features)."""
        owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
        rows = self._rows([word for text in texts for word in text], owner, len(texts))
        lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
        return (sp.diags_array(1 / np.where(lengths > 0, lengths, 1)) @ rows).tocsr()

    def parts(self, text: Sequence[str]) -> Any:
        """One row a word; the sum of the rows is the text's row in `vectors`."""
        rows = self._rows(text, np.arange(len(text)), len(text))
        return rows / (np.linalg.norm(rows.sum(axis=0)) or 1.0)

    def _rows(self, texts: Sequence[str], owner: npt.NDArray[np.int64], owners: int) -> Any:
        """Features of words, times idf, summed by owner. CSR (owners, features)"""
        found = [features(word) for word in texts]
        at = find(self.hashes, [h for some in found for h in some])
        weights = np.array([weight for some in found for weight in some.values()], np.float64)
        row = np.repeat(owner, [len(some) for some in found])[at >= 0]
        weights, at = weights[at >= 0] * self.idf[at[at >= 0]], at[at >= 0]
        return sp.csr_matrix((weights, (row, at)), (owners, len(self.hashes)))
