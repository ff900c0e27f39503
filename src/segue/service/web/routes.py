"""Routes of the web page. Forms and links do everything; `static/page.js` only makes them smooth.

Every action is a POST; its reply redirects to the changed page. Errors are pages, too.
"""

from __future__ import annotations

import secrets
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlencode

from fastapi import APIRouter, FastAPI, Query, Request, UploadFile
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile as Sent

from segue.service.api import wire
from segue.service.api.problems import HTTPProblem
from segue.service.api.routes import Id, Uri, receive, service_of
from segue.service.serving.service import Service
from segue.service.storage.store import StoreGone
from segue.service.web import health as health_figures
from segue.service.web import track_map, views
from segue.service.web.actions import CHANGES, EVENTS, change_playlist, made, text_of
from segue.service.web.rendering import FILES, STATIC, PageRoute, page

Kind = TypeVar("Kind")
SHOWN = 20
"""Number of visible tracks of a continuation."""
_ASKED = 100
"""Number of requested tracks: the page shows how far a track fell, up to this."""
_SEARCH_RESULTS = 8
_NEAR = 10
_PLAYLISTS_SHOWN = 20
_HAVE = 200
"""Number of visible tracks of a playlist, the last ones."""
_REPORT = {
    # The report is one file with its styles and pictures.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'none'"
}

Words = Annotated[str, Query(max_length=200)]
Adventure = Annotated[float, Query(ge=0, le=1)]


pages = APIRouter(route_class=PageRoute, include_in_schema=False, default_response_class=Response)


def install(app: FastAPI) -> None:
    """Add the routes of the page to an app."""
    app.include_router(pages)


def _listener(request: Request) -> str:
    """Listener of a request: the name of its token, quoted for a listener's id."""
    name: str | None = request.scope.get("token")
    return quote(name, safe="!#$&'()*+,/:;=?@[]-._~")[:200] if name else "me"


def _to(path: str, **query: Any) -> Response:
    """Redirect to the page that an action changed."""
    asked = urlencode({name: value for name, value in query.items() if value})
    return RedirectResponse(f"{path}?{asked}" if asked else path, 303)


async def _log_or(service: Service, work: Coroutine[Any, Any, Kind], other: Kind) -> Kind:
    """Result of the log, or `other` if the log is out of reach."""
    try:
        return await work
    except StoreGone:
        return other


# Start


@pages.get("/")
async def start(request: Request, q: Words = "") -> Response:
    """Start from a title, a track, a file, or a saved playlist."""
    service = service_of(request)
    playlists = await _log_or(
        service, service.playlists.page(_listener(request), None, _PLAYLISTS_SHOWN), None
    )
    results = await _search(service, q)
    return page(
        "start.html",
        **_frame(service),
        q=q,
        results=results,
        log=playlists is not None,
        playlists=playlists.playlists if playlists else [],
    )


def _frame(service: Service) -> dict[str, Any]:
    """Values that every page of content shows."""
    live = service.bundles.live
    manifest = live.bundle.manifest
    return {
        "simulated": manifest.simulated,
        "tracks": len(live.catalog),
        "version": live.version,
        "minutes": service.settings.upload_minutes,
        "megabytes": service.settings.upload_mb,
    }


async def _search(service: Service, words: str) -> list[wire.Track]:
    if not words.strip():
        return []
    return (await service.catalog.search(words.strip(), _SEARCH_RESULTS)).tracks


@pages.post("/playlists")
async def new_playlist(request: Request) -> Response:
    """Save a new playlist from a title, a track, or both."""
    service, form = service_of(request), await request.form()
    asked = made(
        wire.PlaylistRequest,
        title=text_of(form, "title"),
        tracks=form.getlist("track"),
        listener=_listener(request),
    )
    if not asked.title and not asked.tracks:
        raise HTTPProblem(422, "Say something to begin with: a title or a track.")
    return _to(f"/playlists/{(await service.playlists.create(asked)).id}")


# A playlist


@pages.get("/playlists/{id}")
async def playlist(
    request: Request,
    id: Id,
    q: Words = "",
    adventure: Adventure = 0.0,
    was: Words = "",
    did: Words = "",
    what: Words = "",
) -> Response:
    """A playlist, its continuation, and the effect of the last action."""
    service, listener = service_of(request), _listener(request)
    saved = await service.playlists.get(id)
    recommended = await service.recommendations.continued(
        made(
            wire.ContinueRequest,
            tracks=saved.tracks[-wire.MOST_HISTORY :],
            title=saved.title,
            listener=listener,
            session=id,
            adventure=adventure,
            n=_ASKED,
            spacing={"artist": 2},
        )
    )
    feedback = await service.log.run(lambda store: store.events.personal(listener, id))
    live = service.bundles.live
    rows = views.rows(service, recommended, SHOWN, was)
    latest = views.names(service, saved.tracks[-_HAVE:])
    picture = await run_in_threadpool(
        track_map.picture,
        live,
        {"playlist": saved.tracks, "next": [row.track.uri for row in rows.shown]},
    )
    return page(
        "playlist.html",
        **_frame(service),
        saved=saved,
        latest=latest,
        q=q,
        adventure=adventure,
        results=[track for track in await _search(service, q) if track.uri not in saved.tracks],
        recommended=recommended,
        because=views.served(recommended),
        rows=rows,
        map=picture,
        feedback=views.feedback(service, feedback),
        flash=views.flash(service, did, what),
        query=urlencode({"adventure": adventure}) if adventure else "",
    )


@pages.post("/playlists/{id}")
async def act(request: Request, id: Id, adventure: Adventure = 0.0) -> Response:
    """Change a playlist, or record feedback about a track."""
    service, form = service_of(request), await request.form()
    do, _, what = text_of(form, "do").partition(" ")
    path = f"/playlists/{id}"
    if do in EVENTS:
        event = EVENTS[do](what, form)
        await service.feedback.record(
            made(
                wire.FeedbackRequest,
                key=secrets.token_hex(16),
                listener=_listener(request),
                session=id,
                events=[event],
            )
        )
    elif do == "delete":
        await service.playlists.remove(id)
        return _to("/")
    elif do in CHANGES:
        await change_playlist(service, id, CHANGES[do], what or text_of(form, "title"))
    else:
        raise HTTPProblem(422, f"Nothing is called {do!r} here.")
    return _to(path, adventure=adventure, was=text_of(form, "was")[:200], did=do, what=what[:200])


# A track


@pages.get("/tracks/{track:path}")
async def track(request: Request, track: Uri, new: Words = "") -> Response:
    """A track, similar tracks, and its position on the map."""
    service = service_of(request)
    one = service.catalog.track(track)
    recommended = await service.recommendations.similar(track, _NEAR)
    rows = views.rows(service, recommended, _NEAR)
    picture = await run_in_threadpool(
        track_map.picture,
        service.bundles.live,
        {"this": [track], "next": [row.track.uri for row in rows.shown]},
    )
    return page(
        "track.html",
        **_frame(service),
        track=one,
        recommended=recommended,
        rows=rows,
        map=picture,
        new=new,
        because=views.served(recommended),
    )


@pages.post("/upload")
async def upload(request: Request) -> Response:
    """Add a sound file, then show its track."""
    service = service_of(request)
    async with request.form(max_files=1, max_fields=20) as form:
        file = form.get("file")
        if not isinstance(file, Sent) or not file.filename:
            raise HTTPProblem(422, "Choose a sound file first.")
        names = ("title", "artist", "album")
        labels = {name: text_of(form, name) for name in names if text_of(form, name)}
        long = [name for name, text in labels.items() if len(text) > wire.MOST_LETTERS]
        if long:
            raise HTTPProblem(422, f"The {long[0]} is longer than {wire.MOST_LETTERS} letters.")
        path = await receive(service, UploadFile(file.file, filename=file.filename))
        labels["file"] = file.filename
    response = await service.uploads.add(path, labels)
    return _to(
        f"/tracks/{quote(response.track.uri, safe='')}", new=response.vector_source or "known"
    )


# Health


@pages.get("/health")
async def health(request: Request) -> Response:
    """State of the service."""
    service = service_of(request)
    return page(
        "health.html",
        **_frame(service),
        ready=await service.ready(),
        bundle=service.bundles.state(),
        age=health_figures.age(service.bundles.state().trained_at),
        report=_report_of(service),
        requests=health_figures.requests(service.metrics),
        answers=health_figures.answers(service),
    )


def _report_of(service: Service) -> Path | None:
    return service.report if service.report and service.report.is_file() else None


@pages.get("/report")
async def report(request: Request) -> Response:
    """The report of `segue evaluate`."""
    path = _report_of(service_of(request))
    if path is None:
        raise HTTPProblem(404, "There is no report; segue serve --report FILE.html shows one.")
    return FileResponse(path, media_type="text/html", headers=_REPORT)


@pages.get("/static/{name}")
async def static(name: str) -> Response:
    """Style and script."""
    if name not in FILES:
        raise HTTPProblem(404, "There is no such file.")
    return FileResponse(
        STATIC / name,
        media_type=FILES[name],
        headers={"Cache-Control": "public, max-age=31536000"},
    )
