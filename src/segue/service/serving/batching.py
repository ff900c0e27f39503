"""One thread that scores. What comes while it is busy is answered together, as a batch.

A batch gives what its single queries give, so that nobody can tell; but it reads the tracks'
vectors once for all. The time that is left of a request's budget picks the rung of the ladder.
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
"""Weight of the latest measurement in how long a rung is thought to take."""
_FORGETTING = 0.01
"""Share of a rung's time that is forgotten whenever it is passed over for it."""
_WATCHFUL = 0.5
"""Share of a budget that estimates may fill: they are means, and some answers take longer."""

Clock = Callable[[], float]


@dataclass(eq=False)
class PendingQuery:
    """A question on its way.

    Attributes:
        live: what answers it, from its first to its last step.
        query: in rows of its catalog.
        n: tracks, at most.
        stage: what the list must be.
        deadline: by the clock of `BatchScorer`.
    """

    live: LiveBundle
    query: Query
    n: int
    stage: ListStage
    deadline: float
    done: asyncio.Future[BatchState]
    loop: asyncio.AbstractEventLoop
    passed: list[FilteredResponse] = field(default_factory=list)
    rung: int = 0


@dataclass(frozen=True)
class BatchState:
    """An answer with names and reasons, and which rungs did not give it."""

    rung: str
    answer: Recommendations
    passed: list[FilteredResponse]


class QueueFull(Exception):
    """More questions wait than may."""


class BatchScorer:
    """The thread, and what it knows of how long rungs take.

    Args:
        batch: questions that are answered together, at most.
        waiting: that may wait.
        observe: called with the rung, the size and the seconds of every batch.
        clock: in seconds.
    """

    def __init__(
        self,
        batch: int,
        waiting: int,
        observe: Callable[[str, int, float], None] = lambda rung, size, seconds: None,
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
        """The answer to a question.

        Args:
            budget: seconds that it may take.

        Raises:
            QueueFull: too many wait already.
        """
        loop = asyncio.get_running_loop()
        ask = PendingQuery(live, query, n, stage, self.clock() + budget, loop.create_future(), loop)
        try:
            self._asked.put_nowait(ask)
        except queue.Full:
            raise QueueFull from None
        return await ask.done

    def close(self) -> None:
        """Answer what waits, then end."""
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
            except Exception:  # or nobody would be answered any more
                _LOG.exception("questions were lost")
                self._fail(asks)
            if ends:
                return

    def _answer(self, asks: list[PendingQuery]) -> None:
        """Answer all of them, rung after rung."""
        planned = self.clock()
        for ask in asks:
            planned = self._pick(ask, planned)
        while asks:
            top = min(ask.rung for ask in asks)
            live = next(ask.live for ask in asks if ask.rung == top)
            now = [ask for ask in asks if ask.rung == top and ask.live is live]
            served = self._serve(live.rungs[top], now)
            asks = [ask for ask in asks if ask not in served]

    def _pick(self, ask: PendingQuery, planned: float) -> float:
        """Choose the first rung that there is time for; when it will be done."""
        last = len(ask.live.rungs) - 1
        while True:
            rung = ask.live.rungs[ask.rung]
            seconds = self._estimate(ask.live, rung)
            left = ask.deadline - planned
            if ask.rung == last or seconds <= _WATCHFUL * left:
                return planned + seconds
            # Not for ever: what was slow once is tried again after a while.
            self._seconds[ask.live.name, rung.name] = seconds * (1 - _FORGETTING)
            self._down(ask, "over budget")

    def _estimate(self, live: LiveBundle, rung: FallbackLevel) -> float:
        known = self._seconds.get((live.name, rung.name))
        return live.seconds.get(rung.name, 0.0) if known is None else known

    def _serve(self, rung: FallbackLevel, asks: list[PendingQuery]) -> list[PendingQuery]:
        """Answer those that the rung can answer; the others go one rung down."""
        live = asks[0].live
        last = rung is live.rungs[-1]
        try:
            queries = [rung.reads(ask.query) for ask in asks]
            with scoring:
                start = self.clock()  # what others compute meanwhile is not its own time
                serves = rung.recommender.serves(Queries.of(queries))
                able = [last or model != POPULARITY for model in serves]
                some = [ask for ask, it in zip(asks, able, strict=True) if it]
                known = [query for query, it in zip(queries, able, strict=True) if it]
                told = self._told(live, rung, known, some)
        except Exception:
            if len(asks) > 1:  # one of them may be why
                return [done for ask in asks for done in self._serve(rung, [ask])]
            if last:
                _LOG.exception("the last rung failed")
                return self._fail(asks)
            _LOG.exception("rung %s failed", rung.name)
            for ask in asks:
                self._down(ask, "failed")
            return []
        for ask, it in zip(asks, able, strict=True):
            if not it:
                self._down(ask, "knows nothing")
        if some:
            took = self.clock() - start
            self._learn(live, rung, took / len(some))
            self.observe(rung.name, len(some), took)
        for ask, one in zip(some, told, strict=True):
            _call(ask, _give, ask.done, one)
        return some

    def _down(self, ask: PendingQuery, why: Why) -> None:
        ask.passed.append(FilteredResponse(rung=ask.live.rungs[ask.rung].name, why=why))
        ask.rung += 1

    def _told(
        self,
        live: LiveBundle,
        rung: FallbackLevel,
        queries: Sequence[Query],
        asks: Sequence[PendingQuery],
    ) -> list[BatchState]:
        if not asks:
            return []
        slates = continue_playlists(
            rung.recommender, queries, [ask.n for ask in asks], [ask.stage for ask in asks]
        )
        bundle = Bundle(rung.recommender, live.bundle.manifest, live.bundle.learned)
        told = answers(bundle, queries, slates, MOST_REASONS)
        return [BatchState(rung.name, one, ask.passed) for ask, one in zip(asks, told, strict=True)]

    def _learn(self, live: LiveBundle, rung: FallbackLevel, seconds: float) -> None:
        key = (live.name, rung.name)
        before = self._seconds.get(key, seconds)
        self._seconds[key] = before + _MEMORY * (seconds - before)

    def _fail(self, asks: list[PendingQuery]) -> list[PendingQuery]:
        for ask in asks:
            _call(ask, _refuse, ask)
        return asks


def _call(ask: PendingQuery, what: Callable[..., None], *values: object) -> None:
    """Do something where the question came from, unless it has ended."""
    with contextlib.suppress(RuntimeError):
        ask.loop.call_soon_threadsafe(what, *values)


def _give(done: asyncio.Future[BatchState], told: BatchState) -> None:
    if not done.done():  # whoever asked may have gone
        done.set_result(told)


def _refuse(ask: PendingQuery) -> None:
    if not ask.done.done():
        ask.done.set_exception(RuntimeError("no rung could answer"))
