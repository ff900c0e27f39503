"""Limits of the service. `docs/reference/service.md` lists them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from segue.config import Config


class ServiceSettings(Config, frozen=True):
    """Limits of sizes, times and rates."""

    budget_ms: Annotated[
        float,
        Meta(gt=0, le=60_000, description="time budget of a reply; it picks the fallback level"),
    ] = 1000.0
    batch: Annotated[
        int, Meta(ge=1, le=4096, description="maximum number of queries in a batch")
    ] = 64
    waiting: Annotated[
        int, Meta(ge=1, le=1_000_000, description="maximum number of waiting queries; more get 503")
    ] = 1000
    body_kb: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="maximum size of a request in KiB, except uploads"),
    ] = 1024
    upload_mb: Annotated[
        int, Meta(ge=1, le=100_000, description="maximum size of an uploaded sound file in MiB")
    ] = 200
    upload_minutes: Annotated[
        float, Meta(gt=0, le=1e6, description="maximum length of an uploaded sound file in minutes")
    ] = 60.0
    upload_seconds: Annotated[
        float,
        Meta(
            gt=0, le=86_400, description="maximum time of work on an uploaded sound file in seconds"
        ),
    ] = 60.0
    rate: Annotated[
        float, Meta(gt=0, le=1e6, description="requests per second of one token, on average")
    ] = 50.0
    burst: Annotated[int, Meta(ge=1, le=1_000_000, description="requests of one token at once")] = (
        100
    )
