"""Metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from segue.service.api.wire import FilteredResponse
from segue.service.serving.live_bundle import LiveBundle

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.seconds = Histogram(
            "segue_request_seconds",
            "From the request's head to the end of its response.",
            ["route", "method", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.answers = self._counter("segue_answers", "Answers by fallback level.", "rung")
        self.passed = self._counter(
            "segue_rungs_passed", "Fallback levels that did not answer.", "rung", "why"
        )
        self.empty = self._counter("segue_empty_answers", "Answers without a track.")
        self.events = self._counter("segue_feedback_events", "Events in the log.", "kind")
        self.log_full = self._counter("segue_log_full", "Writes refused for want of room on disk.")
        self.log_up = Gauge("segue_log_up", "Whether the log works.", registry=self.registry)
        self.swaps = self._counter("segue_bundle_swaps", "Attempts to swap the bundle.", "result")
        self.bundle = Gauge(
            "segue_bundle", "1 for the served bundle.", ["version"], registry=self.registry
        )
        self.trained = Gauge(
            "segue_bundle_trained_timestamp_seconds",
            "Time of its training.",
            registry=self.registry,
        )
        self.tracks = Gauge(
            "segue_catalog_tracks", "Tracks in its catalog.", registry=self.registry
        )
        self.uploads = Gauge(
            "segue_catalog_uploads", "Uploaded tracks in its catalog.", registry=self.registry
        )
        self.batches = Histogram(
            "segue_batch_answers",
            "Answers per batch.",
            ["rung"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self.registry,
        )
        self.scoring = Histogram(
            "segue_batch_seconds",
            "Time to compute a batch.",
            ["rung"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, registry=self.registry)

    def batch(self, level: str, size: int, seconds: float) -> None:
        """Count a batch."""
        self.batches.labels(level).observe(size)
        self.scoring.labels(level).observe(seconds)

    def answered(self, level: str, passed: Iterable[FilteredResponse], tracks: int) -> None:
        """Count a reply."""
        self.answers.labels(level).inc()
        for one in passed:
            self.passed.labels(one.level, one.why).inc()
        if not tracks:
            self.empty.inc()

    def fed(self, kinds: Iterable[str]) -> None:
        """Count stored events."""
        for kind in kinds:
            self.events.labels(kind).inc()

    def live(self, live: LiveBundle) -> None:
        """Describe the new live bundle."""
        self.bundle.clear()
        self.bundle.labels(live.version).set(1)
        self.tracks.set(len(live.catalog))
        self.uploads.set(len(live.catalog) - live.trained)
        trained_at = live.bundle.manifest.trained_at
        if trained_at:
            self.trained.set(datetime.fromisoformat(trained_at).timestamp())

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
