"""One thread scores queries; it joins the queries that arrive meanwhile to a batch.

A batch returns the same as its single queries, but reads the tracks' vectors once for all of them.
The rest of a request's time budget picks the fallback level.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from segue.bundle import Bundle
from segue.models.base.recommender import POPULARITY
from segue.operations.answers import MOST_REASONS, Recommendations, answers
from segue.queries import Queries, Query
from segue.reranking.list_stage import ListStage, continue_playlists
from segue.service.api.wire import FilteredResponse, Why
from segue.service.serving.fallback import FallbackLevel
from segue.service.serving.live_bundle import LiveBundle, scoring

_LOG = logging.getLogger("segue.service")
_MEMORY = 0.1
"""Weight of the latest measurement in the estimated time of a level."""
_FORGETTING = 0.01
"""Decay of a level's estimated time each time a query skips the level for it."""
_WATCHFUL = 0.5
"""Maximum share of a budget for an estimate, which is a mean: some queries take longer."""

Clock = Callable[[], float]


@dataclass(eq=False)
class PendingQuery:
    """A query in the queue.

    Attributes:
        live: bundle that answers it, from the first step to the last.
        query: query in rows of its catalog.
        n: maximum number of tracks.
        stage: rules of the list.
        deadline: time by the clock of `BatchScorer`.
    """

    live: LiveBundle
    query: Query
    n: int
    stage: ListStage
    deadline: float
    done: asyncio.Future[BatchState]
    loop: asyncio.AbstractEventLoop
    passed: list[FilteredResponse] = field(default_factory=list)
    level: int = 0


@dataclass(frozen=True)
class BatchState:
    """Recommendations, the level that gave them, and the better levels that did not."""

    level: str
    answer: Recommendations
    passed: list[FilteredResponse]


class QueueFull(Exception):
    """The queue has no room."""


class BatchScorer:
    """The scoring thread and its time estimates of the levels.

    Args:
        batch: maximum size of a batch.
        waiting: maximum length of the queue.
        observe: callback with level, size and seconds of every batch.
        clock: clock in seconds.
    """

    def __init__(
        self,
        batch: int,
        waiting: int,
        observe: Callable[[str, int, float], None] = lambda level, size, seconds: None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.batch, self.observe, self.clock = batch, observe, clock
        self._asked: queue.Queue[PendingQuery | None] = queue.Queue(waiting)
        self._seconds: dict[tuple[str, str], float] = {}
        self._thread = threading.Thread(target=self._run, name="answering", daemon=True)
        self._thread.start()

    async def ask(
        self, live: LiveBundle, query: Query, n: int, stage: ListStage, budget: float
    ) -> BatchState:
        """Recommend for a query.

        Args:
            budget: time limit in seconds.

        Raises:
            QueueFull: the queue is full.
        """
        loop = asyncio.get_running_loop()
        ask = PendingQuery(live, query, n, stage, self.clock() + budget, loop.create_future(), loop)
        try:
            self._asked.put_nowait(ask)
        except queue.Full:
            raise QueueFull from None
        return await ask.done

    def close(self) -> None:
        """Score the queue, then end the thread."""
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            first = self._asked.get()
            if first is None:
                return
            asks, ends = [first], False
            while len(asks) < self.batch:
                try:
                    more = self._asked.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    ends = True
                    break
                asks.append(more)
            try:
                self._answer(asks)
            except Exception:  # the thread must go on
                _LOG.exception("a batch failed")
                self._fail(asks)
            if ends:
                return

    def _answer(self, asks: list[PendingQuery]) -> None:
        """Score all queries, level after level."""
        planned = self.clock()
        for ask in asks:
            planned = self._pick(ask, planned)
        while asks:
            top = min(ask.level for ask in asks)
            live = next(ask.live for ask in asks if ask.level == top)
            now = [ask for ask in asks if ask.level == top and ask.live is live]
            served = self._serve(live.levels[top], now)
            asks = [ask for ask in asks if ask not in served]

    def _pick(self, ask: PendingQuery, planned: float) -> float:
        """Choose the first level that fits the deadline; returns the planned end."""
        last = len(ask.live.levels) - 1
        while True:
            level = ask.live.levels[ask.level]
            seconds = self._estimate(ask.live, level)
            left = ask.deadline - planned
            if ask.level == last or seconds <= _WATCHFUL * left:
                return planned + seconds
            # The estimate decays, so that a slow level gets another try.
            self._seconds[ask.live.name, level.name] = seconds * (1 - _FORGETTING)
            self._down(ask, "over budget")

    def _estimate(self, live: LiveBundle, level: FallbackLevel) -> float:
        known = self._seconds.get((live.name, level.name))
        return live.seconds.get(level.name, 0.0) if known is None else known

    def _serve(self, level: FallbackLevel, asks: list[PendingQuery]) -> list[PendingQuery]:
        """Score the queries that the level can serve; the others go one level down."""
        live = asks[0].live
        last = level is live.levels[-1]
        try:
            queries = [level.reads(ask.query) for ask in asks]
            with scoring:
                start = self.clock()  # after the lock: waiting is not scoring time
                serves = level.recommender.serves(Queries.of(queries))
                able = [last or model != POPULARITY for model in serves]
                served_asks = [ask for ask, able_now in zip(asks, able, strict=True) if able_now]
                known = [query for query, able_now in zip(queries, able, strict=True) if able_now]
                states = self._recommend(live, level, known, served_asks)
        except Exception:
            if len(asks) > 1:  # one query may be the cause
                return [done for ask in asks for done in self._serve(level, [ask])]
            if last:
                _LOG.exception("the last fallback level failed")
                return self._fail(asks)
            _LOG.exception("fallback level %s failed", level.name)
            for ask in asks:
                self._down(ask, "failed")
            return []
        for ask, able_now in zip(asks, able, strict=True):
            if not able_now:
                self._down(ask, "knows nothing")
        if served_asks:
            took = self.clock() - start
            self._update_estimate(live, level, took / len(served_asks))
            self.observe(level.name, len(served_asks), took)
        for ask, one in zip(served_asks, states, strict=True):
            _call(ask, _give, ask.done, one)
        return served_asks

    def _down(self, ask: PendingQuery, why: Why) -> None:
        ask.passed.append(FilteredResponse(level=ask.live.levels[ask.level].name, why=why))
        ask.level += 1

    def _recommend(
        self,
        live: LiveBundle,
        level: FallbackLevel,
        queries: Sequence[Query],
        asks: Sequence[PendingQuery],
    ) -> list[BatchState]:
        if not asks:
            return []
        slates = continue_playlists(
            level.recommender, queries, [ask.n for ask in asks], [ask.stage for ask in asks]
        )
        bundle = Bundle(level.recommender, live.bundle.manifest, live.bundle.learned)
        recommendations = answers(bundle, queries, slates, MOST_REASONS)
        return [
            BatchState(level.name, one, ask.passed)
            for ask, one in zip(asks, recommendations, strict=True)
        ]

    def _update_estimate(self, live: LiveBundle, level: FallbackLevel, seconds: float) -> None:
        key = (live.name, level.name)
        before = self._seconds.get(key, seconds)
        self._seconds[key] = before + _MEMORY * (seconds - before)

    def _fail(self, asks: list[PendingQuery]) -> list[PendingQuery]:
        for ask in asks:
            _call(ask, _refuse, ask)
        return asks


def _call(ask: PendingQuery, what: Callable[..., None], *values: object) -> None:
    """Schedule a call on the query's event loop, unless the loop has ended."""
    with contextlib.suppress(RuntimeError):
        ask.loop.call_soon_threadsafe(what, *values)


def _give(done: asyncio.Future[BatchState], state: BatchState) -> None:
    if not done.done():  # the client may have gone
        done.set_result(state)


def _refuse(ask: PendingQuery) -> None:
    if not ask.done.done():
        ask.done.set_exception(RuntimeError("every fallback level failed"))
