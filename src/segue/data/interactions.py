"""Rows that models learn from: which tracks a playlist, a listener or a session has, or skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segue.data.schema import is_negative
from segue.numeric.arrays import begins

if TYPE_CHECKING:
    import scipy.sparse as sp

RowKind = Literal["listeners", "sessions"]
"""What a row of listens is: all that a listener heard, or one session of it."""


def playlist_rows(
    entries: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], tracks: int
) -> sp.csr_matrix:
    """How often each playlist has each track. (playlists, tracks) float32"""
    from scipy.sparse import csr_matrix  # slow to load

    ones = np.ones(len(entries), np.float32)
    shape = (len(offsets) - 1, tracks)
    # A copy, because summing works in place.
    return _summed(csr_matrix((ones, entries, offsets), shape, copy=True))


def listen_rows(
    listens: pa.Table, of: RowKind, listeners: int, tracks: int, *, negative: bool
) -> sp.csr_matrix:
    """How often each listener, or each session, played each track, or skipped it.

    Args:
        listens: rows of the table, in its order.
        of: "sessions" gives them in the order of the table; a listener's listens that are of no
            session are a row, too.
        negative: count what ended in a skip or a dislike, rather than what did not.

    Returns:
        float32 counts. (rows, tracks)
    """
    from scipy.sparse import csr_matrix

    owner, rows = listens["listener"].to_numpy(), listeners
    if of == "sessions":
        session = listens["session"].fill_null(-1).to_numpy()
        first = begins(owner, session)
        owner, rows = np.cumsum(first) - 1, int(first.sum())
    chosen = is_negative(listens["outcome"].to_numpy()) == negative
    offsets = np.searchsorted(owner[chosen], np.arange(rows + 1))
    counts = listens["plays"].to_numpy()[chosen].astype(np.float32)
    matrix = csr_matrix((counts, listens["track"].to_numpy()[chosen], offsets), (rows, tracks))
    return _summed(matrix)


def _summed(matrix: sp.csr_matrix) -> sp.csr_matrix:
    matrix.sum_duplicates()
    return matrix
