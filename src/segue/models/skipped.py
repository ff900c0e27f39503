"""Plays minus skips: what a row or a query has (above 0), and what it turned away (below 0).

A track that a row played as often as it skipped it says nothing, as if it were not there.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from segue.answers import Int32, Int64, Queries
from segue.data.dataset import Dataset
from segue.data.rows import RowKind
from segue.runs import offsets_of


def row_counts(dataset: Dataset, of: RowKind, skips: bool) -> sp.csr_matrix:
    """Plays of each row of ``dataset.plays(of)``, minus skips if asked. (rows, tracks) float32"""
    plays = dataset.plays(of)
    return _without_zeros(plays - dataset.skips(of)) if skips else plays


def query_counts(queries: Queries, tracks: int, skips: bool) -> sp.csr_matrix:
    """Plays of each query's history, minus skips if asked. (queries, tracks) float32"""
    if skips:
        signs, offsets, heard = np.where(queries.negative, -1, 1), queries.offsets, queries.tracks
    else:
        offsets, heard = queries.liked()
        signs = np.ones(len(heard))
    shape = (len(queries), tracks)
    counts = sp.csr_matrix((signs.astype(np.float32), heard, offsets), shape, copy=True)
    counts.sum_duplicates()
    return _without_zeros(counts) if skips else counts


def _without_zeros(counts: sp.csr_matrix) -> sp.csr_matrix:
    counts.eliminate_zeros()
    return counts


def parted(counts: sp.csr_matrix) -> tuple[tuple[Int64, Int32], tuple[Int64, Int32]]:
    """Offsets and tracks of what the rows have, and of what they turned away; both rise."""
    parts = []
    for chosen in (counts.data > 0, counts.data < 0):
        offsets = offsets_of(chosen)[counts.indptr]
        parts.append((offsets, counts.indices[chosen].astype(np.int32)))
    return parts[0], parts[1]
