"""Protocols: named ways to make queries and truth from a dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from segue.catalog.catalog import Catalog
from segue.data.dataset import Dataset
from segue.errors import UsageError
from segue.numeric.arrays import Int32, Int64
from segue.numeric.ragged import Ragged
from segue.protocols.fingerprints import UInt64, playlist_hashes
from segue.queries import Queries

GROUP = 128
"""Queries that share a draw of candidates."""


@dataclass(frozen=True)
class Test:
    """Queries with their right answers, in catalog rows of the dataset.

    Attributes:
        queries: what is asked.
        truth: distinct tracks that were held out from each query, rising. Never one of the
            query's own.
        slices: label of each query. (queries,)
        sources: row of what each query was made of, in `Protocol.hashes` of the dataset. (queries,)
        notes: what a reader of the results has to know, a line each.
        listeners: of each query, where one may have several. (queries,)
        against: tracks that were skipped or disliked, for protocols that ask how they are ranked
            against the truth.
        candidates: for protocols that rank a sample: the drawn tracks of the first `GROUP` queries,
            of the next, ... (groups, tracks)
        only: for protocols that rank a part of the catalog, the same for every query: its tracks,
            rising. Those of equal score stand in an order drawn for each query. (tracks,)
    """

    __test__: ClassVar[bool] = False  # not a class of tests, whatever its name says to pytest

    queries: Queries
    truth: Ragged
    slices: npt.NDArray[np.str_]
    sources: Int64
    notes: tuple[str, ...] = ()
    listeners: Int32 | None = None
    against: Ragged | None = None
    candidates: Int32 | None = None
    only: Int32 | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def take(self, rows: Int64) -> Test:
        """A smaller test: the queries of these numbers, rising.

        Raises:
            ValueError: the test ranks samples, which belong to whole groups of queries.
        """
        if self.candidates is not None:
            raise ValueError("samples belong to groups of queries")
        return replace(
            self,
            queries=self.queries.take(rows),
            truth=self.truth.take(rows),
            slices=self.slices[rows],
            sources=self.sources[rows],
            listeners=None if self.listeners is None else self.listeners[rows],
            against=None if self.against is None else self.against.take(rows),
        )


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
    unit: ClassVar[str] = "playlists"
    """What queries are made of."""
    n: ClassVar[int]
    """Length of the lists where nothing else is asked for."""
    held_out_by: ClassVar[str | None] = None
    """Name of the protocol whose training side this one shares; None: it has its own."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
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

    def every_for(self, dataset: Dataset, seed: int, catalogs: Sequence[Catalog]) -> Test:
        """`every` for the bundles with these catalogs, where it matters what those have."""
        return self.every(dataset, seed)

    @abstractmethod
    def metrics(self, n: int) -> tuple[str, ...]:
        """What is reported of lists of n tracks, besides coverage."""

    @abstractmethod
    def headline(self, n: int) -> tuple[str, ...]:
        """Three of `metrics` that tell most; the first two are drawn, the second is for slices."""

    def asked(self, n: int) -> str:
        """What is asked for, in words."""
        return f"lists of {n} tracks from the full catalog"

    def hashes(self, dataset: Dataset) -> UInt64:
        """Hash of everything that may become a query, as `learned_hashes` has it; 0 for none."""
        return playlist_hashes(dataset)


PROTOCOLS: dict[str, Protocol] = {}
"""Every protocol by name. Complete once `segue.evaluation` is imported."""


def same_training(one: str, other: str) -> bool:
    """Whether two protocols leave the same rows to training."""
    sides = {PROTOCOLS[name].held_out_by or name for name in (one, other) if name in PROTOCOLS}
    return one == other or len(sides) == 1


def find_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in PROTOCOLS:
        known = ", ".join(sorted(PROTOCOLS))
        raise UsageError(f"no protocol is called {name!r}", do=f"protocols are: {known}")
    return PROTOCOLS[name]
