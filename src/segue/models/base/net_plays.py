"""What skips say: of a row or a query, and of a track.

Plays minus skips are what a row or a query has (above 0), and what it turned away (below 0). A
track that a row played as often as it skipped it says nothing, as if it were not there.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from segue.data.dataset import Dataset
from segue.data.interactions import RowKind
from segue.data.schema import Outcome, is_negative
from segue.numeric.arrays import Float32
from segue.numeric.ragged import Ragged
from segue.queries import Queries


def row_counts(dataset: Dataset, of: RowKind, skips: bool) -> sp.csr_matrix:
    """Plays of each row of ``dataset.plays(of)``, minus skips if asked. (rows, tracks) float32"""
    plays = dataset.plays(of)
    return _without_zeros(plays - dataset.skips(of)) if skips else plays


def query_counts(queries: Queries, tracks: int, skips: bool) -> sp.csr_matrix:
    """Plays of each query's history, minus skips if asked. (queries, tracks) float32"""
    if skips:
        history, signs = queries.history, np.where(queries.skipped_mask, -1, 1)
    else:
        history = queries.liked()
        signs = np.ones(len(history.values))
    rows = (signs.astype(np.float32), history.values, history.offsets)
    counts = sp.csr_matrix(rows, (len(queries), tracks), copy=True)
    counts.sum_duplicates()
    return _without_zeros(counts) if skips else counts


def skip_rates(dataset: Dataset) -> Float32:
    """How much larger a share of each track's listens was skipped than of all. (tracks,) float32

    A track of n listens says little where n is small, so its share s/n is drawn to that of all, m:

        n ρ / (n ρ + 1 − ρ) (s/n − m)

    ρ is how much tracks differ beyond chance (beta-binomial, by moments: Kleinman 1973,
    "Proportions with Extraneous Variance"). Where it is chance who is skipped, ρ and all rates are
    nearly 0. Listens with an unknown outcome do not count.
    """
    listens = dataset.listens
    outcomes, tracks = (listens[name].to_numpy() for name in ("outcome", "track"))
    plays = listens["plays"].to_numpy() * (outcomes != Outcome.UNKNOWN)
    size = dataset.track_count
    heard = np.bincount(tracks, plays, size)
    skipped = np.bincount(tracks, plays * is_negative(outcomes), size)
    total = heard.sum()
    mean = skipped.sum() / max(total, 1)
    beyond = np.divide(skipped, heard, out=np.full(size, mean), where=heard > 0) - mean
    free = (heard > 0).sum() - 1
    room = mean * (1 - mean) * (total - (heard**2).sum() / max(total, 1) - free)
    chance = mean * (1 - mean) * free
    rho = min(max((heard @ beyond**2 - chance) / room, 0), 1) if room > 0 else 0.0
    trust = np.divide(heard * rho, heard * rho + 1 - rho, out=np.zeros(size), where=heard > 0)
    rates: Float32 = (trust * beyond).astype(np.float32)
    return rates


def _without_zeros(counts: sp.csr_matrix) -> sp.csr_matrix:
    counts.eliminate_zeros()
    return counts


def parted(counts: sp.csr_matrix) -> tuple[Ragged, Ragged]:
    """Tracks with positive and with negative counts of each row; both rise."""
    rows = Ragged(counts.indptr.astype(np.int64), counts.indices.astype(np.int32))
    return rows.where(counts.data > 0), rows.where(counts.data < 0)
