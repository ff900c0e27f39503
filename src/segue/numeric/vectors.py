"""Vectors of length one."""

from __future__ import annotations

import numpy as np

from segue.numeric.arrays import Float32


def units(vectors: Float32) -> Float32:
    """Of length 1, but for zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    of_one: Float32 = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return of_one
