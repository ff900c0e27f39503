"""Look-ups in the catalog of the live bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from starlette.concurrency import run_in_threadpool

from segue.data.schema import TABLES
from segue.service.api import wire
from segue.service.api.problems import HTTPProblem
from segue.service.serving.live_bundle import LiveBundle
from segue.service.serving.swapping import BundleSwitch


def wire_track(live: LiveBundle, row: int, sounds: Mapping[str, Path]) -> wire.Track:
    """A track of a bundle's catalog; `playable` where `sounds` has its file."""
    track = live.catalog[row]
    names = ("uri", "title", "artist", "album", "duration_ms", "plays")
    return wire.Track(**{name: track[name] for name in names}, playable=track["uri"] in sounds)


class CatalogLookup:
    """The catalog of the live bundle.

    Args:
        sounds: sound file by uri.
    """

    def __init__(self, bundles: BundleSwitch, sounds: Mapping[str, Path]) -> None:
        self._bundles, self._sounds = bundles, sounds

    def row(self, uri: str) -> int:
        """Row of a track.

        Raises:
            HTTPProblem: it is not in the catalog.
        """
        row = self._bundles.live.rows.get(uri)
        if row is None:
            raise HTTPProblem(404, f"no track {uri!r} in the catalog")
        return row

    def track(self, uri: str) -> wire.Track:
        """A track of the catalog. Raises HTTPProblem as `row` does."""
        return wire_track(self._bundles.live, self.row(uri), self._sounds)

    async def search(self, text: str, n: int) -> wire.SearchResponse:
        """Tracks by words of their names, or by uri."""
        live = self._bundles.live
        row = live.rows.get(text)
        rows = (
            [row]
            if row is not None
            else await run_in_threadpool(live.catalog.names.search, text, n)
        )
        return wire.SearchResponse(
            version=live.version, tracks=[wire_track(live, row, self._sounds) for row in rows]
        )

    def known_rows(self, uris: Iterable[str]) -> list[dict[str, Any]]:
        """Rows of the table `tracks`, for known uris only."""
        return self.rows_of(self._bundles.live.rows.keys() & set(uris))

    def rows_of(self, uris: Iterable[str]) -> list[dict[str, Any]]:
        """Rows of the table `tracks`, in order; a row of an unknown track has only its uri."""
        uris = list(uris)
        live, names = self._bundles.live, TABLES["tracks"].names
        rows = {uri: row for uri in dict.fromkeys(uris) if (row := live.rows.get(uri)) is not None}
        table = live.catalog.table.select(names).take(pa.array(rows.values(), pa.int64()))
        known = dict(zip(rows, table.to_pylist(), strict=True))
        return [known.get(uri) or dict.fromkeys(names) | {"uri": uri} for uri in uris]
