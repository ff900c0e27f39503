"""Playlists by their normalised titles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from segue.numeric.arrays import Int64
from segue.text.ngrams import words


def by_name(titles: Sequence[str | None], plays: Any) -> tuple[list[str], Int64, Any]:
    """The distinct normalised titles of the playlists with tracks.

    Args:
        titles: titles of the first rows of `plays`.
        plays: ones for the tracks of each row. CSR (rows, tracks)

    Returns:
        The sorted names; the number of playlists of each name; and the number of these with each
        track, CSR (names, tracks) float32 with sorted columns.
    """
    names = [" ".join(words(title or "")) for title in titles]
    filled = np.diff(plays.indptr) > 0
    titled = np.array([row for row, name in enumerate(names) if name and filled[row]], np.int64)
    distinct, which = np.unique(
        np.array([names[row] for row in titled], np.str_), return_inverse=True
    )
    called = (np.ones(len(titled), np.float32), (which, titled))
    votes = (sp.csr_matrix(called, (len(distinct), plays.shape[0])) @ plays).tocsr()
    votes.sort_indices()
    return [str(name) for name in distinct], np.bincount(which, minlength=len(distinct)), votes
