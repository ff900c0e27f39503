"""Limits of the service. `docs/reference/service.md` lists them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from segue.config import Config


class ServiceSettings(Config, frozen=True):
    """What the service takes, and how long it takes for it."""

    budget_ms: Annotated[
        float,
        Meta(gt=0, le=60_000, description="time for an answer; it picks the rung of the ladder"),
    ] = 1000.0
    batch: Annotated[
        int, Meta(ge=1, le=4096, description="answers that are computed together, at most")
    ] = 64
    waiting: Annotated[
        int, Meta(ge=1, le=1_000_000, description="answers that may wait; beyond it 503")
    ] = 1000
    body_kb: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="size of a request, in KiB; uploads have their own"),
    ] = 1024
    upload_mb: Annotated[
        int, Meta(ge=1, le=100_000, description="size of an uploaded sound file, in MiB")
    ] = 200
    upload_minutes: Annotated[
        float, Meta(gt=0, le=1e6, description="length of an uploaded sound file")
    ] = 60.0
    upload_seconds: Annotated[
        float, Meta(gt=0, le=86_400, description="of work on an uploaded sound file")
    ] = 60.0
    rate: Annotated[
        float, Meta(gt=0, le=1e6, description="requests a second of one token, on the long run")
    ] = 50.0
    burst: Annotated[
        int, Meta(ge=1, le=1_000_000, description="requests of one token that may come at once")
    ] = 100
