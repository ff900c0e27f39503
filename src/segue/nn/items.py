"""Items that are trained or predicted on: a vector or frames each, perhaps on disk."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt

from segue.numeric.arrays import Int64

Array = npt.NDArray[Any]


class Arrays(Protocol):
    """Sounds of some tracks, a vector (inputs,) or frames (frames, inputs) each.

    They may be read from disk, each when it is asked for.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Array: ...


class Subset:
    """Some of `Arrays`, read when they are asked for."""

    def __init__(self, arrays: Arrays, at: Int64) -> None:
        self.arrays, self.at = arrays, at

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, i: int, /) -> Array:
        return self.arrays[int(self.at[i])]
