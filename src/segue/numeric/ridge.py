"""The linear tower for squared errors, in closed form (van den Oord et al. 2013, section 3.1)."""

from __future__ import annotations

import numpy as np

from segue.numeric.arrays import Float32

_PULLS = tuple(10.0**k for k in range(-4, 5))
"""Tried regularisations, in units of the mean square of an input times the tracks."""


def ridge(
    inputs: Float32, wanted: Float32, held_inputs: Float32, held_wanted: Float32
) -> tuple[Float32, Float32]:
    """Weights and bias of the least Σ |wanted − W x − b|² + λ |W|².

    λ is that of `_PULLS` with the least squared error on the held tracks; the middle one where
    there are none.

    Args:
        inputs: (tracks, inputs); wanted: (tracks, outputs); the same of held tracks.

    Returns:
        (inputs, outputs), (outputs,)
    """
    x, y = inputs.astype(np.float64), wanted.astype(np.float64)
    middle, target = x.mean(axis=0), y.mean(axis=0)
    x, y = x - middle, y - target
    left, sizes, right = np.linalg.svd(x, full_matrices=False)
    turned = left.T @ y
    unit = max(float(np.square(sizes).sum()) / max(1, x.shape[1]), 1e-12)
    others = (held_inputs - middle) @ right.T

    def weights(pull: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        shrunk: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
        shrunk = turned * (sizes / (np.square(sizes) + pull * unit))[:, None]
        return shrunk

    def error(pull: float) -> float:
        return float(np.square(others @ weights(pull) + target - held_wanted).sum())

    best = min(_PULLS, key=error) if len(held_inputs) else 1.0
    found = right.T @ weights(best)
    return found.astype(np.float32), (target - middle @ found).astype(np.float32)
