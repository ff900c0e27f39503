"""Routes of the HTTP interface: /v1, health and metrics."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Form, Query, Request, UploadFile
from fastapi import Path as InPath
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from segue.data.playlist_export import PLAYLIST_FORMATS
from segue.service.api import wire
from segue.service.api.openapi import files, replies, takes
from segue.service.api.problems import HTTPProblem, refused_by_schema
from segue.service.serving.service import Service
from segue.service.serving.upload_intake import ARRIVING

Kind = TypeVar("Kind", bound=msgspec.Struct)
JSON = "application/json"
EXPORTS = {
    "m3u8": "application/vnd.apple.mpegurl",
    "xspf": "application/xspf+xml",
    "jspf": JSON,
    "csv": "text/csv; charset=utf-8",
}
"""Media type of each playlist file."""
_PIECE = 1 << 20
_TEXT = r"^[^\x00-\x1f\x7f]*$"

Uri = Annotated[
    str,
    InPath(
        min_length=1,
        max_length=wire.MOST_LETTERS,
        description="uri of a track",
        examples=["spotify:track:0UaMYEvWZi0ZqiDOoHU3YI"],
    ),
]
Id = Annotated[str, InPath(pattern=r"^[0-9A-Za-z_-]{1,64}$", description="id of a playlist")]
Count = Annotated[int, Query(ge=1, le=wire.MOST_TRACKS, description="how many tracks, at most")]
Named = Annotated[str | None, Form(max_length=wire.MOST_LETTERS, pattern=_TEXT)]

v1 = APIRouter(prefix="/v1")
health = APIRouter()


def service_of(request: Request) -> Service:
    """The service of the app."""
    service: Service = request.app.state.service
    return service


async def sent(request: Request, kind: type[Kind]) -> Kind:
    """Body of a request as a struct.

    Raises:
        HTTPProblem: it is no JSON, or does not match; the problem names the field.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise HTTPProblem(415, f"the body must be {JSON}")
    body = await request.body()
    try:
        return read(body, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPProblem(400, f"the body is no JSON: {error}") from error


def read(body: bytes, kind: type[Kind]) -> Kind:
    """JSON as a struct. JSON has one kind of number: 2.0 is an integer, too.

    Raises:
        HTTPProblem: it does not match `kind`.
        msgspec.DecodeError: it is no JSON.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        value = _whole(msgspec.json.decode(body))
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise refused_by_schema(value, kind) from error


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    return value


def reply(what: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A struct as JSON."""
    return Response(msgspec.json.encode(what), status, headers, media_type=JSON)


_TWO = ["spotify:track:0UaMYEvWZi0ZqiDOoHU3YI", "spotify:track:6I9VzXrHxO9rA9A5euc8Ak"]


@v1.post(
    "/continue",
    responses=replies(wire.ContinueResponse, 415, 503),
    openapi_extra=takes(
        wire.ContinueRequest,
        a_title={"title": "sunday morning coffee", "n": 30},
        tracks_and_bans={
            "tracks": _TWO,
            "bans": {"artists": ["Mozart"]},
            "spacing": {"artist": 3},
            "adventure": 0.3,
        },
        after_feedback={"tracks": _TWO, "listener": "ada", "session": "evening"},
    ),
)
async def continue_(request: Request) -> Response:
    """Continue a playlist from its tracks, its title, or both."""
    asked = await sent(request, wire.ContinueRequest)
    return reply(await service_of(request).recommendations.continued(asked))


@v1.post(
    "/next",
    responses=replies(wire.ContinueResponse, 415, 503),
    openapi_extra=takes(
        wire.NextRequest,
        a_session={
            "listens": [
                {"track": _TWO[0], "outcome": "finished"},
                {"track": _TWO[1], "outcome": "skipped"},
            ],
            "n": 10,
        },
        from_the_log={"listener": "ada", "session": "evening", "n": 10},
    ),
)
async def next_(request: Request) -> Response:
    """Recommend the next tracks of a session, given its outcomes."""
    return reply(
        await service_of(request).recommendations.next(await sent(request, wire.NextRequest))
    )


@v1.get("/similar/{track:path}", responses=replies(wire.ContinueResponse, 404, 503))
async def similar(request: Request, track: Uri, n: Count = 20) -> Response:
    """Recommend tracks similar to one track."""
    return reply(await service_of(request).recommendations.similar(track, n))


@v1.get("/search", responses=replies(wire.SearchResponse))
async def search(
    request: Request,
    q: Annotated[
        str, Query(max_length=200, pattern=_TEXT, description="words of artist, title and album")
    ] = "",
    n: Count = 20,
) -> Response:
    """Find tracks by prefixes of words, or by uri. Without words: the most played tracks."""
    return reply(await service_of(request).catalog.search(q, n))


@v1.post(
    "/tracks",
    status_code=201,
    responses=replies(
        wire.UploadResponse, 409, 503, 507, status=201, says="the track is in the catalog"
    )
    | {200: replies(wire.UploadResponse)[200] | {"description": "the catalog has this recording"}},
)
async def upload(
    request: Request,
    file: UploadFile,
    title: Named = None,
    artist: Named = None,
    album: Named = None,
) -> Response:
    """Upload a sound file. The next reply may recommend it."""
    service = service_of(request)
    labels = {"title": title, "artist": artist, "album": album, "file": file.filename}
    path = await receive(service, file)
    response = await service.uploads.add(
        path, {name: text for name, text in labels.items() if text}
    )
    return reply(response, 201 if response.new else 200)


async def receive(service: Service, file: UploadFile) -> Path:
    """Save an uploaded file in the service's folder.

    Raises:
        HTTPProblem: the disk is full.
    """
    ending = Path(file.filename or "").suffix.lower()
    ending = ending if ending[1:].isalnum() and len(ending) < 8 else ""
    service.uploads.folder.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(ending, ARRIVING, service.uploads.folder)
    os.close(number)  # Windows neither moves nor removes what is open
    path = Path(name)
    try:
        with path.open("wb") as out:
            while piece := await file.read(_PIECE):
                await run_in_threadpool(out.write, piece)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HTTPProblem(507, "no room on disk for this file") from error
        raise
    return path


@v1.get(
    "/tracks/{track:path}/audio",
    response_class=FileResponse,
    responses=replies(None, 404) | {200: files("audio/*"), 206: files("audio/*")},
)
async def audio(request: Request, track: Uri) -> Response:
    """Sound file of a track, if the service has it. Range requests work."""
    path = service_of(request).uploads.sounds.get(track)
    if path is None or not path.is_file():
        raise HTTPProblem(404, f"no sound of {track!r}")
    return FileResponse(path)


@v1.get("/tracks/{track:path}", responses=replies(wire.Track, 404))
async def track(request: Request, track: Uri) -> Response:
    """Catalog entry of a track."""
    service = service_of(request)
    return reply(service.catalog.track(track))


@v1.post(
    "/feedback",
    responses=replies(wire.StoredResponse, 409, 415, 503, 507),
    openapi_extra=takes(
        wire.FeedbackRequest,
        a_skip={
            "key": "7b1f-0001",
            "listener": "ada",
            "session": "evening",
            "events": [
                {"kind": "play", "track": _TWO[0], "outcome": "finished"},
                {"kind": "skip", "track": _TWO[1], "ms_played": 4100},
                {"kind": "ban_artist", "artist": "Mozart"},
            ],
        },
    ),
)
async def feedback(request: Request) -> Response:
    """Record actions of a listener. They are on disk before the reply; the next list heeds them."""
    return reply(
        await service_of(request).feedback.record(await sent(request, wire.FeedbackRequest))
    )


_PLAYLIST = {"title": "sunday", "tracks": _TWO}


@v1.post(
    "/playlists",
    status_code=201,
    responses=replies(wire.PlaylistResponse, 415, 503, 507, status=201),
    openapi_extra=takes(wire.PlaylistRequest, a_playlist=_PLAYLIST | {"listener": "ada"}),
)
async def new_playlist(request: Request) -> Response:
    """Save a playlist."""
    playlist = await service_of(request).playlists.create(await sent(request, wire.PlaylistRequest))
    return reply(playlist, 201, {"Location": f"/v1/playlists/{playlist.id}"})


@v1.get("/playlists", responses=replies(wire.Playlists, 503))
async def playlists(
    request: Request,
    listener: Annotated[str | None, Query(pattern=r"^[!-~]{1,200}$")] = None,
    after: Annotated[
        str | None,
        Query(pattern=r"^[0-9A-Za-z_-]{1,64}$", description="value of `after` in a reply"),
    ] = None,
    n: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Playlists, newest first."""
    return reply(await service_of(request).playlists.page(listener, after, n))


@v1.get("/playlists/{id}", responses=replies(wire.PlaylistResponse, 404, 503))
async def playlist(request: Request, id: Id) -> Response:
    """One playlist."""
    return reply(await service_of(request).playlists.get(id))


@v1.put(
    "/playlists/{id}",
    responses=replies(wire.PlaylistResponse, 404, 409, 415, 503, 507),
    openapi_extra=takes(wire.PlaylistChange, a_change=_PLAYLIST | {"version": 1}),
)
async def change_playlist(request: Request, id: Id) -> Response:
    """Replace title and tracks, unless the playlist has a newer version."""
    change = await sent(request, wire.PlaylistChange)
    return reply(await service_of(request).playlists.change(id, change))


@v1.delete("/playlists/{id}", status_code=204, responses=replies(None, 404, 503, 507, status=204))
async def remove_playlist(request: Request, id: Id) -> Response:
    """Remove a playlist."""
    await service_of(request).playlists.remove(id)
    return Response(status_code=204)


@v1.get(
    "/playlists/{id}/export",
    response_class=Response,
    responses=replies(None, 404, 503) | {200: files(*EXPORTS.values())},
)
async def export(
    request: Request,
    id: Id,
    format: Annotated[Literal["m3u8", "xspf", "jspf", "csv"], Query()] = "m3u8",
) -> Response:
    """A playlist as a file for players and services."""
    service = service_of(request)
    playlist = await service.playlists.get(id)
    text = PLAYLIST_FORMATS[format](playlist.title, service.catalog.rows_of(playlist.tracks))
    name = {"Content-Disposition": f'attachment; filename="playlist.{format}"'}
    return Response(text, media_type=EXPORTS[format], headers=name)


@v1.get("/admin/bundle", responses=replies(wire.BundleState))
async def bundle(request: Request) -> Response:
    """Describe the served bundle."""
    return reply(service_of(request).bundles.state())


@v1.post(
    "/admin/bundle",
    responses=replies(wire.BundleState, 404, 409, 415),
    openapi_extra=takes(
        wire.BundleRequest, another={"path": "bundles/tonight"}, back={"rollback": True}
    ),
)
async def swap(request: Request) -> Response:
    """Verify, warm and serve another bundle, or roll back to the previous one."""
    asked = await sent(request, wire.BundleRequest)
    return reply(await asyncio.shield(service_of(request).bundles.swap(asked)))


@health.get("/health/live", responses=replies(wire.Live))
async def live() -> Response:
    """Whether the process runs. No token needed."""
    return reply(wire.Live())


@health.get("/health/ready", responses=replies(wire.ReadyResponse))
async def ready(request: Request) -> Response:
    """State of the service and its log."""
    return reply(await service_of(request).ready())


@health.get(
    "/metrics", response_class=Response, responses=replies(None) | {200: files("text/plain")}
)
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus's text format."""
    return Response(
        service_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
