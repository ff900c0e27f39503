"""Requests become queries of the live bundle, and its recommendations become replies."""

from __future__ import annotations

import contextlib
import time
import unicodedata
from collections.abc import Iterable, Sequence

from starlette.concurrency import run_in_threadpool

from segue.data.schema import Outcome
from segue.queries import MAX_HISTORY, MAX_TITLE, Query
from segue.reranking.list_stage import ListStage
from segue.service.api import wire
from segue.service.api.problems import HTTPProblem
from segue.service.serving.batching import BatchScorer, QueueFull
from segue.service.serving.catalog import CatalogLookup
from segue.service.serving.limits import ServiceSettings
from segue.service.serving.log import FeedbackLog
from segue.service.serving.metrics import Metrics
from segue.service.serving.swapping import BundleSwitch
from segue.service.storage.store import PersonalData, StoreError

_OUTCOMES = {outcome.name.lower(): outcome for outcome in Outcome}


class RecommendationService:
    """Answers requests for recommendations.

    Attributes:
        scorer: scores queries in batches.
    """

    def __init__(
        self,
        bundles: BundleSwitch,
        catalog: CatalogLookup,
        log: FeedbackLog,
        settings: ServiceSettings,
        metrics: Metrics,
    ) -> None:
        self.scorer = BatchScorer(settings.batch, settings.waiting, metrics.batch)
        self._bundles, self._catalog, self._log = bundles, catalog, log
        self._settings, self._metrics = settings, metrics

    async def continued(self, request: wire.ContinueRequest) -> wire.ContinueResponse:
        """The continuation of a playlist."""
        listens = [(uri, Outcome.FINISHED) for uri in request.tracks]
        listens += [(uri, Outcome.SKIPPED) for uri in request.skipped]
        return await self._answered(request, listens, request.title)

    async def next(self, request: wire.NextRequest) -> wire.ContinueResponse:
        """The next tracks of a session."""
        listens = [(listen.track, _OUTCOMES[listen.outcome]) for listen in request.listens]
        return await self._answered(request, listens, None)

    async def similar(self, uri: str, n: int) -> wire.ContinueResponse:
        """Tracks similar to one track.

        Raises:
            HTTPProblem: it is not in the catalog.
        """
        self._catalog.row(uri)
        return await self._answered(wire.ListOptions(n=n), [(uri, Outcome.FINISHED)], None)

    async def _answered(
        self, request: wire.ListOptions, listens: Sequence[tuple[str, Outcome]], title: str | None
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
                listener, session = request.listener, request.session
                personal = await self._log.run(
                    lambda store: store.events.personal(listener, session)
                )
                known = True
        live = self._bundles.live  # this one to the end, even if a swap comes meanwhile
        unknown: dict[str, None] = {}

        def rows(uris: Iterable[str], report: bool = True) -> list[int]:
            indexes = []
            for uri in uris:
                row = live.rows.get(uri)
                if row is not None:
                    indexes.append(row)
                elif report:
                    unknown[uri] = None
            return indexes

        before = list(zip(personal.tracks, personal.outcomes, strict=True))
        listens_in_catalog = [
            (uri, ended) for uri, ended in [*before, *listens] if uri in live.rows
        ]
        rows(uri for uri, _ in listens)  # collects the unknown ones
        listens_in_catalog = listens_in_catalog[-MAX_HISTORY:]
        bans = rows(request.bans.tracks) + rows(personal.banned_tracks, report=False)
        artists = [*request.bans.artists, *personal.banned_artists]
        # A thousand names in a large catalog take seconds: look them up in a thread.
        artist_rows = (
            await run_in_threadpool(lambda: list(map(live.of_artist, artists))) if artists else []
        )
        bans += [row for matches in artist_rows for row in matches]
        unknown |= {
            name: None
            for name, matches in zip(request.bans.artists, artist_rows, strict=False)
            if not matches
        }
        query = Query(
            tracks=[live.rows[uri] for uri, _ in listens_in_catalog],
            outcomes=[ended for _, ended in listens_in_catalog],
            title=_title(title),
            bans=bans,
            past=rows(personal.past, report=False),
        )
        stage = ListStage(
            one_recording=request.one_recording,
            artist_spacing=request.spacing.artist,
            album_spacing=request.spacing.album,
            adventure=request.adventure,
        )
        budget = self._settings.budget_ms / 1000 - (time.perf_counter() - start)
        try:
            scored = await self.scorer.ask(live, query, request.n, stage, budget)
        except QueueFull:
            raise HTTPProblem(
                503, "too many questions wait; ask again in a second", headers={"Retry-After": "1"}
            ) from None
        self._metrics.answered(scored.level, scored.passed, len(scored.answer.tracks))
        return wire.ContinueResponse(
            version=live.version,
            served_by=scored.answer.model,
            level=scored.level,
            passed=scored.passed,
            personal=known,
            simulated=scored.answer.simulated,
            unknown=list(unknown),
            tracks=scored.answer.tracks,
        )


def _title(title: str | None) -> str | None:
    """A normalized title, None if it is blank."""
    if title is None or not title.strip():
        return None
    return unicodedata.normalize("NFC", title)[:MAX_TITLE]
