"""The service does what its OpenAPI description says, as schemathesis finds out."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from support.optional import reason

pytest.importorskip("fastapi", reason=reason("fastapi"))

import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.config._checks import NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES
from schemathesis.engine import events
from support.service_worlds import Bundles, House, listening, problem, routes, sound, uri, uris

import segue

EXAMPLES = 15
"""For each operation, beside those that its limits give."""
REFUSALS = [*NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES, "413"]
"""Statuses that refuse what the description forbids. Those that schemathesis takes for granted, and
413: a list that is longer than its limit can be too large a body before it is a list."""
CHECKS = {
    "allow_header_conformance",
    "content_type_conformance",
    "ensure_resource_availability",
    "ignored_auth",
    "missing_required_header",
    "negative_data_rejection",
    "not_a_server_error",
    "positive_data_acceptance",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "unsupported_method",
    "use_after_free",
}


@pytest.fixture(scope="module")
def house(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> House:
    """A service that asks everybody for a token, and has a sound to play."""
    folder = tmp_path_factory.mktemp("described")
    never = {"rate": 1e6, "burst": 1_000_000}
    return House(bundles.live("wrmf"), folder, never, beyond=True, names=["ann"])


def config(token: str) -> dict[str, Any]:
    return {
        "seed": 20,
        "headers": {"Authorization": f"Bearer {token}"},
        "generation": {
            "mode": "all",
            "max-examples": EXAMPLES,
            "deterministic": True,
            "database": "none",
        },
        "phases": {"stateful": {"generation": {"max-examples": EXAMPLES}}},
        "checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}},
        "operations": [
            {
                # Any bytes are a file, as far as a schema can say; few are a sound.
                "include-name": "POST /v1/tracks",
                "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "422"]}},
            },
        ],
    }


def test_every_operation_does_what_the_description_says(house: House, tmp_path: Path) -> None:
    checks: Counter[str] = Counter()
    wrong: list[str] = []
    statuses: defaultdict[str, set[int]] = defaultdict(set)
    token = house.tokens["ann"]
    house.service.uploads.sounds[uri(3)] = sound(tmp_path)
    with listening(house.app) as address:
        schema = schemathesis.openapi.from_url(
            f"{address}/openapi.json",
            config=SchemathesisConfig.from_dict(config(token)),
            headers={"Authorization": f"Bearer {token}"},
        )
        for event in engine.from_schema(schema).execute():
            assert not isinstance(event, events.NonFatalError | events.FatalError), event
            if not isinstance(event, events.ScenarioFinished | events.FuzzScenarioFinished):
                continue
            recorder = event.recorder
            for case, found in recorder.checks.items():
                checks.update(check.name for check in found)
                at = recorder.cases[case].value.operation.label
                if response := recorder.interactions[case].response:
                    statuses[at].add(response.status_code)
                wrong += [
                    f"{at}: {failure.failure.title}: {failure.failure.message}\n"
                    f"{failure.code_sample[:2000]}"
                    for check in found
                    if (failure := check.failure_info)
                ]
    assert not wrong, "\n\n".join(dict.fromkeys(wrong))
    assert set(checks) >= CHECKS
    assert all(checks[name] > 500 for name in CHECKS)
    good = {at for at, seen in statuses.items() if seen & {200, 201, 204}}
    assert set(statuses) - good == {"POST /v1/tracks"}


ROUTES = {
    "/health/live": "GET",
    "/health/ready": "GET",
    "/metrics": "GET",
    "/openapi.json": "GET HEAD",
    "/v1/admin/bundle": "GET POST",
    "/v1/continue": "POST",
    "/v1/feedback": "POST",
    "/v1/next": "POST",
    "/v1/playlists": "GET POST",
    "/v1/playlists/{id}": "DELETE GET PUT",
    "/v1/playlists/{id}/export": "GET",
    "/v1/search": "GET",
    "/v1/similar/{track:path}": "GET",
    "/v1/tracks": "POST",
    "/v1/tracks/{track:path}": "GET",
    "/v1/tracks/{track:path}/audio": "GET",
}
"""A new one is looked at: who may ask it, how large may its body be, what does it count?"""


def test_the_routes_for_programs_are_these(house: House) -> None:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, method in routes(house.app):
        if path.startswith(("/v1/", "/health/", "/metrics", "/openapi")):
            found[path].add(method)
    assert {path: " ".join(sorted(methods)) for path, methods in found.items()} == ROUTES


def test_a_method_that_a_path_has_not_is_told_those_it_has(
    bundles: Bundles, tmp_path: Path
) -> None:
    with House(bundles.live("wrmf"), tmp_path) as near:
        for path, method in (("/v1/playlists/1", "PATCH"), ("/v1/continue", "GET")):
            refused = near.ask(method, path)
            problem(refused, 405)
            named = path.replace("/1", "/{id}")
            assert refused.headers["allow"].split(", ") == [
                name for name in ("GET", "POST", "PUT", "DELETE") if name in ROUTES[named]
            ]


def test_examples_of_the_description_are_answered(bundles: Bundles, tmp_path: Path) -> None:
    with House(bundles.live("wrmf"), tmp_path) as near:
        described = near.ask("GET", "/openapi.json").json()
        assert described["info"]["version"] == segue.__version__
        examples = described["paths"]["/v1/continue"]["post"]["requestBody"]["content"]
        for example in examples["application/json"]["examples"].values():
            assert uris(near.post("/v1/continue", example["value"]))


def test_the_description_says_who_needs_a_token(bundles: Bundles, tmp_path: Path) -> None:
    for beyond, security in ((False, [{}, {"token": []}]), (True, [{"token": []}])):
        away = House(bundles.live("wrmf"), tmp_path / str(beyond), beyond=beyond)
        described = away.app.openapi()
        assert described["security"] == security
        assert described["paths"]["/health/live"]["get"]["security"] == []
