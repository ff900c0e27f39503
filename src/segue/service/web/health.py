"""Figures of the health page; `/metrics` has all of them for Prometheus."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from segue.service.serving.metrics import Metrics
from segue.service.serving.service import Service

_MOST = 0.99
_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60))


@dataclass
class Requests:
    """Requests of one route.

    Attributes:
        within: 99th percentile of the time in milliseconds; None: beyond the last bucket.
    """

    name: str
    count: int = 0
    failed: int = 0
    seconds: float = 0.0
    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def mean(self) -> float:
        """Mean time in milliseconds."""
        return 1000 * self.seconds / max(1, self.count)

    @property
    def within(self) -> float | None:
        """Upper bound of a bucket, in milliseconds."""
        enough = (1000 * le for le in sorted(self.buckets) if self._is_most(le))
        bound = next(enough, float("inf"))
        return None if bound == float("inf") else bound

    def _is_most(self, le: float) -> bool:
        return self.buckets[le] >= _MOST * self.count


def requests(metrics: Metrics) -> list[Requests]:
    """Requests so far by route, most frequent first."""
    routes: dict[str, Requests] = {}
    for sample in (sample for family in metrics.seconds.collect() for sample in family.samples):
        route, method = sample.labels["route"], sample.labels["method"]
        one = routes.setdefault(f"{method} {route}", Requests(f"{method} {route}"))
        if sample.name.endswith("_count"):
            one.count += int(sample.value)
            one.failed += int(sample.value) if sample.labels["status"] >= "500" else 0
        elif sample.name.endswith("_sum"):
            one.seconds += sample.value
        elif sample.name.endswith("_bucket"):
            one.buckets[float(sample.labels["le"])] += sample.value
    return sorted(routes.values(), key=lambda one: -one.count)


def answers(service: Service) -> list[tuple[str, int]]:
    """Number of answers by fallback level, best first."""
    counted = {
        sample.labels["rung"]: int(sample.value)
        for family in service.metrics.answers.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    return [(level.name, counted.get(level.name, 0)) for level in service.bundles.live.levels]


def age(trained_at: str) -> str:
    """Age of a time in words; "" for an unknown time."""
    if not trained_at:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(trained_at)).total_seconds()
    for unit, size in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
