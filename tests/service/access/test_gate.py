"""Who may ask the service: tokens, rates, sites, sizes, and headers of every response."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.optional import reason

pytest.importorskip("fastapi", reason=reason("fastapi"))

import httpx
from support.service_worlds import (
    LOCAL,
    REMOTE,
    Bundles,
    House,
    problem,
    routes,
    uri,
    uris,
)

from segue.errors import DataError, UsageError
from segue.service.access.gate import OPEN, Gate, is_loopback
from segue.service.access.rate_limit import Buckets
from segue.service.access.tokens import Tokens
from segue.service.serving.limits import ServiceSettings

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}
ASK = ("POST", "/v1/continue")


@pytest.fixture(scope="module")
def near(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Listens to this machine alone; Ann has a token anyway."""
    folder = tmp_path_factory.mktemp("near")
    with House(bundles.live("wrmf"), folder, names=["ann"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def beyond(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Listens to other machines, too."""
    folder = tmp_path_factory.mktemp("beyond")
    never = {"rate": 1e6, "burst": 1_000_000}
    with House(bundles.live("wrmf"), folder, never, beyond=True, names=["ann", "bob"]) as opened:
        yield opened


def every_request(house: House) -> list[tuple[str, str]]:
    """Method and path of every route, and some that are none."""
    filled = [
        (method, re.sub(r"\{[^}]*\}", "x", path) or "/") for path, method in routes(house.app)
    ]
    assert len(filled) > 17
    return [*filled, ("GET", "/nothing"), ("GET", "/health/live/"), ("OPTIONS", "*")]


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def basic(token: str, name: str = "any") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()}


# Without a token


def assert_only_liveness(house: House, **more: Any) -> None:
    open_paths = set()
    for method, path in every_request(house):
        told = house.ask(method, path, **more)
        if told.status_code == 401:
            if method != "HEAD":
                problem(told, 401)
            assert "Bearer" in told.headers["www-authenticate"]
        else:
            assert told.status_code == 200
            open_paths.add((method, path))
    assert open_paths == {("GET", OPEN)}


def test_another_machine_is_answered_liveness_and_nothing_else(near: House) -> None:
    assert_only_liveness(near, client=REMOTE)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_what_came_through_a_proxy_came_from_another_machine(near: House, name: str) -> None:
    assert_only_liveness(near, headers={name: "127.0.0.1"})


def test_beyond_this_machine_even_this_machine_needs_a_token(beyond: House) -> None:
    assert_only_liveness(beyond, client=LOCAL)
    assert_only_liveness(beyond, client=REMOTE)


def test_this_machine_needs_no_token(near: House) -> None:
    for host in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"):
        assert uris(near.ask(*ASK, json={}, client=(host, 9)))


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True), ("localhost", True), ("::1", True), ("::1%lo", True),
        ("::ffff:127.0.0.1", True), ("::ffff:192.0.2.7", False), ("192.0.2.7", False),
        ("0.0.0.0", False), ("::", False), ("", False), ("localhost.example.org", False),
        ("127.0.0.1.example.org", False), ("10.0.0.1", False),
    ],
)  # fmt: skip
def test_addresses_of_this_machine(host: str, near: bool) -> None:
    assert is_loopback(host) is near


def by_hand(house: House, **scope: Any) -> list[dict[str, Any]]:
    """Messages that the app sends in answer to a scope."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {
        "type": "http", "method": "GET", "path": "/v1/search", "raw_path": b"/v1/search",
        "query_string": b"", "headers": [(b"host", b"localhost")], "client": LOCAL,
        "http_version": "1.1", "scheme": "http", "server": ("localhost", 80), "root_path": "",
    }  # fmt: skip
    house.run(house.app(whole | scope, receive, send))
    return sent


def test_a_client_without_an_address_is_not_this_machine(near: House) -> None:
    assert by_hand(near)[0]["status"] == 200
    assert by_hand(near, client=None)[0]["status"] == 401


def test_nothing_but_http_is_answered(near: House) -> None:
    assert by_hand(near, type="websocket") == []


# With a token


@pytest.mark.parametrize("way", [bearer, basic])
def test_with_a_token_every_machine_is_answered(beyond: House, way: Any) -> None:
    for name in ("ann", "bob"):
        for client in (LOCAL, REMOTE):
            told = beyond.ask(
                *ASK, json={"tracks": [uri(1)]}, client=client, headers=way(beyond.tokens[name])
            )
            assert uris(told)
    for method, path in every_request(beyond):
        if method == "GET":
            told = beyond.ask(method, path, client=REMOTE, headers=way(beyond.tokens["ann"]))
            assert told.status_code != 401


def test_a_token_counts_through_a_proxy(near: House) -> None:
    through = bearer(near.tokens["ann"]) | {"x-forwarded-for": "203.0.113.9", "host": "example.org"}
    assert uris(near.ask(*ASK, json={}, headers=through))


@pytest.mark.parametrize(
    "given",
    [
        "Bearer wrong", "Bearer ", "Bearer", "Basic", "Basic !!!", "Basic w6k6w6k=", "Basic \xe9",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(), "bearer \xe9\xff",
    ],
)  # fmt: skip
def test_a_wrong_token_is_refused_also_on_this_machine(near: House, given: str) -> None:
    header = [(b"authorization", given.encode("latin-1"))]
    assert by_hand(near, headers=[(b"host", b"localhost"), *header])[0]["status"] == 401


def test_a_token_is_whole_or_wrong(beyond: House) -> None:
    token = beyond.tokens["ann"]
    for wrong in (token[:-1], token + "x", token.swapcase(), beyond.service.bundles.live.version):
        problem(beyond.ask("GET", "/v1/search", headers=bearer(wrong)), 401)


def test_a_mounted_secret_is_a_token_and_is_never_copied(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    tokens = Tokens(tmp_path / "tokens.json", secret)
    assert tokens
    assert tokens.owner("0123456789abcdef") == "secret"
    ann = tokens.new("ann")
    assert tokens.owner(ann) == "ann"
    assert [token.name for token in Tokens(tokens.file).tokens] == ["ann"]
    assert Tokens(tokens.file).owner("0123456789abcdef") is None
    assert not Tokens(tmp_path / "none.json")


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"fifteen-letters", b"two words of more than sixteen", b"\xff" * 20]
)
def test_a_secret_that_is_no_token_is_refused(tmp_path: Path, text: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(text)
    with pytest.raises(DataError, match=r"secret: (holds no token|cannot be read)"):
        Tokens(tmp_path / "tokens.json", secret)


def test_a_secret_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="secret: cannot be read"):
        Tokens(tmp_path / "tokens.json", tmp_path / "secret")


def test_the_file_of_tokens_has_hashes_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    texts = [tokens.new(name) for name in ("ann", "bob")]
    kept = tokens.file.read_text()
    assert stat.S_IMODE(tokens.file.stat().st_mode) == 0o600
    assert not any(text in kept for text in texts)
    assert [one["name"] for one in json.loads(kept)] == ["ann", "bob"]
    assert len(set(texts)) == 2
    assert all(len(text) >= 43 for text in texts)  # 256 bits
    assert Tokens(tokens.file).owner(texts[1]) == "bob"


def test_a_token_that_was_removed_is_worthless(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens.json")
    ann, bob = tokens.new("ann"), tokens.new("bob")
    tokens.remove("ann")
    again = Tokens(tokens.file)
    assert (again.owner(ann), again.owner(bob)) == (None, "bob")
    assert stat.S_IMODE(tokens.file.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="there is no token 'ann'"):
        again.remove("ann")
    with pytest.raises(UsageError, match="there is a token 'bob'"):
        again.new("bob")


def test_a_file_of_tokens_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text('[{"name": "ann"}]')
    with pytest.raises(DataError, match="is no file of tokens"):
        Tokens(tmp_path / "tokens.json")


# Rates


def test_a_bucket_holds_a_burst_and_fills_again() -> None:
    now = [100.0]
    buckets = Buckets(2.0, 3, lambda: now[0])
    assert [buckets.wait("ann") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait("bob") == 0
    now[0] += 0.25
    assert buckets.wait("ann") == 0.25
    now[0] += 0.25
    assert [buckets.wait("ann") for _ in range(2)] == [0, 0.5]
    now[0] += 1000
    assert [buckets.wait("ann") for _ in range(4)] == [0, 0, 0, 0.5]


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def gate(tmp_path: Path, **settings: Any) -> tuple[Gate, str]:
    """A gate before nothing, and a token."""
    tokens = Tokens(tmp_path / "tokens.json")
    token = tokens.new("ann")
    return Gate(
        _nothing, tokens=tokens, beyond=True, settings=ServiceSettings.make(settings)
    ), token


def through(gate: Any, method: str, path: str, **more: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        way = httpx.ASGITransport(gate, client=REMOTE)
        async with httpx.AsyncClient(transport=way, base_url="http://x") as client:
            return await client.request(method, path, **more)

    return asyncio.run(ask())


def test_more_than_the_rate_of_a_token_is_429_until_it_has_waited(tmp_path: Path) -> None:
    way, token = gate(tmp_path, rate=0.1, burst=2)
    now = [0.0]
    way.buckets.clock = lambda: now[0]
    ask = lambda: through(way, "GET", "/v1/search", headers=bearer(token))  # noqa: E731
    assert [ask().status_code for _ in range(3)] == [204, 204, 429]
    refused = ask()
    problem(refused, 429)
    assert refused.headers["retry-after"] == "11"
    now[0] += 11
    assert ask().status_code == 204
    assert ask().status_code == 429
    assert through(way, "GET", OPEN, headers=bearer(token)).status_code == 204
    assert through(way, "GET", "/v1/search", headers=bearer("no")).status_code == 401


def test_this_machine_has_no_rate(bundles: Bundles, tmp_path: Path) -> None:
    with House(bundles.live("content"), tmp_path, {"rate": 0.1, "burst": 1}) as house:
        assert {house.ask("GET", "/v1/search").status_code for _ in range(5)} == {200}


# Other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://localhost:1234"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://localhost", "sec-fetch-site": "cross-site"},
    ],
)
def test_the_page_of_another_site_may_change_nothing(near: House, headers: dict[str, str]) -> None:
    for method, path in every_request(near):
        if method in ("POST", "PUT", "DELETE"):
            problem(near.ask(method, path, headers=headers), 403)
            with_token = headers | bearer(near.tokens["ann"])
            problem(near.ask(method, path, headers=with_token, client=REMOTE), 403)


def test_the_page_of_this_site_may(near: House) -> None:
    for headers in (
        {"origin": "http://localhost"},
        {"sec-fetch-site": "same-origin", "origin": "http://localhost"},
        {"sec-fetch-site": "none"},
        {},
    ):
        assert uris(near.ask(*ASK, json={}, headers=headers))


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "", "192.0.2.1", "[::2"]
)
def test_another_name_that_points_here_is_refused(near: House, host: str) -> None:
    for method, path in (("GET", "/v1/search"), ASK, ("GET", "/metrics"), ("GET", "/")):
        problem(near.ask(method, path, headers={"host": host}), 421)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_names_of_this_machine(near: House, host: str) -> None:
    assert near.ask("GET", "/v1/search", headers={"host": host}).status_code == 200


def test_no_other_site_may_read(near: House) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for method, path in (("GET", "/v1/search"), ("OPTIONS", "/v1/continue"), ("GET", OPEN)):
        headers = near.ask(method, path, headers=asked).headers
        assert not [name for name in headers if name.startswith("access-control")]


# Sizes


async def pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


@pytest.fixture
def small(bundles: Bundles, tmp_path: Path) -> Iterator[House]:
    """Takes 2 KiB, and uploads of 1 MiB."""
    with House(bundles.live("wrmf"), tmp_path, {"body_kb": 2, "upload_mb": 1}) as opened:
        yield opened


def test_a_body_has_a_limit(small: House) -> None:
    kind = {"content-type": "application/json"}
    for path in ("/v1/continue", "/v1/next", "/v1/feedback", "/v1/playlists", "/v1/admin/bundle"):
        fits = small.ask("POST", path, content=b"{}".rjust(2048), headers=kind)
        assert fits.status_code in (200, 201, 422)
        problem(small.ask("POST", path, content=b"{}".rjust(2049), headers=kind), 413)
        problem(small.ask("POST", path, content=pieces(3, 1024), headers=kind), 413)
    problem(small.ask("PUT", "/v1/playlists/x", content=pieces(3, 1024), headers=kind), 413)


def test_a_length_that_is_a_lie_helps_nobody(small: House) -> None:
    lie = {"content-type": "application/json", "content-length": "5"}
    problem(small.ask("POST", "/v1/continue", content=pieces(3, 1024), headers=lie), 413)


def test_an_upload_has_a_limit_of_its_own(small: House) -> None:
    def send(size: int) -> httpx.Response:
        return small.ask("POST", "/v1/tracks", files={"file": ("a.wav", b"x" * size)})

    problem(send(900_000), 422)  # no sound, but small enough
    problem(send(1_100_000), 413)
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'

    async def endless() -> AsyncIterator[bytes]:
        yield form
        async for piece in pieces(20, 1 << 16):
            yield piece

    kind = {"content-type": "multipart/form-data; boundary=b"}
    problem(small.ask("POST", "/v1/tracks", content=endless(), headers=kind), 413)
    assert not list(small.service.uploads.folder.glob("*"))
    assert not list(small.service.uploads.folder.glob(".*"))


# Every response


def broken(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("a secret of the code")


def test_every_response_has_the_headers_of_safety(near: House) -> None:
    seen = []
    kind = {"content-type": "application/json"}
    for response in (
        *(near.ask(method, path) for method, path in every_request(near)),
        near.ask("GET", "/v1/continue"),
        near.post("/v1/continue", {}),
        near.post("/v1/continue", {"n": 0}),
        near.ask("POST", "/v1/continue", content=b"{", headers=kind),
        near.ask("POST", "/v1/continue", content=b" " * (2 << 20), headers=kind),
        near.ask("POST", "/v1/continue", content=pieces(20, 1 << 17), headers=kind),
        near.ask("POST", "/v1/continue", content=b"{}"),
        near.ask("GET", "/v1/search", client=REMOTE),
        near.ask("GET", "/v1/search", headers={"host": "evil.example"}),
        near.ask("POST", "/v1/continue", headers={"origin": "null"}),
    ):
        seen.append(response.status_code)
        for name, value in HEADERS.items():
            assert response.headers[name] == value
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not [name for name in response.headers if name.startswith("access-control")]
        assert "Traceback" not in response.text
        assert "server" not in response.headers
    assert {200, 400, 401, 403, 404, 405, 413, 415, 421, 422} <= set(seen)


def test_what_nobody_foresaw_is_a_problem_without_a_word_of_the_code(
    near: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(near.service.catalog, "search", broken)
    told = near.ask("GET", "/v1/search")
    said = problem(told, 500)
    assert "secret" not in told.text
    assert "log" in said["detail"]
    assert "a secret of the code" in caplog.text
    for name, value in HEADERS.items():
        assert told.headers[name] == value
    assert "content-security-policy" in told.headers


def test_who_goes_in_the_middle_of_a_body_leaves_nothing_in_the_log(
    near: House, caplog: pytest.LogCaptureFixture
) -> None:
    kind = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http", "method": "POST", "path": "/v1/continue", "raw_path": b"/v1/continue",
        "query_string": b"", "headers": kind, "client": ("127.0.0.1", 1), "scheme": "http",
        "server": ("localhost", 80), "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    messages = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there")

    asyncio.run(near.app(scope, receive, send))
    assert not caplog.records
