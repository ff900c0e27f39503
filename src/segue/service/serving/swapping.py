"""The live bundle, and its replacement while requests go on."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from segue.errors import SegueError
from segue.service.api import wire
from segue.service.api.problems import HTTPProblem
from segue.service.serving.live_bundle import LiveBundle
from segue.service.serving.metrics import Metrics

_LOG = logging.getLogger("segue.service")


class BundleSwitch:
    """Holder of the live bundle.

    Attributes:
        live: the served bundle.
        previous: the bundle that a rollback returns to, if any.
        changing: lock of changes to `live`.
        prepare: adds the uploaded tracks to a bundle; call it off the event loop.
    """

    def __init__(self, live: LiveBundle, metrics: Metrics) -> None:
        self.live = live
        self.previous: LiveBundle | None = None
        self.changing = asyncio.Lock()
        self.prepare: Callable[[LiveBundle], LiveBundle] = lambda live: live
        self._metrics = metrics

    def replace(self, live: LiveBundle) -> None:
        """Serve another bundle, from the next request on."""
        self.live = live
        self._metrics.live(live)

    async def prepare_live(self) -> None:
        """Add the uploaded tracks to the live bundle."""
        self.replace(await run_in_threadpool(self.prepare, self.live))

    async def swap(self, request: wire.BundleRequest) -> wire.BundleState:
        """Replace the live bundle; no reply mixes two bundles.

        Raises:
            HTTPProblem: no previous bundle, or the new one is unfit; the live bundle stays.
        """
        async with self.changing:
            if request.rollback:
                if self.previous is None:
                    raise HTTPProblem(409, "there is no bundle before this one")
                live = await run_in_threadpool(self.prepare, self.previous)
            else:
                live = await self._loaded(Path(request.path or self.live.path))
            await run_in_threadpool(lambda: (live.rows, live.levels))
            self.previous = self.live
            self.replace(live)
            self._metrics.swaps.labels("done").inc()
            _LOG.info("%s answers now", live.version)
        return self.state()

    async def _loaded(self, path: Path) -> LiveBundle:
        try:
            live = await run_in_threadpool(LiveBundle.load, path)
            return await run_in_threadpool(self.prepare, live)
        except (SegueError, OSError) as error:
            self._metrics.swaps.labels("refused").inc()
            _LOG.error("%s is not taken: %s", path, error)
            missing = not os.path.isdir(path)  # Path.is_dir raises where a name is too long
            raise HTTPProblem(
                404 if missing else 409, f"{error}; {self.live.version} goes on"
            ) from error

    def state(self) -> wire.BundleState:
        """Description of the live bundle."""
        live, before = self.live, self.previous
        made = live.bundle.manifest
        return wire.BundleState(
            version=live.version,
            previous=None if before is None else before.version,
            recipe=made.recipe,
            trained_at=made.trained_at,
            tracks=len(live.catalog),
            levels=[level.name for level in live.levels],
        )
