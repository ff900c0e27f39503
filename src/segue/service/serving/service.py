"""The service behind the HTTP interface and the web page."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from segue.data.dataset import Dataset
from segue.service.api import wire
from segue.service.serving.catalog import CatalogLookup
from segue.service.serving.feedback import FeedbackRecorder, SavedPlaylists
from segue.service.serving.limits import ServiceSettings
from segue.service.serving.live_bundle import LiveBundle
from segue.service.serving.log import FeedbackLog
from segue.service.serving.metrics import Metrics
from segue.service.serving.recommendations import RecommendationService
from segue.service.serving.swapping import BundleSwitch
from segue.service.serving.upload_intake import UploadIntake
from segue.service.storage.store import StoreFull, StoreGone


class Service:
    """The live bundle, the log of feedback, and the sound files.

    Args:
        live: the bundle.
        address: address of the log, as `Store.open` takes it.
        folder: folder of uploaded files.
        settings: limits.
        sounds: sound file by uri.
        report: report of `segue evaluate` for the page.

    Attributes:
        bundles: switch of the live bundle.
        catalog: look-ups in its catalog.
        log: events, playlists and uploads on disk.
        feedback: recorder of events.
        playlists: saved playlists.
        uploads: intake of sound files.
        recommendations: recommendations for requests.
        metrics: counters.
    """

    def __init__(
        self,
        live: LiveBundle,
        address: str,
        folder: Path,
        settings: ServiceSettings,
        sounds: dict[str, Path] | None = None,
        report: Path | None = None,
    ) -> None:
        files = dict(sounds or {})
        self.settings, self.report, self.metrics = settings, report, Metrics()
        self.bundles = BundleSwitch(live, self.metrics)
        self.catalog = CatalogLookup(self.bundles, files)
        self.log = FeedbackLog(address, self.metrics)
        self.feedback = FeedbackRecorder(self.log, self.catalog.known_rows)
        self.playlists = SavedPlaylists(self.log, self.catalog.rows_of)
        self.uploads = UploadIntake(self.bundles, self.log, folder, settings, files)
        self.recommendations = RecommendationService(
            self.bundles, self.catalog, self.log, settings, self.metrics
        )
        self.bundles.prepare = self.uploads.with_uploads
        self.log.on_success = self.uploads.catch_up

    async def start(self) -> None:
        """Open the log and add earlier uploads."""
        self.uploads.remove_partial()
        with contextlib.suppress(StoreGone, StoreFull):
            await self.log.run(lambda store: store.database.ping())
        await self.bundles.prepare_live()
        gc.collect()
        gc.freeze()  # the catalog lives as long as the process: each scan of it takes 0.1 s

    async def close(self) -> None:
        """Score the queue, then close the log."""
        await run_in_threadpool(self.recommendations.scorer.close)
        self.log.close()

    async def ready(self) -> wire.ReadyResponse:
        """State of the service."""
        log = await self.log.state()
        live = self.bundles.live
        return wire.ReadyResponse(
            status="ready" if log == "ok" else "degraded",
            version=live.version,
            levels=[level.name for level in live.levels],
            log=log,
            trained_at=live.bundle.manifest.trained_at,
            uploads=len(live.catalog) - live.trained,
        )


def sounds_of(dataset: Path) -> dict[str, Path]:
    """Sound files of a dataset, by uri."""
    opened = Dataset.open(dataset)
    uris = opened.tracks["uri"].to_pylist()
    return {uris[one.track]: one.path for one in opened.audio_files()}
