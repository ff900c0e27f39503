"""The verbs really run where what other systems lack is taken away (see other_systems.py)."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from support import other_systems
from support.optional import reason, unless_there

from segue.data.dataset import Dataset
from segue.data.ingestion.external_sort import Spill
from segue.errors import DataError

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="Linux pretends to be the others"
)

SIZES = ["--tracks", "200", "--listeners", "20", "--sessions", "40", "--playlists", "120"]
HEARS = importlib.util.find_spec("av") is not None
SMALL = ["--set", "factors=8", "--set", "sweeps=2"]


class Ran(NamedTuple):
    status: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """Numba's own way to share work, as on macOS; text files of no stated encoding are told."""
    return (
        os.environ | {"NUMBA_THREADING_LAYER": "workqueue", "PYTHONWARNDEFAULTENCODING": "1"} | more
    )


def commands(folder: Path) -> dict[str, list[str]]:
    world, bundle, music = (str(folder / name) for name in ("world", "bundle", "music"))
    audio = ["ingest", "audio", music, "--dataset", str(folder / "a"), "--json"]
    train = ["train", "wrmf", world, "--bundle", bundle, "--holdout", "challenge", "--json"]
    return {
        "world": ["world", "--dataset", world, *SIZES],
        "world again": ["world", "--dataset", world, "--seed", "1", *SIZES],
        "describe": ["describe", world, "--json"],
        "train": [*train, *SMALL],
        "train again": [*train, *SMALL],
        "evaluate": ["evaluate", bundle, world, "--protocol", "challenge", "--json"],
        "continue": ["continue", bundle, "--title", "né", "-n", "3", "--format", "m3u8"],
        "m3u": ["ingest", "m3u", str(folder / "lists"), "--dataset", str(folder / "m"), "--json"],
        "csv": [
            "ingest", "csv", str(folder / "plays.csv"), "--dataset", str(folder / "c"), "--json",
            "--map", "listener=who", "--map", "track=song", "--map", "time=when",
        ],
        **({"audio": audio} if HEARS else {}),
        "doctor": ["doctor", "--json"],
    }  # fmt: skip


@pytest.fixture(scope="module", params=["win32", "darwin"])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each command gave, the name of the system, and the folder, in which all happened."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "lists").mkdir()
    (folder / "lists" / "é.m3u8").write_text("#EXTM3U\nmusik/ä.mp3\nb.mp3\n", encoding="utf-8")
    rows = [f"{who},song {n},2024-03-{n + 1:02} 12:00:00" for who in "ba" for n in range(9)]
    (folder / "plays.csv").write_text("\n".join(["who,song,when", *rows]), encoding="utf-8")
    asked = commands(folder)
    if HEARS:
        from support.sounds import encode, sweep

        (folder / "music").mkdir()
        encode(folder / "music" / "a.flac", sweep(1.0))
        encode(folder / "music" / "b.flac", sweep(1.5))
        (folder / "music" / "c.flac").write_bytes(b"no sound")
    done = subprocess.run(
        [sys.executable, str(other_systems.__file__), request.param],
        input=json.dumps(list(asked.values())), capture_output=True, text=True, check=False,
        encoding="utf-8", env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answers = {name: Ran(*one) for name, one in zip(asked, json.loads(done.stdout), strict=True)}
    return request.param, folder, answers


@pytest.mark.parametrize("name", list(commands(Path())))
def test_every_verb_works(ran: Any, name: str) -> None:
    one = ran[2][name]
    assert one.status == 0, one.err


def test_what_was_replaced_is_whole_and_nothing_is_left(ran: Any) -> None:
    _, folder, answers = ran
    assert not list(folder.rglob(".*"))
    assert json.loads(answers["describe"].out)["tracks"] == 200
    assert not list(folder.rglob("*.spill"))


def test_answers_are_those_of_this_system(ran: Any) -> None:
    _, folder, answers = ran
    models = json.loads(answers["evaluate"].out)["models"]
    code = (
        "import sys, json; from segue.cli import run;"
        f"run(['evaluate', {str(folder / 'bundle')!r}, {str(folder / 'world')!r},"
        " '--protocol', 'challenge', '--json'])"
    )
    here = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    for there, mine in zip(models, json.loads(here)["models"], strict=True):
        assert there["metrics"] == mine["metrics"]


@unless_there("av")
def test_the_sound_files_were_looked_at_in_processes(ran: Any) -> None:
    receipt = json.loads(ran[2]["audio"].out)
    assert (receipt["read"], receipt["kept"]) == (3, 2)


def test_names_keep_their_letters(ran: Any) -> None:
    assert "#PLAYLIST:né" in ran[2]["continue"].out
    uris = Dataset.open(ran[1] / "m").tracks["uri"].to_pylist()
    assert sorted(uris) == ["b.mp3", "musik/ä.mp3"]


def test_train_tells_the_memory(ran: Any) -> None:
    system, _, answers = ran
    peak = json.loads(answers["train"].out)["peak_rss_mb"]
    assert peak == 300.0 if system == "win32" else peak > 0


def test_doctor_says_what_the_system_lacks(ran: Any) -> None:
    system, _, answers = ran
    found = json.loads(answers["doctor"].out)
    assert found["works"]
    assert len(found["limits"]) == {"win32": 5, "darwin": 2}[system]


def test_the_pretended_system_refuses_what_windows_refuses(tmp_path: Path) -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support.other_systems import pretend
pretend("win32")
from pathlib import Path
import mmap
place = Path({str(tmp_path)!r})
def refused(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return type(error).__name__
    return "done"
(place / "a").write_bytes(b"a")
(place / "b").write_bytes(b"b")
with (place / "a").open("rb") as file:
    print(refused((place / "a").unlink), refused((place / "b").replace, place / "a"))
    print(refused(place.rename, place.with_name("z")), refused(os.fsync, file.fileno()))
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
print(refused((place / "a").unlink))
mapped.close()
print(refused((place / "a").rename, place / "b"), refused(os.open, place, os.O_RDONLY))
print(refused(open, "/proc/self/status"), hasattr(os, "getuid"), refused((place / "a").unlink))
try:
    import resource
except ImportError:
    print("none")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        *["PermissionError"] * 3, "OSError", "PermissionError", "FileExistsError",
        "PermissionError", "FileNotFoundError", "False", "done", "none",
    ]  # fmt: skip


# Threads

SHARED = """
import threading
import numba, numpy as np
from segue.retrieval.topk_kernels import exact_scores
from segue.numeric import parallel as kernels

@kernels.parallel(nogil=True, cache=False)
def total(x):
    found = 0.0
    for i in numba.prange(len(x)):
        found += x[i] ** 0.3
    return found

x = np.ones(200_000)
found = []
def work():
    for _ in range(50):
        found.append(total(x))

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(numba.threading_layer(), len(found), set(found) == {200_000.0})
"""


def test_threads_take_turns_where_numba_would_end_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHARED], capture_output=True, text=True, check=False,
        env=environment(NUMBA_NUM_THREADS="2"),
    )  # fmt: skip
    assert done.stdout.split() == ["workqueue", "200", "True"], done.stderr


def test_threads_take_no_turns_where_they_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from segue.numeric import parallel as kernels

    monkeypatch.setattr(kernels, "threading_layer", lambda: "omp")
    inside = threading.Barrier(2, timeout=60)

    monkeypatch.setattr(kernels, "njit", lambda **options: lambda function: function)
    meet = kernels.parallel()(lambda: inside.wait())
    threads = [threading.Thread(target=meet) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside.broken


# Workers


def test_without_masks_workers_turn_deaf_to_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    from segue.audio import worker_process as _serving
    from segue.audio import workers

    class Closed:
        def recv(self) -> Any:
            raise EOFError

    kept: list[Any] = []
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delattr(signal, "pthread_sigmask")
    monkeypatch.setattr(signal, "signal", lambda *arguments: kept.append(arguments))
    _serving.serve(Closed(), 5, 100)  # type: ignore[arg-type]
    assert kept == [(signal.SIGINT, signal.SIG_IGN)]
    with workers._without_interrupts():
        pass


def test_without_alarms_and_limits_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from segue.audio import worker_process as _serving

    class Jobs:
        def __init__(self) -> None:
            self.left: list[Any] = [str, 7]
            self.sent: list[Any] = []

        def recv(self) -> Any:
            if not self.left:
                raise EOFError
            return self.left.pop(0)

        def send(self, answer: Any) -> None:
            self.sent.append(answer)

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delattr(signal, "alarm")
    monkeypatch.setitem(sys.modules, "resource", None)
    jobs = Jobs()
    _serving.serve(jobs, 5, 100)  # type: ignore[arg-type]
    assert jobs.sent == [None, ("7", None)]


def test_without_affinity_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from segue.audio.workers import core_count

    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert core_count() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert core_count() == 1


# The service


@pytest.mark.parametrize("how", ["no SIGHUP", "no handlers"])
def test_without_hangups_the_service_says_how_to_load_a_bundle_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    pytest.importorskip("fastapi", reason=reason("fastapi"))
    from segue.service.app import create_app
    from segue.service.serving.limits import ServiceSettings
    from segue.service.serving.metrics import Metrics

    class Service:
        settings, metrics = ServiceSettings(), Metrics()

        async def start(self) -> None: ...

        async def close(self) -> None: ...

    async def through() -> None:
        if how == "no handlers":  # Windows' loops

            def none(*arguments: Any) -> None:
                raise NotImplementedError

            loop = asyncio.get_running_loop()
            monkeypatch.setattr(loop, "add_signal_handler", none, raising=False)
        app = create_app(Service(), None)  # type: ignore[arg-type]
        async with app.router.lifespan_context(app):
            pass

    if how == "no SIGHUP":
        monkeypatch.delattr(signal, "SIGHUP")
    with caplog.at_level(logging.INFO):
        asyncio.run(through())
    assert [r.message for r in caplog.records if "SIGHUP" in r.message] == [
        "no SIGHUP on this system: POST /v1/admin/bundle loads a bundle again"
    ]


def test_no_service_manager_is_told_where_there_are_no_sockets_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("fastapi", reason=reason("fastapi"))
    import socket

    from segue.service import run

    monkeypatch.setenv("NOTIFY_SOCKET", "@manager")
    monkeypatch.delattr(socket, "AF_UNIX")
    run._notify("READY=1")


def test_on_windows_no_other_service_may_take_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason=reason("fastapi"))
    import socket

    from segue.service import run

    set_up = []

    class Socket:
        def __init__(self, family: int) -> None: ...

        def setsockopt(self, *option: int) -> None:
            set_up.append(option)

        def bind(self, address: Any) -> None: ...

    monkeypatch.setattr(socket, "socket", Socket)
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    run._bound("127.0.0.1", 0)
    assert (socket.SOL_SOCKET, -5, 1) in set_up
    assert (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1) not in set_up


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="tells what is open, on Linux")
def test_a_file_that_was_sent_is_closed_before_it_is_moved(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason=reason("fastapi"))
    from segue.service.api.routes import receive

    class Sent:
        filename = "a.wav"

        def __init__(self) -> None:
            self.pieces = [b"sound", b""]

        async def read(self, size: int) -> bytes:
            return self.pieces.pop(0)

    service = SimpleNamespace(uploads=SimpleNamespace(folder=tmp_path))
    path = asyncio.run(receive(service, Sent()))  # type: ignore[arg-type]
    assert path.read_bytes() == b"sound"
    opened = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    assert str(path.resolve()) not in opened


# Files that somebody has open


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As Windows does with a file that is open or mapped."""

    def refused(path: Path, *arguments: Any, **more: Any) -> None:
        raise PermissionError(13, "in use", str(path))

    monkeypatch.setattr(Path, name, refused)


def test_features_that_somebody_reads_are_there_already(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from segue.system.feature_cache import entry_of, write_entry

    features = np.ones((2, 3), np.float32)
    entry, other = entry_of(tmp_path, "a" * 64), entry_of(tmp_path, "b" * 64)
    write_entry(entry, features)
    refuse(monkeypatch, "replace")
    write_entry(entry, features)
    with pytest.raises(DataError, match="cannot write"):
        write_entry(other, features)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [entry]


def test_rows_that_are_still_mapped_do_not_hide_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail() -> None:
        with Spill(tmp_path, {"owner": np.int32}) as spill:
            spill.append({"owner": np.zeros(3, np.int32)})
            raise DataError("is damaged", where="a file")

    with Spill(tmp_path, {"owner": np.int32}):
        refuse(monkeypatch, "unlink")
        with pytest.raises(DataError, match="is damaged"):
            fail()
        monkeypatch.undo()


# Text, on a pipe


def test_a_pipe_gets_the_same_bytes_as_on_linux(tmp_path: Path) -> None:
    """Windows would end lines by carriage return and line feed."""
    code = (
        "import io, sys;"
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, 'cp1252', newline='\\r\\n');"
        "from segue.cli import _set_up_streams; _set_up_streams(); print('né')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == "né\n".encode()


# Without a time zone database

ZONES = """
import sys
from pathlib import Path
for name in ("tzdata", "pytz"):
    sys.modules[name] = None
import zoneinfo
zoneinfo.reset_tzpath(to=())
from segue.cli import run
folder = Path(sys.argv[1])
status = run(["ingest", "csv", str(folder / "p.csv"), "--dataset", str(folder / "d"), "--json",
    "--map", "listener=who", "--map", "track=song", "--map", "time=when"])
print(status, run(["describe", str(folder / "d"), "--json"]))
"""


def test_times_need_no_time_zone_database(tmp_path: Path) -> None:
    rows = ["who,song,when", "a,x,2024-03-01T12:00:00+02:00", "a,y,2024-03-01T13:00:00Z"]
    (tmp_path / "p.csv").write_text("\n".join(rows), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", ZONES, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert re.search(r"^0 0$", done.stdout, re.M), done.stderr
