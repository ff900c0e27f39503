"""The service's connection to its log, which may be out of reach."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from segue.errors import SegueError
from segue.service.serving.metrics import Metrics
from segue.service.storage.store import Store, StoreError, StoreFull, StoreGone

Given = TypeVar("Given")
RETRY_SECONDS = 2.0
"""Seconds before the next attempt to open a database."""


class FeedbackLog:
    """A log that opens on first use, once it is reachable.

    Args:
        address: address of the log, as `Store.open` takes it.
        metrics: metrics of the service.

    Attributes:
        on_success: callback on the event loop after each use of the log.
    """

    def __init__(self, address: str, metrics: Metrics) -> None:
        self.on_success: Callable[[], None] = lambda: None
        self.metrics = metrics
        self._address = address
        self._store: Store | None = None
        self._tried = -RETRY_SECONDS
        self._why: StoreError = StoreGone("has not been opened yet", where="the log")

    def close(self) -> None:
        """Close every connection."""
        if self._store is not None:
            self._store.close()

    def open(self) -> None:
        """Open the log, if it is reachable.

        Raises:
            UsageError: its address is invalid.
            StoreError: it is no log, or a newer segue wrote it.
        """
        with contextlib.suppress(StoreGone, StoreFull):
            self.store()

    def store(self) -> Store:
        """The open log; call it off the event loop. Raises StoreError."""
        if self._store is None:
            if time.monotonic() - self._tried < RETRY_SECONDS:
                why = self._why
                raise type(why)(why.what, where=why.where, do=why.do)
            self._tried = time.monotonic()
            try:
                self._store = Store.open(self._address)
            except StoreError as error:
                self._why = error
                raise
        return self._store

    async def run(self, work: Callable[[Store], Given]) -> Given:
        """Run work on the log in a thread.

        Raises:
            StoreError: it is full, or out of reach.
        """
        try:
            done = await run_in_threadpool(lambda: work(self.store()))
        except StoreGone:
            self.metrics.log_up.set(0)
            raise
        except StoreFull:
            self.metrics.log_full.inc()
            raise
        self.metrics.log_up.set(1)
        self.on_success()
        return done

    async def state(self) -> str:
        """ "ok", or the error of the log."""
        try:
            await self.run(lambda store: store.database.ping())
        except SegueError as error:
            return str(error)
        return "ok"
