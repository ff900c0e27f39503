"""Install Segue for development into the environment of the Python that runs this.

python scripts/install.py locked | lowest | newest

locked  the versions in requirements/dev.txt: what `make setup` and CI take
lowest  those in requirements/lowest.txt: the lowest that pyproject.toml allows
newest  the newest that the index has today

torch is apart, since its build depends on the machine. The CPU build is taken from where pip looks
already, else from PyTorch's own index. Only where neither has it, as behind a mirror of the package
index alone, pip's build is taken, which on Linux brings gigabytes of GPU libraries.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
LOCKS = {"locked": ("dev.txt", "torch.txt"), "lowest": ("lowest.txt", "lowest-torch.txt")}
"""The file of all but torch, and that of torch."""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main(arguments: Sequence[str]) -> int:
    """Install what the command line names."""
    if len(arguments) != 1 or arguments[0] not in {*LOCKS, "newest"}:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        if arguments[0] == "newest":
            _newest()
        else:
            _locked(*LOCKS[arguments[0]])
    except subprocess.CalledProcessError as error:
        print(f"failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return 0


def _locked(packages: str, torch: str) -> None:
    _packages(REQUIREMENTS / packages)
    _torch((REQUIREMENTS / torch).read_text(encoding="utf-8").strip())
    _segue()


def _newest() -> None:
    """The locked environment, with everything upgraded that has a newer release.

    torch stays at the locked version where its newest CPU build cannot be had.
    """
    _locked(*LOCKS["locked"])
    if _pip("--upgrade", "--no-deps", "--index-url", CPU_INDEX, *_QUICKLY, "torch", check=False):
        print(f"torch stays at {version('torch')}: {CPU_INDEX} cannot be reached")
    pinned = f"torch=={_installed('torch')}"
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    groups = ["--group", "dev", "--editable", f"{ROOT}[all,gpu]", pinned]
    subprocess.run([*uv, "--upgrade", *groups], cwd=ROOT, check=True)


_QUICKLY = ("--retries", "0", "--timeout", "20")
"""Where an index cannot be reached, say so at once."""


def _packages(lock: Path) -> None:
    print(f"installing the versions of {lock.relative_to(ROOT)}", flush=True)
    _pip("--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(lock))


def _torch(pin: str) -> None:
    """Install this version of torch, its CPU build where there is one."""
    wanted = pin.partition("==")[2]
    if (_installed("torch") or "").partition("+")[0] == wanted:
        return
    print(f"installing {pin}", flush=True)
    if sys.platform != "linux":  # the index has the CPU build
        _pip(pin, "--no-deps")
        return
    for place in ((), ("--index-url", CPU_INDEX, *_QUICKLY)):
        if not _pip(f"{pin}+cpu", "--no-deps", *place, check=False):
            return
    print(f"no CPU build of {pin} here: taking pip's, with its GPU libraries", flush=True)
    _pip(pin)


def _segue() -> None:
    _pip("--no-deps", "--no-build-isolation", "--editable", str(ROOT))


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _pip(*arguments: str, check: bool = True) -> int:
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    output = None if check else subprocess.DEVNULL
    ran = subprocess.run([*command, *arguments], check=check, stdout=output, stderr=output)
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
