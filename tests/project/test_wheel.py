"""The wheel and the source distribution: what is in them, and that they work by themselves.

Everything is installed into new environments, far from the source tree, with the versions of the
lock. That needs a package index and some minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import urllib.request
import venv
import wave
import zipfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.common.locked import constraints

import segue

pytestmark = pytest.mark.slow_install

ROOT = Path(__file__).resolve().parents[2]
PICTURES = (".png", ".jpg", ".gif", ".webp")
CSV = "playlists.csv"
MINUTES = 10 * 60
"""Seconds after which a command hangs."""


class Environment:
    """A new virtual environment, and a folder outside the source tree to work in."""

    def __init__(self, folder: Path) -> None:
        self.place, self.work = folder / "environment", folder / "work"
        self.work.mkdir(parents=True)
        venv.create(self.place, with_pip=True)
        self.bin = self.place / ("Scripts" if os.name == "nt" else "bin")
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "NUMBA_", "COVERAGE", "PYTEST_"))
            and name != "VIRTUAL_ENV"
        }
        self.variables["PYTHONNOUSERSITE"] = "1"

    def command(self, name: str, *words: object) -> list[str]:
        return [str(self.bin / name), *map(str, words)]

    def run(self, name: str, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment to its end."""
        return subprocess.run(
            self.command(name, *words),
            cwd=self.work, env=self.variables, capture_output=True, text=True, check=False,
            encoding="utf-8", timeout=MINUTES,
        )  # fmt: skip

    def done(self, name: str, *words: object) -> str:
        """Run a command that has to succeed; what it printed."""
        ran = self.run(name, *words)
        assert ran.returncode == 0, f"{name} {words}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    def refused(self, *words: object) -> str:
        """Run `segue` with what it has to refuse; the one line that it says."""
        ran = self.run("segue", *words)
        assert ran.returncode in (1, 2), ran.stderr
        assert ran.stdout == ""
        (line,) = ran.stderr.splitlines()
        return line

    def pip(self, *words: object) -> str:
        return self.done("python", "-m", "pip", "--disable-pip-version-check", *words)


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lock, as constraints."""
    file = tmp_path_factory.mktemp("versions") / "constraints.txt"
    file.write_text("\n".join(constraints()), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, versions: Path) -> dict[str, Path]:
    """The wheel of the tree, the source distribution, and the wheel of that."""
    folder = tmp_path_factory.mktemp("built")
    tools = Environment(folder / "tools")
    install = ("-m", "pip", "install", "-c", versions, "build", "hatchling")
    ran = tools.run("python", *install)
    if ran.returncode != 0:
        pytest.skip(f"no package index within reach: pip says {ran.stderr.splitlines()[-1]}")
    build = ("python", "-m", "build", "--no-isolation", "--outdir")
    tools.done(*build, folder / "direct", "--wheel", ROOT)
    tools.done(*build, folder / "by-source", ROOT)
    (direct,) = (folder / "direct").glob("*.whl")
    (wheel,) = (folder / "by-source").glob("*.whl")
    (source,) = (folder / "by-source").glob("*.tar.gz")
    return {"direct": direct, "wheel": wheel, "source": source}


@pytest.fixture(scope="session")
def bare(
    tmp_path_factory: pytest.TempPathFactory, built: dict[str, Path], versions: Path
) -> Environment:
    """The wheel without extras."""
    made = Environment(tmp_path_factory.mktemp("bare"))
    made.pip("install", "-c", versions, built["wheel"])
    return made


@pytest.fixture(scope="session")
def full(
    tmp_path_factory: pytest.TempPathFactory, built: dict[str, Path], versions: Path
) -> Environment:
    """The wheel with the extra `all`."""
    made = Environment(tmp_path_factory.mktemp("full"))
    made.pip("install", "-c", versions, f"{built['wheel']}[all]")
    return made


@pytest.fixture(params=["bare", "full"])
def installed(request: pytest.FixtureRequest) -> Environment:
    """Both, one after the other."""
    made: Environment = request.getfixturevalue(request.param)
    return made


# What is in them


def contents(file: Path) -> dict[str, bytes]:
    """Files of an archive by their names; in a source distribution without its folder."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(file) as archive:
        return {
            member.name.partition("/")[2]: opened.read()
            for member in archive
            if (opened := archive.extractfile(member))
        }


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(built: dict[str, Path]) -> None:
    source = ROOT / "src"
    package = {
        file.relative_to(source).as_posix()
        for file in source.rglob("*")
        if file.is_file() and file.parent.name != "__pycache__"
    }
    assert {
        "segue/py.typed",
        "segue/recipes/wrmf.toml",
        "segue/service/web/static/page.css",
    } <= package
    about = f"segue-{segue.__version__}.dist-info"
    described = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    found = contents(built["direct"])
    assert set(found) == package | {f"{about}/{name}" for name in described}
    assert found[f"{about}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert built["direct"].name == f"segue-{segue.__version__}-py3-none-any.whl"


def test_the_source_distribution_holds_what_git_does_without_pictures(
    built: dict[str, Path],
) -> None:
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
    try:
        listed = subprocess.run(
            [*listing, "--exclude-standard"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the tree is not a git checkout")
    kept = {name for name in listed.split("\0") if name and (ROOT / name).is_file()}
    found = contents(built["source"])
    assert set(found) == {name for name in kept if not name.endswith(PICTURES)} | {"PKG-INFO"}


def test_the_wheel_of_the_source_distribution_is_the_same(built: dict[str, Path]) -> None:
    assert contents(built["wheel"]) == contents(built["direct"])


def test_the_source_distribution_can_run_the_tests(built: dict[str, Path], tmp_path: Path) -> None:
    for name, data in contents(built["source"]).items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    variables = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "PYTEST_ADDOPTS": ""}
    some = ["tests/project/test_docs.py", "tests/data/test_dataset.py", "tests/test_bundle.py"]
    some += ["-k", "links or golden_dataset or golden_bundles"]  # answers would compile everything
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *some],
        cwd=tmp_path, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-5000:]


# What is installed


def test_the_installed_package_is_what_runs(installed: Environment) -> None:
    said = installed.done("python", "-c", "import segue; print(segue.__file__)")
    assert Path(said.strip()).is_relative_to(installed.place)
    assert installed.done("segue", "--version") == f"segue {segue.__version__}\n"
    metadata = "import importlib.metadata as m; print(m.version('segue'))"
    assert installed.done("python", "-c", metadata) == f"{segue.__version__}\n"


def test_pip_misses_nothing(installed: Environment) -> None:
    installed.pip("check")


def test_doctor_finds_that_it_works(installed: Environment) -> None:
    found = json.loads(installed.done("segue", "doctor", "--json"))
    assert found["works"]
    assert found["versions"]["segue"] == segue.__version__
    assert "wrmf" in found["recipes"]


def test_a_library_for_type_checkers(bare: Environment) -> None:
    code = "from importlib.resources import files; print((files('segue') / 'py.typed').is_file())"
    assert bare.done("python", "-c", code) == "True\n"


# The main job


@pytest.fixture
def trained(installed: Environment) -> Environment:
    """Playlists of a CSV file are read, and learned from but for those kept back."""
    return trained_in(installed)


def trained_in(installed: Environment) -> Environment:
    if not (installed.work / "bundle").exists():
        write_playlists(installed.work / CSV)
        installed.done("segue", "ingest", "csv", CSV, "--dataset", "data")
        installed.done(
            "segue", "train", "wrmf", "data", "--bundle", "bundle", "--holdout", "challenge",
            "--set", "factors=2",
        )  # fmt: skip
    return installed


def write_playlists(file: Path) -> None:
    """Three hundred playlists: half of them of even tracks, half of odd ones."""
    lines = ["playlist,playlist_title,track,title,artist"]
    for p in range(300):
        for i in range(12):
            t = (p // 2 * 7 + i * (1 + p % 11)) % 30 * 2 + p % 2
            lines.append(f"p{p},{('even', 'odd')[p % 2]} songs,song:{t},Song {t},Artist {t % 7}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_bundle_is_evaluated(trained: Environment) -> None:
    told = trained.done("segue", "evaluate", "bundle", "data", "--protocol", "challenge", "--json")
    (model,) = json.loads(told)["models"]
    assert model["metrics"]["ndcg@500"]["mean"] > 0.4


def test_a_bundle_continues_a_playlist_in_each_form(trained: Environment) -> None:
    ask = ("segue", "continue", "bundle", "--track", "song:2", "--track", "song:8", "-n", "5")
    answer = json.loads(trained.done(*ask, "--format", "json"))
    uris = [track["uri"] for track in answer["tracks"]]
    assert len(uris) == 5
    assert all(int(uri.removeprefix("song:")) % 2 == 0 for uri in uris)
    assert trained.done(*ask).count("\n") == 6
    playlist = trained.done(*ask, "--format", "m3u8")
    assert playlist.startswith("#EXTM3U\n")
    assert [line for line in playlist.splitlines() if not line.startswith("#")] == uris


# With extras and without


EVALUATE = ("evaluate", "bundle", "data", "--protocol", "challenge", "--report", "report.html")


def test_without_its_extra_a_report_is_one_line(bare: Environment) -> None:
    trained_in(bare)
    assert "pip install 'segue[report]'" in bare.refused(*EVALUATE)
    assert not (bare.work / "report.html").exists()


def test_with_its_extra_a_report_is_a_page_with_plots(full: Environment) -> None:
    trained_in(full).done("segue", *EVALUATE)
    assert "<svg" in (full.work / "report.html").read_text(encoding="utf-8")


def test_without_its_extra_serving_is_one_line(bare: Environment) -> None:
    trained_in(bare)
    assert "pip install 'segue[service]'" in bare.refused("serve", "bundle", "--port", "0")


@pytest.fixture
def address(full: Environment) -> Iterator[str]:
    """Where a service answers, that is interrupted afterwards."""
    trained_in(full)
    serve = full.command("segue", "serve", "bundle", "--port", "0")
    with subprocess.Popen(
        serve, cwd=full.work, env=full.variables, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stderr
            said = []
            for line in running.stderr:
                said.append(line)
                if " answers on " in line:
                    yield line.split()[-1]
                    break
            else:
                pytest.fail(f"it has ended: {said}")
        finally:
            running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        address + path,
        None if body is None else json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return reply.read().decode()


def test_with_its_extra_it_serves_until_it_is_interrupted(address: str) -> None:
    answer = json.loads(ask(address, "v1/continue", {"tracks": ["song:2", "song:8"], "n": 3}))
    assert len(answer["tracks"]) == 3
    assert answer["served_by"] == "wrmf"
    described = json.loads(ask(address, "openapi.json"))
    assert described["info"]["version"] == segue.__version__
    page = ask(address, "")
    assert "<html" in page
    assert "--" in ask(address, "static/page.css")


def write_tone(file: Path) -> None:
    """Four seconds of a square tone."""
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(22_050)
        sound.writeframes(array("h", [9000, -9000] * (2 * 22_050)).tobytes())


def test_without_its_extra_adding_a_sound_is_one_line(bare: Environment) -> None:
    write_tone(bare.work / "tone.wav")
    hears = ROOT / "tests" / "golden" / "bundle-v1-audio"
    refused = bare.refused("add", hears, "tone.wav", "--bundle", "more")
    assert "pip install 'segue[audio]'" in refused
    refused = bare.refused("ingest", "audio", "tone.wav", "--dataset", "sounds")
    assert "pip install 'segue[audio]'" in refused


def test_with_its_extra_a_sound_is_added_and_continued_from(full: Environment) -> None:
    full.done(
        "segue", "world", "--dataset", "world", "--audio", "--audio-seconds", "3",
        "--tracks", "200", "--listeners", "20", "--sessions", "150", "--playlists", "100",
    )  # fmt: skip
    full.done(
        "segue", "train", "audio-linear", "world", "--bundle", "hears", "--set", "wrmf.factors=4"
    )
    write_tone(full.work / "Somebody - Entirely New.wav")
    added = json.loads(full.done("segue", "add", "hears", "Somebody - Entirely New.wav", "--json"))
    assert added["added"] == 1
    full.done("segue", "continue", "hears", "--track", "Somebody Entirely New", "-n", "3")


def test_without_torch_training_a_network_is_one_line_about_it(installed: Environment) -> None:
    if installed.run("python", "-c", "import torch").returncode == 0:
        pytest.skip("torch is there: on this system the extra deep brings it")
    refused = trained_in(installed).refused("train", "sasrec", "data", "--bundle", "network")
    assert "needs torch; pip install " in refused


# What the messages say to do


def test_pip_adds_an_extra_to_what_is_installed_and_asks_no_index_for_segue(
    bare: Environment, full: Environment, versions: Path, built: dict[str, Path]
) -> None:
    """Segue may be on no index: then the installed one has to be what `segue[audio]` means."""
    dry = ("install", "--dry-run", "--quiet", "--report", "-")
    planned = json.loads(bare.pip(*dry, "-c", versions, "segue[audio]"))["install"]
    names = {item["metadata"]["name"].lower() for item in planned}
    assert {"av", "scikit-learn", "tinytag"} <= names
    assert "segue" not in names
    planned = json.loads(full.pip(*dry, "--no-index", "segue[audio]"))["install"]
    assert planned == []
