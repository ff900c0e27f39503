"""Uploaded sound files: stored, listed in the log, and added to the bundle that answers."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from segue.service.api import wire
from segue.service.api.problems import HTTPProblem, at
from segue.service.serving import uploads
from segue.service.serving.catalog import wire_track
from segue.service.serving.limits import ServiceSettings
from segue.service.serving.live_bundle import LiveBundle, TakesNone
from segue.service.serving.log import FeedbackLog
from segue.service.serving.swapping import BundleSwitch
from segue.service.storage.store import StoreError, Upload
from segue.system.files import sha256

_LOG = logging.getLogger("segue.service")
ARRIVING = ".arriving-"
"""Prefix of the names of partial files."""
MOST_ARRIVING = 16
"""Maximum number of waiting uploads; each takes room on disk."""


class UploadIntake:
    """Takes in sound files.

    Args:
        bundles: switch of the live bundle, which gets the tracks.
        log: log that lists the files.
        folder: folder of the files.
        settings: limits.
        sounds: sound file by uri; the intake adds the uploads.
    """

    def __init__(
        self,
        bundles: BundleSwitch,
        log: FeedbackLog,
        folder: Path,
        settings: ServiceSettings,
        sounds: dict[str, Path],
    ) -> None:
        self.folder, self.settings, self.sounds = folder, settings, sounds
        self._bundles, self._log = bundles, log
        self._behind = False
        self._arriving = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def remove_partial(self) -> None:
        """Remove the partial files of a process that was killed."""
        for left in self.folder.glob(f"{ARRIVING}*"):
            left.unlink(missing_ok=True)

    def catch_up(self) -> None:
        """Start to add uploads that an unreachable log hid so far, if any."""
        if self._behind and not self._bundles.changing.locked():
            task = asyncio.create_task(self._caught_up())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _caught_up(self) -> None:
        """Add the uploads of a log that is reachable again."""
        async with self._bundles.changing:
            if self._behind:
                await self._bundles.prepare_live()

    async def add(self, file: Path, labels: dict[str, str]) -> wire.UploadResponse:
        """Add a sound file, which the next reply may recommend.

        Args:
            file: file in the service's folder; this call moves or removes it.
            labels: the sender's title, artist and album, which override the tags.

        Raises:
            HTTPProblem: it is no sound, or neither sound nor artist gives it a vector.
        """
        if self._arriving >= MOST_ARRIVING:
            file.unlink(missing_ok=True)
            raise HTTPProblem(
                503, "too many files wait; send it again in a minute", headers={"Retry-After": "60"}
            )
        self._arriving += 1
        try:
            async with self._bundles.changing:
                return await self._add(file, labels)
        finally:
            self._arriving -= 1
            file.unlink(missing_ok=True)

    async def _add(self, file: Path, labels: dict[str, str]) -> wire.UploadResponse:
        live = self._bundles.live
        content = await run_in_threadpool(sha256, file)
        known = live.rows.get(f"upload:{content}")
        if known is not None:
            return self._response(live, known)
        stored = self.folder / f"{content}{file.suffix}"
        stored_before = stored.exists()  # from another bundle, or a log that is out of reach
        try:
            track = await run_in_threadpool(uploads.listen, live, file, self.settings)
        except uploads.UnreadableUpload as error:
            raise at("file", str(error)) from error
        row = await run_in_threadpool(uploads.row_of, live, track, labels)
        known = await run_in_threadpool(uploads.known, live, row)
        if known is not None:
            return self._response(live, known)
        file.replace(stored)
        track = track._replace(file=str(stored))
        try:
            more, (source,) = await run_in_threadpool(
                uploads.place, live, [track], [row], self.settings
            )
            if source is None:
                raise at("artist", "nothing tells the place of this track; name a known artist")
            upload = Upload(uri=row["uri"], file=str(stored), row=row)
            await self._log.run(lambda store: store.uploads.add(upload))
        except BaseException as error:
            if not stored_before:
                stored.unlink(missing_ok=True)
            if isinstance(error, TakesNone):
                raise HTTPProblem(409, str(error)) from error
            raise
        await run_in_threadpool(lambda: more.rows)
        self.sounds[row["uri"]] = stored
        self._bundles.replace(more)
        return self._response(more, len(more.catalog) - 1, source)

    def _response(
        self, live: LiveBundle, row: int, source: uploads.VectorSource | None = None
    ) -> wire.UploadResponse:
        track = wire_track(live, row, self.sounds)
        return wire.UploadResponse(
            version=live.version, new=source is not None, vector_source=source, track=track
        )

    def with_uploads(self, live: LiveBundle) -> LiveBundle:
        """A bundle with all uploads so far."""
        try:
            listed = [one for one in self._log.store().uploads.all() if Path(one.file).is_file()]
        except StoreError:
            self._behind = True
            return live
        self._behind = False
        self.sounds |= {one.uri: Path(one.file) for one in listed}
        new = [one for one in listed if one.uri not in live.rows]
        if not new:
            return live
        try:
            more = uploads.again(live, new, self.settings)
        except TakesNone as error:
            _LOG.warning("%d uploads are not answered: %s", len(new), error)
            return live
        if rest := len(new) - (len(more.catalog) - len(live.catalog)):
            _LOG.warning("%d uploads rest: nothing tells this bundle their place", rest)
        return more
