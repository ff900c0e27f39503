"""Sparse rows as tensors of a bundle, and as kernels take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from segue.errors import BundleError
from segue.numeric.arrays import Int32, Int64

LARGEST = 1e8
"""Of floats in a bundle: what training gives is far below, and sums of thousands of products of two
stay within float32."""


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


def expect(
    tensors: Mapping[str, npt.NDArray[Any]], name: str, dtype: Any, *shape: int | None
) -> npt.NDArray[Any]:
    """A tensor of a bundle, checked: type, shape (None = any length), and size of floats.

    Raises:
        BundleError: it is missing or does not fit.
    """
    if name not in tensors:
        raise BundleError("is missing", where=f"tensor {name}")
    tensor = tensors[name]
    fits = len(tensor.shape) == len(shape) and all(
        want is None or want == have for want, have in zip(shape, tensor.shape, strict=True)
    )
    if tensor.dtype != np.dtype(dtype) or not fits:
        wanted = "x".join("any" if want is None else str(want) for want in shape)
        have = "x".join(map(str, tensor.shape))
        raise BundleError(
            f"is {tensor.dtype} {have}, needs {np.dtype(dtype)} {wanted}", where=f"tensor {name}"
        )
    if not sane(tensor):
        raise BundleError(
            f"holds values that are not finite or beyond {LARGEST:g}", where=f"tensor {name}"
        )
    return tensor


def sane(tensor: npt.NDArray[Any]) -> bool:
    """Whether all floats of a tensor are finite and at most `LARGEST`."""
    if tensor.dtype.kind != "f" or not tensor.size:
        return True
    # As Python floats, since half precision has no LARGEST. False for NaN.
    return float(tensor.min()) >= -LARGEST and float(tensor.max()) <= LARGEST
