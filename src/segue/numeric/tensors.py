"""Sparse rows as tensors of a bundle, and as kernels take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from segue.errors import BundleError
from segue.models.base.recommender import expect
from segue.queries import Int32, Int64


def rows_as_tensors(name: str, offsets: Any, columns: Any) -> dict[str, npt.NDArray[Any]]:
    """Where each row starts, plus the end, and the columns of all rows, as in CSR."""
    return {
        f"{name}.offsets": np.asarray(offsets, np.int64),
        f"{name}.columns": np.asarray(columns, np.int32),
    }


def expect_rows(
    tensors: Mapping[str, npt.NDArray[Any]], name: str, width: int
) -> tuple[Int64, Int32]:
    """Rows of columns 0..width-1 that `rows_as_tensors` gave: (offsets, columns).

    Raises:
        BundleError: they are missing or do not fit.
    """
    offsets = expect(tensors, f"{name}.offsets", np.int64, None)
    columns = expect(tensors, f"{name}.columns", np.int32, None)
    whole = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(columns)
    if not whole or (np.diff(offsets) < 0).any():
        raise BundleError("is not the starts of rows", where=f"tensor {name}.offsets")
    if len(columns) and not 0 <= columns.min() <= columns.max() < width:
        raise BundleError(f"points outside 0..{width - 1}", where=f"tensor {name}.columns")
    return offsets, columns


def csr(matrix: Any) -> tuple[Int64, Int32, Any]:
    """Offsets, columns and values of a CSR matrix, always of the same types."""
    indices = matrix.indices.astype(np.int32, copy=False)
    return matrix.indptr.astype(np.int64, copy=False), indices, matrix.data
