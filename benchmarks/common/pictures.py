"""Pictures of what models that hear have learned, as PNG files. The same model, the same bytes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segue.audio.mel import Mel
from segue.evaluation.plots import COLOURS, STYLE
from segue.nn.tower import Tower, convolved, filled
from segue.numeric.arrays import Float32, Int32
from segue.system.extras import needs
from segue.system.files import write_file

try:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise needs("a picture", "report", cause=error) from error

FILTERS = 5
"""That are drawn below a spectrogram."""
_NAMED = len(COLOURS) - 1
_OTHERS = "#b5b5b5"
_HERTZ = (100, 300, 1000, 3000, 10000)
Array = npt.NDArray[Any]


def principal_axes(vectors: Float32) -> Float32:
    """Places of vectors on the two axes along which their directions differ most.

    Directions, because the length of a vector is how much a track is played. The first number that
    is not tiny on each axis is positive, so that pictures do not turn over.

    Args:
        vectors: none is zero. (n, factors)

    Returns:
        (n, 2) float32; the second column is zeros where vectors have one factor.
    """
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = (units - units.mean(axis=0)).astype(np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, np.argsort(-values, kind="stable")[:2]]
    for axis in axes.T:
        large = axis[np.abs(axis) > 1e-6]
        axis *= np.sign(large[0]) if len(large) else 1
    out = np.zeros((len(vectors), 2), np.float32)
    out[:, : axes.shape[1]] = centred @ axes
    return out


def save_map(
    path: Path | str,
    vectors: Float32,
    labels: Sequence[str | None],
    *,
    cold: Int32,
    title: str,
) -> None:
    """Draw tracks where their vectors are, by `principal_axes`.

    Args:
        path: of the PNG.
        vectors: (tracks, factors); tracks of zeros have no place and are left out.
        labels: of each track, such as its artist or genre: the most frequent have colours.
        cold: tracks that nobody has played, drawn as rings.
        title: above the map.

    Raises:
        DataError: the file cannot be written.
    """
    placed = np.flatnonzero(vectors.any(axis=1))
    at = principal_axes(vectors[placed])
    names = [labels[row] for row in placed.tolist()]
    counts = Counter(name for name in names if name)
    named = [label for label, _ in counts.most_common(_NAMED)]
    colours = dict(zip(named, COLOURS, strict=False))
    rings = np.isin(placed, cold)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 7), layout="constrained")
        axes = figure.subplots()
        for label in (None, *named):
            own = np.array([(name if name in colours else None) == label for name in names])
            colour = colours.get(label, _OTHERS) if label else _OTHERS
            dots, circles = at[own & ~rings], at[own & rings]
            axes.scatter(
                dots[:, 0],
                dots[:, 1],
                s=9,
                color=colour,
                linewidths=0,
                label=f" {label or 'others'}",
            )
            axes.scatter(circles[:, 0], circles[:, 1], s=30, facecolors="none", edgecolors=colour)
        axes.set_title(title)
        axes.set_xlabel("first principal axis; rings are tracks that nobody has played", fontsize=9)
        axes.set_ylabel("second principal axis", fontsize=9)
        axes.legend(frameon=False, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
        _save(figure, path)


def most_active(sound: Array, tower: Tower, others: Sequence[Array]) -> tuple[Array, Array]:
    """Filters of the first convolution that answer to a track more than to others.

    Args:
        sound: of the track. (frames, bands)
        tower: with convolutions.
        others: sounds that tell how active a filter usually is.

    Returns:
        Filters, the most active first, by how many standard deviations of the others' means its
        mean is above theirs; and their outputs over time. (filters,), (filters, frames)
    """
    own = _first(sound, tower)
    usual = np.stack([_first(other, tower).mean(axis=0) for other in others])
    above = (own.mean(axis=0) - usual.mean(axis=0)) / (usual.std(axis=0) + 1e-6)
    order = np.argsort(-above, kind="stable")[:FILTERS]
    return order, own[:, order].T


def _first(sound: Array, tower: Tower) -> Float32:
    """What the first convolution makes of a clip. (frames - 3, channels)"""
    arrays = tower.arrays
    x = filled(sound, tower.form.least).astype(np.float32)
    x = (x - arrays["shift"]) * arrays["scale"]
    outputs: Float32 = convolved(x[None], arrays["convolution0"], arrays["convolution0_bias"])[0]
    return outputs


def save_spectrogram(
    path: Path | str,
    sound: Array,
    mel: Mel,
    tower: Tower,
    others: Sequence[Array],
    *,
    title: str,
) -> None:
    """Draw the mel-spectrogram of a track, and below it the filters that answer to it most.

    Beside each filter's output over time are its weights: what it listens for, over 4 frames.

    Args:
        path: of the PNG.
        sound: log-mel-spectrogram. (frames, bands)
        mel: what it was made with.
        tower, others: as for `most_active`.
        title: above the picture.

    Raises:
        DataError: the file cannot be written.
    """
    filters, outputs = most_active(sound, tower, others)
    seconds = len(sound) * mel.hop / mel.rate
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.5 + 0.75 * len(filters)), layout="constrained")
        heights = [4, *([1] * len(filters))]
        grid = figure.add_gridspec(len(heights), 2, width_ratios=[1, 14], height_ratios=heights)
        axes = figure.add_subplot(grid[0, 1])
        span = (0, seconds, 0, sound.shape[1])
        axes.imshow(sound.T.astype(np.float32), origin="lower", aspect="auto", extent=span)
        axes.set_yticks(*_pitches(mel))
        axes.set_ylabel("Hz")
        axes.set_title(title)
        for row, (number, output) in enumerate(zip(filters, outputs, strict=True), start=1):
            weights = tower.arrays["convolution0"][:, :, number]
            image = figure.add_subplot(grid[row, 0])
            most = float(np.abs(weights).max()) or 1.0
            look: Any = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
            image.imshow(weights.T, origin="lower", aspect="auto", **look)
            image.set_axis_off()
            line = figure.add_subplot(grid[row, 1])
            line.fill_between(np.linspace(0, seconds, len(output)), output, color=COLOURS[0])
            line.set_xlim(0, seconds)
            line.set_yticks([])
            line.set_ylabel(f"filter {number}", rotation=0, ha="right", va="center", fontsize=9)
            line.tick_params(labelbottom=row == len(filters))
        line.set_xlabel("seconds", fontsize=9)
        _save(figure, path)


def _pitches(mel: Mel) -> tuple[list[float], list[str]]:
    """Bands of a few pitches, and their names: 0 to rate / 2 are evenly spaced in mels (Slaney)."""

    def mels(hertz: float) -> float:
        low = hertz * 3 / 200
        return low if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))

    top = mels(mel.rate / 2)
    known = [hertz for hertz in _HERTZ if hertz < mel.rate / 2]
    return [mels(hertz) / top * (mel.bands + 1) - 0.5 for hertz in known], [f"{h:,}" for h in known]


def _save(figure: Figure, path: Path | str) -> None:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_file(Path(path), buffer.getvalue())
