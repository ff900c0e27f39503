"""The image, the services and the unit that docs/guides/deploy.md tells of.

No engine of containers is needed: what the Dockerfile says is done by script, in a plain folder.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from support.dockerfile import Builder, Stage, stages

from segue.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SERVE = {option for parameter in COMMANDS["serve"].params for option in parameter.opts}
UNIT = ROOT / "deploy" / "segue.service"
BUILD, IMAGE = stages(ROOT / "Dockerfile")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SECONDS = 120


# The image


def test_the_image_is_of_a_named_version_and_nobody_is_root_in_it():
    for stage in (BUILD, IMAGE):
        assert re.fullmatch(r"python:3\.\d+-slim-\w+", stage.image)
    user = IMAGE.last("USER")
    assert re.fullmatch(
        r"[1-9]\d*:[1-9]\d*", user
    )  # numbers: an orchestrator can tell it from root


def test_the_image_keeps_its_data_in_one_volume():
    assert IMAGE.last("VOLUME") == "/data"
    assert IMAGE.environment()["HOME"] == "/data"
    assert all(word.startswith("/data") for word in IMAGE.command() if word.startswith("/"))


def test_the_image_installs_what_is_locked_and_nothing_else():
    installs = [text for name, text in BUILD.steps if name == "RUN" and "pip" in text]
    for text in installs:
        for part in text.split("&&"):
            if " install " in part:
                assert "--no-deps" in part
                assert "--require-hashes" in part or "--no-index" in part


def test_files_that_the_image_copies_reach_the_engine():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    for name, text in BUILD.steps:
        if name == "COPY":
            for source in text.split()[:-1]:
                assert source.split("/")[0] in let | {source} & let, source
                assert (ROOT / source).exists(), source


def test_the_command_of_the_image_is_one_of_segue():
    command = IMAGE.command()
    assert command[:2] == ["segue", "serve"]
    assert {word for word in command if word.startswith("--")} <= SERVE


# Compose


def services() -> list[str]:
    return list(COMPOSE["services"])


@pytest.mark.parametrize("name", services())
def test_a_service_may_do_no_more_than_it_has_to(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()


def test_only_this_machine_reaches_the_service_and_only_the_service_the_database():
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
    assert COMPOSE["services"]["database"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"]["internal"] is True


def test_no_password_stands_in_the_file():
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert not re.search(r"PASSWORD:", text)
    assert not re.search(r"postgresql://[^@\s]*:[^@\s]*@", text)
    used = {secret for service in COMPOSE["services"].values() for secret in service["secrets"]}
    assert used == COMPOSE["secrets"].keys()


def test_commands_of_the_services_are_those_of_segue():
    words = COMPOSE["services"]["segue"]["command"]
    assert words[0] == "serve"
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= SERVE
    (script,) = COMPOSE["services"]["train"]["command"]
    for line in script.strip().splitlines():
        verb = line.split()[1]
        options = {option for p in COMMANDS[verb].params for option in p.opts}
        assert set(re.findall(r"(--[a-z-]+)", line)) <= options


# The unit


def unit() -> dict[str, list[str]]:
    text = UNIT.read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
        found.setdefault(key, []).append(value)
    return found


def test_the_unit_serves():
    (command,) = unit()["ExecStart"]
    assert command.split()[:2] == ["/opt/segue/bin/segue", "serve"]
    assert {word for word in command.split() if word.startswith("--")} <= SERVE


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    """Its binary and its user are those of the machine that it is installed on."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze - make test-extras")
    text = UNIT.read_text(encoding="utf-8").replace("/opt/segue/bin/segue", "/bin/true")
    (tmp_path / "segue.service").write_text(text, encoding="utf-8")
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "segue.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "segue.service" not in ran.stderr, ran.stderr
    score = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=25",
         str(tmp_path / "segue.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert score.returncode == 0, score.stdout[-500:] + score.stderr


# The image, built by script


def base_python() -> tuple[Path, bool]:
    """A Python that stands for the image's, and whether another user may run it."""
    for name in ("/usr/local/bin/python3", "/usr/bin/python3"):
        code = "import sys, ensurepip, pip, venv; sys.exit(sys.version_info < (3, 11))"
        if (
            Path(name).exists()
            and not subprocess.run([name, "-c", code], capture_output=True, check=False).returncode
        ):
            return Path(name), True
    return Path(getattr(sys, "_base_executable", sys.executable)), False


class Container:
    """The command of the image, run as its user in its environment."""

    def __init__(self, builder: Builder, stage: Stage, *, as_user: bool) -> None:
        self._builder = builder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        moved = builder.moved
        self._options = {
            "cwd": moved(stage.last("WORKDIR")),
            "env": {name: moved(value) for name, value in stage.environment().items()},
        }
        if as_user:
            user, group = map(int, stage.last("USER").split(":"))
            self._options |= {"user": user, "group": group, "extra_groups": []}
        path = self._options["env"]["PATH"]
        command = [moved(word) for word in stage.command()]
        self.command = [shutil.which(command[0], path=path), *command[1:], "--port", str(self.port)]
        check = [word.replace("8000", str(self.port)) for word in stage.healthcheck()]
        self.check = [shutil.which(check[0], path=path), *check[1:]]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            **self._options,
        )  # fmt: skip

    def healthy(self) -> bool:
        ran = subprocess.run(self.check, capture_output=True, check=False, **self._options)
        return ran.returncode == 0


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    if os.name != "posix":
        pytest.skip("the image is one of Linux")
    python, others = base_python()
    root = Path(tempfile.mkdtemp(prefix="segue-image-"))  # pytest's folders let no other user in
    root.chmod(0o755)
    try:
        builder = Builder(root, ROOT, python)
        try:
            for stage in (BUILD, IMAGE):
                builder.run(stage)
        except RuntimeError as error:
            if "No matching distribution" in str(error) or "connection" in str(error).lower():
                pytest.skip("no package index within reach")
            raise
        as_user = os.geteuid() == 0 and others
        (root / "data").mkdir(exist_ok=True)
        if as_user:
            user, group = map(int, IMAGE.last("USER").split(":"))
            os.chown(root / "data", user, group)
        yield Container(builder, IMAGE, as_user=as_user)
    finally:
        shutil.rmtree(root)


@pytest.mark.slow_install
def test_the_image_as_its_steps_build_it_serves_and_tells_its_health(container, tmp_path):
    root = container._builder.root
    packages = {path.name for path in (root / "opt/segue").glob("lib/python3*/site-packages/*")}
    assert {"segue", "fastapi", "psycopg", "av"} <= packages
    assert not packages & {"torch", "xgboost", "matplotlib", "pip", "pytest"}

    process = container.start()  # without a bundle it says so, and ends
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, said
    assert "bundle" in said.splitlines()[-1]
    assert not container.healthy()

    segue = [sys.executable, "-c", "from segue.cli import main; main()"]
    world = str(tmp_path / "world")
    for words in (
        ["world", "--dataset", world, "--tracks=200", "--playlists=100", "--seed=1"],
        ["train", "item-knn", world, "--bundle", str(root / "data" / "bundle")],
    ):
        subprocess.run([*segue, *words], check=True, capture_output=True)
    for path in (root / "data" / "bundle", *(root / "data" / "bundle").iterdir()):
        path.chmod(0o755)
    token = tmp_path / "token"
    token.write_text("a-token-that-only-this-test-knows-0123456789\n", encoding="utf-8")
    shutil.copy(token, root / "token")
    (root / "token").chmod(0o644)
    container.command += ["--token-file", str(root / "token")]

    process = container.start()
    try:
        until = time.monotonic() + SECONDS
        while not container.healthy():
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < until
            time.sleep(0.2)
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)
    assert process.returncode in {0, -signal.SIGTERM}  # after the requests that had begun
    assert not container.healthy()
