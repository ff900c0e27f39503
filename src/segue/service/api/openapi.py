"""The OpenAPI description, from the structs in `wire`."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from segue.service.access.gate import OPEN
from segue.service.api import problems, wire

_REF = "#/components/schemas/{name}"
_TYPES = (
    wire.ContinueRequest,
    wire.NextRequest,
    wire.ContinueResponse,
    wire.SearchResponse,
    wire.Track,
    wire.UploadResponse,
    wire.FeedbackRequest,
    wire.StoredResponse,
    wire.PlaylistRequest,
    wire.PlaylistChange,
    wire.PlaylistResponse,
    wire.Playlists,
    wire.BundleRequest,
    wire.BundleState,
    wire.Live,
    wire.ReadyResponse,
    problems.Problem,
)

SAYS = {
    401: "a token is needed",
    404: "not found",
    405: "this method is not allowed",
    409: "conflicts with the present state",
    413: "too large",
    415: "wrong media type",
    422: "invalid; `errors` has the paths of the fields",
    429: "too many requests with one token",
    503: "not possible at the moment",
    507: "no room on disk",
}
"""Description of a problem, by status."""


def _content(kind: type[msgspec.Struct], media_type: str = "application/json") -> dict[str, Any]:
    return {"content": {media_type: {"schema": {"$ref": _REF.format(name=kind.__name__)}}}}


def replies(
    kind: type[msgspec.Struct] | None, *problem_statuses: int, status: int = 200, says: str = "done"
) -> dict[int | str, dict[str, Any]]:
    """Replies of a route: a struct, or one of these problems."""
    done: dict[int | str, dict[str, Any]] = {status: {"description": says}}
    if kind is not None:
        done[status] |= _content(kind)
    for problem_status in (400, 401, 405, 413, 422, 429, *problem_statuses):
        problem = _content(problems.Problem, problems.MEDIA_TYPE)
        done[problem_status] = {
            "description": SAYS.get(problem_status, "cannot be read"),
            **problem,
        }
    return done


def files(*media_types: str) -> dict[str, Any]:
    """Reply of a route that returns a file of one of these types."""
    text = {"type": "string"}
    content = {name: {"schema": {} if "json" in name else text} for name in media_types}
    return {"description": "the file", "content": content}


def takes(kind: type[msgspec.Struct], **examples: Any) -> dict[str, Any]:
    """Request body of a route: a struct as JSON, with examples by name."""
    body = _content(kind)
    named = {name.replace("_", " "): {"value": value} for name, value in examples.items()}
    body["content"]["application/json"]["examples"] = named
    return {"requestBody": {"required": True, **body}}


def describe(app: FastAPI, beyond: bool) -> dict[str, Any]:
    """Description of an app in OpenAPI 3.1.

    Args:
        beyond: whether every client needs a token.
    """
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REF)
        components = made.setdefault("components", {})
        components["schemas"] = {**components.get("schemas", {}), **schemas}
        components["schemas"].pop("HTTPValidationError", None)
        components["schemas"].pop("ValidationError", None)
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}] if beyond else [{}, {"token": []}]
        made["paths"][OPEN]["get"]["security"] = []
        app.openapi_schema = made
    return app.openapi_schema
