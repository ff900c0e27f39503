"""What goes wrong around the service: killed, full, swapped, corrupt, without its database."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from support.optional import reason

pytest.importorskip("fastapi", reason=reason("fastapi"))

import httpx
from support.postgres import Postgres
from support.service_worlds import (
    PATIENT,
    SECONDS,
    TRACKS,
    Bundles,
    House,
    problem,
    sound,
    uri,
    uris,
)

KILLS = 3
SWAPS = 50
REQUESTS = 1000
AT_ONCE = 8
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Process:
    """`segue serve` in a process of its own.

    Attributes:
        said: lines of stderr so far.
    """

    def __init__(
        self,
        bundle: Path,
        data: Path,
        *more: str,
        program: str = "from segue.cli import main; main()",
    ) -> None:
        settings = [f"--set={name}={value}" for name, value in PATIENT.items()]
        command = [sys.executable, "-c", program]
        self.process = subprocess.Popen(
            [*command, "serve", str(bundle), "--port=0", f"--data={data}", *settings, *more],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env=os.environ | THREADS,
        )  # fmt: skip
        self.said: list[str] = []
        addresses: queue.Queue[str | None] = queue.Queue()

        def listen() -> None:
            assert self.process.stderr
            for line in self.process.stderr:
                self.said.append(line)
                if " answers on http://" in line:
                    addresses.put(line.split(" answers on ")[1].strip().rstrip("/"))
            addresses.put(None)

        self._listening = threading.Thread(target=listen, daemon=True)
        self._listening.start()
        address = addresses.get(timeout=SECONDS)
        assert address, "".join(self.said)
        self.client = httpx.Client(base_url=address, timeout=SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        self._listening.join(SECONDS)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.client.request(method, path, **more)

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.client.post(path, json=body)


def feedback(key: str, track: int, listener: str, count: int = 1) -> dict[str, Any]:
    events = [{"kind": "skip", "track": uri(track)}] * count
    return {"key": key, "listener": listener, "session": "s", "events": events}


def until(true: Callable[[], bool]) -> None:
    """Wait until something holds."""
    due = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < due, "it never happens"
        time.sleep(0.05)


# Killed


def test_killed_under_load_nothing_acknowledged_is_lost_and_the_next_answer_heeds_it(
    bundles: Bundles, tmp_path: Path
) -> None:
    moments = np.random.default_rng(9)
    stored: list[tuple[str, int, str]] = []
    for again in range(KILLS):
        with Process(bundles.path("wrmf"), tmp_path) as house:
            begun = len(stored)

            def write(writer: int, house: Process = house, again: int = again) -> None:
                with httpx.Client(base_url=house.client.base_url, timeout=SECONDS) as client:
                    for n in range(10_000):
                        one = f"{again}-{writer}-{n}", n % TRACKS, f"listener{again}-{writer}"
                        try:
                            told = client.post("/v1/feedback", json=feedback(*one))
                        except httpx.TransportError:
                            return
                        assert told.json() == {"stored": 1, "duplicate": False}
                        stored.append(one)

            writers = [threading.Thread(target=write, args=(w,)) for w in range(3)]
            for writer in writers:
                writer.start()
            until(lambda begun=begun: len(stored) > begun + 5)  # type: ignore[misc]
            time.sleep(moments.uniform(0, 0.3))
            house.process.send_signal(signal.SIGKILL)
            for writer in writers:
                writer.join(SECONDS)
            house.process.wait(SECONDS)
    with Process(bundles.path("wrmf"), tmp_path) as house:
        for one in stored:
            assert house.post("/v1/feedback", feedback(*one)).json()["duplicate"] is True
        for listener in dict.fromkeys(one[2] for one in stored):
            told = house.post("/v1/next", {"listener": listener, "session": "s", "n": 500})
            assert told.json()["personal"] is True
            skipped = {uri(track) for _, track, who in stored if who == listener}
            assert skipped
            assert not skipped & set(uris(told))
        house.process.send_signal(signal.SIGTERM)
        assert house.process.wait(SECONDS) in (0, -signal.SIGTERM)
        assert not any("Traceback" in line for line in house.said)


# No room


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = Path("/tmp", f"segue-service-disk-{os.getpid()}")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if (
        not hasattr(os, "geteuid")
        or os.geteuid()
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        folder.rmdir()
        pytest.skip("only root, where mounts are allowed, can make a disk that is full")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
    folder.rmdir()


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def test_on_a_full_disk_answers_go_on_and_feedback_is_507_until_there_is_room(
    bundles: Bundles, small_disk: Path, tmp_path: Path
) -> None:
    file = sound(tmp_path, seconds=3.0)
    by = {"title": "New", "artist": "artist 3"}
    with Process(bundles.path("wrmf"), small_disk) as house:

        def say(key: str, count: int = 1) -> httpx.Response:
            return house.post("/v1/feedback", feedback(key, 7, "ann", count))

        def upload() -> httpx.Response:
            with file.open("rb") as data:
                return house.ask("POST", "/v1/tracks", files={"file": ("a.wav", data)}, data=by)

        assert say("before").status_code == 200
        filler = fill(small_disk)
        stored, refused = 0, None
        for n in range(200):
            told = say(f"big{n}", 1000)
            if told.status_code != 200:
                refused = told
                break
            stored += 1
        assert refused
        assert "the disk is full" in problem(refused, 507)["detail"]
        problem(upload(), 507)
        problem(house.post("/v1/playlists", {"tracks": [uri(1)] * 10_000}), 507)
        answered = house.post("/v1/continue", {"tracks": [uri(1)], "listener": "ann", "n": 61})
        assert len(uris(answered)) >= 59
        assert len(uris(house.post("/v1/next", {"n": 5}))) == 5
        assert "segue_log_full_total 2.0" in house.ask("GET", "/metrics").text
        assert not list(small_disk.glob("uploads/.*"))
        filler.unlink()
        until(lambda: say("after").status_code == 200)
        assert say("before").json() == {"stored": 0, "duplicate": True}
        assert say(f"big{stored}", 1000).json()["duplicate"] is False
        assert upload().status_code == 201


# Other bundles


@pytest.fixture
def two(bundles: Bundles) -> tuple[Path, Path]:
    """Folders of two bundles that answer differently."""
    return bundles.path("wrmf"), bundles.path("wrmf", 0, 4)


ASKED = {"tracks": [uri(1), uri(14)], "title": "jazz", "n": 12}


def copied(bundle: Path, to: Path) -> Path:
    shutil.copytree(bundle, to)
    return to


def test_a_thousand_requests_in_fifty_swaps_get_whole_answers_of_one_version(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    served = copied(two[0], tmp_path / "served")
    with Process(served, tmp_path / "data") as house:
        known = {}
        for path in two:
            assert house.post("/v1/admin/bundle", {"path": str(path)}).status_code == 200
            told = house.post("/v1/continue", ASKED)
            known[told.json()["version"]] = told.content
        assert len(set(known.values())) == 2
        first, second = (
            [track["uri"] for track in httpx.Response(200, content=one).json()["tracks"]]
            for one in known.values()
        )
        assert first != second
        seen: list[str] = []
        wrong: list[str] = []
        swapped = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=house.client.base_url, timeout=SECONDS) as client:
                while not swapped.is_set() or len(seen) < REQUESTS:
                    told = client.post("/v1/continue", json=ASKED)
                    if told.status_code != 200:
                        wrong.append(told.text)
                        return
                    version = told.json()["version"]
                    seen.append(version)
                    if told.content != known.get(version):
                        wrong.append(told.text)

        asking = [threading.Thread(target=ask) for _ in range(AT_ONCE)]
        for one in asking:
            one.start()
        for n in range(SWAPS - 1):
            state = house.post("/v1/admin/bundle", {"path": str(two[n % 2])})
            assert state.status_code == 200, state.text
        # The fiftieth by a signal, after the folder that answers has been replaced.
        assert house.post("/v1/admin/bundle", {"path": str(served)}).status_code == 200
        before = house.ask("GET", "/v1/admin/bundle").json()
        served.rename(tmp_path / "old")
        copied(two[1], tmp_path / "new").rename(served)
        house.process.send_signal(signal.SIGHUP)
        until(lambda: house.ask("GET", "/v1/admin/bundle").json()["version"] != before["version"])
        swapped.set()
        for one in asking:
            one.join(SECONDS)
        assert wrong == []
        assert len(seen) >= REQUESTS
        assert set(seen) == set(known)
        after = house.ask("GET", "/v1/admin/bundle").json()
        assert (after["version"], after["previous"]) == (list(known)[1], before["version"])
        metrics = house.ask("GET", "/metrics").text
        assert f'segue_bundle_swaps_total{{result="done"}} {SWAPS + 3}.0' in metrics
        assert f'segue_bundle{{version="{after["version"]}"}} 1.0' in metrics
        assert before["version"] not in metrics


@pytest.fixture
def house(bundles: Bundles, tmp_path: Path) -> Iterator[House]:
    with House(bundles.live("wrmf"), tmp_path / "house") as opened:
        yield opened


def damaged(bundle: Path) -> dict[str, Callable[[Path], None]]:
    """What can have happened to a bundle's folder, by what it is called."""

    def flip(name: str) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            data = bytearray((folder / name).read_bytes())
            data[len(data) // 2] ^= 1
            (folder / name).write_bytes(data)

        return change

    def drop(name: str) -> Callable[[Path], None]:
        return lambda folder: (folder / name).unlink()

    names = sorted(path.name for path in bundle.iterdir())
    assert len(names) >= 3
    flips = {f"a bit of {name}": flip(name) for name in names}
    drops = {f"without {name}": drop(name) for name in names}
    return flips | drops


def test_a_bundle_that_is_damaged_is_refused_and_the_old_one_goes_on(
    house: House, two: tuple[Path, Path], tmp_path: Path
) -> None:
    before = house.post("/v1/continue", ASKED)
    for n, (_, damage) in enumerate(cases := sorted(damaged(two[1]).items())):
        folder = copied(two[1], tmp_path / str(n))
        damage(folder)
        said = problem(house.post("/v1/admin/bundle", {"path": str(folder)}), 409)
        assert f"{house.service.bundles.live.version} goes on" in said["detail"]
        assert str(folder) in said["detail"]
        assert house.post("/v1/continue", ASKED).content == before.content
    (tmp_path / "empty").mkdir()
    problem(house.post("/v1/admin/bundle", {"path": str(tmp_path / "empty")}), 409)
    (tmp_path / "file").touch()
    for none in (tmp_path / "none", tmp_path / "file", Path("x" * 300), Path("/" + "x/" * 300)):
        problem(house.post("/v1/admin/bundle", {"path": str(none)}), 404)
    assert house.service.bundles.previous is None
    refused = f'segue_bundle_swaps_total{{result="refused"}} {len(cases) + 5}.0'
    assert refused in house.ask("GET", "/metrics").text


def test_a_bundle_that_answers_wrongly_is_refused(
    house: House, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from segue.models.wrmf.model import WRMF

    real = WRMF.recommend
    before = house.post("/v1/continue", ASKED).content

    def short(self: Any, queries: Any, n: int) -> Any:
        return real(self, queries, n - 1)

    monkeypatch.setattr(WRMF, "recommend", short)
    said = problem(house.post("/v1/admin/bundle", {"path": str(two[1])}), 409)
    assert "a canary query was answered wrongly by wrmf" in said["detail"]
    monkeypatch.undo()
    assert house.post("/v1/continue", ASKED).content == before


def test_there_is_one_way_back(house: House, two: tuple[Path, Path]) -> None:
    problem(house.post("/v1/admin/bundle", {"rollback": True}), 409)
    first = house.post("/v1/continue", ASKED)
    house.post("/v1/admin/bundle", {"path": str(two[1])})
    second = house.post("/v1/continue", ASKED)
    assert first.json()["version"] != second.json()["version"]
    for expected in (first, second, first):
        state = house.post("/v1/admin/bundle", {"rollback": True})
        assert state.status_code == 200
        assert house.post("/v1/continue", ASKED).content == expected.content


# Without its database


def test_while_the_database_is_away_answers_go_on_without_what_it_knows(
    bundles: Bundles, tmp_path: Path, postgres: Postgres
) -> None:
    address = postgres.fresh()
    asked = {"listener": "ann", "session": "s", "n": 61}
    with Process(bundles.path("wrmf"), tmp_path, f"--log={address}") as house:
        assert house.post("/v1/feedback", feedback("1", 7, "ann")).status_code == 200
        known = house.post("/v1/next", asked)
        assert known.json()["personal"] is True
        assert uri(7) not in uris(known)
        postgres.stop()
        try:
            told = house.post("/v1/next", asked)
            assert told.json()["personal"] is False
            assert uri(7) in uris(told)
            for body in (ASKED, {"title": "jazz"}, {}):
                assert uris(house.post("/v1/continue", body))
            state = house.ask("GET", "/health/ready").json()
            assert state["status"] == "degraded"
            assert "cannot be reached" in state["log"]
            assert house.ask("GET", "/health/live").status_code == 200
            said = problem(house.post("/v1/feedback", feedback("2", 8, "ann")), 503)
            assert "cannot be reached" in said["detail"]
            problem(house.ask("GET", "/v1/playlists"), 503)
            assert "segue_log_up 0.0" in house.ask("GET", "/metrics").text
        finally:
            postgres.start()
        until(lambda: house.ask("GET", "/health/ready").json()["status"] == "ready")
        assert house.post("/v1/feedback", feedback("2", 8, "ann")).json()["stored"] == 1
        again = house.post("/v1/next", asked)
        assert again.json()["personal"] is True
        assert not {uri(7), uri(8)} & set(uris(again))
        assert "segue_log_up 1.0" in house.ask("GET", "/metrics").text


def test_a_service_starts_without_its_database_and_finds_it_later(
    bundles: Bundles, tmp_path: Path, postgres: Postgres
) -> None:
    address = postgres.fresh()
    postgres.stop()
    try:
        house = House(bundles.live("wrmf"), tmp_path, address=address).__enter__()
        assert house.ask("GET", "/health/ready").json()["status"] == "degraded"
        assert uris(house.post("/v1/next", {"listener": "ann"}))
        for _ in range(2):
            problem(house.post("/v1/feedback", feedback("1", 7, "ann")), 503)
    finally:
        postgres.start()
    until(lambda: house.post("/v1/feedback", feedback("1", 7, "ann")).status_code == 200)
    assert house.post("/v1/next", {"listener": "ann"}).json()["personal"] is True
    house.__exit__()


# The command


def refused(*arguments: str) -> str:
    """The one line that the command ends with."""
    command = [sys.executable, "-c", "from segue.cli import main; main()", "serve", *arguments]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS, env=os.environ
    )
    assert ran.returncode in (1, 2), ran.stderr
    (line,) = ran.stderr.splitlines()
    assert ran.stdout == ""
    return line


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Windows has no such sockets")
def test_the_service_manager_hears_when_it_answers_and_when_it_stops(
    bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Short: the name of a socket has 107 bytes at most.
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(f"{folder}/notify")
        manager.settimeout(SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        with Process(bundles.path("content"), Path(folder)) as house:
            assert manager.recv(100) == b"READY=1"
            assert house.ask("GET", "/health/live").status_code == 200
            house.process.send_signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert house.process.wait(SECONDS) in (0, -signal.SIGTERM)


def test_a_reload_that_comes_too_early_waits_until_it_can_be_done(
    bundles: Bundles, tmp_path: Path
) -> None:
    # The signal comes when everything has been imported and nothing of the bundle is there yet.
    early = (
        "import os, signal\n"
        "from segue.cli import main\n"
        "from segue.service.serving.live_bundle import LiveBundle\n"
        "load = LiveBundle.load\n"
        "def loading(*given):\n"
        "    LiveBundle.load = load\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return load(*given)\n"
        "LiveBundle.load = loading\n"
        "main()\n"
    )
    with Process(bundles.path("content"), tmp_path, program=early) as house:
        swapped = 'segue_bundle_swaps_total{result="done"} 1.0'
        until(lambda: swapped in house.ask("GET", "/metrics").text)


def test_a_mounted_secret_opens_the_service_to_other_machines(
    bundles: Bundles, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("one-token-of-many\n")
    secret = f"--token-file={tmp_path / 'secret'}"
    with Process(bundles.path("content"), tmp_path, "--host=0.0.0.0", secret) as house:
        assert not any("no token yet" in line for line in house.said)
        near = f"http://127.0.0.1:{house.client.base_url.port}/v1/search?q=song"
        problem(httpx.get(near), 401)
        given = {"authorization": "Bearer one-token-of-many"}
        assert httpx.get(near, headers=given).status_code == 200


def test_a_secret_that_is_none_is_one_line(bundles: Bundles, tmp_path: Path) -> None:
    missing = f"--token-file={tmp_path / 'missing'}"
    line = refused(str(bundles.path("content")), f"--data={tmp_path}", "--port=0", missing)
    assert "missing: cannot be read" in line


def test_a_log_that_is_none_is_one_line(bundles: Bundles, tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "feedback.sqlite3") as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    line = refused(str(bundles.path("content")), f"--data={tmp_path}", "--port=0")
    assert line.endswith("is no feedback log: it holds other tables; name another")


def test_beyond_this_machine_a_token_of_the_command_is_needed(
    bundles: Bundles, tmp_path: Path
) -> None:
    from segue.service.access.tokens import Tokens
    from segue.service.run import TOKENS

    with Process(bundles.path("content"), tmp_path, "--host=0.0.0.0") as house:
        assert any("no token yet" in line for line in house.said)
        port = house.client.base_url.port
        near = f"http://127.0.0.1:{port}"
        problem(httpx.get(f"{near}/v1/search"), 401)
        assert httpx.get(f"{near}/health/live").status_code == 200
        token = Tokens(tmp_path / TOKENS).new("ann")
        problem(httpx.get(f"{near}/v1/search", auth=("ann", token)), 401)  # from the next start on
    with Process(bundles.path("content"), tmp_path, "--host=0.0.0.0") as house:
        near = f"http://127.0.0.1:{house.client.base_url.port}"
        assert httpx.get(f"{near}/v1/search", auth=("ann", token)).status_code == 200
        problem(httpx.get(f"{near}/v1/search"), 401)
        busy = f"--port={house.client.base_url.port}"
        assert "cannot listen on" in refused(
            str(bundles.path("content")), f"--data={tmp_path}", "--host=0.0.0.0", busy
        )
