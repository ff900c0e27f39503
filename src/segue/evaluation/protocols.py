"""Protocols: named ways to make queries and truth from a dataset; and who may be tested on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from segue.answers import Int32, Int64, Queries
from segue.bundle import Bundle
from segue.data.dataset import Dataset
from segue.errors import BundleError, UsageError

UInt64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Test:
    """Queries with their right answers, in catalog rows of the dataset.

    Attributes:
        queries: what is asked.
        truth_offsets, truth: distinct tracks that were held out from query q are
            ``truth[truth_offsets[q]:truth_offsets[q + 1]]``, rising. Never one of the query's own.
        slices: label of each query. (queries,)
        playlists: row of the playlist that each query was made of. (queries,)
        notes: what a reader of the results has to know, a line each.
    """

    __test__: ClassVar[bool] = False  # not a class of tests, whatever its name says to pytest

    queries: Queries
    truth_offsets: Int64
    truth: Int32
    slices: npt.NDArray[np.str_]
    playlists: Int32
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True)
class Split:
    """Two sides of a dataset: nothing that `test` asks for is in `train`."""

    train: Dataset
    test: Test


class Protocol(ABC):
    """A way to make queries and truth: a pure function of the rows and a seed."""

    name: ClassVar[str]
    description: ClassVar[str]
    """One line."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        PROTOCOLS[cls.name] = cls()

    @abstractmethod
    def split(self, dataset: Dataset, seed: int) -> Split:
        """Hold a part of `dataset` out.

        Raises:
            DataError: the dataset has nothing to test on.
        """

    @abstractmethod
    def every(self, dataset: Dataset, seed: int) -> Test:
        """Make a query of everything that can be one, for bundles that learned elsewhere.

        Raises:
            DataError: the dataset has nothing to test on.
        """


PROTOCOLS: dict[str, Protocol] = {}
"""Every protocol by name. Complete once `segue.evaluation` is imported."""


def find_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in PROTOCOLS:
        known = ", ".join(sorted(PROTOCOLS))
        raise UsageError(f"no protocol is called {name!r}", do=f"protocols are: {known}")
    return PROTOCOLS[name]


# What was learned from, by content


@njit(cache=True)
def _mix(h):  # type: ignore[no-untyped-def]
    """Spread every bit over all others (the finaliser of SplitMix64)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True)
def _hash_runs(values, offsets):  # type: ignore[no-untyped-def]
    """FNV-1a over each run of values, finished by `_mix`; the order of values counts."""
    out = np.empty(len(offsets) - 1, np.uint64)
    for r in range(len(out)):
        h = np.uint64(0xCBF29CE484222325)
        for i in range(offsets[r], offsets[r + 1]):
            h = (h ^ np.uint64(values[i])) * np.uint64(0x100000001B3)
            h ^= h >> np.uint64(32)
        out[r] = _mix(h)
    return out


def _track_hashes(tracks: pa.Table) -> UInt64:
    """Hash of every track's uri. (tracks,)"""
    uris = tracks["uri"].cast(pa.large_string()).combine_chunks()
    if isinstance(uris, pa.ChunkedArray):
        uris = pa.concat_arrays(uris.chunks) if uris.num_chunks else pa.array([], pa.large_string())
    _, offsets, data = uris.buffers()
    starts = np.frombuffer(offsets, np.int64)[uris.offset : uris.offset + len(uris) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    hashes: UInt64 = _hash_runs(text, starts)
    return hashes


def playlist_hashes(dataset: Dataset) -> UInt64:
    """Hash of each playlist's uris in order; 0 for an empty one. (playlists,)"""
    entries = _track_hashes(dataset.tracks)[dataset.entries]
    hashes: UInt64 = _hash_runs(entries, dataset.offsets)
    hashes[np.diff(dataset.offsets) == 0] = 0
    return hashes


def _listener_hashes(dataset: Dataset) -> UInt64:
    """Hash of each listener's plays, whatever their order; 0 where there are none. (listeners,)"""
    listens = dataset.listens.select(["listener", "track", "outcome", "plays"])
    track, outcome, plays = (
        listens[column].to_numpy().astype(np.int64) for column in ("track", "outcome", "plays")
    )
    fields = np.stack(
        [_track_hashes(dataset.tracks)[track], outcome.astype(np.uint64), plays.astype(np.uint64)],
        axis=1,
    )
    rows = _hash_runs(fields.ravel(), np.arange(len(fields) + 1) * 3)
    hashes = np.zeros(dataset.listener_count, np.uint64)
    np.add.at(hashes, listens["listener"].to_numpy(), rows)
    return hashes


def learned_hashes(dataset: Dataset) -> UInt64:
    """What a recommender that is fitted on `dataset` learns from, as `Bundle.learned` keeps it.

    A hash for each playlist that has tracks (its uris, in order) and for each listener that has
    listens (uris, outcomes, plays). The rows' numbers play no part, so the same playlist has the
    same hash in any dataset.

    Returns:
        sorted, without repeats. (rows,) uint64
    """
    parts = [playlist_hashes(dataset)]
    if dataset.listener_count:
        parts.append(_listener_hashes(dataset))
    hashes = np.unique(np.concatenate(parts))
    known: UInt64 = hashes[hashes != 0]
    return known


def refuse_learned(
    name: str,
    bundle: Bundle,
    dataset: Dataset,
    protocol: Protocol,
    seed: int,
    test: Test,
    *,
    all_rows: bool,
) -> None:
    """Stop a test on rows that the bundle learned from.

    Raises:
        BundleError: it learned from `dataset` without holding these queries out, or elsewhere
            from a playlist that is tested.
    """
    advice = f"train with --holdout {protocol.name} --seed {seed}"
    manifest = bundle.manifest
    if manifest.dataset == dataset.info.fingerprint:
        held = manifest.holdout
        if all_rows:
            raise BundleError(
                "learned from this dataset, so not every row of it can be a test",
                where=name,
                do=f"leave out --all, or {advice} and test without it",
            )
        if held is None:
            raise BundleError("learned from the rows of the test", where=name, do=advice)
        if (held.protocol, held.seed) != (protocol.name, seed):
            raise BundleError(
                f"held out {held.protocol} with seed {held.seed}, the test is "
                f"{protocol.name} with seed {seed}",
                where=name,
                do=advice,
            )
        return
    tested = playlist_hashes(dataset)[test.playlists]
    known = int(np.isin(tested, bundle.learned).sum())
    if known:
        raise BundleError(
            f"learned from {known} of the {len(test)} playlists of the test",
            where=name,
            do=f"test on another dataset, or {advice} on this one",
        )
