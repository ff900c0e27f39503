"""The map of all tracks, with the tracks of a page marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from segue.numeric.arrays import Float32
from segue.service.serving.live_bundle import LiveBundle

SIDE = 400
"""Side of the drawing in its units."""
_MARGIN = 12
_DOTS = 1500
"""Maximum number of background dots."""
_MOST = 60
"""Maximum number of marks of a kind: the latest tracks."""
_backgrounds: WeakKeyDictionary[LiveBundle, str] = WeakKeyDictionary()


@dataclass(frozen=True)
class Spot:
    """A track on the map.

    Attributes:
        kind: "playlist", "next" or "this"; "upload" for other uploads.
        x, y: position in the drawing.
        end: whether its label ends at it, so that the label stays within the drawing.
        place: position in words.
    """

    uri: str
    label: str
    kind: str
    uploaded: bool
    x: int
    y: int
    end: bool
    place: str


@dataclass(frozen=True)
class Picture:
    """A map.

    Attributes:
        dots: a sample of all tracks, as a path of SVG.
        spots: marked tracks, the most important last.
        kinds: kinds of spots, for the legend.
    """

    side: int
    dots: str
    spots: list[Spot]
    kinds: list[str]


def picture(live: LiveBundle, marked: Mapping[str, Sequence[str]]) -> Picture | None:
    """The map with marked tracks.

    Args:
        marked: uris by kind.

    Returns:
        None if the bundle's model has no map.
    """
    places = live.map
    if places is None:
        return None
    kinds = dict.fromkeys(range(live.trained, len(live.catalog)), "upload")
    for kind in ("next", "playlist", "this"):
        rows_of_kind = [live.rows[uri] for uri in marked.get(kind, ()) if uri in live.rows]
        kinds |= dict.fromkeys(rows_of_kind[-_MOST:], kind)
    order = ("upload", "next", "playlist", "this")
    rows = sorted(kinds, key=lambda row: order.index(kinds[row]))
    spots = [_spot(live, places, row, kinds[row]) for row in rows]
    if live not in _backgrounds:
        _backgrounds[live] = _background(places)
    kinds_shown = [kind for kind in order[:0:-1] if kind in kinds.values()]
    kinds_shown += ["upload"] if live.trained < len(live.catalog) else []
    return Picture(SIDE, _backgrounds[live], spots, kinds_shown)


def _spot(live: LiveBundle, places: Float32, row: int, kind: str) -> Spot:
    x, y = _point(places[row])
    across, up = (round(100 * float(share)) for share in places[row])
    return Spot(
        live.catalog.uris[row],
        live.catalog.label(row).replace(" - ", " – ", 1),
        kind,
        row >= live.trained,
        x,
        y,
        x > SIDE // 2,
        f"{across} % across, {up} % up",
    )


def _point(place: Float32) -> tuple[int, int]:
    """Position in the drawing, where y grows downwards."""
    wide = SIDE - 2 * _MARGIN
    return _MARGIN + round(wide * float(place[0])), SIDE - _MARGIN - round(wide * float(place[1]))


def _background(places: Float32) -> str:
    """A random sample of positions as a path of points, which round line ends turn into dots."""
    rng = np.random.default_rng(0)
    sample = rng.permutation(len(places))[:_DOTS]
    return "".join(f"M{x} {y}h0" for x, y in map(_point, places[np.sort(sample)]))
