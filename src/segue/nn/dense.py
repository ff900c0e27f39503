"""Dense layers at inference: numba, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numba import prange

from segue.numeric.arrays import Float32, fixed
from segue.numeric.kernels import accumulate
from segue.numeric.parallel import parallel
from segue.numeric.tensors import expect

LINEAR, TANH, LEAKY = 0, 1, 2
_SLOPE = np.float32(0.01)


@parallel(cache=True)
def _layer(x, weights, bias, kind, out):  # type: ignore[no-untyped-def]
    """out = g(x @ weights + bias), each row on its own: a batch gives what its rows give."""
    for i in prange(len(x)):
        row = out[i]
        row[:] = bias
        accumulate(weights, x[i], row)
        for k in range(len(row)):
            if kind == TANH:
                row[k] = np.tanh(row[k])
            elif kind == LEAKY and row[k] < 0:
                row[k] *= _SLOPE


class Dense:
    """Layers f.

    Args:
        arrays: of layer i, counted from 0, "dense{i}" (inputs, outputs) and "dense{i}_bias".
        hidden: g of the hidden layers, as `_layer` takes it.
    """

    def __init__(self, arrays: Mapping[str, Float32], hidden: int) -> None:
        self.arrays, self.hidden = dict(arrays), hidden
        self.last = len(arrays) // 2 - 1

    @property
    def outputs(self) -> int:
        """Length of f(x)."""
        return len(self.arrays[f"dense{self.last}_bias"])

    def __call__(self, x: Float32) -> Float32:
        """f of each row; zeros for zeros, which say nothing. (n, inputs) -> (n, outputs)"""
        h = fixed(x, np.float32)
        for i in range(self.last + 1):
            weights = fixed(self.arrays[f"dense{i}"], np.float32)
            bias = fixed(self.arrays[f"dense{i}_bias"], np.float32)
            out = np.empty((len(h), len(bias)), np.float32)
            _layer(h, weights, bias, self.hidden if i < self.last else LINEAR, out)
            h = fixed(out, np.float32)
        return h * x.any(axis=1, keepdims=True)

    @classmethod
    def restore(
        cls,
        tensors: Mapping[str, npt.NDArray[Any]],
        prefix: str,
        inputs: int,
        layers: int,
        hidden: int,
    ) -> Self:
        """So many layers from tensors whose names begin with `prefix`.

        Raises:
            BundleError: one is missing or does not fit.
        """
        arrays: dict[str, Float32] = {}
        for layer in range(layers):
            name = f"dense{layer}"
            arrays[name] = expect(tensors, f"{prefix}{name}", np.float32, inputs, None)
            inputs = arrays[name].shape[1]
            bias = f"{name}_bias"
            arrays[bias] = expect(tensors, f"{prefix}{bias}", np.float32, inputs)
        return cls(arrays, hidden)
