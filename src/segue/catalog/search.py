"""Search for tracks by the beginnings of words."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


class Prefixes:
    """Which rows have a string that begins with something, in logarithmic time.

    Args:
        strings: (strings,)
        rows: of each. (strings,)
    """

    def __init__(self, strings: pa.Array, rows: npt.NDArray[np.int32]) -> None:
        encoded = strings.dictionary_encode()
        order = pc.sort_indices(encoded.dictionary).to_numpy()
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        places = place[encoded.indices.to_numpy()]
        self._strings = encoded.dictionary.take(pa.array(order))
        self._rows = rows[np.argsort(places, kind="stable")]
        self._ends = np.concatenate([[0], np.bincount(places, minlength=len(order)).cumsum()])

    def rows(self, text: str, whole: bool = False) -> npt.NDArray[np.int32]:
        """Rows, repeats included, of strings that begin with the text, or are it."""
        begin = text.encode()
        after = begin + (b"\0" if whole else b"\xff")  # no UTF-8 text stands between
        first, last = (
            bisect_left(self._strings, key, key=lambda string: string.as_py().encode())
            for key in (begin, after)
        )
        return self._rows[self._ends[first] : self._ends[last]]
