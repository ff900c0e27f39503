"""Progress on stderr."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
sys.stderr.isatty = lambda: True
import numba
from segue.system.progress import task
with task("fitting", 2, "sweeps", show=True) as advance:
    for _ in range(2):
        numba.njit(lambda x: x + 1)(2)
        advance(1)
"""


def test_compiling_is_said_once_on_a_terminal() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("compiling for this machine (once") == 1


def test_elsewhere_nothing_is_said() -> None:
    program = PROGRAM.replace("lambda: True", "lambda: False")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
