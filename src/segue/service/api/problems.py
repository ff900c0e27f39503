"""Errors as problem+json (RFC 9457), with paths of the invalid fields."""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from msgspec import Meta
from starlette.exceptions import HTTPException
from starlette.routing import Match

from segue.errors import SegueError, UsageError
from segue.service.storage.store import (
    KeyReused,
    NoPlaylist,
    StaleVersion,
    StoreError,
    StoreFull,
    StoreGone,
)
from segue.system.mismatch import mismatch_of

MEDIA_TYPE = "application/problem+json"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_LOG = logging.getLogger("segue.service")


class Fault(msgspec.Struct, frozen=True):
    """One fault of a request."""

    path: Annotated[str, Meta(description="path of the field: JSONPath, or query.NAME")]
    what: Annotated[str, Meta(description="the fault, and a valid value")]


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error (RFC 9457)."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    errors: list[Fault] = []


class HTTPProblem(HTTPException):
    """An exception whose response is a problem.

    It is an HTTPException because FastAPI passes only these through while it reads a form.

    Args:
        status: status code.
        detail: one line that says what happened and what to do.
        errors: invalid fields.
        headers: headers of the response.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[Fault] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.headers: dict[str, str] = dict(headers or {})
        self.status, self.errors = status, errors or []


def response(refused: HTTPProblem) -> Response:
    """The problem as a response."""
    title = http.HTTPStatus(refused.status).phrase
    problem = Problem(title, refused.status, refused.detail, errors=refused.errors)
    # RFC 9457 has the same default of `type`.
    return Response(
        msgspec.json.encode(problem), refused.status, refused.headers, media_type=MEDIA_TYPE
    )


def at(path: str, what: str) -> HTTPProblem:
    """Problem of an invalid field."""
    return HTTPProblem(422, f"{path}: {what}", [Fault(path, what)])


def refused_by_schema(value: Any, kind: Any) -> HTTPProblem:
    """Problem of a decoded JSON body that does not match its struct."""
    wrong = mismatch_of(value, kind)
    what = f"{wrong.what}; {wrong.remedy}" if wrong.choices else wrong.what
    return at(wrong.where, what)


_HTTP = {404: "nothing is at this address", 405: "this address takes other methods: see Allow"}


def refused_by_http(error: HTTPException) -> HTTPProblem:
    """Problem from an exception of the framework."""
    known = _HTTP.get(error.status_code)
    return HTTPProblem(error.status_code, known or f"cannot be answered ({error.detail})")


def refused_by_parameters(error: RequestValidationError) -> HTTPProblem:
    """Problem of invalid parameters; the framework gives the reasons."""
    errors = [
        Fault(".".join(map(str, one["loc"])), f"cannot be taken as it is ({one['msg']})")
        for one in error.errors()
    ]
    return HTTPProblem(422, "; ".join(f"{fault.path}: {fault.what}" for fault in errors), errors)


STATUS: dict[type[SegueError], int] = {
    StoreFull: 507,
    StoreGone: 503,
    NoPlaylist: 404,
    KeyReused: 409,
    StaleVersion: 409,
    UsageError: 422,
}
"""Status by kind of error; all others get 500."""


def of_error(error: SegueError) -> HTTPProblem:
    """Problem from an error of segue."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    return HTTPProblem(status, str(error))


def install(app: FastAPI) -> None:
    """Turn every error of an app into a problem."""

    @app.exception_handler(HTTPProblem)
    async def refused(request: Request, error: HTTPProblem) -> Response:
        return response(error)

    @app.exception_handler(SegueError)
    async def failed(request: Request, error: SegueError) -> Response:
        if not isinstance(error, (StoreError, UsageError)):
            _LOG.exception("%s %s", request.method, request.url.path, exc_info=error)
        return response(of_error(error))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_allowed(request))
        refused = refused_by_http(error)
        return response(HTTPProblem(refused.status, refused.detail, headers=headers))

    @app.exception_handler(RequestValidationError)
    async def of_parameters(request: Request, error: RequestValidationError) -> Response:
        return response(refused_by_parameters(error))


def _allowed(request: Request) -> list[str]:
    """Methods of a path over all its routes; a router names those of the first only."""
    routes, scope = request.app.routes, request.scope
    return [
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]
