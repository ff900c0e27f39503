"""What tests let worker processes do with files; its own module, so that they load nothing else."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from segue.audio.decode import AudioError, Excerpt, Sound, decode
from segue.errors import ConfigError


def size(path: Path) -> int:
    return path.stat().st_size


def by_name(path: Path) -> str:
    """Does what the name of the file says."""
    match path.stem:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "memory":
            return str(len(bytearray(1 << 30)))
        case "bug":
            raise ValueError("what nobody thought of")
        case "bad":
            raise AudioError("truncated", path)
        case "denied":
            raise PermissionError(13, "Permission denied", str(path))
        case "input-output":
            raise OSError(5, "Input/output error", str(path))
    return path.name


def measure(path: Path, excerpt: Excerpt | None = None) -> tuple[int, float, Sound]:
    """How many samples there are at 22,050 Hz, the loudest, and the rest without samples."""
    sound = decode(path, 22_050, excerpt)
    loudest = float(np.abs(sound.samples).max())
    return len(sound.samples), loudest, replace(sound, samples=np.zeros(0, np.float32))


def needs_package(path: Path) -> None:
    raise ConfigError("needs a package", do="install it")


def process(path: Path) -> int:
    time.sleep(0.2)
    return os.getpid()


def loaded(path: Path) -> list[str]:
    return list(sys.modules)


def threads(path: Path) -> str | None:
    return os.environ.get("OPENBLAS_NUM_THREADS")


def hang(path: Path) -> None:
    time.sleep(600)
