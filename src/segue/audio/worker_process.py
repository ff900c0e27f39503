"""What a worker process does. It loads nothing but what the work needs.

`segue.audio.workers` starts it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from multiprocessing.connection import Connection

READY = None
"""What a worker sends first, when it has loaded the work."""

_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GRACE_SECONDS = 10


def serve(jobs: Connection, seconds: float, memory_mb: float) -> None:
    """Take the work, then do it for one path after another, until the other end closes.

    Every answer is a pair: the result and None, or None and what went wrong.

    Args:
        jobs: the other end sends a callable first, then paths.
        seconds: after which the other end stops this process; should it not be there any more, the
            process ends itself soon after.
        memory_mb: that the work may take, beyond what is loaded.
    """
    for name in _THREAD_COUNTS:  # before numpy is loaded: the processes share the cores already
        os.environ[name] = "1"
    if not hasattr(signal, "pthread_sigmask"):  # which blocks it from the start
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: who started this ends it
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        work = jobs.recv()
        jobs.send(READY)
        _limit_memory(memory_mb)
        while True:
            path = jobs.recv()
            if hasattr(signal, "alarm"):
                signal.alarm(int(seconds) + _GRACE_SECONDS)
            jobs.send(_attempt(work, path))
            if hasattr(signal, "alarm"):
                signal.alarm(0)


def _attempt(work: object, path: object) -> tuple[object, object]:
    from segue.audio.decode import AudioError
    from segue.errors import SegueError

    try:
        return work(path), None  # type: ignore[operator]
    except AudioError as error:
        return None, error.reason
    except SegueError as error:  # not the file's fault: said as it is
        return None, error
    except MemoryError:
        return None, "needs too much memory"
    except PermissionError:
        return None, "no permission"
    except FileNotFoundError:
        return None, "no such file"
    except OSError:
        return None, "cannot be read"
    except Exception as error:
        return None, f"failed ({type(error).__name__})"


def _limit_memory(megabytes: float) -> None:
    """Let allocations fail beyond this, where the system can do that: on Linux."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm", encoding="utf-8") as file:
            loaded = int(file.read().split()[0]) * resource.getpagesize()
        limit = loaded + int(megabytes * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
