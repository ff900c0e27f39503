"""Rendering of pages from templates, and of errors as pages."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException

from segue.errors import SegueError
from segue.service.api.problems import (
    HTTPProblem,
    of_error,
    refused_by_http,
    refused_by_parameters,
)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
STATIC = Path(__file__).with_name("static")
FILES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_LOG = logging.getLogger("segue.service")


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("segue.service.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    seal = hashlib.sha256()
    for name in FILES:
        seal.update((STATIC / name).read_bytes())
    made.globals["seal"] = seal.hexdigest()[
        :12
    ]  # part of the addresses, so that browsers may cache the files
    made.filters["path"] = lambda uri: quote(uri, safe="")
    return made


_TEMPLATES = _environment()


def page(name: str, status: int = 200, **values: Any) -> Response:
    """Render a template."""
    text = _TEMPLATES.get_template(name).render(**values)
    return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except HTTPProblem as error:
                return _problem(error)
            except SegueError as error:
                return _problem(of_error(error))
            except HTTPException as error:
                return _problem(refused_by_http(error))
            except RequestValidationError as error:
                return _problem(refused_by_parameters(error))
            except Exception as error:
                _LOG.exception("%s %s", request.method, request.url.path, exc_info=error)
                return _problem(HTTPProblem(500, "unexpected; the log of the service says more"))

        return handled


def _problem(refused: HTTPProblem) -> Response:
    response = page("problem.html", refused.status, number=refused.status, detail=refused.detail)
    response.headers.update(refused.headers)
    return response
