"""The loop of a worker process. It imports only the modules of its work.

`segue.audio.workers` starts it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from multiprocessing.connection import Connection

READY = None
"""First message of a worker, after it has loaded the work."""

_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GRACE_SECONDS = 10


def serve(jobs: Connection, seconds: float, memory_mb: float) -> None:
    """Receive the work, then run it on one path after another, until the other end closes.

    Every reply is a pair: the result and None, or None and the error.

    Args:
        jobs: connection whose other end sends a callable first, then paths.
        seconds: time limit of the other end for this process; if the other end is gone, the process
            ends itself soon after.
        memory_mb: maximum memory of the work, beyond the loaded modules.
    """
    for name in _THREAD_COUNTS:  # before the import of numpy: the processes share the cores
        os.environ[name] = "1"
    if not hasattr(signal, "pthread_sigmask"):  # the parent blocks SIGINT if it can
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends this process
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
    except SegueError as error:  # not the file's fault: passed on
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
    """Limit the address space, on systems that can."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm", encoding="utf-8") as file:
            loaded = int(file.read().split()[0]) * resource.getpagesize()
        limit = loaded + int(megabytes * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
