"""What the service does, whoever asks: the interface for programs and the page both call this."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import time
import unicodedata
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa
from starlette.concurrency import run_in_threadpool

from segue.data.dataset import Dataset
from segue.data.schema import TABLES, Outcome
from segue.errors import SegueError
from segue.queries import MAX_HISTORY, MAX_TITLE, Query
from segue.reranking.list_stage import ListStage
from segue.service.api import wire
from segue.service.api.problems import HTTPProblem, at
from segue.service.serving import uploads
from segue.service.serving.batching import BatchScorer, QueueFull
from segue.service.serving.feedback import FeedbackKeeping
from segue.service.serving.limits import ServiceSettings
from segue.service.serving.live_bundle import LiveBundle, TakesNone
from segue.service.serving.metrics import Metrics
from segue.service.storage.store import (
    PersonalData,
    Store,
    StoreError,
    StoreFull,
    StoreGone,
    Upload,
)
from segue.system.files import sha256

_LOG = logging.getLogger("segue.service")
ARRIVING = ".arriving-"
"""How names of files begin that are not whole yet."""
MOST_ARRIVING = 16
"""Uploads that may wait for each other; each takes room on disk."""
_OUTCOMES = {outcome.name.lower(): outcome for outcome in Outcome}


class Service(FeedbackKeeping):
    """A bundle that answers, a log that remembers, and the files that are played.

    Args:
        live: the bundle.
        address: of the log, as `Store.open` takes it.
        folder: where uploaded files are kept.
        settings: limits.
        sounds: file of each track that has one, by uri.
        report: page of `segue evaluate`, to show.
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
        super().__init__(address, Metrics())
        self.live, self.folder, self.settings, self.report = live, folder, settings, report
        self.previous: LiveBundle | None = None
        self.answering = BatchScorer(settings.batch, settings.waiting, self.metrics.batch)
        self.sounds = dict(sounds or {})
        self._changing = asyncio.Lock()
        self._behind = False
        self._arriving = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the log and take in what was uploaded before."""
        for left in self.folder.glob(f"{ARRIVING}*"):
            left.unlink(missing_ok=True)  # of a process that was killed
        with contextlib.suppress(StoreGone, StoreFull):
            await self.log(Store.ping)
        self.live = await run_in_threadpool(self._with_uploads, self.live)
        self.metrics.live(self.live)
        gc.collect()
        gc.freeze()  # a catalog's names live as long as the process: looking for them takes 0.1 s

    async def close(self) -> None:
        """Answer what waits, and close the log."""
        await run_in_threadpool(self.answering.close)
        self.close_log()

    # Answers

    async def continued(self, request: wire.ContinueRequest) -> wire.ContinueResponse:
        """The continuation of a playlist."""
        heard = [(uri, Outcome.FINISHED) for uri in request.tracks]
        heard += [(uri, Outcome.SKIPPED) for uri in request.skipped]
        return await self._answered(request, heard, request.title)

    async def next(self, request: wire.NextRequest) -> wire.ContinueResponse:
        """The next tracks of a session."""
        heard = [(listen.track, _OUTCOMES[listen.outcome]) for listen in request.listens]
        return await self._answered(request, heard, None)

    async def similar(self, uri: str, n: int) -> wire.ContinueResponse:
        """What goes with one track.

        Raises:
            HTTPProblem: it is not in the catalog.
        """
        self.row(uri)
        return await self._answered(wire.ListOptions(n=n), [(uri, Outcome.FINISHED)], None)

    async def _answered(
        self, request: wire.ListOptions, heard: Sequence[tuple[str, Outcome]], title: str | None
    ) -> wire.ContinueResponse:
        start = time.perf_counter()
        personal, known = (
            PersonalData(
                tracks=(), outcomes=(), past=(), banned_tracks=(), banned_artists=(), liked=()
            ),
            False,
        )
        if request.listener is not None:
            with contextlib.suppress(StoreError):
                who, session = request.listener, request.session
                personal = await self.log(lambda store: store.personal(who, session))
                known = True
        live = self.live  # from here to the end this one, whatever comes meanwhile
        unknown: dict[str, None] = {}

        def rows(uris: Iterable[str], tell: bool = True) -> list[int]:
            found = []
            for uri in uris:
                row = live.rows.get(uri)
                if row is not None:
                    found.append(row)
                elif tell:
                    unknown[uri] = None
            return found

        before = list(zip(personal.tracks, personal.outcomes, strict=True))
        together = [(uri, ended) for uri, ended in [*before, *heard] if uri in live.rows]
        rows(uri for uri, _ in heard)  # which of them are unknown
        together = together[-MAX_HISTORY:]
        bans = rows(request.bans.tracks) + rows(personal.banned_tracks, tell=False)
        artists = [*request.bans.artists, *personal.banned_artists]
        # A thousand names in a large catalog take seconds, in which others are answered.
        of = await run_in_threadpool(lambda: list(map(live.of_artist, artists))) if artists else []
        bans += [row for found in of for row in found]
        unknown |= {
            name: None for name, found in zip(request.bans.artists, of, strict=False) if not found
        }
        query = Query(
            tracks=[live.rows[uri] for uri, _ in together],
            outcomes=[ended for _, ended in together],
            title=_title(title),
            bans=bans,
            past=rows(personal.past, tell=False),
        )
        stage = ListStage(
            one_recording=request.one_recording,
            artist_spacing=request.spacing.artist,
            album_spacing=request.spacing.album,
            adventure=request.adventure,
        )
        budget = self.settings.budget_ms / 1000 - (time.perf_counter() - start)
        try:
            told = await self.answering.ask(live, query, request.n, stage, budget)
        except QueueFull:
            raise HTTPProblem(
                503, "too many questions wait; ask again in a second", headers={"Retry-After": "1"}
            ) from None
        self.metrics.answered(told.rung, told.passed, len(told.answer.tracks))
        return wire.ContinueResponse(
            version=live.version,
            served_by=told.answer.model,
            rung=told.rung,
            passed=told.passed,
            personal=known,
            simulated=told.answer.simulated,
            unknown=list(unknown),
            tracks=told.answer.tracks,
        )

    # The catalog

    def row(self, uri: str) -> int:
        """Row of a track.

        Raises:
            HTTPProblem: it is not in the catalog.
        """
        row = self.live.rows.get(uri)
        if row is None:
            raise HTTPProblem(404, f"no track {uri!r} in the catalog")
        return row

    def track(self, row: int, live: LiveBundle | None = None) -> wire.Track:
        """A track of the catalog."""
        one = (live or self.live).catalog[row]
        names = ("uri", "title", "artist", "album", "duration_ms", "plays")
        return wire.Track(**{name: one[name] for name in names}, playable=one["uri"] in self.sounds)

    async def search(self, text: str, n: int) -> wire.SearchResponse:
        """Tracks by words of their names, or by uri."""
        live = self.live
        at = live.rows.get(text)
        rows = [at] if at is not None else await run_in_threadpool(live.catalog.search, text, n)
        return wire.SearchResponse(
            version=live.version, tracks=[self.track(row, live) for row in rows]
        )

    def known(self, uris: Iterable[str]) -> Set[str]:
        return self.live.rows.keys() & set(uris)

    def about(self, uris: Iterable[str]) -> list[dict[str, Any]]:
        live, names = self.live, TABLES["tracks"].names
        there = {uri: row for uri in dict.fromkeys(uris) if (row := live.rows.get(uri)) is not None}
        table = live.catalog.table.select(names).take(pa.array(there.values(), pa.int64()))
        known = dict(zip(there, table.to_pylist(), strict=True))
        return [known.get(uri) or dict.fromkeys(names) | {"uri": uri} for uri in uris]

    # Uploads

    def log_answers(self) -> None:
        if self._behind and not self._changing.locked():
            task = asyncio.create_task(self._caught_up())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _caught_up(self) -> None:
        """Take in what was uploaded before, which could not be read until now."""
        async with self._changing:
            if self._behind:
                self.live = await run_in_threadpool(self._with_uploads, self.live)
                self.metrics.live(self.live)

    async def upload(self, file: Path, said: dict[str, str]) -> wire.UploadResponse:
        """Take in a sound file, which can be recommended from the next answer on.

        Args:
            file: of this service's own: it is moved or removed.
            said: what who sent it says of title, artist and album; goes before its tags.

        Raises:
            HTTPProblem: it is no sound, or nothing tells its place.
        """
        if self._arriving >= MOST_ARRIVING:
            file.unlink(missing_ok=True)
            raise HTTPProblem(
                503, "too many files wait; send it again in a minute", headers={"Retry-After": "60"}
            )
        self._arriving += 1
        try:
            async with self._changing:
                return await self._placed(file, said)
        finally:
            self._arriving -= 1
            file.unlink(missing_ok=True)

    async def _placed(self, file: Path, said: dict[str, str]) -> wire.UploadResponse:
        live = self.live
        content = await run_in_threadpool(sha256, file)
        there = live.rows.get(f"upload:{content}")
        if there is not None:
            return wire.UploadResponse(
                version=live.version, new=False, door=None, track=self.track(there, live)
            )
        kept = self.folder / f"{content}{file.suffix}"
        there_before = kept.exists()  # from another bundle, or a log that is out of reach
        try:
            found = await run_in_threadpool(uploads.listen, live, file, self.settings)
        except uploads.UnreadableUpload as error:
            raise at("file", str(error)) from error
        row = await run_in_threadpool(uploads.row_of, live, found, said)
        there = await run_in_threadpool(uploads.known, live, row)
        if there is not None:
            return wire.UploadResponse(
                version=live.version, new=False, door=None, track=self.track(there, live)
            )
        file.replace(kept)
        found = found._replace(file=str(kept))
        try:
            more, (door,) = await run_in_threadpool(
                uploads.place, live, [found], [row], self.settings
            )
            if door is None:
                raise at("artist", "nothing tells the place of this track; name a known artist")
            upload = Upload(uri=row["uri"], file=str(kept), row=row)
            await self.log(lambda store: store.add_upload(upload))
        except BaseException as error:
            if not there_before:
                kept.unlink(missing_ok=True)
            if isinstance(error, TakesNone):
                raise HTTPProblem(409, str(error)) from error
            raise
        await run_in_threadpool(lambda: more.rows)
        self.live = more
        self.sounds[row["uri"]] = kept
        self.metrics.live(more)
        return wire.UploadResponse(
            version=more.version, new=True, door=door, track=self.track(len(more.catalog) - 1, more)
        )

    def _with_uploads(self, live: LiveBundle) -> LiveBundle:
        """A bundle with what was uploaded so far."""
        try:
            kept = [one for one in self._opened().uploads() if Path(one.file).is_file()]
        except StoreError:
            self._behind = True
            return live
        self._behind = False
        self.sounds |= {one.uri: Path(one.file) for one in kept}
        new = [one for one in kept if one.uri not in live.rows]
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

    # Bundles

    async def swap(self, request: wire.BundleRequest) -> wire.BundleState:
        """Put another bundle in place of the one that answers; no answer mixes them.

        Raises:
            HTTPProblem: there is none to go back to, or it is not one that answers well. What
                answered before goes on.
        """
        async with self._changing:
            if request.rollback:
                if self.previous is None:
                    raise HTTPProblem(409, "there is no bundle before this one")
                live = await run_in_threadpool(self._with_uploads, self.previous)
            else:
                live = await self._loaded(Path(request.path or self.live.path))
            await run_in_threadpool(lambda: (live.rows, live.rungs))
            self.previous, self.live = self.live, live
            self.metrics.live(live)
            self.metrics.swaps.labels("done").inc()
            _LOG.info("%s answers now", live.version)
        return self.bundle()

    async def _loaded(self, path: Path) -> LiveBundle:
        try:
            live = await run_in_threadpool(LiveBundle.load, path)
            return await run_in_threadpool(self._with_uploads, live)
        except (SegueError, OSError) as error:
            self.metrics.swaps.labels("refused").inc()
            _LOG.error("%s is not taken: %s", path, error)
            missing = not os.path.isdir(path)  # Path.is_dir raises where a name is too long
            raise HTTPProblem(
                404 if missing else 409, f"{error}; {self.live.version} goes on"
            ) from error

    def bundle(self) -> wire.BundleState:
        """The bundle that answers."""
        live, before = self.live, self.previous
        made = live.bundle.manifest
        return wire.BundleState(
            version=live.version,
            previous=None if before is None else before.version,
            recipe=made.recipe,
            trained_at=made.trained_at,
            tracks=len(live.catalog),
            rungs=[rung.name for rung in live.rungs],
        )

    async def ready(self) -> wire.ReadyResponse:
        """How well requests can be answered."""
        log = await self.log_state()
        live = self.live
        return wire.ReadyResponse(
            status="ready" if log == "ok" else "degraded",
            version=live.version,
            rungs=[rung.name for rung in live.rungs],
            log=log,
            trained_at=live.bundle.manifest.trained_at,
            uploads=len(live.catalog) - live.trained,
        )


def _title(title: str | None) -> str | None:
    """A title as it is asked for, None where it is blank."""
    if title is None or not title.strip():
        return None
    return unicodedata.normalize("NFC", title)[:MAX_TITLE]


def sounds_of(dataset: Path) -> dict[str, Path]:
    """File of each track of a dataset that has one, by uri."""
    opened = Dataset.open(dataset)
    uris = opened.tracks["uri"].to_pylist()
    return {uris[one.track]: one.path for one in opened.audio_files()}
