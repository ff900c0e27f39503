"""Small bundles that are served, and services that are asked without a network."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI
from support.sounds import encode, sweep

from segue.data.dataset import Dataset
from segue.data.writer import writing_dataset
from segue.operations.train import train
from segue.recipe import Recipe
from segue.service.access.tokens import Tokens
from segue.service.app import create_app
from segue.service.serving.limits import ServiceSettings
from segue.service.serving.live_bundle import LiveBundle
from segue.service.serving.service import Service

TRACKS = 62
ARTISTS = [f"artist {t // 6}" for t in range(60)] + ["artist 0", None]
"""Six tracks each; then a remaster of track 0, and a track of nobody that nobody played."""
TITLES = [f"song {t}" for t in range(60)] + ["song 0 (2011 Remaster)", "lost"]
WORDS = ("metal", "jazz", "disco", "folk", "dub")
UNPLAYED = (5, 11, 61)
"""Tracks in no playlist: two of known artists, one of nobody."""
SECONDS = 60
"""After which a question that was not answered fails the test."""
PATIENT = {"budget_ms": 60_000}
"""Settings under which no rung is passed over for time, however busy the machine."""
LOCAL = ("127.0.0.1", 50_000)
REMOTE = ("192.0.2.7", 1234)

SETTINGS: dict[str, dict[str, Any]] = {
    "wrmf": {"factors": 8},
    "two-stage": {
        "wrmf": {"factors": 8, "artist_weight": 0.1, "album_weight": 0.1, "title_weight": 0.2},
        "title": {"factors": 8},
        "folds": 2,
        "retrieved": 20,
        "reranked": 30,
        "ranker": {"trees": 5, "depth": 3, "leaf_weight": 5.0},
    },
    "audio": {"sound": "none", "tower": "mean", "wrmf": {"factors": 8}},
    "item-knn": {},
    "content": {},
    "personal": {},
    "popularity": {},
}
"""Of each recommender that is served here."""


def uri(track: int) -> str:
    """Track 3 is the one of the examples in the description."""
    return "spotify:track:0UaMYEvWZi0ZqiDOoHU3YI" if track == 3 else f"track:{track}"


def library(folder: Path) -> Dataset:
    """Five genres of two artists; each playlist has tracks of one genre, as its title says."""
    rng = np.random.default_rng(4)
    lists, titles = [], []
    for p in range(100):
        genre = p % 5
        own = [t for t in range(genre * 12, genre * 12 + 12) if t not in UNPLAYED]
        own += [60] if genre == 0 else []
        weights = 1 / np.arange(1, len(own) + 1)
        chosen = rng.choice(own, 6, replace=False, p=weights / weights.sum())
        lists.append(chosen.tolist())
        titles.append(f"{WORDS[genre]} mix {p}")
    with writing_dataset(folder) as writer:
        names = [uri(t) for t in range(TRACKS)]

        def about(t: int) -> list[Any]:
            artist = ARTISTS[t]
            album = None if artist is None else f"album {t // 3 if t < 60 else 0}"
            length = 100_000 + 5000 * (0 if t == 60 else t)
            return [TITLES[t], artist, None, album, None, length, None]

        writer.track_ids(names, about)
        writer.add_playlists(
            {"uri": [f"playlist:{p}" for p in range(len(lists))], "title": titles},
            [len(some) for some in lists],
            [t for some in lists for t in some],
        )
        writer.finish([], simulated=True)
    return Dataset.open(folder)


class Bundles:
    """Folders of bundles, each trained when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = library(folder / "library")

    @cache  # noqa: B019
    def path(self, name: str, seed: int = 0, factors: int | None = None) -> Path:
        """The bundle of a recommender."""
        settings = SETTINGS[name] | ({"factors": factors} if factors else {})
        recipe = Recipe(name=name, recommender=name, settings=settings)
        bundle, _ = train(recipe, self._library, seed=seed)
        path = self._folder / f"{name}-{seed}-{factors}"
        bundle.save(path)
        return path

    @cache  # noqa: B019
    def live(self, name: str) -> LiveBundle:
        """The same, loaded and warm."""
        return LiveBundle.load(self.path(name))


class House:
    """A service that runs in this process, on a loop of its own.

    Attributes:
        app, service: that are asked.
        folder: of its log, uploads and tokens.
    """

    def __init__(
        self,
        live: LiveBundle,
        folder: Path,
        settings: dict[str, Any] | None = None,
        *,
        beyond: bool = False,
        address: str | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        made = ServiceSettings.make(PATIENT | (settings or {}))
        tokens = Tokens(folder / "tokens.json")
        self.tokens = {name: tokens.new(name) for name in names}
        address = address or str(folder / "log.sqlite3")
        self.service = Service(live, address, folder / "uploads", made)
        self.app: FastAPI = create_app(self.service, tokens, beyond=beyond)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine, on the service's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    def __enter__(self) -> House:
        self.run(self.service.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.service.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ask(
        self, method: str, path: str, client: tuple[str, int], **more: Any
    ) -> httpx.Response:
        way = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=client)
        async with httpx.AsyncClient(transport=way, base_url="http://localhost") as asking:
            return await asking.request(method, path, **more)

    def ask(
        self, method: str, path: str, *, client: tuple[str, int] = LOCAL, **more: Any
    ) -> httpx.Response:
        """The response to a request; `more` as httpx takes it."""
        found: httpx.Response = self.run(self._ask(method, path, client, **more))
        return found

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        """The response to a body of JSON."""
        return self.ask("POST", path, json=body, **more)

    def together(self, asked: Sequence[tuple[str, str, Any]]) -> list[httpx.Response]:
        """Responses to requests (method, path, body of JSON) that are sent at once."""

        async def all_of_them() -> list[httpx.Response]:
            return await asyncio.gather(
                *(self._ask(method, path, LOCAL, json=body) for method, path, body in asked)
            )

        found: list[httpx.Response] = self.run(all_of_them())
        return found

    def upload(self, path: Path, **said: str) -> httpx.Response:
        """The response to a sound file."""
        with path.open("rb") as file:
            return self.ask("POST", "/v1/tracks", files={"file": (path.name, file)}, data=said)


def batched(house: House, asked: Sequence[tuple[str, str, Any]]) -> list[httpx.Response]:
    """Responses to requests as `House.together` takes them, which wait until all have come."""
    answering = house.service.recommendations.scorer
    real = answering._answer

    def waits(asks: Any) -> None:
        due = time.monotonic() + SECONDS
        while answering._asked.qsize() < len(asked) - len(asks) and time.monotonic() < due:
            time.sleep(0.001)
        answering._answer = real  # type: ignore[method-assign]
        real(asks)

    answering._answer = waits  # type: ignore[method-assign]
    return house.together(asked)


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Path and method of every route."""
    found, left = [], list(app.routes)
    for route in left:
        if inner := getattr(route, "original_router", None):
            left += inner.routes
        else:
            methods = getattr(route, "methods", None) or {"GET"}  # a folder of files has none
            found += [(getattr(route, "path", ""), method) for method in sorted(methods)]
    return found


def sound(folder: Path, name: str = "a.wav", seconds: float = 0.3, **tags: str) -> Path:
    """A sound file."""
    return encode(folder / name, sweep(seconds), tags=tags or None)


def uris(response: httpx.Response) -> list[str]:
    """Tracks of an answer."""
    assert response.status_code == 200, response.text
    return [track["uri"] for track in response.json()["tracks"]]


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """What a refusal says."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = response.json()
    assert said["status"] == status
    assert said["title"]
    assert said["detail"]
    assert "\n" not in said["detail"]
    assert "Traceback" not in response.text
    return said


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The address of an app that listens on this machine, as `segue serve` lets it."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", access_log=False, server_header=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "it does not start"
            time.sleep(0.01)
        (socket, *_) = server.servers[0].sockets
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(SECONDS)
