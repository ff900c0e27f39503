"""How the service is, in figures for people; `/metrics` has all of them for Prometheus."""

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
        within: milliseconds that 99 of 100 of them took at most; None: more than is counted.
    """

    name: str
    count: int = 0
    failed: int = 0
    seconds: float = 0.0
    buckets: dict[float, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def mean(self) -> float:
        """Milliseconds."""
        return 1000 * self.seconds / max(1, self.count)

    @property
    def within(self) -> float | None:
        """Upper bound of a bucket, in milliseconds."""
        enough = (1000 * le for le in sorted(self.buckets) if self._is_most(le))
        found = next(enough, float("inf"))
        return None if found == float("inf") else found

    def _is_most(self, le: float) -> bool:
        return self.buckets[le] >= _MOST * self.count


def requests(metrics: Metrics) -> list[Requests]:
    """What was asked so far, most first."""
    routes: dict[str, Requests] = {}
    for sample in (sample for some in metrics.seconds.collect() for sample in some.samples):
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
    """Answers that each rung gave, best rung first."""
    counted = {
        sample.labels["rung"]: int(sample.value)
        for some in service.metrics.answers.collect()
        for sample in some.samples
        if sample.name.endswith("_total")
    }
    return [(rung.name, counted.get(rung.name, 0)) for rung in service.bundles.live.rungs]


def age(trained_at: str) -> str:
    """How long ago something was, in words; nothing where it is not known."""
    if not trained_at:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(trained_at)).total_seconds()
    for unit, size in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
