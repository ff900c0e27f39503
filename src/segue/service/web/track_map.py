"""The map of all tracks: where those that matter stand among the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from segue.numeric.arrays import Float32
from segue.service.serving.live_bundle import LiveBundle

SIDE = 400
"""Of the drawing, in its own units."""
_MARGIN = 12
_DOTS = 1500
"""Of the background, at most."""
_MOST = 60
"""Playlist tracks that are marked, the latest."""
_backgrounds: WeakKeyDictionary[LiveBundle, str] = WeakKeyDictionary()


@dataclass(frozen=True)
class Spot:
    """A track on the map.

    Attributes:
        kind: "playlist", "next" or "this"; an uploaded one that is none of these is "upload".
        x, y: in the drawing.
        end: whether its label ends at it, so that it stays within the drawing.
        place: in words.
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
        dots: some of all tracks, as a path of SVG.
        spots: those that matter, the most important last.
        kinds: of spots there are, for the legend.
    """

    side: int
    dots: str
    spots: list[Spot]
    kinds: list[str]


def picture(live: LiveBundle, some: Mapping[str, Sequence[str]]) -> Picture | None:
    """The map with some tracks marked.

    Args:
        some: uris by kind.

    Returns:
        None where the bundle's model has no map.
    """
    places = live.map
    if places is None:
        return None
    kinds = dict.fromkeys(range(live.trained, len(live.catalog)), "upload")
    for kind in ("next", "playlist", "this"):
        found = [live.rows[uri] for uri in some.get(kind, ()) if uri in live.rows]
        kinds |= dict.fromkeys(found[-_MOST:], kind)
    order = ("upload", "next", "playlist", "this")
    rows = sorted(kinds, key=lambda row: order.index(kinds[row]))
    spots = [_spot(live, places, row, kinds[row]) for row in rows]
    if live not in _backgrounds:
        _backgrounds[live] = _background(places)
    there = [kind for kind in order[:0:-1] if kind in kinds.values()]
    there += ["upload"] if live.trained < len(live.catalog) else []
    return Picture(SIDE, _backgrounds[live], spots, there)


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
    """In the drawing, where down is more."""
    wide = SIDE - 2 * _MARGIN
    return _MARGIN + round(wide * float(place[0])), SIDE - _MARGIN - round(wide * float(place[1]))


def _background(places: Float32) -> str:
    """Some of all places, drawn evenly: a path of points, which round ends of lines make dots."""
    rng = np.random.default_rng(0)
    some = rng.permutation(len(places))[:_DOTS]
    return "".join(f"M{x} {y}h0" for x, y in map(_point, places[np.sort(some)]))
