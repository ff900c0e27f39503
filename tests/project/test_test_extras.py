"""`scripts/test_extras.sh` with stand-ins for the system: what it runs, says and returns."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support import browser

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "test_extras.sh"
CHROMIUM = "Chromium with its driver (chromedriver)"
POSTGRES = "PostgreSQL (initdb)"


class Machine:
    """A machine whose programs are those of one folder, and which notes what apt-get did."""

    def __init__(self, folder: Path, system: str = "Linux", user: int = 0) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        for name in ("sed", "tail", "env", "touch", "chmod"):
            there = shutil.which(name)
            assert there
            (folder / name).symlink_to(there)
        self.program("uname", f"echo {system}")
        self.program("id", f"echo {user}")
        self.program("systemd-analyze")

    def program(self, name: str, does: str = "") -> None:
        file = self.folder / name
        file.write_text(f"#!/bin/sh\n{does}\n")
        file.chmod(0o755)

    def apt(self, *gives: str, refuses: str = "none") -> None:
        """An apt-get that installs these programs, and has no package of the name refused."""
        make = "".join(
            f'touch "{self.folder}/{name}"; chmod +x "{self.folder}/{name}"; ' for name in gives
        )
        self.program(
            "apt-get",
            f'echo "$DEBIAN_FRONTEND $*" >> "{self.log}"\n'
            f'case "$*" in *" {refuses}"*) echo "no package {refuses}" >&2; exit 100;; esac\n'
            f'case "$*" in *install*) {make or ":"} ;; esac',
        )

    def run(self) -> tuple[int, list[str]]:
        ran = subprocess.run(
            ["/bin/sh", str(SCRIPT)],
            env={"PATH": str(self.folder), "POSTGRES_OF_DEBIAN": str(self.folder / "none")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not ran.stderr
        return ran.returncode, ran.stdout.splitlines()

    def installed(self) -> list[str]:
        """Packages that apt-get was asked for, a line each time."""
        lines = [line for line in self.log.read_text().splitlines() if "install" in line]
        assert all(line.startswith("noninteractive ") for line in lines)
        return [line.partition("--no-install-recommends ")[2] for line in lines]


def test_debian_as_root_installs_what_is_missing_and_then_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.apt("chromium", "chromedriver", "initdb")
    machine.program("initdb")
    code, said = machine.run()
    assert (code, said[-1]) == (0, "installed; nothing is missing")
    assert machine.installed() == ["chromium chromium-driver"]
    assert machine.run() == (0, ["everything is there; nothing to install"])
    assert machine.installed() == ["chromium chromium-driver"]


def test_systemd_is_for_linux_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.apt("systemd-analyze")
    for name in ("chromium", "chromedriver", "initdb"):
        machine.program(name)
    (tmp_path / "systemd-analyze").unlink()
    assert machine.run()[0] == 0
    assert machine.installed() == ["systemd"]
    (tmp_path / "systemd-analyze").unlink()
    machine.program("uname", "echo FreeBSD")
    assert machine.run()[0] == 0


def test_ubuntu_has_other_names(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.apt("chromium-browser", "chromedriver", refuses="chromium-driver")
    machine.program("initdb")
    assert machine.run()[0] == 0
    assert machine.installed()[1:] == ["chromium-browser chromium-chromedriver"]


def test_it_says_what_is_still_missing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.apt("chromium", "chromedriver", refuses="postgresql")
    code, said = machine.run()
    assert code == 1
    assert said[-2:] == ["still missing:", f"  {POSTGRES}"]
    assert "  no package postgresql" in said


def test_a_user_with_sudo_installs_by_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path, user=1000)
    machine.apt("chromium", "chromedriver", "initdb")
    machine.program("sudo", '[ "$1" = -n ] && shift\n[ "$1" = true ] || exec "$@"')
    assert machine.run()[0] == 0
    assert machine.installed()


@pytest.mark.parametrize("sudo", [False, True])
def test_without_root_nothing_is_installed(tmp_path: Path, sudo: bool) -> None:
    machine = Machine(tmp_path, user=1000)
    machine.apt("chromium", "chromedriver", "initdb")
    if sudo:
        machine.program("sudo", "exit 1")  # it would ask for a password
    code, said = machine.run()
    assert code == 1
    assert "sudo sh scripts/test_extras.sh" in said[0]
    assert said[1:] == [f"  {CHROMIUM}", f"  {POSTGRES}"]
    assert not machine.installed()


def test_macos_is_told_the_commands(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "Darwin")
    code, said = machine.run()
    assert code == 1
    assert "brew install --cask chromium chromedriver" in said[1]
    assert "brew install postgresql@17" in said[2]
    machine.program("initdb")
    assert len(machine.run()[1]) == 2


def test_elsewhere_it_says_what_is_missing(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "FreeBSD")
    code, said = machine.run()
    assert code == 1
    assert said[1:] == [f"  {CHROMIUM}", f"  {POSTGRES}"]


def test_postgres_in_the_folder_of_debian_is_found(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "FreeBSD")
    (tmp_path / "none/15/bin").mkdir(parents=True)
    (tmp_path / "none/15/bin/initdb").touch(0o755)
    assert machine.run()[1][1:] == [f"  {CHROMIUM}"]


@pytest.mark.parametrize("name", browser.BROWSERS)
def test_the_script_and_the_tests_look_for_the_same_browsers(name: str) -> None:
    (found,) = re.findall(r"^has_chromium\(\) \{(.*?)^\}", SCRIPT.read_text(), re.M | re.S)
    assert re.search(rf'[\s"]{re.escape(name)}[\s"]', found)
