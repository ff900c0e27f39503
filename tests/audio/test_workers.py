"""Worker processes: limits, replacements, interrupts, and what they load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import file_work

from segue.audio.decode import AudioError
from segue.audio.files import FileCheck
from segue.audio.worker_process import serve
from segue.audio.workers import Limits, core_count, run_files
from segue.errors import ConfigError


def done(work: Any, paths: Sequence[Path], **settings: Any) -> list[Any]:
    """Results in order; reasons where there is none."""
    found = dict(run_files(work, paths, **settings))
    assert sorted(found) == list(range(len(paths)))
    return [r.reason if isinstance(r, AudioError) else r for _, r in sorted(found.items())]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_file_gets_its_result(tmp_path: Path) -> None:
    paths = [tmp_path / str(n) for n in range(50)]
    for n, path in enumerate(paths):
        path.write_bytes(bytes(n))
    assert done(file_work.size, paths, workers=2) == list(range(50))


def test_no_files_start_no_process() -> None:
    assert done(file_work.needs_package, []) == []


def test_bad_files_are_reasons_and_the_rest_goes_on() -> None:
    names = ["a", "bad", "crash", "b", "memory", "denied", "input-output", "bug", "hang", "missing"]
    limits = Limits(seconds=3, memory_mb=256)
    assert done(file_work.by_name, [Path(n) for n in names], workers=2, limits=limits) == [
        "a",
        "truncated",
        "crashed the decoder",
        "b",
        "needs too much memory",
        "no permission",
        "cannot be read",
        "failed (ValueError)",
        "took too long",
        "missing",
    ]


def test_a_file_that_vanished_is_a_reason(tmp_path: Path) -> None:
    assert done(file_work.size, [tmp_path / "gone"]) == ["no such file"]


def test_the_reason_names_the_file() -> None:
    [(_, error)] = run_files(file_work.by_name, [Path("/music/bad")])
    assert str(error) == "/music/bad: truncated"


def test_what_is_not_the_fault_of_a_file_stops_everything() -> None:
    with pytest.raises(ConfigError, match=r"^needs a package; install it$"):
        done(file_work.needs_package, [Path("a"), Path("b")])


def test_work_that_a_process_cannot_load_is_an_error() -> None:
    sys.modules["__main__"].here_only = here_only = lambda path: path  # type: ignore[attr-defined]
    here_only.__module__, here_only.__qualname__ = "__main__", "here_only"
    with pytest.raises(ConfigError, match="could not start"):
        done(here_only, [Path("a")])


def test_there_are_as_many_processes_as_asked_for() -> None:
    assert len(set(done(file_work.process, [Path("a")] * 6, workers=3))) == 3
    assert core_count() >= 1


def test_leaving_the_loop_ends_the_processes() -> None:
    results = run_files(file_work.process, [Path("a")] * 50, workers=2)
    pids = {next(results)[1], next(results)[1]}
    results.close()
    assert not any(alive(pid) for pid in pids if isinstance(pid, int))


INTERRUPTED = """
import os, signal, threading, time
from pathlib import Path
from support import file_work
from segue.audio import workers
from multiprocessing import active_children

def interrupt():
    while len(active_children()) < 2:
        time.sleep(0.05)
    print(*(child.pid for child in active_children()), flush=True)
    for child in active_children():  # the signal is blocked from the start: no wait for it
        with open(f"/proc/{child.pid}/status") as status:
            print(next(line.split()[1] for line in status if line.startswith("SigBlk")), flush=True)
    time.sleep(1)
    os.killpg(0, signal.SIGINT)  # as a terminal does: every process of the group

threading.Thread(target=interrupt, daemon=True).start()
list(workers.run_files(file_work.hang, [Path("a")] * 4, workers=2))
"""


def run(code: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        start_new_session=True,
        **settings,
    )


def test_an_interrupt_leaves_no_process_and_no_noise() -> None:
    ran = run("import signal; signal.signal(2, signal.default_int_handler)" + INTERRUPTED)
    assert ran.returncode == -signal.SIGINT
    assert ran.stderr.count("Traceback") == 1  # of the main program alone
    *pids, blocked, also = ran.stdout.split()
    assert all(int(mask, 16) & 1 << signal.SIGINT - 1 for mask in (blocked, also))
    assert len(pids) == 2
    assert not any(alive(int(pid)) for pid in pids)


KILLED = """
import os, signal, time
from pathlib import Path
from support import file_work
from segue.audio.workers import Limits, run_files
pids = set()
for _, pid in run_files(file_work.process, [Path("a")] * 50, workers=2):
    pids.add(pid)
    if len(pids) == 2:
        print(*pids, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_when_the_main_program_is_killed() -> None:
    pids = list(map(int, run(KILLED).stdout.split()))
    assert len(pids) == 2
    until = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, pids))


def test_a_program_without_a_main_guard_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom support import file_work\n"
        "from segue.audio.workers import run_files\n"
        "print('once')\nprint(len(list(run_files(file_work.by_name, [Path('a')] * 3))))\n"
    )
    ran = run(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert ran.stdout.split() == ["once", "3"], ran.stderr


def test_a_process_loads_only_what_the_work_needs() -> None:
    [loaded] = done(file_work.loaded, [Path("a")])
    assert "segue.audio.decode" in loaded
    heavy = {"numba", "typer", "rich", "pyarrow", "scipy", "matplotlib", "torch", "pytest"}
    assert not heavy & {name.split(".")[0] for name in loaded}


def test_a_look_loads_little() -> None:
    code = "import sys; from segue.audio.files import Look; print(*sys.modules)"
    loaded = {name.split(".")[0] for name in run(code).stdout.split()}
    assert not loaded & {"numba", "typer", "rich", "pyarrow", "scipy", "msgspec"}
    assert FileCheck.__module__ == "segue.audio.files"


def test_the_processes_share_the_cores() -> None:
    assert done(file_work.threads, [Path("a")]) == ["1"]


def test_a_process_that_nobody_stops_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms = []

    class Jobs:
        messages = [file_work.by_name, Path("a")]  # noqa: RUF012

        def recv(self) -> Any:
            if not self.messages:
                raise EOFError
            return self.messages.pop(0)

        def send(self, message: Any) -> None:
            alarms.append(message)

    monkeypatch.setattr(signal, "alarm", alarms.append)
    monkeypatch.setattr("segue.audio.worker_process._limit_memory", lambda megabytes: None)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    serve(Jobs(), 5, 100)  # type: ignore[arg-type]
    assert alarms == [None, 15, ("a", None), 0]


@pytest.mark.parametrize("settings", [{"seconds": 0}, {"memory_mb": 1}, {"minutes": 3}])
def test_limits_are_checked(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"^Limits: "):
        Limits.make(settings)
